package replica

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

func openTestDatabases(t *testing.T) *databases {
	t.Helper()
	d, err := openDatabases(directory(t.TempDir()), state.Options{Reserve: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestDump passes the content of all databases to others that had another content.
func TestDump(t *testing.T) {
	d := openTestDatabases(t)
	values := map[string][]byte{"empty": {}, "small": []byte("1")}
	for name, size := range map[string]int{"piece": 512 << 10, "large": 1<<20 - 100} {
		values[name] = bytes.Repeat([]byte(name), size/len(name)+1)[:size]
	}
	for s := Jobs; s < stores; s++ {
		for k, v := range values {
			if err := d.db[s].Update(func(txn *badger.Txn) error { return txn.Set([]byte(k+names[s]), v) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	x, err := d.openDump()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var content bytes.Buffer
	if err := x.writeTo(&content); err != nil {
		t.Fatal(err)
	}
	if int64(content.Len()) != x.size {
		t.Errorf("the dump has %d bytes, and %d were announced", content.Len(), x.size)
	}

	other := openTestDatabases(t)
	if err := other.db[Jobs].Update(func(txn *badger.Txn) error { return txn.Set([]byte("former"), []byte("1")) }); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again, as after a kill
		if err := other.Restore(io.NopCloser(bytes.NewReader(content.Bytes()))); err != nil {
			t.Fatal(err)
		}
	}
	for s := Jobs; s < stores; s++ {
		n := 0
		err := other.db[s].View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.DefaultIteratorOptions)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				n++
			}
			for k, v := range values {
				item, err := txn.Get([]byte(k + names[s]))
				if err != nil {
					return err
				}
				if err := item.Value(func(got []byte) error {
					if !bytes.Equal(got, v) {
						t.Errorf("%s: %s differs", names[s], k)
					}
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n != len(values) {
			t.Errorf("%s: %d keys, %v; want %d", names[s], n, err, len(values))
		}
		err = other.db[s].Update(func(txn *badger.Txn) error { return txn.Set([]byte("small"+names[s]), []byte("2")) })
		if err == nil {
			err = other.db[s].View(func(txn *badger.Txn) error {
				item, err := txn.Get([]byte("small" + names[s]))
				if err != nil {
					return err
				}
				return item.Value(func(got []byte) error {
					if string(got) != "2" {
						t.Errorf("%s: a later value is hidden by the dump: %q", names[s], got)
					}
					return nil
				})
			})
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestFlippedDump receives a dump with a flipped byte.
func TestFlippedDump(t *testing.T) {
	d := openTestDatabases(t)
	x, err := d.openDump()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var content bytes.Buffer
	if err := x.writeTo(&content); err != nil {
		t.Fatal(err)
	}
	for i := range content.Len() + 1 {
		b := bytes.Clone(content.Bytes())
		if i < len(b) {
			b[i] ^= 4
		}
		snaps := newSnapshots(directory(t.TempDir()), d)
		k, err := snaps.Create(1, 5, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ; len(b) > 0 && err == nil; b = b[min(3, len(b)):] {
			_, err = k.Write(b[:min(3, len(b))])
		}
		if err := errors.Join(err, k.Close()); (err == nil) != (i == content.Len()) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

// TestRestoreDuringDump replaces the content while a dump is open. Badger ends the process if a
// transaction ends that it has not numbered.
func TestRestoreDuringDump(t *testing.T) {
	d := openTestDatabases(t)
	var open []*dump
	for i := range 3 {
		x, err := d.openDump()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, x)
		for s := Jobs; s < stores; s++ {
			if err := d.db[s].Update(func(txn *badger.Txn) error { return txn.Set([]byte{byte(i)}, []byte("1")) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	var content bytes.Buffer
	if err := open[2].writeTo(&content); err != nil {
		t.Fatal(err)
	}
	if err := d.Restore(io.NopCloser(bytes.NewReader(content.Bytes()))); err != nil {
		t.Fatal(err)
	}
	for _, x := range open {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	for s := Jobs; s < stores; s++ {
		if err := d.db[s].Update(func(txn *badger.Txn) error { return txn.Set([]byte("later"), []byte("1")) }); err != nil {
			t.Error(err)
		}
	}
}
