package aggr

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	register("quantile_cont percentile_cont", 2, 2, "x, fraction", func(c *call, f *Func) error {
		return bindQuantile(c, f, true, true)
	})
	register("quantile_disc percentile_disc quantile", 2, 2, "x, fraction", func(c *call, f *Func) error {
		return bindQuantile(c, f, true, false)
	})
	register("median", 1, 1, "x", func(c *call, f *Func) error {
		return bindQuantile(c, f, false, isNumeric(f.Args[0]))
	})
	register("product", 1, 1, "x", func(c *call, f *Func) error { return bindProduct(c, f, multiply) })
	register("geomean geometric_mean", 1, 1, "x", func(c *call, f *Func) error { return bindProduct(c, f, geometricMean) })
}

// isNumeric reports whether values of t can be interpolated.
func isNumeric(t vec.Type) bool {
	switch t.Kind {
	case vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ, vec.Null:
		return true
	}
	return t.IsNumber()
}

// fractions returns the constant argument i of a quantile: one number, or a list.
func fractions(c *call, i int) (list []float64, isList bool, err error) {
	v := c.consts[i]
	if v == nil {
		return nil, false, c.errorf("", "%s: the fraction must be a constant", c.name)
	}
	if v.Null(0) {
		return nil, false, c.errorf("", "%s: the fraction is NULL", c.name)
	}
	first, last := 0, 1
	if v.Type.Kind == vec.List {
		first, last, isList = int(v.Offsets[0]), int(v.Offsets[1]), true
		v = v.Elem
	}
	for k := first; k < last; k++ {
		if v.Null(k) {
			return nil, false, c.errorf("", "%s: a fraction is NULL", c.name)
		}
		x, ok := number(v, k)
		if !ok {
			return nil, false, c.refuse(i, "a number from 0 to 1")
		}
		if !(x >= 0 && x <= 1) {
			return nil, false, c.errorf("", "%s: the fraction %v is not between 0 and 1", c.name, x)
		}
		list = append(list, x)
	}
	return list, isList, nil
}

// number returns row i of a constant number.
func number(v *vec.Vec, i int) (float64, bool) {
	switch v.Type.Kind {
	case vec.Int:
		return float64(int64(v.Int128(i).Lo)), true
	case vec.Decimal:
		f, _ := new(big.Rat).SetFrac(v.Int128(i).Big(), vec.Pow10(v.Type.Scale).Big()).Float64()
		return f, true
	case vec.Float:
		if v.Const {
			i = 0
		}
		return v.Floats[i], true
	}
	return 0, false
}

func bindQuantile(c *call, f *Func, hasFraction, interpolate bool) error {
	at, isList := []float64{0.5}, false
	if hasFraction {
		var err error
		if at, isList, err = fractions(c, 1); err != nil {
			return err
		}
	}
	t := f.Args[0]
	if interpolate {
		if !isNumeric(t) {
			return c.errorf("use quantile_disc", "%s: argument 1 is %s, want a number, a date or a time", c.name, t)
		}
		if t.IsNumber() || t.Kind == vec.Null {
			t = vec.Of(vec.Float)
		}
	}
	f.Args[0], f.Result = t, t
	if interpolate && t.Kind == vec.Date {
		f.Result = vec.Of(vec.Timestamp)
	}
	q := quantile{t: f.Result, at: at, list: isList, interpolate: interpolate, desc: len(c.order) == 1 && c.order[0].Desc}
	if isList {
		f.Result = vec.ListOf(f.Result)
	}
	if isWord(t) {
		f.newState = func() State { return &wordLists{build: q.words, days: t.Kind == vec.Date && interpolate} }
		return nil
	}
	f.newState = func() State { return &lists{t: t, sorter: &sorter{ordinal: -1, by: -1}, build: q.items} }
	return nil
}

// quantile computes quantiles of sorted values.
type quantile struct {
	t           vec.Type // of one result
	at          []float64
	list        bool
	interpolate bool
	desc        bool // the values are in descending order
}

// rank returns the numbers of the values around a quantile of n values, and the place between them.
func (q quantile) rank(p float64, n int) (lo, hi int, between float64) {
	if q.interpolate {
		place := float64(p * float64(n-1))
		lo = int(place)
		hi, between = min(lo+1, n-1), place-float64(lo)
		if between == 0 {
			hi = lo
		}
	} else {
		lo = min(max(0, int(math.Ceil(p*float64(n)))-1), n-1)
		hi = lo
	}
	if q.desc {
		lo, hi = n-1-lo, n-1-hi
	}
	return lo, hi, between
}

// words computes the quantiles of the words of groups.
func (q quantile) words(groups [][]int64) *vec.Vec {
	return q.build(len(groups), func(b *vec.Builder, g int, p float64) error {
		w := groups[g]
		lo, hi, between := q.rank(p, len(w))
		x := w[lo]
		switch {
		case lo == hi:
		case q.t.Kind == vec.Float:
			a, z := floatOfWord(x), floatOfWord(w[hi])
			finite := !math.IsInf(z, 0) && !math.IsNaN(z)
			if a != z && !(math.IsInf(a, 0) && finite) { // between -Inf and 1 is -Inf
				a += float64((z - a) * between)
			}
			b.AppendFloat(a)
			return nil
		default:
			x += int64(math.Round(float64(w[hi]-x) * between))
		}
		appendWord(b, x)
		return nil
	}, func(g int) bool { return len(groups[g]) == 0 })
}

// items computes the quantiles of the items of groups.
func (q quantile) items(s *lists, from, to int) (*vec.Vec, error) {
	var err error
	var items []item
	v := q.build(to-from, func(b *vec.Builder, g int, p float64) error {
		lo, _, _ := q.rank(p, len(items))
		rest, err := vec.DecodeRow(items[lo].value, []*vec.Builder{b})
		if len(rest) > 0 {
			err = vec.ErrCorrupt
		}
		return err
	}, func(g int) bool {
		var e error
		if items, e = s.sorted(from + g); e != nil {
			err = e
		}
		return len(items) == 0
	})
	if v == nil && err == nil {
		err = vec.ErrCorrupt
	}
	return v, err
}

// build makes the result of n groups. It returns nil if a value cannot be decoded.
func (q quantile) build(n int, one func(b *vec.Builder, g int, p float64) error, empty func(g int) bool) *vec.Vec {
	b := vec.NewBuilder(q.t, n*len(q.at))
	v := vec.New(vec.ListOf(q.t), n)
	for g := range n {
		switch {
		case !empty(g):
			for _, p := range q.at {
				if one(b, g, p) != nil {
					return nil
				}
			}
		case q.list:
			v.SetNull(g)
		default:
			b.AppendNull()
		}
		v.Offsets[g+1] = int32(b.Len)
	}
	if !q.list {
		return b.Done()
	}
	v.Elem = b.Done()
	return v
}

// wordLists keeps the words of each group.
type wordLists struct {
	build  func(groups [][]int64) *vec.Vec // of sorted groups
	days   bool                            // dates become timestamps
	groups [][]int64
	buf    []int64
	held   int64
}

func (s *wordLists) Resize(groups int) { s.groups = grow(s.groups, groups) }

func (s *wordLists) load(v *vec.Vec) []int64 {
	w := words(v, s.buf)
	if v.Ints == nil {
		s.buf = w
	}
	return w
}

func (s *wordLists) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	w := s.load(v)
	for i, g := range groups {
		if v.Nulls == nil || !v.Nulls[i] {
			list := s.groups[g]
			before := cap(list)
			list = append(list, w[i])
			s.held += 8 * int64(cap(list)-before)
			s.groups[g] = list
		}
	}
	return nil
}

func (s *wordLists) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := expand(args[0])
	w := s.load(v)[:n]
	list := s.groups[group]
	before := cap(list)
	if v.Nulls == nil {
		list = append(list, w...)
	} else {
		for i, x := range w {
			if !v.Nulls[i] {
				list = append(list, x)
			}
		}
	}
	s.held += 8 * int64(cap(list)-before)
	s.groups[group] = list
	return nil
}

// A state is the number of words, and the words in ascending order: the first as a zigzag varint,
// and the differences as varints.
func (s *wordLists) AppendState(dst []byte, group int) []byte {
	w := s.groups[group]
	slices.Sort(w)
	dst = binary.AppendUvarint(dst, uint64(len(w)))
	for i, x := range w {
		if i == 0 {
			dst = binary.AppendVarint(dst, x)
		} else {
			dst = binary.AppendUvarint(dst, uint64(x-w[i-1]))
		}
	}
	return dst
}

func (s *wordLists) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	n := d.Count(1)
	list := s.groups[group]
	before := cap(list)
	list = slices.Grow(list, n)
	var x int64
	for i := range n {
		if i == 0 {
			x = d.Int()
		} else {
			x += int64(d.Uint())
		}
		list = append(list, x)
	}
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	s.held += 8 * int64(cap(list)-before)
	s.groups[group] = list
	return rest, nil
}

func (s *wordLists) Result(from, to int) (*vec.Vec, error) {
	groups := s.groups[from:to]
	for _, w := range groups {
		slices.Sort(w)
	}
	if s.days {
		micros := make([][]int64, len(groups))
		for g, w := range groups {
			for _, day := range w {
				micros[g] = append(micros[g], day*86_400_000_000)
			}
		}
		groups = micros
	}
	return s.build(groups), nil
}

func (s *wordLists) Bytes() int64 { return 24*int64(cap(s.groups)) + s.held }

// A product of floats depends on the order of multiplications, so the numbers are kept, sorted and
// multiplied with 200 bits.
func bindProduct(c *call, f *Func, result func(w []int64) float64) error {
	if !f.Args[0].IsNumber() && f.Args[0].Kind != vec.Null {
		return c.refuse(0, "a number")
	}
	f.Args[0], f.Result = vec.Of(vec.Float), vec.Of(vec.Float)
	f.newState = func() State {
		return &wordLists{build: func(groups [][]int64) *vec.Vec {
			v := vec.New(vec.Of(vec.Float), len(groups))
			for i, w := range groups {
				if len(w) == 0 {
					v.SetNull(i)
				} else {
					v.Floats[i] = result(w)
				}
			}
			return v
		}}
	}
	return nil
}

// productOf returns the product, or false if a number is infinite or NaN.
func productOf(w []int64) (*big.Float, bool) {
	p := floatOf(1)
	for _, x := range w {
		f := floatOfWord(x)
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, false
		}
		p.Mul(p, new(big.Float).SetFloat64(f))
	}
	return p, true
}

func multiply(w []int64) float64 {
	if p, ok := productOf(w); ok {
		f, _ := p.Float64()
		return f
	}
	f := 1.0
	for _, x := range w {
		f *= floatOfWord(x)
	}
	return f
}

func geometricMean(w []int64) float64 {
	p, ok := productOf(w)
	if !ok || p.Sign() < 0 {
		return math.NaN()
	}
	if p.Sign() == 0 {
		return 0
	}
	exp := p.MantExp(p)
	m, _ := p.Float64()
	n := float64(len(w))
	return math.Exp2(float64(math.Log2(m)+float64(exp)) / n)
}
