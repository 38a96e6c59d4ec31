package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
)

// disjuncts returns the conditions that OR joins.
func disjuncts(x *expr.Expr) (all []*expr.Expr) {
	if x.Op == expr.OpCall && x.Name == "or" {
		for _, a := range x.Args {
			all = append(all, disjuncts(a)...)
		}
		return all
	}
	return []*expr.Expr{x}
}

// factored returns conditions whose conjunction is x: (a AND b) OR (a AND c) becomes a, (b OR c).
// So a can be a key of a join, or skip parts of files.
func factored(x *expr.Expr) []*expr.Expr {
	branches := disjuncts(x)
	if len(branches) == 1 {
		return branches
	}
	parts := make([][]*expr.Expr, len(branches))
	for i, b := range branches {
		parts[i] = conjuncts(b)
	}
	var common []*expr.Expr
	for _, c := range parts[0] {
		key := c.Key()
		same := func(e *expr.Expr) bool { return e.Key() == key }
		if slices.ContainsFunc(parts[1:], func(p []*expr.Expr) bool { return !slices.ContainsFunc(p, same) }) {
			continue
		}
		common = append(common, c)
		for i := range parts {
			parts[i] = slices.DeleteFunc(slices.Clone(parts[i]), same)
		}
	}
	if common == nil {
		return []*expr.Expr{x}
	}
	var rest *expr.Expr
	for _, p := range parts {
		b, err := conjunction(p)
		if err != nil || b == nil { // without a further condition, the others do not matter
			return common
		}
		if rest == nil {
			rest = b
		} else if rest, err = expr.Call("or", []*expr.Expr{rest, b}, x.Offset); err != nil {
			return []*expr.Expr{x}
		}
	}
	return append(common, rest)
}
