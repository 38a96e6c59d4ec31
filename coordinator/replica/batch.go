package replica

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Store selects one of the databases.
type Store byte

// The databases of a member.
const (
	// Jobs holds the journal of the jobs, the programs of clients and the name of the cluster.
	Jobs Store = 1
	// Tasks holds the queued tasks; see package bodies.
	Tasks Store = 2
)

// stores is the number of databases, and one more.
const stores = 3

// Batch is a list of changes to one database. All members make them together. A change is absolute:
// to repeat a list of batches from any point leads to the same content.
//
//	store 1 | term of the proposer 8 | CRC32C of all else 4 | changes
//
// and a change is
//
//	0 | key                 removes the key
//	1 | from | to           removes all keys from from, up to but without to
//	2 + length | key | value
//
// where a key follows its length as a varint.
type Batch struct{ buf []byte }

// NewBatch returns an empty batch.
func NewBatch(s Store) *Batch {
	return &Batch{buf: append(make([]byte, 0, 64), byte(s), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)}
}

// Len returns the size in bytes.
func (b *Batch) Len() int { return len(b.buf) }

// Empty reports whether the batch has no changes.
func (b *Batch) Empty() bool { return len(b.buf) <= batchHead }

// batchHead is the length of the head of an entry.
const batchHead = 1 + 8 + 4

// Set sets the value of a key. It does not retain the slices.
func (b *Batch) Set(key, value []byte) {
	b.buf = binary.AppendUvarint(b.buf, uint64(len(value))+2)
	b.buf = append(binary.AppendUvarint(b.buf, uint64(len(key))), key...)
	b.buf = append(b.buf, value...)
}

// Delete removes a key.
func (b *Batch) Delete(key []byte) {
	b.buf = append(b.buf, 0)
	b.buf = append(binary.AppendUvarint(b.buf, uint64(len(key))), key...)
}

// DeleteRange removes all keys from from, up to but without to.
func (b *Batch) DeleteRange(from, to []byte) {
	b.buf = append(b.buf, 1)
	b.buf = append(binary.AppendUvarint(b.buf, uint64(len(from))), from...)
	b.buf = append(binary.AppendUvarint(b.buf, uint64(len(to))), to...)
}

// entry returns the batch as an entry of the log. The batch must not change afterwards.
func (b *Batch) entry(term uint64) []byte {
	binary.BigEndian.PutUint64(b.buf[1:], term)
	binary.BigEndian.PutUint32(b.buf[9:], entrySum(b.buf))
	return b.buf
}

// entrySum returns the checksum of an entry: the log of raft returns flipped bytes.
func entrySum(e []byte) uint32 {
	return crc32.Update(crc32.Checksum(e[:9], castagnoli), castagnoli, e[batchHead:])
}

// change is one decoded change. With a nil value it removes key; with to it removes a range.
type change struct{ key, value, to []byte }

// splitEntry decodes the start of an entry.
func splitEntry(e []byte) (s Store, term uint64, changes []byte, err error) {
	if len(e) >= batchHead && e[0] > 0 && e[0] < stores && binary.BigEndian.Uint32(e[9:]) == entrySum(e) {
		return Store(e[0]), binary.BigEndian.Uint64(e[1:]), e[batchHead:], nil
	}
	return 0, 0, nil, fmt.Errorf("entry of the log with %d bytes: %w: %w", len(e), ErrDamaged, errMalformed)
}

// eachChange calls fn with each change.
func eachChange(b []byte, fn func(c change) error) error {
	field := func(size uint64) (f []byte, ok bool) {
		if size > uint64(len(b)) {
			return nil, false
		}
		f, b = b[:size:size], b[size:]
		return f, true
	}
	number := func() (n uint64, ok bool) {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return 0, false
		}
		b = b[k:]
		return n, true
	}
	text := func() ([]byte, bool) {
		n, ok := number()
		if !ok {
			return nil, false
		}
		return field(n)
	}
	for len(b) > 0 {
		var c change
		kind, ok := number()
		if ok {
			c.key, ok = text()
		}
		switch {
		case !ok:
		case kind == 1:
			c.to, ok = text()
		case kind > 1:
			c.value, ok = field(kind - 2)
		}
		if !ok {
			return fmt.Errorf("change in the log: %w: %w", ErrDamaged, errMalformed)
		}
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}
