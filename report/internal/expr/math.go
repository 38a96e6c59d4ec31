package expr

import (
	"math"
	"math/big"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// floatFunc returns a function of one float. Results that are infinite or no number for a number
// are errors, as in PostgreSQL.
func floatFunc(name string, f func(float64) float64) function {
	return def(name, "double", try1(vec.Float, func(x float64) (float64, error) {
		y := f(x)
		if y-y != 0 && x-x == 0 {
			return 0, rowError(0, "%s(%v) is not defined", name, x)
		}
		return y, nil
	}))
}

// logarithm returns a logarithm, which needs a positive number.
func logarithm(names string, f func(float64) float64) function {
	return def(names, "double", try1(vec.Float, func(x float64) (float64, error) {
		if x <= 0 {
			return 0, rowError(0, "the logarithm of %v is not defined; it needs a positive number", x)
		}
		return f(x), nil
	}))
}

func power(x, y float64) (float64, error) {
	r := math.Pow(x, y)
	switch {
	case r-r == 0 || x-x != 0 || y-y != 0:
		return r, nil
	case x == 0:
		return 0, rowError(0, "zero to the negative power %v is not defined", y)
	case math.IsNaN(r):
		return 0, rowError(0, "%v ^ %v: a negative number to a fraction is not defined", x, y)
	}
	return 0, rowError(0, "%v ^ %v is out of range for double", x, y)
}

// roundFloat rounds to digits after the point: halves to even as in PostgreSQL without digits, and
// the shortest decimal digits half away from zero with them.
func roundFloat(x float64, digits int64) float64 {
	if x-x != 0 || digits > 30 {
		return x
	}
	if digits < -300 {
		return 0
	}
	if digits < 0 {
		p := math.Pow10(int(-digits))
		return math.Round(x/p) * p
	}
	d, ok := floatToDecimal(x, vec.MaxPrecision, int(digits))
	if !ok {
		return x
	}
	return decimalFloat(d, int(digits))
}

// rounding is the direction in which decimals lose digits.
type rounding uint8

const (
	roundHalf rounding = iota
	roundTrunc
	roundFloor
	roundCeil
)

// dropDigits removes n decimal digits.
func dropDigits(x vec.Int128, n int, how rounding) vec.Int128 {
	if n == 0 {
		return x
	}
	if n > vec.MaxPrecision {
		return vec.Int128{}
	}
	p := vec.Pow10(n)
	if how == roundHalf {
		return x.RoundQuo(p)
	}
	q, r := x.QuoRem(p)
	switch {
	case how == roundFloor && r.Sign() < 0:
		q, _ = q.Sub(vec.Int128Of(1))
	case how == roundCeil && r.Sign() > 0:
		q, _ = q.Add(vec.Int128Of(1))
	}
	return q
}

// roundDecimals returns the binding that rounds a decimal to the digits of its second argument, 0
// without one. A constant number of digits becomes the scale of the type; otherwise the type stays.
func roundDecimals(how rounding) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		from := asDecimal(args[0].Type)
		scale, constant := 0, true
		if len(args) > 1 {
			constant = args[1].Op == OpConst && !args[1].isNull()
			if constant {
				scale = int(min(max(args[1].Value.Ints[0], -vec.MaxPrecision), vec.MaxPrecision))
			}
		}
		t := from
		if constant {
			t.Scale = min(from.Scale, max(scale, 0))
			// rounding up may need one digit more
			t.Precision = min(vec.MaxPrecision, from.Precision-from.Scale+t.Scale+1)
		}
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			if drop := from.Scale - t.Scale; constant && how == roundHalf && args[0].Wide == nil && scale >= 0 && drop <= 18 {
				return vecOf(t, roundNarrow(args[0], n, drop), nullsOf(args, n)), nil
			}
			x, m := wides(args[0]), maskOf(args[0])
			return each(t, args, n, func(i int) (vec.Int128, error) {
				digits := scale
				if !constant {
					digits = int(min(max(args[1].Ints[i&maskOf(args[1])], -vec.MaxPrecision-1), vec.MaxPrecision))
				}
				drop := from.Scale - digits
				if drop <= 0 {
					return x[i&m], nil
				}
				r := dropDigits(x[i&m], drop, how)
				// back to the scale of the type
				up := t.Scale - digits
				r, ok := r.Mul(vec.Pow10(min(max(up, 0), vec.MaxPrecision)))
				if !ok || !isBelow(r, vec.Pow10(t.Precision)) {
					return r, rowError(0, "%s rounded to %d digits is out of range for %s", vec.AppendDecimal(nil, x[i&m], from.Scale), digits, t)
				}
				return r, nil
			})
		}, nil
	}
}

// roundNarrow removes digits from decimals of 64 bits.
func roundNarrow(v *vec.Vec, n, drop int) []int64 {
	p, _ := vec.Pow10(drop).Int64()
	mask := maskOf(v)
	out := make([]int64, n)
	for i := range out {
		x := v.Ints[i&mask]
		q, r := x/p, x%p
		switch {
		case r >= p-r:
			q++
		case -r >= p+r:
			q--
		}
		out[i] = q
	}
	return out
}

// roundInts rounds an integer to a negative number of digits.
func roundInts(how rounding) binding {
	return try2(vec.Int, func(x, digits int64) (int64, error) {
		if digits >= 0 {
			return x, nil
		}
		if digits < -vec.MaxPrecision {
			return 0, nil
		}
		r := dropDigits(vec.Int128Of(x), int(-digits), how)
		r, _ = r.Mul(vec.Pow10(int(-digits)))
		y, ok := r.Int64()
		if !ok {
			return 0, rowError(0, "%d rounded to %d digits is out of range for bigint", x, digits)
		}
		return y, nil
	})
}

func same[T value](k vec.Kind) binding { return of1(k, func(x T) T { return x }) }

// decimalOf1 returns the binding of a function that keeps the type of a decimal.
func decimalOf1(f func(vec.Int128) vec.Int128) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		t := args[0].Type
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			x, m := wides(args[0]), maskOf(args[0])
			return each(t, args, n, func(i int) (vec.Int128, error) { return f(x[i&m]), nil })
		}, nil
	}
}

func gcd(a, b int64) (int64, error) {
	for b != 0 {
		if b == -1 {
			return 1, nil
		}
		a, b = b, a%b
	}
	if a == math.MinInt64 {
		return 0, rowError(0, "the greatest common divisor is out of range for bigint")
	}
	return abs(a), nil
}

func factorial(n int64) (vec.Int128, error) {
	if n < 0 || n > 33 {
		return vec.Int128{}, rowError(0, "factorial(%d) is out of range; it takes 0 to 33", n)
	}
	x, _ := vec.Int128OfBig(new(big.Int).MulRange(1, n))
	return x, nil
}

// widthBucket returns the number of the bucket of x among count buckets of equal width from low to
// high: 0 below them and count+1 above.
func widthBucket(args []*vec.Vec, n int) (*vec.Vec, error) {
	f := func(a, i int) float64 { return args[a].Floats[i&maskOf(args[a])] }
	return each(vec.Of(vec.Int), args, n, func(i int) (int64, error) {
		x, low, high, count := f(0, i), f(1, i), f(2, i), args[3].Ints[i&maskOf(args[3])]
		switch {
		case count <= 0:
			return 0, rowError(0, "width_bucket: the number of buckets must be positive, not %d", count)
		case low == high || low-low != 0 || high-high != 0 || x != x:
			return 0, rowError(0, "width_bucket: the bounds must be finite and differ, and the value a number")
		case low > high && x > low, low < high && x < low:
			return 0, nil
		case low > high && x <= high, low < high && x >= high:
			return count + 1, nil
		}
		return int64(float64(count)*((x-low)/(high-low))) + 1, nil
	})
}

func bitShift(left bool) binding {
	return of2(vec.Int, func(x, n int64) int64 {
		switch {
		case n < 0 || n > 63:
			if !left && x < 0 && n > 63 {
				return -1
			}
			return 0
		case left:
			return x << n
		}
		return x >> n
	})
}

func mathFunctions() []function {
	fl := func(names string, f func(float64) float64) function { return def(names, "double", of1(vec.Float, f)) }
	absolute := func(x vec.Int128) vec.Int128 {
		if x.Sign() < 0 {
			return x.Neg()
		}
		return x
	}
	deg := math.Pi / 180
	return []function{
		def("abs @", "int", try1(vec.Int, func(x int64) (int64, error) {
			if x == math.MinInt64 {
				return 0, intOverflow(0, "abs(", x, ")")
			}
			return abs(x), nil
		})),
		def("abs @", "decimal", decimalOf1(absolute)), fl("abs @", math.Abs),
		def("sign", "int", of1(vec.Int, func(x int64) int64 { return int64(vec.Int128Of(x).Sign()) })),
		def("sign", "decimal", always(vec.Of(vec.Int), func(args []*vec.Vec, n int) (*vec.Vec, error) {
			x, m := wides(args[0]), maskOf(args[0])
			return each(vec.Of(vec.Int), args, n, func(i int) (int64, error) { return int64(x[i&m].Sign()), nil })
		})),
		fl("sign", func(x float64) float64 {
			if x == 0 || x != x {
				return x
			}
			return math.Copysign(1, x)
		}),
		def("ceil ceiling", "int", same[int64](vec.Int)), def("ceil ceiling", "decimal", roundDecimals(roundCeil)), fl("ceil ceiling", math.Ceil),
		def("floor", "int", same[int64](vec.Int)), def("floor", "decimal", roundDecimals(roundFloor)), fl("floor", math.Floor),
		def("trunc", "int", same[int64](vec.Int)), def("trunc", "decimal", roundDecimals(roundTrunc)), fl("trunc", math.Trunc),
		def("trunc", "int int", roundInts(roundTrunc)), def("trunc", "decimal int", roundDecimals(roundTrunc)),
		def("trunc", "double int", of2(vec.Float, func(x float64, n int64) float64 {
			p := math.Pow10(int(min(max(n, -300), 300)))
			if r := math.Trunc(x*p) / p; r-r == 0 {
				return r
			}
			return x
		})),
		def("round", "int", same[int64](vec.Int)), def("round", "decimal", roundDecimals(roundHalf)), fl("round", math.RoundToEven),
		def("round", "int int", roundInts(roundHalf)), def("round", "decimal int", roundDecimals(roundHalf)),
		def("round", "double int", of2(vec.Float, roundFloat)),
		def("round_even", "double", of1(vec.Float, math.RoundToEven)),
		def("sqrt", "double", try1(vec.Float, func(x float64) (float64, error) {
			if x < 0 {
				return 0, rowError(0, "the square root of the negative number %v is not defined", x)
			}
			return math.Sqrt(x), nil
		})),
		fl("cbrt", math.Cbrt), floatFunc("exp", math.Exp),
		logarithm("ln", math.Log), logarithm("log log10", math.Log10), logarithm("log2", math.Log2),
		def("log", "double double", try2(vec.Float, func(b, x float64) (float64, error) {
			if b <= 0 || x <= 0 || b == 1 {
				return 0, rowError(0, "log(%v, %v) is not defined; it needs a positive base other than 1 and a positive number", b, x)
			}
			return math.Log(x) / math.Log(b), nil
		})),
		def("^ power pow", "double double", try2(vec.Float, power)),
		floatFunc("sin", math.Sin), floatFunc("cos", math.Cos), floatFunc("tan", math.Tan), floatFunc("asin", math.Asin),
		floatFunc("acos", math.Acos), floatFunc("atan", math.Atan), floatFunc("sinh", math.Sinh), floatFunc("cosh", math.Cosh),
		floatFunc("tanh", math.Tanh), floatFunc("asinh", math.Asinh), floatFunc("acosh", math.Acosh), floatFunc("atanh", math.Atanh),
		floatFunc("cot", func(x float64) float64 { return 1 / math.Tan(x) }),
		def("atan2", "double double", of2(vec.Float, math.Atan2)),
		fl("degrees", func(x float64) float64 { return x / deg }), fl("radians", func(x float64) float64 { return x * deg }),
		def("pi", "", always(vec.Of(vec.Float), func([]*vec.Vec, int) (*vec.Vec, error) { return Float(math.Pi, 0).Value, nil })),
		def("gcd greatest_common_divisor", "int int", try2(vec.Int, gcd)),
		def("lcm least_common_multiple", "int int", try2(vec.Int, func(a, b int64) (int64, error) {
			g, err := gcd(a, b)
			if err != nil || g == 0 {
				return 0, err
			}
			r, ok := vec.Mul64(a/g, b).Int64()
			if !ok || r == math.MinInt64 {
				return 0, intOverflow(0, "lcm(", a, ", ", b, ")")
			}
			return abs(r), nil
		})),
		def("factorial", "int", try1Of(vec.HugeInt, factorial)),
		def("width_bucket", "double double double int", always(vec.Of(vec.Int), widthBucket)),
		def("isnan", "double", of1(vec.Bool, func(x float64) bool { return x != x })),
		def("isinf", "double", of1(vec.Bool, func(x float64) bool { return math.IsInf(x, 0) })),
		def("even", "double", of1(vec.Float, func(x float64) float64 {
			return math.Copysign(2*math.Ceil(math.Abs(x)/2), x)
		})),
		def("&", "int int", of2(vec.Int, func(a, b int64) int64 { return a & b })),
		def("|", "int int", of2(vec.Int, func(a, b int64) int64 { return a | b })),
		def("xor", "int int", of2(vec.Int, func(a, b int64) int64 { return a ^ b })),
		def("bitwise_not", "int", of1(vec.Int, func(a int64) int64 { return ^a })),
		def("bit_count", "int", of1(vec.Int, func(a int64) int64 {
			n := int64(0)
			for u := uint64(a); u != 0; u &= u - 1 {
				n++
			}
			return n
		})),
		def("<<", "int int", bitShift(true)), def(">>", "int int", bitShift(false)),
	}
}

// try1Of is try1 with a type that has parameters.
func try1Of[A, R value](t vec.Type, f func(A) (R, error)) binding {
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		return each(t, args, n, func(i int) (R, error) { return f(a[i&am]) })
	})
}

// bindExtreme resolves greatest and least. NULL is left out.
func bindExtreme(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, unlimited, offset); err != nil {
		return nil, err
	}
	cast, err := Unify(args, name)
	if err != nil {
		return nil, err
	}
	r := greater
	if name == "least" {
		r = less
	}
	t := cast[0].Type
	compare := compareKernel(r, t, t)
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		best := args[0]
		choice := make([]int32, n)
		for p := 1; p < len(args); p++ {
			v := args[p]
			better, err := compare([]*vec.Vec{v, best}, n)
			if err != nil {
				return nil, err
			}
			for i := range choice {
				choice[i] = 0
				if !v.Null(i) && (best.Null(i) || better.Bools[i&maskOf(better)]) {
					choice[i] = 1
				}
			}
			best = blend(t, choice, []*vec.Vec{best, v})
		}
		return best, nil
	}
	return newCall(name, cast, t, k, nullable, 4*len(args), offset), nil
}
