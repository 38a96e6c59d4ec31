package bodies

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// Snapshot is what a store holds on disk at one moment. The store goes on meanwhile.
type Snapshot struct {
	txn *badger.Txn // nil: nothing is on disk
}

// Snapshot returns what is durable now: whole batches. Close it after use.
func (s *Store) Snapshot() *Snapshot {
	if s.db == nil {
		return &Snapshot{}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return &Snapshot{s.db.NewTransaction(false)}
}

// Close lets go of the snapshot.
func (c *Snapshot) Close() {
	if c.txn != nil {
		c.txn.Discard()
	}
}

// Each calls fn with every key and value, as [Filler.Add] takes them, in the order of the keys. Neither slice may be kept. It returns fn's error,
// or one that wraps ErrDamaged.
func (c *Snapshot) Each(fn func(key, value []byte) error) error {
	if c.txn == nil {
		return nil
	}
	opt := badger.DefaultIteratorOptions
	opt.PrefetchSize = 64
	it := c.txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		k := it.Item().Key()
		if k[0] == 's' || k[0] == groupsKey[0] { // was written to save memory only, or counts what this store wrote
			continue
		}
		err := it.Item().Value(func(v []byte) error {
			if _, err := Record(k, v); err != nil {
				return err
			}
			return fn(k, v)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Record returns the record in a value of a Snapshot, or an error that wraps ErrDamaged.
func Record(key, value []byte) ([]byte, error) {
	record, _, _, err := decode(key, value)
	return record, err
}

// Filler makes a store from a Snapshot.
type Filler struct {
	db    *state.DB
	txn   *badger.Txn
	bytes int
	count int
}

// NewFiller begins a store in dir, which must have none. Errors wrap those of state.Open.
func NewFiller(dir string, opt Options) (*Filler, error) {
	db, err := state.Open(dir, "bodies", state.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		return nil, fmt.Errorf("bodies %s: %w", dir, err)
	}
	return &Filler{db: db, txn: db.NewTransaction(true)}, nil
}

// Add puts a key and value of a Snapshot in. It keeps neither slice. The error wraps ErrDamaged when they do not belong together.
func (f *Filler) Add(key, value []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("empty key: %w", ErrDamaged)
	}
	if _, err := Record(key, value); err != nil {
		return err
	}
	return f.set(key, append([]byte(nil), value...))
}

// Write puts a record in.
func (f *Filler) Write(key, record []byte) error {
	return f.set(key, encode(nil, key, record, &body{}))
}

func (f *Filler) set(key, value []byte) error {
	if f.bytes += len(key) + len(value); f.bytes > maxTxnBytes || f.count >= maxTxnOps {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.count++
	return f.txn.Set(append([]byte(nil), key...), value)
}

func (f *Filler) flush() error {
	if err := f.db.Check(int64(f.bytes)); err != nil {
		return err
	}
	err := f.txn.Commit()
	f.db.NoteWrite()
	f.txn, f.bytes, f.count = f.db.NewTransaction(true), 0, 0
	return err
}

// Close writes what is left, if whole says that nothing is missing, and closes the store.
func (f *Filler) Close(whole bool) error {
	var err error
	if whole {
		err = f.flush()
	}
	f.txn.Discard()
	return errors.Join(err, f.db.Close())
}
