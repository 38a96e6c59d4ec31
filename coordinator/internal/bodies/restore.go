package bodies

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Restore calls fn with every record, in key order, and loads inputs into memory while there is
// room. Call it once, before the first write. fn must not retain the slices. Restore returns the
// error of fn, or one that wraps ErrDamaged.
func (s *Store) Restore(fn func(key, value []byte) error) error {
	if s.db == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large = map[ref]int{}
	found := map[ref]int{} // number of pieces found
	err := s.db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.PrefetchSize = 64
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().Key()
			err := it.Item().Value(func(v []byte) error {
				record, body, pieces, err := decode(k, v)
				if err != nil {
					return err
				}
				return s.restore(k, record, body, pieces, found, fn)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bodies: %w", err)
	}
	s.db.NoteWrite() // nothing was written, but all tables were read into memory

	// Remove the pieces of a body whose batch is missing because the process was killed.
	for r, n := range found {
		for at := s.large[r]; at < n; at++ {
			// before any new pieces of this body
			s.next.pieces = append(s.next.pieces, s.next.add(pieceKey(r.kind, r.id, at), nil, nil))
		}
	}
	return nil
}

func (s *Store) restore(k, record, body []byte, pieces int, found map[ref]int, fn func(key, value []byte) error) error {
	if k[0] == groupsKey[0] {
		return nil
	}
	if k[0] == 'p' {
		if len(k) != 14 {
			return fmt.Errorf("key %x: %w", k, ErrDamaged)
		}
		r := ref{binary.BigEndian.Uint64(k[1:]), Kind(k[9])}
		found[r] = max(found[r], int(binary.BigEndian.Uint32(k[10:]))+1)
		return nil
	}
	kind := Input
	if k[0] == 'r' {
		kind = Result
	}
	if len(k) == 9 && (k[0] == 't' || k[0] == 'r') {
		id := binary.BigEndian.Uint64(k[1:])
		if pieces > 0 {
			s.large[ref{id, kind}] = pieces
		} else if kind == Input && s.arena.used+int64(len(body)) < min(s.opt.Memory, maxCached) {
			s.putInMemory(kind, id, body)
		}
	}
	if kind == Result {
		return nil
	}
	return fn(k, record)
}

// removeSpilled removes bodies spilled by an earlier process.
func (s *Store) removeSpilled() error {
	any := false
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'s'}})
		defer it.Close()
		it.Rewind()
		any = it.Valid()
		return nil
	})
	if err != nil || !any {
		return err
	}
	return s.db.DropPrefix([]byte{'s'})
}
