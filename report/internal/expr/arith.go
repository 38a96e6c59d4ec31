package expr

import (
	"math"
	"math/bits"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// bindArith resolves + - * / // % by the types of the arguments.
//
// Integers give integers, and their division truncates. Decimals and integers give decimals. A
// float makes the result a float. Dates, times and intervals are in temporal.go.
func bindArith(op string, args []*Expr, offset int) (*Expr, error) {
	if len(args) == 1 && (op == "-" || op == "+") {
		return bindSign(op, args[0], offset)
	}
	if err := arity(op, args, 2, 2, offset); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if e, err := bindTemporal(op, a, b, offset); e != nil || err != nil {
		return e, err
	}
	a, b, err := arithOperands(op, a, b, offset)
	if err != nil {
		return nil, err
	}
	args = []*Expr{a, b}
	switch {
	case a.Type.Kind == vec.Float:
		return newCall(op, args, a.Type, floatKernel(op), strict, 2, offset), nil
	case a.Type.Kind == vec.Int && b.Type.Kind == vec.Int:
		return newCall(op, args, a.Type, intKernel(op), strict, 2, offset), nil
	}
	t, k, err := decimalArith(op, decimalType(a), decimalType(b))
	if err != nil {
		if x, ok := err.(*Error); ok {
			x.Offset = offset
		}
		return nil, err
	}
	return newCall(op, args, t, k, strict, 4, offset), nil
}

// arithOperands casts the operands: both to floats, or each to an integer or a decimal.
func arithOperands(op string, a, b *Expr, offset int) (x, y *Expr, err error) {
	side := func(e, other *Expr) (*Expr, error) {
		switch {
		case e.Type.IsNumber():
			return e, nil
		case e.untyped && other.Type.IsNumber():
			if other.Type.Kind == vec.Decimal {
				return Coerce(e, vec.DecimalOf(vec.MaxPrecision, other.Type.Scale))
			}
			return Coerce(e, other.Type)
		case e.Type.Kind == vec.Null && other.Type.IsNumber():
			return Coerce(e, other.Type)
		case e.Type.Kind == vec.Null && (other.Type.Kind == vec.Null || other.untyped):
			return Coerce(e, vec.Of(vec.Int))
		case e.untyped && other.untyped:
			return Coerce(e, vec.Of(vec.Int))
		case e.untyped && other.Type.Kind == vec.Null:
			return Coerce(e, vec.Of(vec.Int))
		}
		return nil, noOperator(op, a, b, offset)
	}
	if x, err = side(a, b); err != nil {
		return nil, nil, err
	}
	if y, err = side(b, a); err != nil {
		return nil, nil, err
	}
	if x.Type.Kind == vec.Float || y.Type.Kind == vec.Float {
		if x, err = Coerce(x, vec.Of(vec.Float)); err != nil {
			return nil, nil, err
		}
		y, err = Coerce(y, vec.Of(vec.Float))
	}
	return x, y, err
}

// noOperator explains that an operator does not exist for its operands.
func noOperator(op string, a, b *Expr, offset int) error {
	bad := a
	if a.Type.IsNumber() {
		bad = b
	}
	switch bad.Type.Kind {
	case vec.Text, vec.JSON:
		return errorAt(offset, "%s %s %s is no operation; cast the %s, as in CAST(x AS double)", a.Type, op, b.Type, bad.Type)
	}
	return errorAt(offset, "%s %s %s is no operation", a.Type, op, b.Type)
}

// decimalType returns the type of a number seen as a decimal. Constant integers have as many digits
// as their value.
func decimalType(e *Expr) vec.Type {
	if e.Type.Kind == vec.Int && e.Op == OpConst && !e.isNull() {
		digits := 1
		for x := e.Value.Ints[0]; x <= -10 || x >= 10; x /= 10 {
			digits++
		}
		return vec.DecimalOf(digits, 0)
	}
	return asDecimal(e.Type)
}

func bindSign(op string, a *Expr, offset int) (*Expr, error) {
	if a.untyped || a.Type.Kind == vec.Null {
		var err error
		if a, err = Coerce(a, vec.Of(vec.Int)); err != nil {
			return nil, err
		}
	}
	if !a.Type.IsNumber() && a.Type.Kind != vec.Interval {
		return nil, errorAt(offset, "%s %s is no operation", op, a.Type)
	}
	if op == "+" {
		return a, nil
	}
	t := a.Type
	// the smallest integer is read as a decimal, because its digits do not fit without the sign
	if t.Kind == vec.Decimal && a.Op == OpConst && t.Scale == 0 && !a.isNull() && a.Value.Int128(0) == (vec.Int128{Hi: 0, Lo: 1 << 63}) {
		return Int(math.MinInt64, offset), nil
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v, mask := args[0], maskOf(args[0])
		nulls := nullsOf(args, n)
		switch {
		case t.Kind == vec.Float:
			out := make([]float64, n)
			for i := range out {
				out[i] = -v.Floats[i&mask]
			}
			return vecOf(t, out, nulls), nil
		case t.Kind == vec.Interval:
			return each(t, args, n, func(i int) (vec.Span, error) { return negate(v.Spans[i&mask]) })
		case v.Wide != nil:
			out := make([]vec.Int128, n)
			for i := range out {
				out[i] = v.Wide[i&mask].Neg()
			}
			return vecOf(t, out, nulls), nil
		}
		out := make([]int64, n)
		bad := false
		for i := range out {
			x := v.Ints[i&mask]
			out[i] = -x
			bad = bad || x == math.MinInt64
		}
		if !bad {
			return vecOf(t, out, nulls), nil
		}
		if t.Kind == vec.Decimal {
			out := make([]vec.Int128, n)
			for i := range out {
				out[i] = vec.Int128Of(v.Ints[i&mask]).Neg()
			}
			return vecOf(t, out, nulls), nil
		}
		for i := range out {
			if v.Ints[i&mask] == math.MinInt64 && (nulls == nil || !nulls[i]) {
				return nil, intOverflow(i, "-(", v.Ints[i&mask], ")")
			}
		}
		return vecOf(t, out, nulls), nil
	}
	return newCall("-", []*Expr{a}, t, k, strict, 1, offset), nil
}

// intOverflow returns the error of a row whose result needs more than 64 bits.
func intOverflow(row int, parts ...any) error {
	s := ""
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			s += p
		case int64:
			s += itoa(int(p))
		}
	}
	return rowError(row, "%s is out of range for bigint; cast an operand, as in CAST(x AS hugeint)", s)
}

func divisionByZero(row int) error {
	return rowError(row, "division by zero; write NULLIF(divisor, 0) for NULL")
}

// intKernel returns the kernel of an operator on integers.
func intKernel(op string) kernel {
	t := vec.Of(vec.Int)
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := args[0].Ints, maskOf(args[0])
		b, bm := args[1].Ints, maskOf(args[1])
		out := make([]int64, n)
		nulls := nullsOf(args, n)
		var ok bool
		switch op {
		case "+":
			ok = addInts(out, a, am, b, bm)
		case "-":
			ok = subInts(out, a, am, b, bm)
		case "*":
			ok = mulInts(out, a, am, b, bm)
		}
		if ok {
			return vecOf(t, out, nulls), nil
		}
		for i := range out {
			if nulls != nil && nulls[i] {
				continue
			}
			x, y := a[i&am], b[i&bm]
			var r int64
			fits := true
			switch op {
			case "+":
				r = x + y
				fits = (x^r)&(y^r) >= 0
			case "-":
				r = x - y
				fits = (x^y)&(x^r) >= 0
			case "*":
				r, fits = vec.Mul64(x, y).Int64()
			default:
				if y == 0 {
					return nil, divisionByZero(i)
				}
				if op == "%" {
					if y != -1 {
						r = x % y
					}
					break
				}
				fits = x != math.MinInt64 || y != -1
				r = x / y
			}
			if !fits {
				return nil, intOverflow(i, x, " "+op+" ", y)
			}
			out[i] = r
		}
		return vecOf(t, out, nulls), nil
	}
}

// addInts computes a + b and reports whether all sums fit.
func addInts(out, a []int64, am int, b []int64, bm int) bool {
	var bad int64
	switch {
	case bm == 0 && len(a) >= len(out):
		y := b[0]
		a = a[:len(out)]
		for i, x := range a {
			s := x + y
			bad |= (x ^ s) & (y ^ s)
			out[i] = s
		}
	case am == 0:
		return addInts(out, b, bm, a, am)
	default:
		a, b = a[:len(out)], b[:len(out)]
		for i, x := range a {
			y := b[i]
			s := x + y
			bad |= (x ^ s) & (y ^ s)
			out[i] = s
		}
	}
	return bad >= 0
}

// subInts computes a - b and reports whether all differences fit.
func subInts(out, a []int64, am int, b []int64, bm int) bool {
	var bad int64
	if am < 0 && bm < 0 {
		a, b = a[:len(out)], b[:len(out)]
		for i, x := range a {
			y := b[i]
			s := x - y
			bad |= (x ^ y) & (x ^ s)
			out[i] = s
		}
		return bad >= 0
	}
	for i := range out {
		x, y := a[i&am], b[i&bm]
		s := x - y
		bad |= (x ^ y) & (x ^ s)
		out[i] = s
	}
	return bad >= 0
}

// mulInts computes a * b and reports whether all products fit.
func mulInts(out, a []int64, am int, b []int64, bm int) bool {
	var bad uint64
	if am == 0 {
		a, am, b, bm = b, bm, a, am
	}
	switch {
	case am == 0:
		r, ok := vec.Mul64(a[0], b[0]).Int64()
		for i := range out {
			out[i] = r
		}
		return ok
	case bm == 0:
		y := b[0]
		a = a[:len(out)]
		for i, x := range a {
			hi, lo := bits.Mul64(uint64(x), uint64(y))
			hi -= uint64(x>>63)&uint64(y) + uint64(y>>63)&uint64(x)
			bad |= hi ^ uint64(int64(lo)>>63)
			out[i] = int64(lo)
		}
	default:
		a, b = a[:len(out)], b[:len(out)]
		for i, x := range a {
			y := b[i]
			hi, lo := bits.Mul64(uint64(x), uint64(y))
			hi -= uint64(x>>63)&uint64(y) + uint64(y>>63)&uint64(x)
			bad |= hi ^ uint64(int64(lo)>>63)
			out[i] = int64(lo)
		}
	}
	return bad == 0
}

// floatKernel returns the kernel of an operator on floats. A finite computation with an infinite
// result is an error, as in PostgreSQL.
func floatKernel(op string) kernel {
	t := vec.Of(vec.Float)
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := args[0].Floats, maskOf(args[0])
		b, bm := args[1].Floats, maskOf(args[1])
		out := make([]float64, n)
		nulls := nullsOf(args, n)
		switch op {
		case "+":
			for i := range out {
				out[i] = a[i&am] + b[i&bm]
			}
		case "-":
			for i := range out {
				out[i] = a[i&am] - b[i&bm]
			}
		case "*":
			for i := range out {
				out[i] = a[i&am] * b[i&bm]
			}
		default:
			for i := range out {
				x, y := a[i&am], b[i&bm]
				if y == 0 && (nulls == nil || !nulls[i]) && x == x {
					return nil, divisionByZero(i)
				}
				switch op {
				case "%":
					out[i] = math.Mod(x, y)
				case "//":
					out[i] = math.Trunc(x / y)
				default:
					out[i] = x / y
				}
			}
		}
		for i, x := range out {
			if x-x == 0 || x != x || nulls != nil && nulls[i] {
				continue
			}
			if x, y := a[i&am], b[i&bm]; !math.IsInf(x, 0) && !math.IsInf(y, 0) {
				return nil, rowError(i, "%v %s %v is out of range for double", x, op, y)
			}
		}
		return vecOf(t, out, nulls), nil
	}
}
