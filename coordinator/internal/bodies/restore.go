package bodies

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Restore calls fn with every record, in the order of the keys, and takes inputs into memory while there is room. It is called once, before
// anything is written. It returns fn's error, or one that wraps ErrDamaged; neither slice may be kept.
func (s *Store) Restore(fn func(key, value []byte) error) error {
	if s.db == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large = map[ref]int{}
	found := map[ref]int{} // pieces that are there
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
	s.db.NoteWrite() // not so, but all its tables were read

	for r, n := range found { // a process was killed between the pieces of a body and the batch that it belongs to
		for at := s.large[r]; at < n; at++ {
			s.next.pieces = append(s.next.pieces, s.next.add(pieceKey(r.kind, r.id, at), nil, nil)) // before new ones of the same body
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

// removeSpilled removes what an earlier life had written only to save memory.
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
