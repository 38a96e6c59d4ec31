package scan

import (
	"math"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// uniqueness estimates how many values of a sample differ, by linear counting: each value sets the
// bit of its hash.
type uniqueness struct {
	seen, hashed int
	bits         *[1 << uniqueBits / 64]uint64
}

const (
	uniqueBits = 14
	// unhashed is how many values of a part of a sample are not looked at, so that files with very
	// many columns and few rows take little memory.
	unhashed = 16
	// leastUnique is the least number of values, and uniqueShare the least share of different ones,
	// of a column of unique values. Brands or cities have a lower share.
	leastUnique = 1000
	uniqueShare = 0.95
)

func (u *uniqueness) add(text string) {
	if u.seen++; u.seen <= unhashed {
		return
	}
	if u.bits == nil {
		u.bits = new([1 << uniqueBits / 64]uint64)
	}
	u.hashed++
	h := xxh3.HashString(text) & (1<<uniqueBits - 1)
	u.bits[h>>6] |= 1 << (h & 63)
}

// merge adds what another part of the sample shows.
func (u *uniqueness) merge(o *uniqueness) {
	u.seen, u.hashed = u.seen+o.seen, u.hashed+o.hashed
	switch {
	case o.bits == nil:
	case u.bits == nil:
		own := *o.bits
		u.bits = &own
	default:
		for i, b := range o.bits {
			u.bits[i] |= b
		}
	}
}

// isUnique reports whether nearly all values of the sample differ.
func (u *uniqueness) isUnique() bool {
	if u.hashed < leastUnique {
		return false
	}
	const all = 1 << uniqueBits
	free := all
	for _, b := range u.bits {
		free -= bits.OnesCount64(b)
	}
	return free == 0 || -all*math.Log(float64(free)/all) >= uniqueShare*float64(u.hashed)
}

// unique returns the names of the fields with unique values.
func (s *shape) unique() (names []string) {
	for _, m := range s.fields {
		if m.shape.values.isUnique() {
			names = append(names, m.name)
		}
	}
	return names
}
