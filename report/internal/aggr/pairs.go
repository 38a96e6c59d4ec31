package aggr

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// pairs numbers the distinct pairs of a group and a value, and can count how often each occurs.
// NULL is no value.
type pairs struct {
	col    column // numbers texts, and keys of other types; words stand for themselves
	index  index  // of (value, group)
	values []int64
	counts []int64  // nil unless pairs are counted
	next   []uint32 // by pair: another pair of its group plus one, or 0
	first  []uint32 // by group: its last pair plus one, or 0
	size   []int64  // by group: its pairs
	ids    []uint32
	rows   []uint32
	some   []uint32
}

func newPairs(t vec.Type, counted bool) *pairs {
	p := &pairs{col: column{t: t, null: -1, word: isWord(t)}}
	p.col.keyed = !p.col.word && !isText(t)
	if counted {
		p.counts = []int64{}
	}
	return p
}

func isText(t vec.Type) bool {
	return t.Kind == vec.Text || t.Kind == vec.Blob || t.Kind == vec.JSON
}

func (p *pairs) resize(groups int) { p.first, p.size = grow(p.first, groups), grow(p.size, groups) }

// add adds the values of v to groups.
func (p *pairs) add(groups []uint32, v *vec.Vec) {
	n := len(groups)
	if v.Const && n > 0 && !v.Null(0) || p.col.word {
		v = expand(v)
	}
	if v.Const || n == 0 { // NULL
		return
	}
	var vals []int64
	if p.col.word {
		vals = p.col.load(v)
	} else {
		p.ids = slices.Grow(p.ids[:0], n)[:n]
		p.col.number(v, n, p.ids)
	}
	const step = 64
	var h [step]uint64
	var k [step]int64
	for from := 0; from < n; from += step {
		part := groups[from:min(n, from+step)]
		p.index.reserve(len(part))
		for i, g := range part {
			if vals != nil {
				k[i] = vals[from+i]
			} else {
				k[i] = int64(p.ids[from+i])
			}
			h[i] = mix(uint64(k[i]), uint64(g))
		}
		p.index.touch(h[:len(part)])
		for i, g := range part {
			if v.Nulls == nil || !v.Nulls[from+i] {
				p.count(h[i], k[i], g, 1)
			}
		}
	}
}

// count adds n occurrences of a value to a group. There must be room for a pair.
func (p *pairs) count(h uint64, value int64, g uint32, n int64) {
	id, fresh := p.index.find(h, uint64(value), uint64(g), 1)
	if fresh {
		p.values = append(p.values, value)
		p.next = append(p.next, p.first[g])
		p.first[g] = id + 1
		p.size[g]++
		if p.counts != nil {
			p.counts = append(p.counts, 0)
		}
	}
	if p.counts != nil {
		p.counts[id] += n
	}
}

// of returns the pairs of a group, the last one first. The slice is valid until the next call.
func (p *pairs) of(group int) []uint32 {
	p.some = p.some[:0]
	for id := p.first[group]; id != 0; id = p.next[id-1] {
		p.some = append(p.some, id-1)
	}
	return p.some
}

// compare orders two pairs by value.
func (p *pairs) compare(a, b uint32) int {
	if p.col.word {
		return cmp.Compare(p.values[a], p.values[b])
	}
	return cmp.Compare(p.col.texts.get(uint32(p.values[a])), p.col.texts.get(uint32(p.values[b])))
}

// sorted returns the pairs of a group in the order of their values.
func (p *pairs) sorted(group int) []uint32 {
	ids := p.of(group)
	slices.SortFunc(ids, p.compare)
	return ids
}

// appendValue appends the value of a pair to b.
func (p *pairs) appendValue(b *vec.Builder, pair uint32) error {
	x := p.values[pair]
	switch {
	case p.col.word:
		appendWord(b, x)
	case p.col.keyed:
		_, err := b.DecodeKey([]byte(p.col.texts.get(uint32(x))))
		return err
	default:
		b.AppendString(p.col.texts.get(uint32(x)))
	}
	return nil
}

// A state is the number of pairs, and each pair: its value as a zigzag varint or as bytes, and its
// count if pairs are counted.
func (p *pairs) AppendState(dst []byte, group int) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.size[group]))
	for _, id := range p.of(group) {
		if p.col.word {
			dst = binary.AppendVarint(dst, p.values[id])
		} else {
			dst = appendBytes(dst, p.col.texts.get(uint32(p.values[id])))
		}
		if p.counts != nil {
			dst = binary.AppendUvarint(dst, uint64(p.counts[id]))
		}
	}
	return dst
}

func (p *pairs) MergeState(group int, src []byte) ([]byte, error) {
	d := decoder{src: src}
	for range d.length(1) {
		var x int64
		var text []byte
		if p.col.word {
			x = d.varint()
		} else {
			text = d.bytes()
		}
		n := int64(1)
		if p.counts != nil {
			n = d.count()
		}
		if d.failed {
			return nil, vec.ErrCorrupt
		}
		if !p.col.word {
			x = int64(p.col.texts.id(string(text)))
		}
		p.index.reserve(1)
		p.count(mix(uint64(x), uint64(group)), x, uint32(group), n)
	}
	return d.end()
}

func (p *pairs) Bytes() int64 {
	return p.col.texts.bytes() + p.index.bytes() + 8*int64(cap(p.values)+cap(p.counts)+cap(p.size)) + 4*int64(cap(p.next)+cap(p.first))
}

// distinct passes each value of a group once to another aggregate. Without one it counts them.
type distinct struct {
	*pairs
	t     vec.Type
	inner func() State
}

// makeDistinct makes f, a function of one column, count each value once.
func makeDistinct(f *Func) {
	inner := f.newState
	if f.Name == "count" {
		inner = nil
	}
	f.newState = func() State { return &distinct{pairs: newPairs(f.Args[0], false), t: f.Args[0], inner: inner} }
}

func (s *distinct) Resize(groups int) { s.resize(groups) }

func (s *distinct) Add(groups []uint32, args []*vec.Vec) error {
	s.add(groups, args[0])
	return nil
}

func (s *distinct) AddAll(group uint32, args []*vec.Vec, n int) error {
	s.rows = slices.Grow(s.rows[:0], n)[:n]
	fill(s.rows, group)
	s.add(s.rows, args[0])
	return nil
}

func (s *distinct) Result(from, to int) (*vec.Vec, error) {
	if s.inner == nil {
		v := vec.New(vec.Of(vec.Int), to-from)
		copy(v.Ints, s.size[from:to])
		return v, nil
	}
	inner := s.inner()
	inner.Resize(to - from)
	b := vec.NewBuilder(s.t, vec.Size)
	var groups []uint32
	flush := func() error {
		err := inner.Add(groups, []*vec.Vec{b.Done()})
		b, groups = vec.NewBuilder(s.t, vec.Size), groups[:0]
		return err
	}
	for g := from; g < to; g++ {
		for _, id := range s.of(g) {
			if err := s.appendValue(b, id); err != nil {
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
