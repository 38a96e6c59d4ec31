package bodies

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// groupsKey is the key of the number of groups written: a uvarint, set in the last transaction of
// each group.
var groupsKey = []byte{'c'}

// syncEvery is the time between syncs of the head. After a power failure, the loss of groups
// written within this time cannot be detected.
const syncEvery = time.Second

// openHead compares the number of groups in Badger with the number in the head.
func (s *Store) openHead(dir string) error {
	have, err := s.countGroups()
	if err != nil {
		return err
	}
	h, err := state.OpenHead(dir)
	s.head = h
	switch {
	case err == nil && !h.Exists() && have == 0: // a new store
		return s.head.Create(dir)
	case err == nil && !h.Exists():
		err = errors.New("the file head is missing, so lost writes cannot be detected")
	case err == nil && h.Seq > have:
		err = fmt.Errorf("the last %d of %d acknowledged writes are missing", h.Seq-have, h.Seq)
	}
	if err == nil {
		// the process may have been killed between the two writes
		return s.head.Write(have, h.Sum)
	}
	err = fmt.Errorf("%w: %w", ErrDamaged, err)
	if !s.opt.AcceptLoss {
		return fmt.Errorf("%w; restore a backup of the coordinator, or start with -accept-loss to continue without these tasks", err)
	}
	s.opt.Log.Error("task store damaged, continuing without the last writes", "dir", dir, "err", err)
	s.head.Seq = have
	return s.head.Create(dir)
}

// countGroups returns the number of groups in Badger.
func (s *Store) countGroups() (n uint64, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(groupsKey)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			record, err := Record(groupsKey, v)
			var size int
			if n, size = binary.Uvarint(record); err == nil && size <= 0 {
				err = fmt.Errorf("number of writes: %w", ErrDamaged)
			}
			return err
		})
	})
	return n, err
}

// commitGroup commits the last transaction of a group with the group's number, and updates the
// head. s.writing is held.
func (s *Store) commitGroup(txn *badger.Txn) error {
	n := s.head.Seq + 1
	if err := txn.Set(groupsKey, encode(nil, groupsKey, binary.AppendUvarint(nil, n), &body{})); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	err := s.head.Write(n, s.head.Sum)
	if err == nil && !s.opt.NoSync && time.Since(s.synced) > syncEvery {
		err = s.head.Sync()
		s.synced = time.Now()
	}
	return err
}
