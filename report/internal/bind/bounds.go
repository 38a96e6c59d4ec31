package bind

import (
	"strings"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// bounding has the operators of conditions that can leave out row groups and files, and the same
// with exchanged sides.
var bounding = map[string]string{"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// addBounds gives each Scan the conditions of the Filter on it that are about one column.
func addBounds(n Node) {
	for _, in := range n.Inputs() {
		addBounds(in)
	}
	f, ok := n.(*Filter)
	if !ok {
		return
	}
	s, ok := f.In.(*Scan)
	if !ok {
		return
	}
	for _, c := range conjuncts(f.Cond) {
		s.Bounds = append(s.Bounds, boundsOf(c)...)
	}
}

// boundsOf returns what a condition shows about one column.
func boundsOf(c *expr.Expr) []scan.Bound {
	column := func(x *expr.Expr) bool { return x.Op == expr.OpColumn }
	switch {
	case c.Op == expr.OpIn && !c.Negated && column(c.Args[0]):
		return inBound(c)
	case c.Op != expr.OpCall:
		return nil
	case c.Name == "is null" && column(c.Args[0]):
		return []scan.Bound{{Column: c.Args[0].Col, Op: "is null"}}
	case c.Name == "not" && c.Args[0].Op == expr.OpCall && c.Args[0].Name == "is null" && column(c.Args[0].Args[0]):
		return []scan.Bound{{Column: c.Args[0].Args[0].Col, Op: "is not null"}}
	case c.Name == "like" && len(c.Args) == 2 && column(c.Args[0]) && c.Args[0].Type.Kind == vec.Text:
		return prefixBounds(c.Args[0].Col, c.Args[1])
	}
	mirrored, ok := bounding[c.Name]
	if !ok || len(c.Args) != 2 {
		return nil
	}
	a, b, op := c.Args[0], c.Args[1], c.Name
	if column(b) {
		a, b, op = b, a, mirrored
	}
	if !column(a) {
		return nil
	}
	v := valueOf(b)
	if v == nil || v.Null(0) {
		return nil // the Filter reports the error
	}
	if v, op = boundOf(v, op, a.Type); v == nil {
		return nil
	}
	return []scan.Bound{{Column: a.Col, Op: op, Values: v}}
}

// valueOf returns the value of a constant, or nil.
func valueOf(x *expr.Expr) *vec.Vec {
	if !x.IsConst() {
		return nil
	}
	v, err := expr.Fold(x)
	if err != nil {
		return nil
	}
	return v.Value
}

// inBound returns the bound of a column IN a list of constants.
func inBound(c *expr.Expr) []scan.Bound {
	t := c.Args[0].Type
	all := vec.NewBuilder(t, len(c.Args)-1)
	for _, x := range c.Args[1:] {
		v := valueOf(x)
		if v == nil {
			return nil
		}
		if v.Null(0) {
			continue
		}
		exact, op := boundOf(v, "=", t)
		if exact == nil || op != "=" {
			return nil
		}
		all.Append(exact, 0)
	}
	return []scan.Bound{{Column: c.Args[0].Col, Op: "in", Values: all.Done()}}
}

// prefixBounds returns the bounds of a column LIKE 'abc%': from abc, and below abd.
func prefixBounds(column int, pattern *expr.Expr) []scan.Bound {
	v := valueOf(pattern)
	if v == nil || v.Null(0) {
		return nil
	}
	text := v.String(0)
	end := strings.IndexAny(text, `%_\`)
	if end < 0 {
		end = len(text)
	}
	if end == 0 || text[end-1] >= 0x7f {
		return nil
	}
	bound := func(op, text string) scan.Bound {
		return scan.Bound{Column: column, Op: op, Values: expr.Text(text, 0).Value}
	}
	return []scan.Bound{bound(">=", text[:end]), bound("<", text[:end-1]+string(text[end-1]+1))}
}

// boundOf returns a constant as a value of the type of the column that it is compared with, and the
// operator for that: x > 2.5 is x > 2 for an integer. It returns nil if there is none.
func boundOf(v *vec.Vec, op string, t vec.Type) (*vec.Vec, string) {
	if v.Type.Equal(t) {
		return v, op
	}
	exact := func(k vec.Kind) bool { return k == vec.Int || k == vec.Decimal }
	if !exact(v.Type.Kind) || !exact(t.Kind) {
		return nil, ""
	}
	x, ok := v.Int128(0), true
	if up := t.Scale - v.Type.Scale; up >= 0 {
		x, ok = x.Mul(vec.Pow10(up))
	} else {
		q, r := x.QuoRem(vec.Pow10(-up))
		switch {
		case r.Sign() == 0:
		case op == ">" || op == ">=":
			op = ">"
		case op == "<" || op == "<=":
			op = "<="
		default:
			return nil, "" // no value of the type is equal
		}
		if r.Sign() < 0 { // q is the whole number below
			q, _ = q.Sub(vec.Int128Of(1))
		}
		x = q
	}
	if !ok {
		return nil, ""
	}
	b := vec.NewBuilder(t, 1)
	if t.Kind == vec.Int {
		n, fits := x.Int64()
		if !fits {
			return nil, ""
		}
		b.AppendInt(n)
	} else {
		if least := vec.Pow10(t.Precision); x.Cmp(least) >= 0 || x.Neg().Cmp(least) >= 0 {
			return nil, ""
		}
		b.AppendInt128(x)
	}
	return b.Done(), op
}
