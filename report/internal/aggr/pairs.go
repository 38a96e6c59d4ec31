package aggr

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// pairs numbers the distinct pairs of a group and a value, and can count how often each occurs.
// NULL is no value.
type pairs struct {
	col    column // numbers texts, and keys of other types; words stand for themselves
	index  index  // of (value, group)
	values []int64
	counts []int64
	once   bool     // with DISTINCT: a pair occurs once
	next   []uint32 // by pair: another pair of its group plus one, or 0
	first  []uint32 // by group: its last pair plus one, or 0
	size   []int64  // by group: its pairs
	ids    []uint32
	rows   []uint32
	some   []uint32
}

func newPairs(t vec.Type, once bool) *pairs { return &pairs{col: valueColumn(t), once: once} }

// valueColumn returns a column that numbers values of t.
func valueColumn(t vec.Type) column {
	c := column{t: t, null: -1, word: isWord(t)}
	c.keyed = !c.word && !isText(t)
	return c
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
		p.counts = append(p.counts, 0)
	}
	if p.counts[id] += n; p.once {
		p.counts[id] = 1
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
	return p.col.appendValue(b, p.values[pair])
}

// appendValue appends a value to b: a word, or the text with a number.
func (c *column) appendValue(b *vec.Builder, x int64) error {
	switch {
	case c.word:
		appendWord(b, x)
	case c.keyed:
		_, err := b.DecodeKey([]byte(c.texts.get(uint32(x))))
		return err
	default:
		b.AppendString(c.texts.get(uint32(x)))
	}
	return nil
}

// A state is the number of pairs, and each pair: its value as a zigzag varint or as bytes, and its
// count.
func (p *pairs) AppendState(dst []byte, group int) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.size[group]))
	for _, id := range p.of(group) {
		if p.col.word {
			dst = binary.AppendVarint(dst, p.values[id])
		} else {
			dst = cursor.AppendBytes(dst, p.col.texts.get(uint32(p.values[id])))
		}
		dst = binary.AppendUvarint(dst, uint64(p.counts[id]))
	}
	return dst
}

func (p *pairs) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	for range d.Count(1) {
		var x int64
		var text []byte
		if p.col.word {
			x = d.Int()
		} else {
			text = d.Bytes()
		}
		n := d.rows()
		if d.Failed() {
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
