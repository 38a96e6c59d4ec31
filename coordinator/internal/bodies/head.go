package bodies

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// groupsKey is the key of the number of groups in Badger: a uvarint, set in the last transaction of
// each write.
var groupsKey = []byte{'c'}

// syncEvery is the time between syncs of the head. After a power failure, the loss of groups
// written within this time cannot be detected.
const syncEvery = time.Second

// recover opens the head and the log, checks that no group is missing, and passes the groups of the
// log to Badger.
func (s *Store) recover(dir string) error {
	have, err := s.countGroups()
	if err != nil {
		return err
	}
	var headErr, redoErr error
	var log logged
	s.head, headErr = state.OpenHead(dir)
	s.redo, log, redoErr = openRedo(dir, s.opt.NoSync)
	last := max(have, log.last)
	// Without syncs, a power cut may take the end of the log.
	cut := log.exists && log.last < have && !(log.barrier && log.last+1 == have)
	if cut && redoErr == nil && !s.opt.NoSync {
		redoErr = fmt.Errorf("the log ends with write %d of %d", log.last, have)
	}
	err = errors.Join(headErr, redoErr)
	switch {
	case err != nil:
	case !s.head.Exists() && last == 0: // a new store
		return errors.Join(s.head.Create(dir), s.redo.restart(1))
	case !s.head.Exists():
		err = errors.New("the file head is missing, so lost writes cannot be detected")
	case log.first > have+1:
		err = fmt.Errorf("writes %d to %d are missing", have+1, log.first-1)
	case s.head.Seq > last:
		err = fmt.Errorf("the last %d of %d acknowledged writes are missing", s.head.Seq-last, s.head.Seq)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
		if !s.opt.AcceptLoss {
			return fmt.Errorf("%w; restore a backup of the coordinator, or start with -accept-loss to continue without these tasks", err)
		}
		s.opt.Log.Error("task store damaged, continuing without the last writes", "dir", dir, "err", err)
	}
	if log.last >= have { // else Badger has later writes, which earlier ones must not replace
		if err := s.repeat(&log); err != nil {
			return err
		}
	}
	s.behind = true // Badger is not synced
	switch {
	case err != nil:
		s.head.Seq = last
		err = errors.Join(s.writeGroups(nil, last), s.syncBadger(), s.head.Create(dir), s.redo.remove(), s.redo.restart(last+1))
	case cut, !log.exists: // a store that was made before there was a log has none
		err = errors.Join(s.syncBadger(), s.head.Write(last, s.head.Sum), s.redo.restart(last+1))
	default: // the process may have been killed between the writes of log and head
		err = s.head.Write(last, s.head.Sum)
	}
	return err
}

// repeat passes the groups of the log to Badger.
func (s *Store) repeat(log *logged) error {
	if len(log.groups) == 0 {
		return nil
	}
	groups := make([]*group, len(log.groups))
	for i, ops := range log.groups {
		groups[i] = &group{}
		if err := groups[i].decodeOps(ops); err != nil {
			return err
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeGroups(groups, log.last)
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
