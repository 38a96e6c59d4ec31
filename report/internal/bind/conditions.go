package bind

import (
	"github.com/layshaft/layshaft/report/internal/expr"
)

// and joins two conditions; the first may be nil.
func and(a, b *expr.Expr) (*expr.Expr, error) {
	if a == nil {
		return b, nil
	}
	return expr.Call("and", []*expr.Expr{a, b}, b.Offset)
}

// conjuncts returns the conditions that AND joins.
func conjuncts(x *expr.Expr) (all []*expr.Expr) {
	if x == nil {
		return nil
	}
	if x.Op == expr.OpCall && x.Name == "and" {
		for _, a := range x.Args {
			all = append(all, conjuncts(a)...)
		}
		return all
	}
	return factored(x)
}

// conjunction joins conditions with AND; nil for none. One call for all keeps thousands of
// conditions cheap.
func conjunction(all []*expr.Expr) (*expr.Expr, error) {
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return expr.Call("and", all, all[len(all)-1].Offset)
}

// split moves the equalities between the two sides of a join from its condition to its keys.
func split(n *Join) (Node, error) {
	width := len(n.Left.Columns())
	var rest []*expr.Expr
	for _, c := range conjuncts(n.Cond) {
		l, r, ok := equality(c, width)
		if !ok {
			rest = append(rest, c)
			continue
		}
		n.LeftKeys = append(n.LeftKeys, l)
		n.RightKeys = append(n.RightKeys, shift(r, -width))
	}
	var err error
	n.Cond, err = conjunction(rest)
	return n, err
}

// equality reports whether a condition compares an expression over the first width columns with one
// over the others, and returns the two.
func equality(c *expr.Expr, width int) (left, right *expr.Expr, ok bool) {
	if c.Op != expr.OpCall || c.Name != "=" || len(c.Args) != 2 || !c.Args[0].Type.Equal(c.Args[1].Type) {
		return nil, nil, false
	}
	a, b := sideOf(c.Args[0], width), sideOf(c.Args[1], width)
	switch {
	case a == onLeft && b == onRight:
		return c.Args[0], c.Args[1], true
	case a == onRight && b == onLeft:
		return c.Args[1], c.Args[0], true
	}
	return nil, nil, false
}

const (
	onLeft  = 1
	onRight = 2
)

// sideOf returns the sides of a join whose columns an expression uses.
func sideOf(x *expr.Expr, width int) (sides int) {
	x.Walk(func(e *expr.Expr) bool {
		if e.Op == expr.OpColumn {
			if e.Col < width {
				sides |= onLeft
			} else {
				sides |= onRight
			}
		}
		return true
	})
	return sides
}

// shift adds by to the numbers of all columns.
func shift(x *expr.Expr, by int) *expr.Expr {
	return x.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op == expr.OpColumn {
			return expr.Column(e.Col+by, e.Type, e.Name, e.Offset)
		}
		return nil
	})
}
