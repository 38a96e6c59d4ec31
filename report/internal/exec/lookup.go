package exec

import (
	"errors"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// lookup numbers the keys of the right input of a join, from 0. Many goroutines may call find. A
// slot holds 32 bits of the hash, and the number of its key plus one, so a key is compared only if
// its hash is right. Most keys without a match end in the filter, which stays in the cache.
type lookup struct {
	slots  []uint64
	mask   uint64
	filter []uint64 // bits, set for the hashes of the keys
	bits   uint64   // mask of the filter's bits
	keys   []byte
	ends   []uint32 // end of each key in keys
}

// maxFilter is the largest number of bits in a filter. It is 512 KiB.
const maxFilter = 4 << 20

// newLookup returns a lookup with room for n keys.
func newLookup(n int) *lookup {
	size, bits := 64, 64
	for size < 2*n {
		size *= 2
	}
	for bits < 8*n && bits < maxFilter {
		bits *= 2
	}
	return &lookup{slots: make([]uint64, size), mask: uint64(size - 1), filter: make([]uint64, bits/64), bits: uint64(bits - 1)}
}

// find returns the number of a key, or -1.
func (l *lookup) find(key []byte) int32 {
	h := xxh3.Hash(key)
	if b := h & l.bits; l.filter[b>>6]>>(b&63)&1 == 0 {
		return -1
	}
	n, _ := l.slot(h, key)
	return n
}

// slot returns the number of a key, or -1 and its slot.
func (l *lookup) slot(h uint64, key []byte) (number int32, at uint64) {
	for at = h >> 8 & l.mask; ; at = (at + 1) & l.mask {
		s := l.slots[at]
		if s == 0 {
			return -1, at
		}
		if s>>32 == h>>32 {
			n := uint32(s) - 1
			start := uint32(0)
			if n > 0 {
				start = l.ends[n-1]
			}
			if string(l.keys[start:l.ends[n]]) == string(key) {
				return int32(n), at
			}
		}
	}
}

// add returns the number of a key, and whether it is new.
func (l *lookup) add(key []byte) (number int32, fresh bool, err error) {
	h := xxh3.Hash(key)
	n, at := l.slot(h, key)
	if n >= 0 {
		return n, false, nil
	}
	if uint64(len(l.keys)+len(key)) > math.MaxUint32 {
		return 0, false, mapreduce.Fatal(errors.New("the keys of the smaller input of a join take more than 4 GiB"))
	}
	n = int32(len(l.ends))
	l.keys = append(l.keys, key...)
	l.ends = append(l.ends, uint32(len(l.keys)))
	l.slots[at] = h>>32<<32 | uint64(n+1)
	b := h & l.bits
	l.filter[b>>6] |= 1 << (b & 63)
	return n, true, nil
}

// bytes returns the memory held.
func (l *lookup) bytes() int64 {
	return 8*int64(len(l.slots)+len(l.filter)) + int64(cap(l.keys)) + 4*int64(cap(l.ends))
}

// isText reports whether the keys of a join are one text each, which needs no encoding.
func isText(keys []*vec.Vec) bool {
	return len(keys) == 1 && keys[0].Type.Kind == vec.Text
}

// keyOf returns the key of row i, in buf if it must be encoded, and whether a part of it is NULL.
func keyOf(buf []byte, keys []*vec.Vec, text bool, i int) (key []byte, null bool) {
	if !text {
		return joinKey(buf[:0], keys, i)
	}
	if keys[0].Null(i) {
		return nil, true
	}
	return bytesOf(keys[0].String(i)), false
}
