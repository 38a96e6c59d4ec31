package bodies

import (
	"iter"

	"github.com/dgraph-io/badger/v4"
)

// maxProposal is the approximate size of one proposal, in bytes. Large proposals delay the short
// ones behind them. A batch is one proposal, whatever its size.
const maxProposal = 256 << 10

// replicate passes a group to the replica, and reports it.
func (s *Store) replicate(g *group) error {
	var waits []func() error
	propose := func(ops []op) {
		if len(ops) > 0 {
			waits = append(waits, s.opt.Replica.Propose(g.changes(ops)))
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
	for _, wait := range waits {
		if err := wait(); err != nil {
			return err
		}
	}
	s.releaseWritten([]*group{g})
	s.opt.Committed(g.lastBatch)
	return nil
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
