package aggr

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// sets are sets of values, one for each group. NULL is no value.
//
// A value is a word, or the number of a text. 64 numbers in a row share a block: a mask of those in
// the set. Numbers of texts, IDs, dates and prices are dense, so most sets are small and stay in
// the cache. A look-up of a value that is not reads 4 bytes of slots and 16 of blocks.
type sets struct {
	col    column
	slots  []uint32 // numbers of blocks plus one, by open addressing; at most 5 of 8 are used
	blocks []block
	links  []link   // by block; nil while all blocks are of group 0
	first  []uint32 // by group: its last block plus one, or 0; used with links
	size   []int64  // by group: its values
	ids    []uint32
	rows   []uint32
}

// block holds the values of a group that differ only in their lowest 6 bits.
type block struct {
	base int64 // the values >> 6
	mask uint64
}

// link tells the group of a block, and another block of the group plus one, or 0.
type link struct{ group, next uint32 }

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
	var x [setStep]block
	for from := 0; from < n; from += setStep {
		part := groups[from:min(n, from+setStep)]
		of, many := part, 0 // the groups and number of values that are not NULL
		if v.Nulls != nil {
			of = make([]uint32, 0, setStep)
		}
		for i, g := range part {
			if v.Nulls != nil {
				if v.Nulls[from+i] {
					continue
				}
				of = append(of, g)
			}
			value := int64(0)
			if words != nil {
				value = words[from+i]
			} else {
				value = int64(s.ids[from+i])
			}
			x[many] = block{value >> 6, 1 << (value & 63)}
			many++
		}
		s.insert(of, x[:many])
	}
}

// setStep is the most blocks that insert takes. It loads them at once, so that the loads overlap.
const setStep = 64

// insert adds the values of each block to the group with the same number.
func (s *sets) insert(groups []uint32, x []block) {
	s.reserve(len(x))
	var h [setStep]uint64
	for i, p := range x {
		h[i] = mix(uint64(p.base), uint64(groups[i]))
	}
	bits := uint64(len(s.slots) - 1)
	if len(s.slots) >= bigIndex {
		var id [setStep]uint32
		for i := range x {
			id[i] = s.slots[h[i]&bits]
		}
		s.touch(id[:len(x)])
	}
	for i, p := range x {
		s.put(h[i], p, groups[i])
	}
}

// touch loads blocks, so that put meets them in the cache.
func (s *sets) touch(ids []uint32) (sum uint64) {
	for _, id := range ids {
		if id != 0 {
			sum += s.blocks[id-1].mask
		}
	}
	return sum
}

// put adds the values of a block with hash h to a group. There must be room.
func (s *sets) put(h uint64, x block, group uint32) {
	for last := uint64(len(s.slots) - 1); ; h++ {
		slot := &s.slots[h&last]
		if *slot == 0 {
			*slot = s.append(x, group)
			s.size[group] += int64(bits.OnesCount64(x.mask))
			return
		}
		if p := &s.blocks[*slot-1]; p.base == x.base && (s.links == nil && group == 0 || s.links != nil && s.links[*slot-1].group == group) {
			s.size[group] += int64(bits.OnesCount64(x.mask &^ p.mask))
			p.mask |= x.mask
			return
		}
	}
}

// append stores a new block, and returns its number plus one.
func (s *sets) append(x block, group uint32) uint32 {
	if s.links == nil && group != 0 {
		s.links = make([]link, len(s.blocks), cap(s.blocks))
		for i := range s.links {
			s.links[i] = link{next: uint32(i)}
		}
		s.first[0] = uint32(len(s.blocks))
	}
	s.blocks = append(s.blocks, x)
	id := uint32(len(s.blocks))
	if s.links != nil {
		s.links = append(s.links, link{group, s.first[group]})
		s.first[group] = id
	}
	return id
}

// reserve makes room for n more blocks.
func (s *sets) reserve(n int) {
	need := len(s.blocks) + n
	if need*8 <= len(s.slots)*5 {
		return
	}
	size := max(64, len(s.slots))
	for need*8 > size*5 {
		size *= 2
	}
	blocks := make([]block, len(s.blocks), size/8*5)
	copy(blocks, s.blocks)
	s.blocks = blocks
	s.slots = make([]uint32, size)
	last := uint64(size - 1)
	for i, p := range s.blocks {
		group := uint32(0)
		if s.links != nil {
			group = s.links[i].group
		}
		h := mix(uint64(p.base), uint64(group))
		for s.slots[h&last] != 0 {
			h++
		}
		s.slots[h&last] = uint32(i + 1)
	}
}

// of yields the blocks of a group.
func (s *sets) of(group int) iter.Seq[block] {
	return func(yield func(block) bool) {
		if s.links == nil {
			for i := 0; group == 0 && i < len(s.blocks) && yield(s.blocks[i]); i++ {
			}
			return
		}
		for id := s.first[group]; id != 0 && yield(s.blocks[id-1]); id = s.links[id-1].next {
		}
	}
}

// values yields the values of a group.
func (s *sets) values(group int) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for b := range s.of(group) {
			for mask := b.mask; mask != 0; mask &= mask - 1 {
				if !yield(b.base<<6 | int64(bits.TrailingZeros64(mask))) {
					return
				}
			}
		}
	}
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

// A state of words is the number of blocks, and each block: the number of its value in it or
// severalValues and the mask, and the base as a zigzag varint. A state of texts is the number of
// texts, and the texts.
func (s *sets) AppendState(dst []byte, group int) []byte {
	if !s.col.word {
		dst = binary.AppendUvarint(dst, uint64(s.size[group]))
		for x := range s.values(group) {
			dst = cursor.AppendBytes(dst, s.col.texts.get(uint32(x)))
		}
		return dst
	}
	blocks := 0
	for range s.of(group) {
		blocks++
	}
	dst = binary.AppendUvarint(dst, uint64(blocks))
	for b := range s.of(group) {
		if b.mask&(b.mask-1) == 0 {
			dst = append(dst, byte(bits.TrailingZeros64(b.mask)))
		} else {
			dst = binary.LittleEndian.AppendUint64(append(dst, severalValues), b.mask)
		}
		dst = binary.AppendVarint(dst, b.base)
	}
	return dst
}

const severalValues = 64

// block reads a block of a state.
func (d *decoder) block() block {
	first, mask := d.Byte(), uint64(0)
	switch {
	case first < severalValues:
		mask = 1 << first
	case first == severalValues:
		mask = d.Word()
	default:
		d.Fail()
	}
	return block{d.Int() << 6 >> 6, mask}
}

func (s *sets) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	left := d.Count(1)
	if len(s.blocks) == 0 {
		s.reserve(left)
	}
	var x [setStep]block
	var groups [setStep]uint32
	fill(groups[:], uint32(group))
	for left > 0 && !d.Failed() {
		n := min(setStep, left)
		for i := range n {
			if s.col.word {
				x[i] = d.block()
			} else if text := d.Bytes(); !d.Failed() {
				id := int64(s.col.texts.id(string(text)))
				x[i] = block{id >> 6, 1 << (id & 63)}
			}
		}
		if d.Failed() {
			return nil, vec.ErrCorrupt
		}
		s.insert(groups[:n], x[:n])
		left -= n
	}
	return d.end()
}

func (s *sets) Bytes() int64 {
	// half of the slots count twice: a larger index is filled while the smaller one still exists
	return s.col.texts.bytes() + 16*int64(cap(s.blocks)) + 8*int64(cap(s.size)+cap(s.links)) + 4*int64(len(s.slots)*3/2+cap(s.first))
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
		for x := range s.values(g) {
			if err := s.col.appendValue(b, x); err != nil {
				return nil, err
			}
			if groups = append(groups, uint32(g-from)); len(groups) == vec.Size {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return inner.Result(0, to-from)
}
