package aggr

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	register("sum", 1, 1, "x", func(c *call, f *Func) error {
		switch f.Args[0].Kind {
		case vec.Null, vec.Bool, vec.Int:
			f.Args[0] = vec.Of(vec.Int)
			f.Result = vec.HugeInt
		case vec.Decimal:
			f.Result = vec.DecimalOf(vec.MaxPrecision, f.Args[0].Scale)
		case vec.Float:
			f.Result = vec.Of(vec.Float)
			f.newState = func() State { return &floatSums{} }
			return nil
		case vec.Interval:
			f.Result = f.Args[0]
			f.newState = func() State { return &spanSums{f: f} }
			return nil
		default:
			return c.refuse(0, "a number or an interval")
		}
		f.newState = func() State { return &intSums{f: f} }
		return nil
	})
	register("avg mean", 1, 1, "x", func(c *call, f *Func) error {
		f.Result = vec.Of(vec.Float)
		switch f.Args[0].Kind {
		case vec.Null, vec.Bool, vec.Int:
			f.Args[0] = vec.Of(vec.Int)
		case vec.Decimal:
		case vec.Float:
			f.newState = func() State { return &floatSums{mean: true} }
			return nil
		default:
			return c.refuse(0, "a number")
		}
		scale := f.Args[0].Scale
		f.newState = func() State { return &intSums{f: f, scale: scale} }
		return nil
	})
}

// intSum is the sum of n integers or unscaled decimals.
type intSum struct {
	lo uint64
	hi int64
	n  int64
}

// intSums adds integers and decimals exactly. The result is a sum if its type is a decimal, else an
// average.
type intSums struct {
	s []intSum
	// over has the bits above 128 of each sum. It is nil until a sum needs them, so that a sum that
	// comes back below the limit is right in any order.
	over  []int64
	f     *Func
	scale int
}

func (s *intSums) Resize(groups int) {
	s.s = grow(s.s, groups)
	if s.over != nil {
		s.over = grow(s.over, groups)
	}
}

func (s *intSums) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	sums := s.s
	switch {
	case v.Wide != nil:
		for i, g := range groups {
			if v.Nulls == nil || !v.Nulls[i] {
				s.add(int(g), v.Wide[i])
				sums[g].n++
			}
		}
	case v.Nulls != nil:
		ints, nulls := v.Ints[:len(groups)], v.Nulls[:len(groups)]
		for i, g := range groups {
			if !nulls[i] {
				sums[g].add(ints[i])
			}
		}
	default:
		ints := v.Ints[:len(groups)]
		for i, g := range groups {
			sums[g].add(ints[i])
		}
	}
	return nil
}

func (x *intSum) add(v int64) {
	var carry uint64
	x.lo, carry = bits.Add64(x.lo, uint64(v), 0)
	x.hi += v>>63 + int64(carry)
	x.n++
}

// add adds a wide number to a group without counting it.
func (s *intSums) add(group int, v vec.Int128) {
	x := &s.s[group]
	sum, ok := vec.Int128{Hi: x.hi, Lo: x.lo}.Add(v)
	x.lo, x.hi = sum.Lo, sum.Hi
	if !ok {
		if s.over == nil {
			s.over = make([]int64, len(s.s))
		}
		// the sign of the wrapped sum is wrong
		if sum.Hi < 0 {
			s.over[group]++
		} else {
			s.over[group]--
		}
	}
}

func (s *intSums) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := expand(args[0])
	x := &s.s[group]
	if v.Wide != nil {
		for i, w := range v.Wide[:n] {
			if v.Nulls == nil || !v.Nulls[i] {
				s.add(int(group), w)
				x.n++
			}
		}
		return nil
	}
	// the halves of 1,024 numbers cannot overflow
	var high, low int64
	if v.Nulls == nil {
		for _, i := range v.Ints[:n] {
			high += i >> 32
			low += i & math.MaxUint32
		}
	} else {
		nulls := v.Nulls[:n]
		for i, y := range v.Ints[:n] {
			if !nulls[i] {
				high += y >> 32
				low += y & math.MaxUint32
			}
		}
	}
	total, _ := vec.Mul64(high, 1<<32).Add(vec.Int128Of(low))
	s.add(int(group), total)
	x.n += int64(n - nullCount(args, n))
	return nil
}

// A state is the count, and unless that is 0: a byte with the form of the sum, and the sum.
const (
	sumNarrow = iota // a zigzag varint
	sumWide          // 16 bytes
	sumOver          // 16 bytes and a zigzag varint with the bits above
)

func (s *intSums) AppendState(dst []byte, group int) []byte {
	x := &s.s[group]
	dst = binary.AppendUvarint(dst, uint64(x.n))
	switch {
	case x.n == 0:
		return dst
	case s.over != nil && s.over[group] != 0:
		dst = appendWide(append(dst, sumOver), x.hi, x.lo)
		return binary.AppendVarint(dst, s.over[group])
	case x.hi == int64(x.lo)>>63:
		return binary.AppendVarint(append(dst, sumNarrow), int64(x.lo))
	}
	return appendWide(append(dst, sumWide), x.hi, x.lo)
}

// AppendShiftedSum appends the state of the sum of x + c, where s has the sums of integers x.
func AppendShiftedSum(dst []byte, s State, group int, c int64) []byte {
	x := s.(*intSums).s[group]
	sum, _ := vec.Int128{Hi: x.hi, Lo: x.lo}.Add(vec.Mul64(c, x.n)) // below 128 bits, like all sums of integers
	x.hi, x.lo = sum.Hi, sum.Lo
	return (&intSums{s: []intSum{x}}).AppendState(dst, 0)
}

func appendWide(dst []byte, hi int64, lo uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, uint64(hi)), lo)
}

func (s *intSums) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	n := d.rows()
	if n == 0 {
		return d.end()
	}
	var v vec.Int128
	form := d.Byte()
	switch form {
	case sumNarrow:
		v = vec.Int128Of(d.Int())
	case sumWide, sumOver:
		v = vec.Int128{Hi: int64(d.Word()), Lo: d.Word()}
	default:
		return nil, vec.ErrCorrupt
	}
	var over int64
	if form == sumOver {
		over = d.Int()
	}
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	s.add(group, v)
	s.s[group].n += n
	if over != 0 {
		if s.over == nil {
			s.over = make([]int64, len(s.s))
		}
		s.over[group] += over
	}
	return rest, nil
}

func (s *intSums) Result(from, to int) (*vec.Vec, error) {
	b := vec.NewBuilder(s.f.Result, to-from)
	for g := from; g < to; g++ {
		x := &s.s[g]
		sum := vec.Int128{Hi: x.hi, Lo: x.lo}
		over := s.over != nil && s.over[g] != 0
		switch {
		case x.n == 0:
			b.AppendNull()
		case s.f.Result.Kind == vec.Float:
			b.AppendFloat(s.average(g))
		case over || sum.Cmp(vec.Pow10(38)) >= 0 || sum.Cmp(vec.Pow10(38).Neg()) <= 0:
			return nil, s.f.tooLarge()
		default:
			b.AppendInt128(sum)
		}
	}
	return b.Done(), nil
}

// average returns the average of a group that is not empty, rounded once.
func (s *intSums) average(g int) float64 {
	const exact = 1 << 53 // integers up to this limit are exact as floats
	x := &s.s[g]
	over := s.over != nil && s.over[g] != 0
	if !over && x.hi == int64(x.lo)>>63 && int64(x.lo) <= exact && int64(x.lo) >= -exact && s.scale <= 15 {
		if hi, n := bits.Mul64(uint64(x.n), pow10[s.scale]); hi == 0 && n <= exact {
			return float64(int64(x.lo)) / float64(n)
		}
	}
	sum := vec.Int128{Hi: x.hi, Lo: x.lo}.Big()
	if over {
		sum.Add(sum, new(big.Int).Lsh(big.NewInt(s.over[g]), 128))
	}
	n := new(big.Int).Mul(big.NewInt(x.n), vec.Pow10(s.scale).Big())
	f, _ := new(big.Rat).SetFrac(sum, n).Float64()
	return f
}

// pow10 are the powers of ten that fit into 64 bits.
var pow10 = func() (p [19]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

func (s *intSums) Bytes() int64 { return 24*int64(cap(s.s)) + 8*int64(cap(s.over)) }
