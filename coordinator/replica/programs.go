package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4"
)

// The keys of programs in the database Jobs:
//
//	'C' | hash           size of a program that is whole, 8 bytes
//	'c' | hash | n 8     piece n
//
// and 'n' has the name of the cluster.
var clusterKey = []byte{'n'}

func programKey(hash string) []byte { return append([]byte{'C'}, hash...) }

func programPiece(hash string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{'c'}, hash...), n)
}

// Programs are the programs of clients, on all members.
type Programs struct{ t *Tenure }

// Programs returns the programs of clients.
func (t *Tenure) Programs() Programs { return Programs{t} }

// value calls fn with the value of a key in the database Jobs. It returns false if there is none.
func (r *Replica) value(key []byte, fn func(v []byte) error) (found bool, err error) {
	r.d.oracle.Lock()
	defer r.d.oracle.Unlock()
	err = r.DB(Jobs).View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		return item.Value(fn)
	})
	return found, err
}

// Has reports whether a program is stored.
func (p Programs) Has(hash string) bool {
	found, err := p.t.r.value(programKey(hash), func([]byte) error { return nil })
	return err == nil && found
}

// Put stores a program of size bytes. It blocks until a majority has it.
func (p Programs) Put(hash string, size int64, r io.Reader) error {
	buf := make([]byte, pieceSize)
	for n := uint64(0); ; n++ {
		k, err := io.ReadFull(r, buf)
		if k > 0 {
			b := NewBatch(Jobs)
			b.Set(programPiece(hash, n), buf[:k])
			if err := p.t.Propose(b).Wait(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	b := NewBatch(Jobs)
	b.Set(programKey(hash), binary.BigEndian.AppendUint64(nil, uint64(size)))
	return p.t.Propose(b).Wait()
}

// Remove removes a program.
func (p Programs) Remove(hash string) error {
	b := NewBatch(Jobs)
	b.Delete(programKey(hash))
	b.DeleteRange(programPiece(hash, 0), programPiece(hash, 1<<63))
	return p.t.Propose(b).Wait()
}

// Each calls fn with every program.
func (p Programs) Each(fn func(hash string, size int64, r io.Reader) error) error {
	sizes := map[string]int64{}
	err := p.t.DB(Jobs).View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'C'}, PrefetchValues: true, PrefetchSize: 16})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			hash := string(it.Item().Key()[1:])
			err := it.Item().Value(func(v []byte) error {
				if len(v) != 8 {
					return errDamaged
				}
				sizes[hash] = int64(binary.BigEndian.Uint64(v))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for hash, size := range sizes {
		if err == nil {
			err = fn(hash, size, &pieceReader{p: p, hash: hash})
		}
	}
	return err
}

// pieceReader reads a program.
type pieceReader struct {
	p    Programs
	hash string
	n    uint64
	rest []byte
}

func (r *pieceReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		found, err := r.p.t.r.value(programPiece(r.hash, r.n), func(v []byte) error { r.rest = append(r.rest[:0], v...); return nil })
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, io.EOF
		}
		r.n++
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Cluster returns the name of the cluster as this member knows it, or "".
func (r *Replica) Cluster() (name string) {
	_, _ = r.value(clusterKey, func(v []byte) error { name = string(v); return nil })
	return name
}

// Cluster returns the name of the cluster, or "" before SetCluster.
func (t *Tenure) Cluster() (name string, err error) {
	_, err = t.r.value(clusterKey, func(v []byte) error { name = string(v); return nil })
	return name, err
}

// SetCluster names the cluster.
func (t *Tenure) SetCluster(name string) error {
	b := NewBatch(Jobs)
	b.Set(clusterKey, []byte(name))
	if err := t.Propose(b).Wait(); err != nil {
		return fmt.Errorf("name of the cluster: %w", err)
	}
	return nil
}
