package aggr

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Variance and its kin are computed from exact sums of powers, with integers of any length until
// the last step, which rounds to a float. So they depend neither on the order of rows nor lose
// digits to cancellation. Numbers that are infinite or NaN make the result NaN.

// statistic computes a result from the sums of a group. It returns false for NULL.
type statistic func(m *sums) (*big.Float, bool)

// sums are the exact sums of a group of n numbers, or pairs of numbers.
type sums struct {
	n int64
	// p[0] is the sum of x, and p[k] the sum of x^(k+1). For pairs, p has the sums of x, y, x*x,
	// x*y and y*y.
	p [5]scaled
}

// scaled is an integer times a power of two.
type scaled struct {
	i   *big.Int
	exp int
}

// precision of the last steps in bits.
const precision = 200

func (a scaled) float() *big.Float {
	f := new(big.Float).SetPrec(precision).SetInt(a.i)
	return f.SetMantExp(f, a.exp)
}

func (a scaled) mul(b scaled) scaled { return scaled{new(big.Int).Mul(a.i, b.i), a.exp + b.exp} }

func (a scaled) times(n int64) scaled { return scaled{new(big.Int).Mul(a.i, big.NewInt(n)), a.exp} }

func (a scaled) sub(b scaled) scaled {
	exp := min(a.exp, b.exp)
	x := new(big.Int).Lsh(a.i, uint(a.exp-exp))
	y := new(big.Int).Lsh(b.i, uint(b.exp-exp))
	return scaled{x.Sub(x, y), exp}
}

func (a scaled) add(b scaled) scaled { return a.sub(b.times(-1)) }

func quo(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(precision).Quo(a, b) }

func floatOf(n int64) *big.Float { return new(big.Float).SetPrec(precision).SetInt64(n) }

func product(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(precision).Mul(a, b) }

// sqrt returns 0 for a negative number, which only corrupt states have.
func sqrt(a *big.Float) *big.Float {
	if a.Sign() < 0 {
		return new(big.Float)
	}
	return new(big.Float).SetPrec(precision).Sqrt(a)
}

// spread returns n*sum(x*y) - sum(x)*sum(y): n² times the covariance.
func (m *sums) spread(xy, x, y int) scaled { return m.p[xy].times(m.n).sub(m.p[x].mul(m.p[y])) }

func variance(sample, root bool) statistic {
	return func(m *sums) (*big.Float, bool) {
		div := m.n
		if sample {
			div--
		}
		if div <= 0 {
			return nil, false
		}
		v := quo(quo(m.spread(1, 0, 0).float(), floatOf(m.n)), floatOf(div))
		if root {
			v = sqrt(v)
		}
		return v, true
	}
}

func covariance(sample bool) statistic {
	return func(m *sums) (*big.Float, bool) {
		div := m.n
		if sample {
			div--
		}
		if div <= 0 {
			return nil, false
		}
		return quo(quo(m.spread(3, 0, 1).float(), floatOf(m.n)), floatOf(div)), true
	}
}

// The sums of pairs, for f(y, x).
const (
	sumY = iota
	sumX
	sumYY
	sumXY
	sumXX
)

func correlation(m *sums) (*big.Float, bool) {
	xx, yy := m.spread(sumXX, sumX, sumX), m.spread(sumYY, sumY, sumY)
	if xx.i.Sign() <= 0 || yy.i.Sign() <= 0 {
		return nil, false
	}
	return quo(m.spread(sumXY, sumX, sumY).float(), sqrt(xx.mul(yy).float())), true
}

func slope(m *sums) (*big.Float, bool) {
	xx := m.spread(sumXX, sumX, sumX)
	if xx.i.Sign() <= 0 {
		return nil, false
	}
	return quo(m.spread(sumXY, sumX, sumY).float(), xx.float()), true
}

func intercept(m *sums) (*big.Float, bool) {
	xx := m.spread(sumXX, sumX, sumX)
	if xx.i.Sign() <= 0 {
		return nil, false
	}
	above := m.p[sumY].mul(xx).sub(m.p[sumX].mul(m.spread(sumXY, sumX, sumY)))
	return quo(above.float(), xx.times(m.n).float()), true
}

func determination(m *sums) (*big.Float, bool) {
	xx, yy := m.spread(sumXX, sumX, sumX), m.spread(sumYY, sumY, sumY)
	switch {
	case xx.i.Sign() <= 0:
		return nil, false
	case yy.i.Sign() <= 0:
		return floatOf(1), true
	}
	xy := m.spread(sumXY, sumX, sumY)
	return quo(xy.mul(xy).float(), xx.mul(yy).float()), true
}

// mean returns the statistic sum / n.
func mean(sum int) statistic {
	return func(m *sums) (*big.Float, bool) { return quo(m.p[sum].float(), floatOf(m.n)), m.n > 0 }
}

// deviation returns the statistic sum(x*y) - sum(x)*sum(y)/n.
func deviation(xy, x, y int) statistic {
	return func(m *sums) (*big.Float, bool) { return quo(m.spread(xy, x, y).float(), floatOf(m.n)), m.n > 0 }
}

// skewness is the sample skewness, as in DuckDB.
func skewness(m *sums) (*big.Float, bool) {
	m2 := m.spread(1, 0, 0)
	if m.n < 3 || m2.i.Sign() <= 0 {
		return nil, false
	}
	x := m.p[0]
	m3 := m.p[2].times(m.n).times(m.n).sub(m.p[1].mul(x).times(3 * m.n)).add(x.mul(x).mul(x).times(2))
	g := quo(m3.float(), product(m2.float(), sqrt(m2.float())))
	return product(g, quo(sqrt(product(floatOf(m.n), floatOf(m.n-1))), floatOf(m.n-2))), true
}

// kurtosis is the excess kurtosis, of a sample or of the population.
func kurtosis(sample bool) statistic {
	return func(m *sums) (*big.Float, bool) {
		m2 := m.spread(1, 0, 0)
		if sample && m.n < 4 || m2.i.Sign() <= 0 {
			return nil, false
		}
		x, n := m.p[0], m.n
		xx := x.mul(x)
		m4 := m.p[3].times(n).times(n).times(n).sub(m.p[2].mul(x).times(n).times(4 * n)).add(m.p[1].mul(xx).times(6 * n)).sub(xx.mul(xx).times(3))
		k := quo(m4.float(), m2.mul(m2).float())
		three := floatOf(3)
		if !sample {
			return k.Sub(k, three), true
		}
		k = product(k, floatOf(n+1))
		k.Sub(k, product(three, floatOf(n-1)))
		return quo(product(k, floatOf(n-1)), product(floatOf(n-2), floatOf(n-3))), true
	}
}

func init() {
	one := func(names string, powers int, f statistic) { registerMoments(names, 1, powers, f) }
	one("var_samp variance", 2, variance(true, false))
	one("var_pop", 2, variance(false, false))
	one("stddev_samp stddev", 2, variance(true, true))
	one("stddev_pop", 2, variance(false, true))
	one("sem", 2, func(m *sums) (*big.Float, bool) {
		sd, _ := variance(false, true)(m)
		return quo(sd, sqrt(floatOf(m.n))), true
	})
	one("skewness", 3, skewness)
	one("kurtosis", 4, kurtosis(true))
	one("kurtosis_pop", 4, kurtosis(false))
	two := func(name string, f statistic) { registerMoments(name, 2, 2, f) }
	two("covar_samp", covariance(true))
	two("covar_pop", covariance(false))
	two("corr", correlation)
	two("regr_slope", slope)
	two("regr_intercept", intercept)
	two("regr_r2", determination)
	two("regr_avgx", mean(sumX))
	two("regr_avgy", mean(sumY))
	two("regr_sxx", deviation(sumXX, sumX, sumX))
	two("regr_syy", deviation(sumYY, sumY, sumY))
	two("regr_sxy", deviation(sumXY, sumX, sumY))
	two("regr_count", nil)
}

func registerMoments(names string, args, powers int, stat statistic) {
	usage := "x"
	if args == 2 {
		usage = "y, x"
	}
	register(names, args, args, usage, func(c *call, f *Func) error {
		if c.distinct && args == 2 {
			return c.errorf("aggregate a subquery with SELECT DISTINCT", "%s(DISTINCT y, x) is not supported", c.name)
		}
		for i, t := range f.Args {
			if !t.IsNumber() && t.Kind != vec.Null {
				return c.refuse(i, "a number")
			}
			f.Args[i] = vec.Of(vec.Float)
		}
		f.Result = vec.Of(vec.Float)
		if strings.HasPrefix(names, "regr_count") {
			f.Result = vec.Of(vec.Int)
		}
		kinds := powers
		if args == 2 {
			kinds = 5
		}
		f.newState = func() State { return &moments{pairs: args == 2, kinds: kinds, stat: stat} }
		return nil
	})
}

// moments adds the powers of numbers, or of pairs of numbers.
type moments struct {
	pairs   bool
	kinds   int // sums per group
	stat    statistic
	n       []int64
	special []bool // a number was infinite or NaN
	sums    []long // kinds for each group; bit 0 of a sum of products of k floats is worth 2^(-1074*k)
	held    int64
}

func (s *moments) Resize(groups int) {
	s.n, s.special = grow(s.n, groups), grow(s.special, groups)
	s.sums = grow(s.sums, groups*s.kinds)
}

func (s *moments) Add(groups []uint32, args []*vec.Vec) error {
	if s.pairs {
		a, b := expand(args[0]), expand(args[1])
		for i, g := range groups {
			if !a.Null(i) && !b.Null(i) {
				s.addPair(g, a.Floats[i], b.Floats[i])
			}
		}
		return nil
	}
	v := expand(args[0])
	for i, g := range groups {
		if v.Nulls == nil || !v.Nulls[i] {
			s.add(g, v.Floats[i])
		}
	}
	return nil
}

func (s *moments) AddAll(group uint32, args []*vec.Vec, n int) error {
	groups := make([]uint32, n)
	fill(groups, group)
	return s.Add(groups, args)
}

// splitFloat splits a number; ok is false if it is infinite or NaN.
func splitFloat(x float64) (m uint64, pos int, negative, ok bool) {
	u := math.Float64bits(x)
	m, pos = split(u)
	return m, pos, u>>63 == 1, u>>52&0x7ff != 0x7ff
}

func (s *moments) add(g uint32, x float64) {
	s.n[g]++
	m, pos, negative, ok := splitFloat(x)
	if !ok {
		s.special[g] = true
		return
	}
	if m == 0 {
		return
	}
	to := s.sums[int(g)*s.kinds:][:s.kinds]
	hi, lo := bits.Mul64(m, m)
	s.put(&to[0], m, 0, pos, negative)
	s.put(&to[1], lo, hi, 2*pos, false)
	if s.kinds == 2 {
		return
	}
	// the product of a number of two words and one of one word
	c2, c1 := bits.Mul64(hi, m)
	c, c0 := bits.Mul64(lo, m)
	c1, c = bits.Add64(c1, c, 0)
	cube := [3]uint64{c0, c1, c2 + c}
	s.addLong(&to[2], cube[:], 3*pos, negative)
	if s.kinds == 4 {
		h1, h0 := bits.Mul64(hi, hi)
		x1, x0 := bits.Mul64(hi, lo)
		l1, l0 := bits.Mul64(lo, lo)
		q := [4]uint64{l0, l1, h0, h1}
		for range 2 {
			var c uint64
			q[1], c = bits.Add64(q[1], x0, 0)
			q[2], c = bits.Add64(q[2], x1, c)
			q[3] += c
		}
		s.addLong(&to[3], q[:], 4*pos, false)
	}
}

func (s *moments) addPair(g uint32, a, b float64) {
	s.n[g]++
	ma, pa, na, ok1 := splitFloat(a)
	mb, pb, nb, ok2 := splitFloat(b)
	if !ok1 || !ok2 {
		s.special[g] = true
		return
	}
	to := s.sums[int(g)*5:][:5]
	s.put(&to[0], ma, 0, pa, na)
	s.put(&to[1], mb, 0, pb, nb)
	hi, lo := bits.Mul64(ma, ma)
	s.put(&to[2], lo, hi, 2*pa, false)
	hi, lo = bits.Mul64(ma, mb)
	s.put(&to[3], lo, hi, pa+pb, na != nb)
	hi, lo = bits.Mul64(mb, mb)
	s.put(&to[4], lo, hi, 2*pb, false)
}

// put adds a number of two words, shifted left by pos bits, or subtracts it.
func (s *moments) put(l *long, lo, hi uint64, pos int, negative bool) {
	if lo|hi == 0 {
		return
	}
	at, shift := pos>>6-l.base, uint(pos&63)
	if at < 0 || at+3 >= len(l.w) {
		m := [2]uint64{lo, hi}
		s.addLong(l, m[:], pos, negative)
		return
	}
	w := l.w[at:]
	top := len(w) - 1
	w0, w1, w2 := lo<<shift, hi<<shift|lo>>(64-shift), hi>>(64-shift)
	before := w[top]
	var c uint64
	if negative {
		w[0], c = bits.Sub64(w[0], w0, 0)
		w[1], c = bits.Sub64(w[1], w1, c)
		w[2], c = bits.Sub64(w[2], w2, c)
		for i := 3; c != 0 && i <= top; i++ {
			w[i], c = bits.Sub64(w[i], 0, c)
		}
		if before == 1<<63 && w[top] == 1<<63-1 {
			l.w = append(l.w, ^uint64(0))
		}
		return
	}
	w[0], c = bits.Add64(w[0], w0, 0)
	w[1], c = bits.Add64(w[1], w1, c)
	w[2], c = bits.Add64(w[2], w2, c)
	for i := 3; c != 0 && i <= top; i++ {
		w[i], c = bits.Add64(w[i], 0, c)
	}
	if before == 1<<63-1 && w[top] == 1<<63 {
		l.w = append(l.w, 0)
	}
}

// addLong adds a number of up to four words, and makes room for more of its size.
func (s *moments) addLong(l *long, m []uint64, pos int, negative bool) {
	s.held -= l.bytes()
	l.add(m, pos, negative)
	if len(l.w) > 0 {
		for sign := signOf(l.w); len(l.w) < pos>>6-l.base+4; {
			l.w = append(l.w, sign)
		}
	}
	s.held += l.bytes()
}

// A state is the count, and unless that is 0: whether a number was special, and the sums.
func (s *moments) AppendState(dst []byte, group int) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.n[group]))
	if s.n[group] == 0 {
		return dst
	}
	var special byte
	if s.special[group] {
		special = 1
	}
	dst = append(dst, special)
	for _, l := range s.sums[group*s.kinds:][:s.kinds] {
		w, base := trim(l.w, l.base)
		dst = appendWords(dst, w, base)
	}
	return dst
}

func (s *moments) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	n := d.rows()
	if n == 0 {
		return d.end()
	}
	special := d.Byte()
	var buf [12]uint64
	for i := range s.kinds {
		w, base := d.words(buf[:0])
		if d.Failed() {
			return nil, vec.ErrCorrupt
		}
		l := &s.sums[group*s.kinds+i]
		s.held -= l.bytes()
		l.addLong(w, base)
		s.held += l.bytes()
	}
	s.n[group] += n
	s.special[group] = s.special[group] || special != 0
	return d.end()
}

func (s *moments) Result(from, to int) (*vec.Vec, error) {
	if s.stat == nil {
		v := vec.New(vec.Of(vec.Int), to-from)
		copy(v.Ints, s.n[from:to])
		return v, nil
	}
	v := vec.New(vec.Of(vec.Float), to-from)
	for i := range v.Floats {
		g := from + i
		m := sums{n: s.n[g]}
		if m.n == 0 {
			v.SetNull(i)
			continue
		}
		for k := range s.kinds {
			l := &s.sums[g*s.kinds+k]
			w, base := trim(l.w, l.base)
			degree := k + 1
			if s.pairs {
				degree = 1 + min(k/2, 1)
			}
			m.p[k] = scaled{bigWords(w, 0), 64*base - floatBias*degree}
		}
		f, ok := s.stat(&m)
		switch {
		case s.special[g] && (ok || m.n > 1):
			v.Floats[i] = math.NaN()
		case !ok:
			v.SetNull(i)
		default:
			v.Floats[i], _ = f.Float64()
		}
	}
	return v, nil
}

func (s *moments) Bytes() int64 {
	return 9*int64(cap(s.n)) + 32*int64(cap(s.sums)) + s.held
}
