package aggr

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// sets are sets of values, one for each group. NULL is no value.
//
// A value is a word, or the number of a text. 64 numbers in a row share a place: a mask of those in
// the set. Numbers of texts, IDs, dates and prices are dense, so most sets are small and stay in
// the cache.
type sets struct {
	col   column
	index index    // of (value >> 6, group)
	base  []int64  // by place: value >> 6
	masks []uint64 // by place
	next  []uint32 // by place: another place of its group plus one, or 0
	first []uint32 // by group: its last place plus one, or 0
	size  []int64  // by group: its values
	ids   []uint32
	rows  []uint32
}

// add adds the values of v to groups.
func (s *sets) add(groups []uint32, v *vec.Vec) {
	n := len(groups)
	if n == 0 || v.Const && v.Null(0) {
		return
	}
	v = expand(v)
	var words []int64
	if s.col.word {
		words = s.col.load(v)
	} else {
		s.ids = slices.Grow(s.ids[:0], n)[:n]
		s.col.number(v, n, s.ids)
	}
	const step = 64
	var h [step]uint64
	var x [step]int64
	for from := 0; from < n; from += step {
		part := groups[from:min(n, from+step)]
		s.index.reserve(len(part))
		for i, g := range part {
			if words != nil {
				x[i] = words[from+i]
			} else {
				x[i] = int64(s.ids[from+i])
			}
			h[i] = mix(uint64(x[i]>>6), uint64(g))
		}
		s.index.touch(h[:len(part)])
		for i, g := range part {
			if v.Nulls == nil || !v.Nulls[from+i] {
				s.insert(h[i], x[i]>>6, 1<<(x[i]&63), g)
			}
		}
	}
}

// insert adds the values of a mask to a group. There must be room for a place.
func (s *sets) insert(h uint64, base int64, mask uint64, g uint32) {
	id, fresh := s.index.find(h, uint64(base), uint64(g), 1)
	if fresh {
		s.base = append(s.base, base)
		s.masks = append(s.masks, 0)
		s.next = append(s.next, s.first[g])
		s.first[g] = id + 1
	}
	s.size[g] += int64(bits.OnesCount64(mask &^ s.masks[id]))
	s.masks[id] |= mask
}

// each calls f for all values of a group.
func (s *sets) each(group int, f func(x int64) error) error {
	for id := s.first[group]; id != 0; id = s.next[id-1] {
		for mask := s.masks[id-1]; mask != 0; mask &= mask - 1 {
			if err := f(s.base[id-1]<<6 | int64(bits.TrailingZeros64(mask))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sets) Resize(groups int) { s.first, s.size = grow(s.first, groups), grow(s.size, groups) }

func (s *sets) Add(groups []uint32, args []*vec.Vec) error {
	s.add(groups, args[0])
	return nil
}

func (s *sets) AddAll(group uint32, args []*vec.Vec, n int) error {
	s.rows = slices.Grow(s.rows[:0], n)[:n]
	fill(s.rows, group)
	s.add(s.rows, args[0])
	return nil
}

// A state of words is the number of places, and each place: the base as a zigzag varint, and the
// mask. A state of texts is the number of texts, and the texts.
func (s *sets) AppendState(dst []byte, group int) []byte {
	if !s.col.word {
		dst = binary.AppendUvarint(dst, uint64(s.size[group]))
		_ = s.each(group, func(x int64) error {
			dst = appendBytes(dst, s.col.texts.get(uint32(x)))
			return nil
		})
		return dst
	}
	places := 0
	for id := s.first[group]; id != 0; id = s.next[id-1] {
		places++
	}
	dst = binary.AppendUvarint(dst, uint64(places))
	for id := s.first[group]; id != 0; id = s.next[id-1] {
		dst = binary.AppendUvarint(binary.AppendVarint(dst, s.base[id-1]), s.masks[id-1])
	}
	return dst
}

func (s *sets) MergeState(group int, src []byte) ([]byte, error) {
	d := decoder{src: src}
	for range d.length(1) {
		var base int64
		var mask uint64
		if s.col.word {
			base, mask = d.varint()<<6>>6, d.uvarint()
		} else if text := d.bytes(); !d.failed {
			x := int64(s.col.texts.id(string(text)))
			base, mask = x>>6, 1<<(x&63)
		}
		if d.failed {
			return nil, vec.ErrCorrupt
		}
		s.index.reserve(1)
		s.insert(mix(uint64(base), uint64(group)), base, mask, uint32(group))
	}
	return d.end()
}

func (s *sets) Bytes() int64 {
	return s.col.texts.bytes() + s.index.bytes() + 8*int64(cap(s.base)+cap(s.masks)+cap(s.size)) + 4*int64(cap(s.next)+cap(s.first))
}

// distinct passes each value of a group once to another aggregate. Without one it counts them.
type distinct struct {
	sets
	inner func() State
}

// makeDistinct makes f, a function of one column, count each value once.
func makeDistinct(f *Func) {
	inner := f.newState
	if f.Name == "count" {
		inner = nil
	}
	f.newState = func() State { return &distinct{sets{col: valueColumn(f.Args[0])}, inner} }
}

func (s *distinct) Result(from, to int) (*vec.Vec, error) {
	if s.inner == nil {
		v := vec.New(vec.Of(vec.Int), to-from)
		copy(v.Ints, s.size[from:to])
		return v, nil
	}
	inner := s.inner()
	inner.Resize(to - from)
	b := vec.NewBuilder(s.col.t, vec.Size)
	var groups []uint32
	flush := func() error {
		err := inner.Add(groups, []*vec.Vec{b.Done()})
		b, groups = vec.NewBuilder(s.col.t, vec.Size), groups[:0]
		return err
	}
	for g := from; g < to; g++ {
		err := s.each(g, func(x int64) error {
			if err := s.col.appendValue(b, x); err != nil {
				return err
			}
			if groups = append(groups, uint32(g-from)); len(groups) == vec.Size {
				return flush()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return inner.Result(0, to-from)
}
