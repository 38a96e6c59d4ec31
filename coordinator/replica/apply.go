package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Decided changes are written to Badger a little later, many in one transaction. A majority has
// them in its log by then, so only readers wait for Badger: they call flush first.
const (
	// applyDelay and applyBytes limit the collected changes. Most tasks that run at once end in
	// this time, so their bodies never reach Badger; see findReplaced.
	applyDelay, applyBytes = 100 * time.Millisecond, 4 << 20
	// largeValue is the size from which findReplaced looks at a value.
	largeValue = 1 << 10
	// maxWaiting limits the changes in memory that Badger does not have yet.
	maxWaiting = 8 << 20
)

// decided are changes of one entry of the log.
type decided struct {
	store   Store
	changes []byte
}

// Apply implements raft.FSM.
func (d *databases) Apply(l *raft.Log) any { return d.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. It blocks until the entries are durable here, and while
// too many wait for Badger.
func (d *databases) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	if err := d.awaitLog(logs[len(logs)-1].Index); err != nil {
		for i := range answers {
			answers[i] = err
		}
		return answers
	}
	total := 0
	d.mu.Lock()
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		total += len(l.Data)
		s, term, changes, err := splitEntry(l.Data)
		switch {
		case err != nil: // the other members may have the entry as it was
			d.failed(err)
		case term != l.Term:
			err = errStale
		default:
			d.waiting = append(d.waiting, decided{s, changes})
			d.waitingBytes += len(changes)
			err = d.err
		}
		if err != nil {
			answers[i] = err
		}
	}
	waiting := d.waitingBytes
	d.mu.Unlock()
	switch {
	case waiting > maxWaiting:
		_ = d.flush()
	case waiting > applyBytes:
		wake(d.now)
	default:
		wake(d.later)
	}
	d.grown(total)
	return answers
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// runApply passes decided changes to Badger until stop is closed, and then the rest.
func (d *databases) runApply(stop <-chan struct{}) {
	delay := time.NewTimer(0)
	defer delay.Stop()
	for stopped := false; !stopped; {
		select {
		case <-d.later:
		case <-d.now:
		case <-stop:
		}
		delay.Reset(applyDelay)
		select {
		case <-delay.C:
		case <-d.now:
		case <-stop:
			stopped = true
		}
		_ = d.flush()
	}
}

// flush passes all decided changes to Badger. It blocks while the disk is full.
func (d *databases) flush() error {
	d.applying.Lock()
	defer d.applying.Unlock()
	return d.applyWaiting()
}

// takeWaiting returns the waiting changes and forgets them.
func (d *databases) takeWaiting() (changes []decided, size int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changes, size = d.waiting, d.waitingBytes
	d.waiting, d.waitingBytes = nil, 0
	return changes, size, d.err
}

// applyWaiting is flush for callers that hold d.applying.
func (d *databases) applyWaiting() error {
	changes, size, err := d.takeWaiting()
	if err != nil || len(changes) == 0 {
		return err
	}
	d.awaitRoom(int64(size))
	for s := Jobs; s < stores && err == nil; s++ {
		if slices.ContainsFunc(changes, func(c decided) bool { return c.store == s }) {
			if err = d.applyTo(s, changes); err != nil {
				err = fmt.Errorf("%s: %w", names[s], err)
			}
		}
	}
	if err != nil {
		d.mu.Lock()
		d.err = err
		d.mu.Unlock()
		d.failed(err)
	}
	return err
}

// applyTo makes the changes of one database.
func (d *databases) applyTo(s Store, changes []decided) error {
	replaced, err := findReplaced(s, changes)
	if err != nil {
		return err
	}
	w := &writer{db: d.db[s], txn: d.db[s].NewTransaction(true)}
	n := 0
	for _, c := range changes {
		if c.store != s {
			continue
		}
		err := eachChange(c.changes, func(c change) error {
			if n++; len(replaced) > 0 && replaced[n] {
				return nil
			}
			return w.change(c)
		})
		if err != nil {
			w.txn.Discard()
			return err
		}
	}
	d.db[s].NoteWrite()
	return w.txn.Commit()
}

// findReplaced returns the numbers, from 1, of changes whose large value a later change replaces or
// removes. The content after all changes is the same without them. Badger would write such a value
// to two logs and two tables, for nothing.
func findReplaced(s Store, changes []decided) (replaced map[int]bool, err error) {
	large := map[string]int{} // the last change that sets a key to a large value
	n := 0
	for _, c := range changes {
		if c.store != s || err != nil {
			continue
		}
		err = eachChange(c.changes, func(c change) error {
			n++
			if c.to != nil { // it may remove large values too, but is rare
				return nil
			}
			if before := large[string(c.key)]; before > 0 {
				if replaced == nil {
					replaced = map[int]bool{}
				}
				replaced[before] = true
				delete(large, string(c.key))
			}
			if len(c.value) >= largeValue {
				large[string(c.key)] = n
			}
			return nil
		})
	}
	return replaced, err
}
