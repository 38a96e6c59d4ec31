package replica

import (
	"bytes"
	"encoding/binary"
	"io/fs"

	"github.com/dgraph-io/badger/v4"
)

// The keys of small files in the database Jobs: 'f' | name | 0 | n 8 for piece n. A file has one
// piece at least.
func filePiece(name string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append([]byte{'f'}, name...), 0), n)
}

// Files are small files on all members. They implement datadir.Files.
type Files struct{ t *Tenure }

// Files returns the small files.
func (t *Tenure) Files() Files { return Files{t} }

// Read returns the content of a file, or fs.ErrNotExist.
func (f Files) Read(name string) (content []byte, err error) {
	found := false
	prefix := filePiece(name, 0)[:len(name)+2]
	err = f.t.DB(Jobs).View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: true, PrefetchSize: 4})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			found = true
			if err := it.Item().Value(func(v []byte) error { content = append(content, v...); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return content, err
}

// Write replaces the content of a file. It blocks until a majority has it.
func (f Files) Write(name string, content []byte) error {
	b := NewBatch(Jobs)
	b.DeleteRange(filePiece(name, 0), filePiece(name, 1<<63))
	for n := uint64(0); n == 0 || len(content) > 0; n++ {
		k := min(pieceSize, len(content))
		b.Set(filePiece(name, n), content[:k])
		content = content[k:]
	}
	return f.t.Propose(b).Wait()
}

// Remove removes a file.
func (f Files) Remove(name string) error {
	b := NewBatch(Jobs)
	b.DeleteRange(filePiece(name, 0), filePiece(name, 1<<63))
	return f.t.Propose(b).Wait()
}

// List returns the names that begin with prefix.
func (f Files) List(prefix string) (names []string, err error) {
	err = f.t.DB(Jobs).View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: append([]byte{'f'}, prefix...)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().Key()
			if name, n, ok := bytes.Cut(k[1:], []byte{0}); ok && bytes.Equal(n, make([]byte, 8)) {
				names = append(names, string(name))
			}
		}
		return nil
	})
	return names, err
}
