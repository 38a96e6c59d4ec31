package aggr

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/internal/sketch"
	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	register("approx_count_distinct approx_distinct", 1, 1, "x", func(c *call, f *Func) error {
		f.Result = vec.Of(vec.Int)
		f.Distinct = false
		f.newState = func() State {
			if isWord(f.Args[0]) {
				return &approxCounts[int64]{load: words}
			}
			return &approxCounts[string]{keyed: !isText(f.Args[0])}
		}
		return nil
	})
	register("approx_quantile approx_percentile", 2, 2, "x, fraction", func(c *call, f *Func) error {
		at, isList, err := fractions(c, 1)
		if err != nil {
			return err
		}
		return bindApproxQuantile(c, f, at, isList)
	})
	register("approx_median", 1, 1, "x", func(c *call, f *Func) error { return bindApproxQuantile(c, f, []float64{0.5}, false) })
	for name, p := range map[string]float64{"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999} {
		register(name, 1, 1, "x", func(c *call, f *Func) error { return bindApproxQuantile(c, f, []float64{p}, false) })
	}
}

// approxCounts counts the distinct values of each group approximately, see [sketch.ApproxSet].
type approxCounts[K int64 | string] struct {
	load  func(v *vec.Vec, buf []int64) []int64 // of words
	keyed bool
	sets  []sketch.ApproxSet[K]
	buf   []int64
	key   []byte
	held  int64
	seen  []bool // codes of a dictionary
}

func (s *approxCounts[K]) Resize(groups int) { s.sets = grow(s.sets, groups) }

func (s *approxCounts[K]) Add(groups []uint32, args []*vec.Vec) error {
	v := args[0]
	if v.Const && v.Null(0) {
		return nil
	}
	v = expand(v)
	if s.load != nil {
		w := s.load(v, s.buf)
		if v.Ints == nil {
			s.buf = w
		}
		for i, g := range groups {
			if v.Nulls == nil || !v.Nulls[i] {
				s.add(g, *(*K)(unsafe.Pointer(&w[i])))
			}
		}
		return nil
	}
	for i, g := range groups {
		if v.Nulls == nil || !v.Nulls[i] {
			text := s.text(v, i)
			s.add(g, *(*K)(unsafe.Pointer(&text)))
		}
	}
	return nil
}

// text returns the text of row i, or the key of another type. It is valid until the next call.
func (s *approxCounts[K]) text(v *vec.Vec, i int) string {
	if !s.keyed {
		return v.String(i)
	}
	s.key = v.AppendKey(s.key[:0], i, vec.Order{})
	return unsafe.String(unsafe.SliceData(s.key), len(s.key))
}

func (s *approxCounts[K]) add(g uint32, k K) {
	set := &s.sets[g]
	before := set.Size()
	set.Add(k)
	s.held += int64(set.Size() - before)
}

func (s *approxCounts[K]) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := args[0]
	if v.Const {
		n = min(n, 1)
		v = v.Repeat(0, n)
	}
	if v.Strings == nil && v.Codes != nil && !v.Const && len(v.Dict) <= 4*n {
		// each code once
		s.seen = grow(s.seen[:0], len(v.Dict))
		clear(s.seen)
		for i, code := range v.Codes[:n] {
			if !s.seen[code] && (v.Nulls == nil || !v.Nulls[i]) {
				s.seen[code] = true
				s.add(group, *(*K)(unsafe.Pointer(&v.Dict[code])))
			}
		}
		return nil
	}
	groups := make([]uint32, n)
	fill(groups, group)
	return s.Add(groups, []*vec.Vec{v})
}

func (s *approxCounts[K]) AppendState(dst []byte, group int) []byte {
	b, err := s.sets[group].AppendBinary(nil)
	if err != nil {
		panic("approximate count: " + err.Error()) // integers and strings are keys
	}
	return cursor.AppendBytes(dst, b)
}

func (s *approxCounts[K]) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	b := d.Bytes()
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	var other sketch.ApproxSet[K]
	if other.UnmarshalBinary(b) != nil {
		return nil, vec.ErrCorrupt
	}
	set := &s.sets[group]
	before := set.Size()
	set.Merge(&other)
	s.held += int64(set.Size() - before)
	return rest, nil
}

func (s *approxCounts[K]) Result(from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Int), to-from)
	for i := range v.Ints {
		v.Ints[i] = int64(s.sets[from+i].Len())
	}
	return v, nil
}

func (s *approxCounts[K]) Bytes() int64 { return 8*int64(cap(s.sets)) + s.held }

// bindApproxQuantile binds approximate quantiles. Dates and times stay what they are.
func bindApproxQuantile(c *call, f *Func, at []float64, isList bool) error {
	t := f.Args[0]
	switch {
	case t.IsNumber() || t.Kind == vec.Null:
		t = vec.Of(vec.Float)
	case !isNumeric(t):
		return c.refuse(0, "a number, a date or a time")
	}
	if len(c.order) == 1 && c.order[0].Desc {
		for i, p := range at {
			at[i] = 1 - p
		}
	}
	f.Args[0], f.Result = t, t
	if isList {
		f.Result = vec.ListOf(t)
	}
	f.newState = func() State { return &approxQuantiles{t: t, at: at, list: isList} }
	return nil
}

// approxQuantiles summarizes the numbers of each group, see [sketch.Quantiles].
type approxQuantiles struct {
	t    vec.Type
	at   []float64
	list bool
	q    []sketch.Quantiles
	nan  []int64 // numbers that are NaN, which sort last
	held int64
}

func (s *approxQuantiles) Resize(groups int) { s.q, s.nan = grow(s.q, groups), grow(s.nan, groups) }

func (s *approxQuantiles) add(g uint32, x float64) {
	if x != x {
		s.nan[g]++
		return
	}
	q := &s.q[g]
	before := q.Size()
	q.Add(x)
	s.held += int64(q.Size() - before)
}

func (s *approxQuantiles) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	for i, g := range groups {
		switch {
		case v.Nulls != nil && v.Nulls[i]:
		case v.Floats != nil:
			s.add(g, v.Floats[i])
		default:
			s.add(g, float64(v.Ints[i]))
		}
	}
	return nil
}

func (s *approxQuantiles) AddAll(group uint32, args []*vec.Vec, n int) error {
	groups := make([]uint32, n)
	fill(groups, group)
	return s.Add(groups, args)
}

func (s *approxQuantiles) AppendState(dst []byte, group int) []byte {
	b, _ := s.q[group].AppendBinary(nil) // it never fails
	return cursor.AppendBytes(binary.AppendVarint(dst, s.nan[group]), b)
}

func (s *approxQuantiles) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	nan := d.Int()
	b := d.Bytes()
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	var other sketch.Quantiles
	if other.UnmarshalBinary(b) != nil || nan < 0 {
		return nil, vec.ErrCorrupt
	}
	q := &s.q[group]
	before := q.Size()
	q.Merge(&other)
	s.held += int64(q.Size() - before)
	s.nan[group] += nan
	return rest, nil
}

func (s *approxQuantiles) Result(from, to int) (*vec.Vec, error) {
	q := quantile{t: s.t, at: s.at, list: s.list}
	return q.build(to-from, func(b *vec.Builder, g int, p float64) error {
		sk := &s.q[from+g]
		n := int64(sk.Len())
		x := math.NaN()
		// the fraction of the numbers without NaN
		all := float64(n + s.nan[from+g])
		if s.nan[from+g] == 0 {
			x = sk.Quantile(p)
		} else if r := math.Ceil(p * all); n > 0 && r <= float64(n) {
			x = sk.Quantile(r / float64(n))
		}
		if s.t.Kind == vec.Float {
			b.AppendFloat(x)
		} else {
			b.AppendInt(int64(math.Round(x)))
		}
		return nil
	}, func(g int) bool { return s.q[from+g].Len() == 0 && s.nan[from+g] == 0 }), nil
}

func (s *approxQuantiles) Bytes() int64 { return 40*int64(cap(s.q)) + s.held }
