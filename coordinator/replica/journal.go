package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/tally"
)

// Journal is the journal of jobs of a tenure. It implements coordinator.Journal. The keys in the
// database Jobs:
//
//	'e' | number 8              an event
//	's'                         the snapshot: last event 8 | generation 8 | pieces 8
//	'p' | generation 8 | n 8    piece n of the state of a snapshot
type Journal struct {
	t    *Tenure
	db   *state.DB
	last uint64 // number of the last event; the goroutine of Append owns it

	// mu guards the field below.
	mu    sync.Mutex
	syncs tally.Durations
}

// pieceSize is the size of entries that carry large data.
const pieceSize = 512 << 10

// errDamaged means that the database lacks what it must have.
var errDamaged = fmt.Errorf("the replicated journal is %w", ErrDamaged)

// OpenJournal returns the journal of a tenure.
func OpenJournal(t *Tenure) (*Journal, error) {
	j := &Journal{t: t, db: t.DB(Jobs)}
	seq, _, _, err := j.snapshot()
	if err == nil {
		j.last = seq
		err = j.Replay(func(seq uint64, _ []byte) error {
			j.last = seq
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return j, nil
}

func eventKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, seq) }

func stateKey(generation, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{'p'}, generation), n)
}

// Append adds events, and returns the number of the last one when a majority has them in its log.
// An error that wraps state.ErrDiskFull means that nothing was added.
func (j *Journal) Append(ctx context.Context, events ...[]byte) (last uint64, err error) {
	size := 0
	for _, ev := range events {
		size += len(ev)
	}
	if err := j.db.CheckDecided(int64(size)); err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	begin := time.Now()
	next := j.last
	b := NewBatch(Jobs)
	for _, ev := range events {
		next++
		b.Set(eventKey(next), ev)
	}
	if err := j.t.Propose(b).Decided(ctx); err != nil {
		return 0, fmt.Errorf("journal: the events may or may not be kept: %w", err)
	}
	j.last = next
	j.mu.Lock()
	j.syncs.Add(time.Since(begin))
	j.mu.Unlock()
	return next, nil
}

// CheckSpace returns an error that wraps state.ErrDiskFull if n more bytes would use the reserve of
// the disk.
func (j *Journal) CheckSpace(n int64) error { return j.db.Check(n) }

// Syncs returns the durations of appends.
func (j *Journal) Syncs() tally.Durations {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncs
}

// Replay calls fn for every event after the last snapshot, in order.
func (j *Journal) Replay(fn func(seq uint64, ev []byte) error) error {
	seq, _, _, err := j.snapshot()
	if err != nil {
		return err
	}
	return j.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'e'}, PrefetchValues: true, PrefetchSize: 64})
		defer it.Close()
		for it.Seek(eventKey(seq + 1)); it.Valid(); it.Next() {
			seq++
			k := it.Item().Key()
			if len(k) != 9 || binary.BigEndian.Uint64(k[1:]) != seq {
				return fmt.Errorf("event %d is missing: %w", seq, errDamaged)
			}
			if err := it.Item().Value(func(v []byte) error { return fn(seq, v) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// snapshot returns the fields of the last snapshot.
func (j *Journal) snapshot() (seq, generation, pieces uint64, err error) {
	err = j.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte{'s'})
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != 24 {
				return errDamaged
			}
			seq, generation, pieces = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:])
			return nil
		})
	})
	return seq, generation, pieces, err
}

// LoadSnapshot returns the last snapshot, or zero and nil.
func (j *Journal) LoadSnapshot() (seq uint64, content []byte, err error) {
	seq, generation, pieces, err := j.snapshot()
	if err != nil || seq == 0 {
		return 0, nil, err
	}
	err = j.db.View(func(txn *badger.Txn) error {
		for n := range pieces {
			item, err := txn.Get(stateKey(generation, n))
			if err != nil {
				return fmt.Errorf("piece %d of the snapshot: %w: %w", n, errDamaged, err)
			}
			if err := item.Value(func(v []byte) error { content = append(content, v...); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	return seq, content, err
}

// Snapshot replaces all events up to seq by content.
func (j *Journal) Snapshot(seq uint64, content []byte) error {
	_, generation, _, err := j.snapshot()
	if err != nil {
		return err
	}
	if err := j.db.CheckDecided(int64(len(content))); err != nil {
		return err
	}
	generation++
	pieces := uint64(0)
	for ; len(content) > 0; pieces++ {
		n := min(pieceSize, len(content))
		b := NewBatch(Jobs)
		b.Set(stateKey(generation, pieces), content[:n])
		if err := j.t.Propose(b).Wait(); err != nil {
			return err
		}
		content = content[n:]
	}
	b := NewBatch(Jobs)
	head := binary.BigEndian.AppendUint64(nil, seq)
	head = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(head, generation), pieces)
	b.Set([]byte{'s'}, head)
	b.DeleteRange(stateKey(0, 0), stateKey(generation, 0))
	b.DeleteRange(eventKey(0), eventKey(seq+1))
	return j.t.Propose(b).Wait()
}

// Close does nothing: the tenure owns the database.
func (j *Journal) Close() error { return nil }

// FillJournal makes the journal of a new group from a snapshot and the events after it. It must be
// repeated after an error.
func FillJournal(t *Tenure, seq uint64, content []byte, replay func(fn func(seq uint64, ev []byte) error) error) error {
	j := &Journal{t: t, db: t.DB(Jobs)}
	if seq > 0 {
		if err := j.Snapshot(seq, content); err != nil {
			return err
		}
	}
	b := NewBatch(Jobs)
	err := replay(func(seq uint64, ev []byte) error {
		if b.Set(eventKey(seq), ev); b.Len() < pieceSize {
			return nil
		}
		full := b
		b = NewBatch(Jobs)
		return t.Propose(full).Wait()
	})
	if err == nil && !b.Empty() {
		err = t.Propose(b).Wait()
	}
	return err
}
