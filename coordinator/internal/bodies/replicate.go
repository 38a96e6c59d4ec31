package bodies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// maxProposal is the approximate size of one proposal, in bytes. Large proposals delay the short
// ones behind them. A batch is one proposal, whatever its size.
const maxProposal = 256 << 10

// ErrSuperseded means that the replica takes no more changes from this process, because another one
// leads.
var ErrSuperseded = errors.New("another coordinator takes over")

// maxProposed is the number of groups on their way to the replica. Further batches wait and share
// the next group.
const maxProposed = 4

// proposal is a group on its way.
type proposal struct {
	g     *group
	waits []func() error
	begin time.Time
}

// replicate passes batches to the replica until ctx ends, and then the rest. It returns the first
// error; nothing later is reported.
func (s *Store) replicate(ctx context.Context) error {
	proposed := make(chan proposal, maxProposed)
	failed := make(chan error, 1)
	go func() { failed <- s.confirm(proposed) }()
	var err error
	for ended := false; !ended && err == nil; {
		select {
		case <-s.wake:
		case <-ctx.Done():
			ended = true
		case err = <-failed:
			failed <- err
			continue
		}
		for g := s.takeGroup(); g != nil && err == nil; g = s.takeGroup() {
			if err = s.awaitRoom(ctx, g); err != nil {
				break
			}
			select {
			case proposed <- s.propose(g):
			case err = <-failed:
				failed <- err
			}
		}
	}
	close(proposed)
	return cmp.Or(<-failed, err)
}

// confirm waits for proposals and reports them, in order.
func (s *Store) confirm(proposed <-chan proposal) error {
	decided, released := make(chan *group, maxDecided), make(chan struct{})
	go func() {
		s.releaseDecided(decided)
		close(released)
	}()
	defer func() {
		close(decided)
		<-released
	}()
	for p := range proposed {
		for _, wait := range p.waits {
			if err := wait(); err != nil {
				return fmt.Errorf("%w: %w", ErrSuperseded, err)
			}
		}
		s.mu.Lock()
		s.syncs.Add(time.Since(p.begin))
		s.mu.Unlock()
		s.opt.Committed(p.g.lastBatch)
		decided <- p.g
	}
	return nil
}

// maxDecided is the number of groups that wait for releaseDecided.
const maxDecided = 64

// releaseDecided releases the memory of groups when the replica's database has them.
func (s *Store) releaseDecided(decided <-chan *group) {
	var groups []*group
	size := 0
	for g := range decided {
		groups, size = append(groups, g), size+len(g.buf)
		if size > applyBytes && s.opt.Replica.Flush() == nil {
			s.releaseWritten(groups)
			groups, size = groups[:0], 0
		}
	}
}

// propose passes a group to the replica.
func (s *Store) propose(g *group) proposal {
	p := proposal{g: g, begin: time.Now()}
	propose := func(ops []op) {
		if len(ops) > 0 {
			p.waits = append(p.waits, s.opt.Replica.Propose(g.changes(ops)))
		}
	}
	begin, size := 0, 0
	for i, o := range g.pieces {
		if size += max(o.value, 0); size > maxProposal {
			propose(g.pieces[begin : i+1])
			begin, size = i+1, 0
		}
	}
	propose(g.pieces[begin:])
	begin, size = 0, 0
	at := 0
	for _, end := range g.ends {
		for _, o := range g.ops[at:end] {
			size += o.key + max(o.value, 0)
		}
		if at = end; size > maxProposal {
			propose(g.ops[begin:end])
			begin, size = end, 0
		}
	}
	propose(g.ops[begin:])
	return p
}

// changes returns the keys and values of ops.
func (g *group) changes(ops []op) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, o := range ops {
			mid := o.start + o.key
			var v []byte
			if o.value >= 0 {
				v = g.buf[mid : mid+o.value : mid+o.value]
			}
			if !yield(g.buf[o.start:mid:mid], v) {
				return
			}
		}
	}
}

// dropSpilled removes what an earlier leader spilled, with the next batch.
func (s *Store) dropSpilled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'s'}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			s.write(it.Item().KeyCopy(nil), nil, nil)
		}
		return nil
	})
}
