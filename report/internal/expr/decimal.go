package expr

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// divisionScale is the least number of digits after the point of a quotient of decimals.
// PostgreSQL gives at least 16 significant digits; here the type may not depend on the values.
const divisionScale = 16

// decimalArith returns the type and the kernel of an operator on decimals or integers.
//
//   - a + b, a - b: the larger scale, and one digit more before the point
//   - a * b: the sum of the scales
//   - a / b: 38 digits, 16 or more of them after the point; between integers of 128 bits and
//     integers the quotient is truncated
//   - a % b: the larger scale
//
// Precision ends at 38: a result with more digits is an error of its row.
func decimalArith(op string, a, b vec.Type) (vec.Type, kernel, error) {
	scale := max(a.Scale, b.Scale)
	before := max(a.Precision-a.Scale, b.Precision-b.Scale)
	limit := func(precision int) int { return min(precision, vec.MaxPrecision) }
	switch op {
	case "+", "-":
		t := vec.DecimalOf(limit(before+scale+1), scale)
		return t, addDecimals(op, t, a.Scale, b.Scale), nil
	case "*":
		if a.Scale+b.Scale > vec.MaxPrecision {
			return vec.Type{}, nil, errorAt(noOffset, "%s * %s needs %d digits after the point, and decimals have at most %d; "+
				"cast an operand to fewer, as in CAST(x AS decimal(18,6))", a, b, a.Scale+b.Scale, vec.MaxPrecision)
		}
		t := vec.DecimalOf(limit(a.Precision+b.Precision), a.Scale+b.Scale)
		return t, mulDecimals(t), nil
	case "/":
		if a.Scale == 0 && b.Scale == 0 && (isHuge(a) || isHuge(b)) {
			return vec.HugeInt, divDecimals(op, vec.HugeInt, 0, 0), nil
		}
		t := vec.DecimalOf(vec.MaxPrecision, max(scale, divisionScale))
		return t, divDecimals(op, t, a.Scale, b.Scale), nil
	case "//":
		return vec.HugeInt, divDecimals(op, vec.HugeInt, a.Scale, b.Scale), nil
	}
	t := vec.DecimalOf(limit(before+scale), scale)
	return t, divDecimals(op, t, a.Scale, b.Scale), nil
}

// isHuge reports whether t is the type of sums of integers.
func isHuge(t vec.Type) bool { return t.Equal(vec.HugeInt) }

// rescaled returns the values of a narrow vector times 10^by; ok is false if one does not fit.
func rescaled(v *vec.Vec, by int) (out []int64, ok bool) {
	if v.Wide != nil || by > 18 {
		return nil, false
	}
	if by == 0 {
		return v.Ints, true
	}
	f, _ := vec.Pow10(by).Int64()
	out = make([]int64, len(v.Ints))
	return out, mulInts(out, v.Ints, -1, []int64{f}, 0)
}

func addDecimals(op string, t vec.Type, as, bs int) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, aok := rescaled(args[0], t.Scale-as)
		b, bok := rescaled(args[1], t.Scale-bs)
		am, bm := maskOf(args[0]), maskOf(args[1])
		nulls := nullsOf(args, n)
		if aok && bok {
			out := make([]int64, n)
			ok := false
			if op == "+" {
				ok = addInts(out, a, am, b, bm)
			} else {
				ok = subInts(out, a, am, b, bm)
			}
			if ok {
				return vecOf(t, out, nulls), nil
			}
		}
		x, y := wides(args[0]), wides(args[1])
		fx, fy := vec.Pow10(t.Scale-as), vec.Pow10(t.Scale-bs)
		limit := vec.Pow10(t.Precision)
		return each(t, args, n, func(i int) (vec.Int128, error) {
			l, ok1 := x[i&am].Mul(fx)
			r, ok2 := y[i&bm].Mul(fy)
			var s vec.Int128
			var ok3 bool
			if op == "+" {
				s, ok3 = l.Add(r)
			} else {
				s, ok3 = l.Sub(r)
			}
			if !ok1 || !ok2 || !ok3 || !isBelow(s, limit) {
				return s, decimalOverflow(op, x[i&am], as, y[i&bm], bs)
			}
			return s, nil
		})
	}
}

// isBelow reports whether the absolute value of x is less than limit.
func isBelow(x, limit vec.Int128) bool {
	if x.Hi < 0 {
		x = x.Neg()
	}
	return x.Hi >= 0 && x.Cmp(limit) < 0
}

func decimalOverflow(op string, a vec.Int128, as int, b vec.Int128, bs int) error {
	return rowError(0, "%s %s %s needs more than %d digits; cast an operand to double", vec.AppendDecimal(nil, a, as), op,
		vec.AppendDecimal(nil, b, bs), vec.MaxPrecision)
}

func mulDecimals(t vec.Type) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		am, bm := maskOf(args[0]), maskOf(args[1])
		nulls := nullsOf(args, n)
		if args[0].Wide == nil && args[1].Wide == nil {
			out := make([]int64, n)
			if mulInts(out, args[0].Ints, am, args[1].Ints, bm) {
				return vecOf(t, out, nulls), nil
			}
		}
		x, y := wides(args[0]), wides(args[1])
		limit := vec.Pow10(vec.MaxPrecision)
		as, bs := args[0].Type.Scale, args[1].Type.Scale
		return each(t, args, n, func(i int) (vec.Int128, error) {
			p, ok := x[i&am].Mul(y[i&bm])
			if !ok || !isBelow(p, limit) {
				return p, decimalOverflow("*", x[i&am], as, y[i&bm], bs)
			}
			return p, nil
		})
	}
}

// divDecimals returns the kernel of /, // and %. A quotient is rounded half away from zero, and
// truncated if it is an integer of integers.
func divDecimals(op string, t vec.Type, as, bs int) kernel {
	up := vec.Pow10(min(max(t.Scale-as+bs, 0), vec.MaxPrecision))
	truncate := op == "//" || t.Scale == 0
	limit := vec.Pow10(vec.MaxPrecision)
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		if v := divNarrow(op, t, args, n, t.Scale-as+bs, truncate); v != nil {
			return v, nil
		}
		x, y := wides(args[0]), wides(args[1])
		am, bm := maskOf(args[0]), maskOf(args[1])
		return each(t, args, n, func(i int) (vec.Int128, error) {
			a, b := x[i&am], y[i&bm]
			if b.Sign() == 0 {
				return a, divisionByZero(i)
			}
			if op == "%" {
				return remainder(a, b, as, bs, t.Scale), nil
			}
			if num, ok := a.Mul(up); ok && t.Scale-as+bs >= 0 && t.Scale-as+bs <= vec.MaxPrecision {
				if truncate {
					q, _ := num.QuoRem(b)
					return q, nil
				}
				if b.Hi < 0 {
					num, b = num.Neg(), b.Neg()
				}
				if b.Hi < 1<<61 {
					if q := num.RoundQuo(b); isBelow(q, limit) {
						return q, nil
					}
					return a, decimalOverflow(op, a, as, y[i&bm], bs)
				}
			}
			q, ok := bigQuotient(a, b, t.Scale-as+bs, truncate)
			if !ok || !isBelow(q, limit) {
				return q, decimalOverflow(op, x[i&am], as, y[i&bm], bs)
			}
			return q, nil
		})
	}
}

// divNarrow computes quotients of 64 bits. It returns nil if an operand or a result has more, or if
// a divisor is 0.
func divNarrow(op string, t vec.Type, args []*vec.Vec, n, up int, truncate bool) *vec.Vec {
	if op == "%" || args[0].Wide != nil || args[1].Wide != nil || up < 0 || up > 19 {
		return nil
	}
	factor := vec.Pow10(up).Lo
	a, am := args[0].Ints, maskOf(args[0])
	b, bm := args[1].Ints, maskOf(args[1])
	nulls := nullsOf(args, n)
	out := make([]int64, n)
	for i := range out {
		if nulls != nil && nulls[i] {
			continue
		}
		x, y := a[i&am], b[i&bm]
		sign := (x ^ y) >> 63
		ux, uy := uint64((x^x>>63)-x>>63), uint64((y^y>>63)-y>>63)
		hi, lo := bits.Mul64(ux, factor)
		if hi >= uy { // also if y is 0
			return nil
		}
		q, r := bits.Div64(hi, lo, uy)
		if !truncate && r >= uy-r {
			q++
		}
		if q > math.MaxInt64 {
			return nil
		}
		out[i] = (int64(q) ^ sign) - sign
	}
	return vecOf(t, out, nulls)
}

func bigPow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// bigQuotient returns a * 10^up / b.
func bigQuotient(a, b vec.Int128, up int, truncate bool) (vec.Int128, bool) {
	num, den := a.Big(), b.Big()
	if up >= 0 {
		num.Mul(num, bigPow10(up))
	} else {
		den.Mul(den, bigPow10(-up))
	}
	negative := num.Sign()*den.Sign() < 0
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if !truncate && r.Abs(r).Lsh(r, 1).CmpAbs(den) >= 0 {
		if negative {
			q.Sub(q, big.NewInt(1))
		} else {
			q.Add(q, big.NewInt(1))
		}
	}
	return vec.Int128OfBig(q)
}

// remainder returns a % b at a scale. It has the sign of a.
func remainder(a, b vec.Int128, as, bs, scale int) vec.Int128 {
	x, ok1 := a.Mul(vec.Pow10(scale - as))
	y, ok2 := b.Mul(vec.Pow10(scale - bs))
	if ok1 && ok2 {
		_, r := x.QuoRem(y)
		return r
	}
	num := a.Big()
	den := b.Big()
	num.Rem(num.Mul(num, bigPow10(scale-as)), den.Mul(den, bigPow10(scale-bs)))
	r, _ := vec.Int128OfBig(num)
	return r
}
