package bodies

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// Snapshot is the durable content of a store at one moment. The store may change meanwhile.
type Snapshot struct {
	txn *badger.Txn // nil: nothing is on disk
	err error       // for Each
}

// Snapshot returns the durable content, in whole batches. Close it after use.
func (s *Store) Snapshot() *Snapshot {
	if s.db == nil {
		return &Snapshot{}
	}
	if s.opt.Replica != nil {
		if err := s.opt.Replica.Flush(); err != nil {
			return &Snapshot{err: err}
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.applyLogged(); err != nil {
		return &Snapshot{err: err}
	}
	return &Snapshot{txn: s.db.NewTransaction(false)}
}

// Close releases the snapshot.
func (c *Snapshot) Close() {
	if c.txn != nil {
		c.txn.Discard()
	}
}

// Each calls fn with every key and value, in key order, as accepted by [Filler.Add]. fn must not
// retain the slices. Each returns the error of fn, or one that wraps ErrDamaged.
func (c *Snapshot) Each(fn func(key, value []byte) error) error {
	if c.txn == nil {
		return c.err
	}
	opt := badger.DefaultIteratorOptions
	opt.PrefetchSize = 64
	it := c.txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		k := it.Item().Key()
		// spilled bodies and the count of groups belong to this store only
		if k[0] == 's' || k[0] == groupsKey[0] {
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

// Filler builds a store from a Snapshot.
type Filler struct {
	db    *state.DB
	txn   *badger.Txn
	bytes int
	count int
}

// NewFiller creates a store in dir; dir must not contain one. Errors wrap errors of state.Open.
func NewFiller(dir string, opt Options) (*Filler, error) {
	db, err := state.Open(dir, "bodies", format, state.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		return nil, fmt.Errorf("bodies %s: %w", dir, err)
	}
	return &Filler{db: db, txn: db.NewTransaction(true)}, nil
}

// Add stores a key and value of a Snapshot. It does not retain the slices. The error wraps
// ErrDamaged if the value does not match the key.
func (f *Filler) Add(key, value []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("empty key: %w", ErrDamaged)
	}
	if _, err := Record(key, value); err != nil {
		return err
	}
	return f.set(key, append([]byte(nil), value...))
}

// Write stores a record.
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

// Close closes the store. With complete, it first writes the rest; otherwise the rest is discarded.
func (f *Filler) Close(complete bool) error {
	var err error
	if complete {
		err = f.flush()
	}
	f.txn.Discard()
	return errors.Join(err, f.db.Close())
}
