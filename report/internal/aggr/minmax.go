package aggr

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	for _, greatest := range []bool{false, true} {
		name := "min"
		if greatest {
			name = "max"
		}
		register(name, 1, 2, "x, n", func(c *call, f *Func) error {
			if len(c.args) == 2 {
				return bindFirst(c, f, &sorter{by: 0, byOrder: vec.Order{Desc: greatest}, ordinal: -1})
			}
			f.Result = f.Args[0]
			f.Distinct = false
			f.newState = func() State { return newMinMax(f.Args[0], greatest) }
			return nil
		})
	}
}

// isWord reports whether a value of t fits into 64 bits that order like an integer.
func isWord(t vec.Type) bool {
	switch t.Kind {
	case vec.Int, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ, vec.Float, vec.Bool:
		return true
	case vec.Decimal:
		return t.Precision <= 18
	}
	return false
}

// orderWord maps a float to an integer of the same order. -0 becomes 0, and all NaN the same.
func orderWord(f float64) int64 {
	switch {
	case f == 0:
		return 0
	case f != f:
		return math.MaxInt64
	}
	i := int64(math.Float64bits(f))
	return i ^ int64(uint64(i>>63)>>1)
}

func floatOfWord(i int64) float64 {
	if i == math.MaxInt64 {
		return math.NaN()
	}
	return math.Float64frombits(uint64(i ^ int64(uint64(i>>63)>>1)))
}

// words returns the values of v, of a type for which isWord holds, one for each row. It uses buf if
// it has to convert them.
func words(v *vec.Vec, buf []int64) []int64 {
	switch {
	case v.Floats != nil:
		buf = buf[:0]
		for _, f := range v.Floats {
			buf = append(buf, orderWord(f))
		}
		return buf
	case v.Bools != nil:
		buf = buf[:0]
		for _, b := range v.Bools {
			var x int64
			if b {
				x = 1
			}
			buf = append(buf, x)
		}
		return buf
	case v.Wide != nil:
		buf = buf[:0]
		for _, w := range v.Wide {
			buf = append(buf, int64(w.Lo))
		}
		return buf
	}
	return v.Ints
}

// appendWord appends a value that words returned.
func appendWord(b *vec.Builder, x int64) {
	switch b.Type.Kind {
	case vec.Float:
		b.AppendFloat(floatOfWord(x))
	case vec.Bool:
		b.AppendBool(x != 0)
	default:
		b.AppendInt(x)
	}
}

func newMinMax(t vec.Type, greatest bool) State {
	switch {
	case isWord(t):
		return &wordBest{t: t, greatest: greatest}
	case t.Kind == vec.Text || t.Kind == vec.Blob || t.Kind == vec.JSON:
		return &textBest{t: t, greatest: greatest}
	}
	return &keyBest{t: t, greatest: greatest}
}

// wordBest keeps the least or the greatest word of each group.
type wordBest struct {
	t        vec.Type
	greatest bool
	best     []int64
	has      []bool
	buf      []int64
}

func (s *wordBest) Resize(groups int) {
	from := len(s.best)
	s.best, s.has = grow(s.best, groups), grow(s.has, groups)
	worst := int64(math.MaxInt64)
	if s.greatest {
		worst = math.MinInt64
	}
	for i := from; i < len(s.best); i++ {
		s.best[i] = worst
	}
}

func (s *wordBest) load(v *vec.Vec, n int) (w []int64, nulls []bool) {
	w = words(v, s.buf)
	if v.Ints == nil {
		s.buf = w
	}
	if v.Nulls != nil {
		nulls = v.Nulls[:n]
	}
	return w[:n], nulls
}

func (s *wordBest) Add(groups []uint32, args []*vec.Vec) error {
	w, nulls := s.load(expand(args[0]), len(groups))
	best, has := s.best, s.has
	for i, g := range groups {
		if nulls != nil && nulls[i] {
			continue
		}
		if x := w[i]; s.greatest && x > best[g] || !s.greatest && x < best[g] {
			best[g] = x
		}
		has[g] = true
	}
	return nil
}

func (s *wordBest) AddAll(group uint32, args []*vec.Vec, n int) error {
	w, nulls := s.load(expand(args[0]), n)
	best, has := s.best[group], s.has[group]
	for i, x := range w {
		if nulls != nil && nulls[i] {
			continue
		}
		if s.greatest {
			best = max(best, x)
		} else {
			best = min(best, x)
		}
		has = true
	}
	s.best[group], s.has[group] = best, has
	return nil
}

func (s *wordBest) AppendState(dst []byte, group int) []byte {
	if !s.has[group] {
		return append(dst, 0)
	}
	return binary.AppendVarint(append(dst, 1), s.best[group])
}

func (s *wordBest) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	if d.Byte() == 0 {
		return d.end()
	}
	x := d.Int()
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	if s.greatest {
		x = max(x, s.best[group])
	} else {
		x = min(x, s.best[group])
	}
	s.best[group], s.has[group] = x, true
	return rest, nil
}

func (s *wordBest) Result(from, to int) (*vec.Vec, error) {
	return wordResults(s.t, s.best[from:to], s.has[from:to]), nil
}

func (s *wordBest) Bytes() int64 { return 9 * int64(cap(s.best)) }

// textBest keeps the least or the greatest text of each group.
type textBest struct {
	t        vec.Type
	greatest bool
	best     []string
	has      []bool
	held     int64
}

func (s *textBest) Resize(groups int) { s.best, s.has = grow(s.best, groups), grow(s.has, groups) }

func (s *textBest) offer(g uint32, x string) {
	if s.has[g] {
		if s.greatest && x <= s.best[g] || !s.greatest && x >= s.best[g] {
			return
		}
	}
	s.held += int64(len(x) - len(s.best[g]))
	s.best[g], s.has[g] = strings.Clone(x), true
}

func (s *textBest) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	for i, g := range groups {
		switch {
		case v.Nulls != nil && v.Nulls[i]:
		case v.Strings != nil:
			s.offer(g, v.Strings[i])
		default:
			s.offer(g, v.Dict[v.Codes[i]])
		}
	}
	return nil
}

func (s *textBest) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := args[0]
	if v.Const {
		n = min(n, 1)
	}
	for i := range n {
		if !v.Null(i) {
			s.offer(group, v.String(i))
		}
	}
	return nil
}

func (s *textBest) AppendState(dst []byte, group int) []byte {
	if !s.has[group] {
		return append(dst, 0)
	}
	return cursor.AppendBytes(append(dst, 1), s.best[group])
}

func (s *textBest) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	if d.Byte() == 0 {
		return d.end()
	}
	x := d.Bytes()
	rest, err := d.end()
	if err == nil {
		s.offer(uint32(group), string(x))
	}
	return rest, err
}

func (s *textBest) Result(from, to int) (*vec.Vec, error) {
	v := vec.New(s.t, to-from)
	copy(v.Strings, s.best[from:to])
	for i, has := range s.has[from:to] {
		if !has {
			v.SetNull(i)
		}
	}
	return v, nil
}

func (s *textBest) Bytes() int64 { return 17*int64(cap(s.best)) + s.held }

// keyBest keeps the least or the greatest key of each group, for all other types.
type keyBest struct {
	t        vec.Type
	greatest bool
	best     [][]byte // nil for none
	buf      []byte
	held     int64
}

func (s *keyBest) Resize(groups int) { s.best = grow(s.best, groups) }

func (s *keyBest) offer(g uint32, key []byte) {
	if old := s.best[g]; old != nil {
		if c := bytes.Compare(key, old); s.greatest && c <= 0 || !s.greatest && c >= 0 {
			return
		}
	}
	s.held -= int64(cap(s.best[g]))
	s.best[g] = append(s.best[g][:0], key...)
	s.held += int64(cap(s.best[g]))
}

func (s *keyBest) Add(groups []uint32, args []*vec.Vec) error {
	for i, g := range groups {
		if !args[0].Null(i) {
			s.buf = args[0].AppendKey(s.buf[:0], i, vec.Order{})
			s.offer(g, s.buf)
		}
	}
	return nil
}

func (s *keyBest) AddAll(group uint32, args []*vec.Vec, n int) error {
	for i := range n {
		if !args[0].Null(i) {
			s.buf = args[0].AppendKey(s.buf[:0], i, vec.Order{})
			s.offer(group, s.buf)
		}
	}
	return nil
}

func (s *keyBest) AppendState(dst []byte, group int) []byte {
	return cursor.AppendBytes(dst, s.best[group])
}

func (s *keyBest) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	key := d.Bytes()
	rest, err := d.end()
	if err != nil || len(key) == 0 {
		return rest, err
	}
	s.offer(uint32(group), key)
	return rest, nil
}

func (s *keyBest) Result(from, to int) (*vec.Vec, error) {
	b := vec.NewBuilder(s.t, to-from)
	for g := from; g < to; g++ {
		if s.best[g] == nil {
			b.AppendNull()
		} else if _, err := b.DecodeKey(s.best[g]); err != nil {
			return nil, err
		}
	}
	return b.Done(), nil
}

func (s *keyBest) Bytes() int64 { return 24*int64(cap(s.best)) + s.held }
