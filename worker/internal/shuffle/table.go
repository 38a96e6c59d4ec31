package shuffle

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// table keeps manifests and small outputs in Badger. In a temporary store it keeps the first ones
// in memory, and opens Badger when they exceed maxInMemory: a small job then needs no Badger.
//
// One goroutine writes; get may be called concurrently.
type table struct {
	open func() (*state.DB, error)
	// check is state.DB.Check as long as Badger is closed.
	check func(n int64) error

	// mu guards the fields below.
	mu sync.RWMutex
	// db is nil until Badger is open.
	db *state.DB
	// memory has the values that are not in Badger.
	memory map[string][]byte
	size   int // bytes of memory
}

// maxInMemory limits the keys and values of a temporary store in memory, in bytes.
const maxInMemory = 4 << 20

// change is one change of a table: values to put, and prefixes of keys to delete.
type change struct {
	keys, values [][]byte
	prefixes     [][]byte
}

func (c *change) bytes() (n int) {
	for i, k := range c.keys {
		n += len(k) + len(c.values[i])
	}
	return n
}

// badger returns the open database, nil if there is none yet.
func (t *table) badger() *state.DB {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.db
}

// Check returns an error that wraps ErrDiskFull if n more bytes would use the reserve.
func (t *table) Check(n int64) error {
	if db := t.badger(); db != nil {
		return db.Check(n)
	}
	return t.check(n)
}

// get returns a copy of the value of a key, or badger.ErrKeyNotFound. It is not verified.
func (t *table) get(key []byte) (v []byte, err error) {
	t.mu.RLock()
	db := t.db
	v, ok := t.memory[string(key)]
	t.mu.RUnlock()
	switch {
	case ok:
		return slices.Clone(v), nil
	case db == nil:
		return nil, badger.ErrKeyNotFound
	}
	err = db.View(func(txn *badger.Txn) error {
		it, err := txn.Get(key)
		if err != nil {
			return err
		}
		v, err = it.ValueCopy(nil)
		return err
	})
	return v, err
}

// apply makes a change in one transaction.
func (t *table) apply(c *change) error {
	if t.inMemory(c) {
		return nil
	}
	if err := t.openBadger(); err != nil {
		return err
	}
	txn := t.db.NewTransaction(true)
	defer txn.Discard()
	for i, k := range c.keys {
		if err := txn.SetEntry(badger.NewEntry(k, c.values[i])); err != nil {
			return err
		}
	}
	for _, p := range c.prefixes {
		if err := deletePrefix(txn, p); err != nil {
			return err
		}
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	t.db.NoteWrite()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(c.prefixes...)
	return nil
}

// inMemory makes a change in memory, and reports whether it has.
func (t *table) inMemory(c *change) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.db != nil || t.size+c.bytes() > maxInMemory {
		return false
	}
	t.forget(c.prefixes...)
	for i, k := range c.keys {
		t.memory[string(k)] = slices.Clone(c.values[i]) // without the free capacity
		t.size += len(k) + len(c.values[i])
	}
	return true
}

// forget deletes keys from memory. The caller holds mu.
func (t *table) forget(prefixes ...[]byte) {
	maps.DeleteFunc(t.memory, func(k string, v []byte) bool {
		gone := slices.ContainsFunc(prefixes, func(p []byte) bool { return bytes.HasPrefix([]byte(k), p) })
		if gone {
			t.size -= len(k) + len(v)
		}
		return gone
	})
}

func (t *table) openBadger() error {
	if t.badger() != nil {
		return nil
	}
	db, err := t.open()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.db = db
	return nil
}

// dropPrefix deletes all keys with a prefix, and frees their space.
func (t *table) dropPrefix(prefix []byte) error {
	t.mu.Lock()
	t.forget(prefix)
	db := t.db
	t.mu.Unlock()
	if db == nil {
		return nil
	}
	err := db.DropPrefix(prefix)
	db.NoteWrite()
	return err
}

// Close closes Badger, if it is open.
func (t *table) Close() error {
	if db := t.badger(); db != nil {
		return db.Close()
	}
	return nil
}

func deletePrefix(txn *badger.Txn, prefix []byte) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := txn.Delete(it.Item().KeyCopy(nil)); err != nil {
			return err
		}
	}
	return nil
}
