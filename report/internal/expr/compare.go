package expr

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// relation is a comparison.
type relation uint8

const (
	equal relation = iota
	unequal
	less
	lessEqual
	greater
	greaterEqual
)

var relations = map[string]relation{
	"=": equal, "==": equal, "<>": unequal, "!=": unequal, "<": less, "<=": lessEqual, ">": greater, ">=": greaterEqual,
	"is distinct from": unequal, "is not distinct from": equal,
}

// swapped returns the relation with its sides exchanged.
func (r relation) swapped() relation {
	return [...]relation{equal, unequal, greater, greaterEqual, less, lessEqual}[r]
}

// holds reports whether the relation is true for the result of a three-way comparison.
func (r relation) holds(c int) bool {
	switch r {
	case equal:
		return c == 0
	case unequal:
		return c != 0
	case less:
		return c < 0
	case lessEqual:
		return c <= 0
	case greater:
		return c > 0
	}
	return c >= 0
}

// bindCompare resolves a comparison by the types of its sides.
func bindCompare(op string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(op, args, 2, 2, offset); err != nil {
		return nil, err
	}
	op, args = withDate(op, args)
	a, b, err := comparable(op, args[0], args[1], offset)
	if err != nil {
		return nil, err
	}
	name := op
	switch op {
	case "!=":
		name = "<>"
	case "==":
		name = "="
	}
	k := compareKernel(relations[op], a.Type, b.Type)
	nulls := strict
	if strings.HasPrefix(op, "is ") {
		k, nulls = distinctKernel(k, op == "is distinct from"), nullable
	}
	return newCall(name, []*Expr{a, b}, vec.Of(vec.Bool), k, nulls, 2, offset), nil
}

// mirrored are the comparisons with the operands exchanged.
var mirrored = map[string]string{"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// withDate turns the comparison of a date with a constant timestamp into a comparison of two dates,
// which needs no cast of the column, and which the readers of files can use.
func withDate(given string, args []*Expr) (op string, _ []*Expr) {
	op = given
	same, known := mirrored[given]
	d, t := args[0], args[1]
	if d.Op == OpConst {
		op, d, t = same, t, d
	}
	if !known || d.Type.Kind != vec.Date || d.Op == OpConst || t.Type.Kind != vec.Timestamp && t.Type.Kind != vec.TimestampTZ || t.Op != OpConst || t.isNull() {
		return given, args
	}
	at := t.Value.Ints[0]
	on := floorDiv(at, day)
	if at != on*day {
		switch op {
		case "<":
			op = "<="
		case ">=":
			op = ">"
		case "=", "<>":
			return given, args
		}
	}
	v := vec.New(vec.Of(vec.Date), 1)
	v.Const, v.Ints[0] = true, on
	return op, []*Expr{d, Const(v, t.Offset)}
}

// comparable casts two expressions to types that can be compared: the same one, or decimals and
// integers of any scale.
func comparable(op string, a, b *Expr, offset int) (x, y *Expr, err error) {
	exact := func(k vec.Kind) bool { return k == vec.Int || k == vec.Decimal }
	switch {
	case exact(a.Type.Kind) && exact(b.Type.Kind):
		return sameScale(a, b), sameScale(b, a), nil
	case a.untyped && exact(b.Type.Kind):
		if x, err = literalNumber(a, b.Type); err != nil {
			return nil, nil, err
		}
		return comparable(op, x, b, offset)
	case b.untyped && exact(a.Type.Kind):
		if y, err = literalNumber(b, a.Type); err != nil {
			return nil, nil, err
		}
		return comparable(op, a, y, offset)
	}
	var t vec.Type
	ok := true
	switch {
	case a.untyped && b.untyped, a.untyped && b.Type.Kind == vec.Null, b.untyped && a.Type.Kind == vec.Null:
		t = vec.Of(vec.Text)
	case a.untyped:
		t = b.Type
	case b.untyped:
		t = a.Type
	default:
		t, ok = Common(a.Type, b.Type)
		if ok && a.Type.Kind != b.Type.Kind && (a.Type.Kind == vec.JSON || b.Type.Kind == vec.JSON) && a.Type.Kind != vec.Null && b.Type.Kind != vec.Null {
			return nil, nil, errorAt(offset, "%s %s %s cannot be compared; take the member as text with ->>", a.Type, op, b.Type)
		}
	}
	if !ok {
		to := a.Type
		if to.Kind == vec.Text || to.Kind == vec.JSON {
			to = b.Type
		}
		return nil, nil, errorAt(offset, "%s %s %s cannot be compared; cast one side, as in CAST(x AS %s)", a.Type, op, b.Type, to)
	}
	if x, err = Coerce(a, t); err != nil {
		return nil, nil, err
	}
	y, err = Coerce(b, t)
	return x, y, err
}

// literalNumber reads a text in quotes that is compared with an integer or a decimal.
func literalNumber(e *Expr, t vec.Type) (*Expr, error) {
	text := strings.TrimSpace(e.Value.String(0))
	digits := strings.TrimLeft(text, "+-")
	if n, err := ParseNumber(digits, e.Offset); err == nil && t.Kind == vec.Decimal && n.Type.Kind != vec.Float && len(text)-len(digits) <= 1 {
		if strings.HasPrefix(text, "-") {
			return bindSign("-", n, e.Offset)
		}
		return n, nil
	}
	return Coerce(e, t)
}

// sameScale returns a constant with the scale of other if that is exact, so that the kernel need
// not scale its rows.
func sameScale(e, other *Expr) *Expr {
	up := asDecimal(other.Type).Scale - asDecimal(e.Type).Scale
	if e.Op != OpConst || e.isNull() || up == 0 || other.Op == OpConst {
		return e
	}
	x := e.Value.Int128(0)
	if up < 0 {
		q, r := x.QuoRem(vec.Pow10(-up))
		if r.Sign() != 0 {
			return e
		}
		return Const(decimalVec(q, vec.MaxPrecision, other.Type.Scale), e.Offset)
	}
	if y, ok := x.Mul(vec.Pow10(up)); ok && isBelow(y, vec.Pow10(vec.MaxPrecision)) {
		return Const(decimalVec(y, vec.MaxPrecision, other.Type.Scale), e.Offset)
	}
	return e
}

// distinctKernel makes IS [NOT] DISTINCT FROM of <> or =.
func distinctKernel(k kernel, distinct bool) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, b := *args[0], *args[1]
		an, bn := a.Nulls, b.Nulls
		a.Nulls, b.Nulls = nil, nil
		v := vec.NullOf(vec.Of(vec.Bool), n)
		if a.Type.Kind != vec.Null {
			var err error
			if v, err = k([]*vec.Vec{&a, &b}, n); err != nil {
				return nil, err
			}
		}
		if an == nil && bn == nil && a.Type.Kind != vec.Null {
			return v, nil
		}
		out := make([]bool, n)
		for i := range out {
			x := an != nil && an[i&maskOf(args[0])]
			y := bn != nil && bn[i&maskOf(args[1])]
			if x || y {
				out[i] = (x != y) == distinct
			} else {
				out[i] = v.Bools[i]
			}
		}
		return vecOf(vec.Of(vec.Bool), out, nil), nil
	}
}

// compareKernel returns the kernel of a comparison of two types that comparable returned.
func compareKernel(r relation, a, b vec.Type) kernel {
	t := vec.Of(vec.Bool)
	run := func(compare func(out []bool, x, y *vec.Vec)) kernel {
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			out := make([]bool, n)
			compare(out, args[0], args[1])
			return vecOf(t, out, nullsOf(args, n)), nil
		}
	}
	switch a.Kind {
	case vec.Int, vec.Decimal:
		return run(func(out []bool, x, y *vec.Vec) { compareDecimals(r, out, x, y) })
	case vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		return run(func(out []bool, x, y *vec.Vec) { compareOrdered(r, out, x.Ints, maskOf(x), y.Ints, maskOf(y)) })
	case vec.Float:
		return run(func(out []bool, x, y *vec.Vec) { compareFloats(r, out, x.Floats, maskOf(x), y.Floats, maskOf(y)) })
	case vec.Text, vec.Blob, vec.JSON:
		return run(func(out []bool, x, y *vec.Vec) { compareOrdered(r, out, strs(x), maskOf(x), strs(y), maskOf(y)) })
	case vec.Bool:
		return run(func(out []bool, x, y *vec.Vec) {
			compareOrdered(r, out, bits01(x.Bools), maskOf(x), bits01(y.Bools), maskOf(y))
		})
	case vec.Interval:
		return run(func(out []bool, x, y *vec.Vec) {
			xm, ym := maskOf(x), maskOf(y)
			for i := range out {
				out[i] = r.holds(spanLength(x.Spans[i&xm]).Cmp(spanLength(y.Spans[i&ym])))
			}
		})
	case vec.Null:
		return func(_ []*vec.Vec, n int) (*vec.Vec, error) { return vec.NullOf(t, n), nil }
	}
	return run(func(out []bool, x, y *vec.Vec) {
		var p, q []byte
		for i := range out {
			p = x.AppendKey(p[:0], i, vec.Order{})
			q = y.AppendKey(q[:0], i, vec.Order{})
			out[i] = r.holds(bytes.Compare(p, q))
		}
	})
}

func bits01(b []bool) []int8 {
	out := make([]int8, len(b))
	for i, x := range b {
		if x {
			out[i] = 1
		}
	}
	return out
}

// compareDecimals compares integers and decimals of any scale.
func compareDecimals(r relation, out []bool, a, b *vec.Vec) {
	as, bs := a.Type.Scale, b.Type.Scale
	scale := max(as, bs)
	x, ok1 := rescaled(a, scale-as)
	y, ok2 := rescaled(b, scale-bs)
	am, bm := maskOf(a), maskOf(b)
	if ok1 && ok2 {
		compareOrdered(r, out, x, am, y, bm)
		return
	}
	p, q := wides(a), wides(b)
	fa, fb := vec.Pow10(scale-as), vec.Pow10(scale-bs)
	for i := range out {
		l, okl := p[i&am].Mul(fa)
		m, okm := q[i&bm].Mul(fb)
		if okl && okm {
			out[i] = r.holds(l.Cmp(m))
			continue
		}
		v, w := p[i&am].Big(), q[i&bm].Big()
		out[i] = r.holds(v.Mul(v, fa.Big()).Cmp(w.Mul(w, fb.Big())))
	}
}

// compareOrdered compares columns, or a column with a constant.
func compareOrdered[T cmp.Ordered](r relation, out []bool, a []T, am int, b []T, bm int) {
	if am == 0 {
		r, a, am, b, bm = r.swapped(), b, bm, a, am
	}
	switch {
	case am == 0:
		c := r.holds(cmp.Compare(a[0], b[0]))
		for i := range out {
			out[i] = c
		}
	case bm == 0:
		compareConst(r, out, a[:len(out)], b[0])
	default:
		compareColumns(r, out, a[:len(out)], b[:len(out)])
	}
}

func compareConst[T cmp.Ordered](r relation, out []bool, a []T, c T) {
	out = out[:len(a)]
	switch r {
	case equal:
		for i, x := range a {
			out[i] = x == c
		}
	case unequal:
		for i, x := range a {
			out[i] = x != c
		}
	case less:
		for i, x := range a {
			out[i] = x < c
		}
	case lessEqual:
		for i, x := range a {
			out[i] = x <= c
		}
	case greater:
		for i, x := range a {
			out[i] = x > c
		}
	case greaterEqual:
		for i, x := range a {
			out[i] = x >= c
		}
	}
}

func compareColumns[T cmp.Ordered](r relation, out []bool, a, b []T) {
	out, b = out[:len(a)], b[:len(a)]
	switch r {
	case equal:
		for i, x := range a {
			out[i] = x == b[i]
		}
	case unequal:
		for i, x := range a {
			out[i] = x != b[i]
		}
	case less:
		for i, x := range a {
			out[i] = x < b[i]
		}
	case lessEqual:
		for i, x := range a {
			out[i] = x <= b[i]
		}
	case greater:
		for i, x := range a {
			out[i] = x > b[i]
		}
	case greaterEqual:
		for i, x := range a {
			out[i] = x >= b[i]
		}
	}
}

// compareFloats is compareOrdered with NaN equal to NaN and greater than all numbers.
func compareFloats(r relation, out []bool, a []float64, am int, b []float64, bm int) {
	if am == 0 {
		r, a, am, b, bm = r.swapped(), b, bm, a, am
	}
	if bm == 0 && am != 0 && b[0] == b[0] {
		c := b[0]
		a = a[:len(out)]
		switch r {
		case greater:
			for i, x := range a {
				out[i] = !(x <= c)
			}
		case greaterEqual:
			for i, x := range a {
				out[i] = !(x < c)
			}
		default:
			compareConst(r, out, a, c)
		}
		return
	}
	for i := range out {
		out[i] = r.holds(orderFloats(a[i&am], b[i&bm]))
	}
}

// orderFloats compares two floats.
func orderFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	return cmp.Compare(nan01(a), nan01(b))
}

func nan01(x float64) int {
	if x != x {
		return 1
	}
	return 0
}
