package aggr

import (
	"slices"
	"unsafe"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Table numbers groups from 0 in the order of their first row. A group is one combination of the
// values of the key columns; NULL is a value of its own, all NaN are equal, and -0 is 0.
//
// Each row costs 5 to 15 ns while the table fits into the cache, and 1 to 2 ns if its key is one
// Text column with a dictionary. A text is first replaced by its number among the texts of its
// column, so keys of several columns are short: two words are compared within a slot.
type Table struct {
	cols []column
	n    int

	// With several columns, the key of a group is a tuple of words: the values of columns with
	// words, and the numbers of texts, two to a word.
	index  index
	stride int      // words of a tuple
	tuples []uint64 // by group
	masks  []uint32 // by group: which columns with words are NULL; nil if none is

	words  [][]uint64 // words[w] has word w of the tuples of a batch
	rowNil []uint32   // masks of a batch
	hashes []uint64
	tuple  []uint64 // one row
}

// column numbers the values of one key column.
type column struct {
	t     vec.Type
	word  bool // values are words, else they are texts or keys
	place int  // its word in a tuple
	shift uint // its bits in that word

	// Numbers of words, if this is the only column.
	index  index
	values []int64

	texts texts
	keyed bool  // texts are keys of values of other types
	null  int64 // the number of NULL among words, or -1

	dict   []string // numbers of the last dictionary, plus one
	byCode []uint32

	ids   []uint32
	buf   []int64
	key   []byte
	probe vec.Vec // one row
}

// NewTable returns an empty table for key columns of the given types. Without columns, all rows are
// one group.
func NewTable(keys []vec.Type) *Table {
	t := &Table{cols: make([]column, len(keys))}
	half := uint(0) // bits used of the last word by texts
	for i, k := range keys {
		c := &t.cols[i]
		*c = column{t: k, null: -1, word: isWord(k) && (i < 32 || len(keys) == 1)}
		c.keyed = !c.word && k.Kind != vec.Text && k.Kind != vec.Blob && k.Kind != vec.JSON
		c.probe = vec.Vec{Type: k, Len: 1}
		if c.word {
			c.place = t.stride
			t.stride++
		}
	}
	for i := range t.cols {
		c := &t.cols[i]
		if c.word {
			continue
		}
		if half == 0 {
			t.stride++
		}
		c.place, c.shift = t.stride-1, half
		half ^= 32
	}
	return t
}

// Len returns the number of groups.
func (t *Table) Len() int { return t.n }

// Groups returns the numbers of the groups of n rows, in out if it has room. New groups get the
// next numbers.
func (t *Table) Groups(keys []*vec.Vec, n int, out []uint32) []uint32 {
	out = slices.Grow(out[:0], n)[:n]
	switch {
	case n == 0:
	case len(t.cols) == 0:
		clear(out)
		t.n = 1
	case len(t.cols) == 1:
		c := &t.cols[0]
		if c.word {
			c.numberWords(keys[0], n, out)
		} else {
			c.number(keys[0], n, out)
		}
		t.n = c.len()
	default:
		t.combine(keys, n, out)
	}
	return out
}

// len returns how many values have numbers.
func (c *column) len() int {
	if c.word {
		return len(c.values)
	}
	return c.texts.n
}

// numberWords stores the numbers of the values of a column of words.
func (c *column) numberWords(v *vec.Vec, n int, out []uint32) {
	if v.Const {
		c.numberWords(v.Flat(), 1, out[:1])
		fill(out, out[0])
		return
	}
	vals := c.load(v)
	const step = 64
	var h [step]uint64
	for from := 0; from < n; from += step {
		part := vals[from:min(n, from+step)]
		c.index.reserve(len(part))
		for i, x := range part {
			h[i] = mix(uint64(x), 0)
		}
		c.index.touch(h[:len(part)])
		for i, x := range part {
			size := uint32(1)
			if v.Nulls != nil && v.Nulls[from+i] {
				x, h[i], size = 0, mix(0, 0), 2
			}
			id, fresh := c.index.find(h[i], uint64(x), 0, size)
			if fresh {
				if size == 2 {
					c.null = int64(id)
				}
				c.values = append(c.values, x)
			}
			out[from+i] = id
		}
	}
}

// load returns the words of v, which is not Const.
func (c *column) load(v *vec.Vec) []int64 {
	w := words(v, c.buf)
	if v.Ints == nil {
		c.buf = w
	}
	return w
}

func fill(out []uint32, x uint32) {
	for i := range out {
		out[i] = x
	}
}

// number stores the numbers of the values of a column of texts or keys.
func (c *column) number(v *vec.Vec, n int, out []uint32) {
	switch {
	case v.Const:
		c.number(v.Flat(), 1, out[:1])
		fill(out, out[0])
		return
	case c.keyed:
		for i := range n {
			c.key = v.AppendKey(c.key[:0], i, vec.Order{})
			out[i] = c.texts.id(unsafe.String(unsafe.SliceData(c.key), len(c.key)))
		}
		return
	case v.Strings == nil && v.Codes != nil:
		c.numberCodes(v, n, out)
	default:
		var nulls []bool
		if v.Nulls != nil {
			nulls = v.Nulls[:n]
		}
		c.texts.ids(v.Strings[:n], nulls, out)
	}
}

// numberCodes looks up each code once per dictionary.
func (c *column) numberCodes(v *vec.Vec, n int, out []uint32) {
	if len(c.dict) != len(v.Dict) || unsafe.SliceData(c.dict) != unsafe.SliceData(v.Dict) {
		c.dict = v.Dict
		c.byCode = slices.Grow(c.byCode[:0], len(v.Dict))[:len(v.Dict)]
		clear(c.byCode)
	}
	for i, code := range v.Codes[:n] {
		if v.Nulls != nil && v.Nulls[i] {
			out[i] = c.texts.null()
			continue
		}
		id := c.byCode[code]
		if id == 0 {
			id = c.texts.id(v.Dict[code]) + 1
			c.byCode[code] = id
		}
		out[i] = id - 1
	}
}

// combine numbers the tuples of several columns.
func (t *Table) combine(keys []*vec.Vec, n int, out []uint32) {
	if len(t.words) == 0 || len(t.words[0]) < n {
		t.words = make([][]uint64, max(2, t.stride))
		for w := range t.words {
			t.words[w] = make([]uint64, max(n, vec.Size))
		}
		t.hashes = make([]uint64, max(n, vec.Size))
		t.rowNil = make([]uint32, max(n, vec.Size))
		t.tuple = make([]uint64, t.stride)
	}
	masked := false
	for i := range t.cols {
		c := &t.cols[i]
		to := t.words[c.place][:n]
		if c.word {
			v := expand(keys[i])
			for j, x := range c.load(v)[:n] {
				to[j] = uint64(x)
			}
			if v.Nulls == nil {
				continue
			}
			if !masked {
				clear(t.rowNil)
				masked = true
			}
			for j, null := range v.Nulls[:n] {
				if null {
					to[j] = 0
					t.rowNil[j] |= 1 << i
				}
			}
			continue
		}
		c.ids = slices.Grow(c.ids[:0], n)[:n]
		c.number(keys[i], n, c.ids)
		if c.shift == 0 {
			for j, id := range c.ids {
				to[j] = uint64(id)
			}
		} else {
			for j, id := range c.ids {
				to[j] |= uint64(id) << 32
			}
		}
	}
	nils := t.rowNil[:n]
	if !masked {
		nils = nil
	}
	if t.stride <= 2 && len(t.cols) <= 16 {
		t.findShort(n, nils, out)
	} else {
		t.findTuples(n, nils, out)
	}
}

// findShort numbers tuples of at most two words.
func (t *Table) findShort(n int, nils, out []uint32) {
	w0, w1 := t.words[0], t.words[1] // words[1] is 0 if the stride is 1
	const step = 64
	for from := 0; from < n; from += step {
		to := min(n, from+step)
		t.index.reserve(to - from)
		h := t.hashes[:to-from]
		for i := range h {
			h[i] = mix(w0[from+i], w1[from+i])
		}
		t.index.touch(h)
		for i := range h {
			row, size := from+i, uint32(1)
			if nils != nil {
				size += nils[row]
			}
			id, fresh := t.index.find(h[i], w0[row], w1[row], size)
			if fresh {
				t.tuples = append(t.tuples, w0[row])
				if t.stride == 2 {
					t.tuples = append(t.tuples, w1[row])
				}
				t.insert(size - 1)
			}
			out[row] = id
		}
	}
}

// findTuples numbers tuples of any length.
func (t *Table) findTuples(n int, nils, out []uint32) {
	h := t.hashes[:n]
	clear(h)
	for i := range nils {
		h[i] = uint64(nils[i])
	}
	for w := range t.stride {
		for i, x := range t.words[w][:n] {
			h[i] = mix(h[i], x)
		}
	}
	const step = 64
	for from := 0; from < n; from += step {
		to := min(n, from+step)
		t.index.reserve(to - from)
		t.index.touch(h[from:to])
		for i := from; i < to; i++ {
			for w := range t.tuple {
				t.tuple[w] = t.words[w][i]
			}
			var mask uint32
			if nils != nil {
				mask = nils[i]
			}
			id, fresh := t.index.findLong(h[i], func(id uint32) bool {
				return slices.Equal(t.tuples[int(id)*t.stride:][:t.stride], t.tuple) && (t.masks == nil && mask == 0 || t.masks != nil && t.masks[id] == mask)
			})
			if fresh {
				t.tuples = append(t.tuples, t.tuple...)
				t.insert(mask)
			}
			out[i] = id
		}
	}
}

// insert counts a new group.
func (t *Table) insert(mask uint32) {
	if mask != 0 && t.masks == nil {
		t.masks = make([]uint32, t.n)
	}
	if t.masks != nil {
		t.masks = append(t.masks, mask)
	}
	t.n++
}

// value returns the value of a column in a group: a word, or the number of a text.
func (t *Table) value(col, group int) (x int64, null bool) {
	c := &t.cols[col]
	if len(t.cols) == 1 {
		x = int64(group)
		if c.word {
			return c.values[group], c.null == x
		}
		return x, c.texts.nullID == uint32(x)+1
	}
	w := t.tuples[group*t.stride+c.place]
	if c.word {
		return int64(w), t.masks != nil && t.masks[group]>>col&1 == 1
	}
	x = int64(uint32(w >> c.shift))
	return x, c.texts.nullID == uint32(x)+1
}

// AppendKey appends the key of a group: the keys of all columns in the zero Order, see
// [vec.Vec.AppendKey].
func (t *Table) AppendKey(dst []byte, group int) []byte {
	for i := range t.cols {
		c := &t.cols[i]
		x, null := t.value(i, group)
		if c.keyed {
			dst = append(dst, c.texts.get(uint32(x))...)
			continue
		}
		p := &c.probe
		p.Nulls = nil
		switch {
		case null:
			p.Nulls = isNull
		case !c.word:
			p.Strings = append(p.Strings[:0], c.texts.get(uint32(x)))
		case c.t.Kind == vec.Float:
			p.Floats = append(p.Floats[:0], floatOfWord(x))
		case c.t.Kind == vec.Bool:
			p.Bools = append(p.Bools[:0], x != 0)
		default:
			p.Ints = append(p.Ints[:0], x)
		}
		dst = p.AppendKey(dst, 0, vec.Order{})
	}
	return dst
}

var isNull = []bool{true}

// Bytes returns the memory held.
func (t *Table) Bytes() int64 {
	n := t.index.bytes() + 8*int64(cap(t.tuples)) + 4*int64(cap(t.masks))
	for i := range t.cols {
		c := &t.cols[i]
		n += c.index.bytes() + c.texts.bytes() + 8*int64(cap(c.values)) + 4*int64(cap(c.byCode))
	}
	return n
}
