package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// load verifies all frames since the snapshot and finds the last complete Append call. It removes
// all frames after that call: incomplete calls of a killed process, or events lost by AcceptLoss.
func (j *Journal) load() error {
	var err error
	if j.snapshot, _, err = readSnapshot(j.dir); err != nil {
		damage := &DamageError{}
		if !errors.As(err, &damage) {
			return err
		}
		if damage.Help = j.opt.Help; !j.opt.AcceptLoss {
			return damage
		}
		j.log.Error("snapshot damaged, all events before it dropped", "dir", j.dir, "err", err)
		path := filepath.Join(j.dir, "snapshot")
		if err := os.Rename(path, path+".damaged"); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	if err := j.loadGenerations(); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	h, headErr := state.OpenHead(j.dir)
	switch {
	case headErr == nil && !h.Exists() && j.snapshot == 0 && j.generation().last == 0: // a new journal
		if headErr = h.Create(j.dir); headErr != nil {
			return fmt.Errorf("journal %s: %w", j.dir, headErr)
		}
	case headErr == nil && !h.Exists():
		headErr = errors.New("the file head is missing")
	case headErr == nil && h.Seq < j.snapshot:
		headErr = fmt.Errorf("the file head ends at event %d, before the snapshot at %d", h.Seq, j.snapshot)
		h.Seq = 0
	}
	j.head = h
	damage := &DamageError{}
	j.end, err = j.scan(h, math.MaxUint64, func(*frame) error { return nil })
	if err == nil && headErr != nil {
		err = &DamageError{j.dir, j.end.next, headErr.Error() + ", so it is unknown whether this event was acknowledged", j.opt.Help}
	}
	if errors.As(err, &damage) && j.opt.AcceptLoss {
		j.log.Error("journal damaged, events dropped", "dir", j.dir, "from", j.end.next, "acknowledged", h.Seq, "err", err)
		j.head.Seq, j.head.Sum = j.end.next-1, j.end.prev
		err = j.head.Create(j.dir)
	}
	if err != nil {
		return err
	}
	j.acked.Store(j.end.next - 1)
	if err := j.removeAfter(j.end.next); err != nil {
		return err
	}
	if err := j.head.Write(j.end.next-1, j.end.prev); err != nil {
		return err
	}
	return j.drop(j.snapshot)
}

// loadGenerations reads the generations from the keys in Badger.
func (j *Journal) loadGenerations() error {
	j.gens = []generation{{n: 1}}
	return j.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var f frame
			if err := f.readKey(it.Item().Key()); err != nil {
				return err
			}
			if g := j.generation(); g.n == f.gen || g.last == 0 {
				*g = generation{f.gen, f.last}
			} else {
				j.gens = append(j.gens, generation{f.gen, f.last})
			}
		}
		return nil
	})
}

// scan verifies the frames with events after the snapshot and up to limit: each frame must follow
// the previous one, and the last acknowledged frame must match h. It calls fn for each frame.
//
// scan returns the position after the last complete Append call, also together with a *DamageError.
func (j *Journal) scan(h state.Head, limit uint64, fn func(f *frame) error) (whole cursor, err error) {
	c := cursor{next: j.snapshot + 1}
	known := h.Seq == j.snapshot // c.prev is known
	if known {
		c.prev = h.Sum
	}
	whole = c
	begun := false
	damage := func(seq uint64, format string, a ...any) error {
		return &DamageError{j.dir, seq, fmt.Sprintf(format, a...), j.opt.Help}
	}
	err = j.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{PrefetchValues: true, PrefetchSize: 4})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var f frame
			item := it.Item()
			if err := f.readKey(item.Key()); err != nil {
				return err
			}
			if f.last <= j.snapshot {
				continue
			}
			if f.first > limit {
				break
			}
			if !begun && f.first < c.next {
				// The snapshot ends within this frame.
				c, known = cursor{next: f.first, part: f.part}, false
			}
			begun = true
			if f.first != c.next || f.part != c.part {
				return damage(c.next, "missing; the next event is %d, part %d", f.first, f.part)
			}
			err := item.Value(func(value []byte) error { return f.readValue(item.Key(), value) })
			if err != nil {
				return damage(c.next, "%v", err)
			}
			if known && f.prev() != c.prev {
				return damage(c.next, "does not match the previous event")
			}
			c.pass(&f)
			known = true
			if f.last == h.Seq && f.flags() == 0 && c.prev != h.Sum {
				return damage(f.first, "differs from the acknowledged event")
			}
			if err := fn(&f); err != nil {
				return err
			}
			if f.flags() == 0 {
				whole = c
			}
		}
		if whole.next <= min(h.Seq, limit) {
			return damage(whole.next, "missing; events up to %d were acknowledged", h.Seq)
		}
		return nil
	})
	return whole, err
}

// removeAfter removes all frames that start at event first or later. It removes the last frames
// first, so that a crash leaves no gap.
func (j *Journal) removeAfter(first uint64) error {
	var keys [][]byte
	err := j.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Reverse: true})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if binary.BigEndian.Uint64(key[5:]) < first {
				break
			}
			keys = append(keys, key)
		}
		return nil
	})
	for chunk := range slices.Chunk(keys, 1000) {
		if err != nil {
			break
		}
		err = j.db.Update(func(txn *badger.Txn) error {
			for _, key := range chunk {
				if err := txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return err
}

// Replay verifies the acknowledged events after the last snapshot and calls fn for each, in order.
// fn may keep ev. Replay returns fn's error unchanged, and a *DamageError if an event is missing or
// changed. It skips events appended during the replay. Snapshot and Close wait for its end, so fn
// must not call them.
func (j *Journal) Replay(fn func(seq uint64, ev []byte) error) error {
	j.snapshots.Lock()
	defer j.snapshots.Unlock()
	j.writing.Lock()
	h := j.head
	j.writing.Unlock()
	var parts []byte // earlier parts of an unfinished event
	_, err := j.scan(h, h.Seq, func(f *frame) error {
		return f.events(func(seq uint64, ev []byte) error {
			if f.part > 0 && seq == f.first {
				ev = append(parts, ev...)
			}
			parts = nil
			if f.flags()&flagPart != 0 {
				parts = ev
				return nil
			}
			if seq <= j.snapshot {
				return nil
			}
			return fn(seq, ev)
		})
	})
	return err
}
