package bind

import (
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Constants returns the values of all constants of a tree, in order. Two bindings of one statement
// at different times have equal ones exactly if the tree does not depend on the time.
func Constants(n Node) (all []string) {
	var visit func(xs ...*expr.Expr)
	visit = func(xs ...*expr.Expr) {
		for _, x := range xs {
			if x == nil {
				continue
			}
			if x.Op == expr.OpConst {
				all = append(all, string(x.Value.AppendKey(nil, 0, vec.Order{})))
			}
			visit(x.Args...)
		}
	}
	switch n := n.(type) {
	case *Scan:
		for _, b := range n.Bounds {
			if b.Values != nil {
				all = append(all, string(vec.AppendRow(nil, []*vec.Vec{b.Values}, 0)))
			}
		}
	case *Values:
		for _, row := range n.Rows {
			visit(row...)
		}
	case *Filter:
		visit(n.Cond)
	case *Project:
		visit(n.Exprs...)
	case *Aggregate:
		visit(n.Keys...)
		for _, a := range n.Aggs {
			visit(a.Args...)
			visit(a.Filter)
		}
	case *Sort:
		for _, k := range n.Keys {
			visit(k.X)
		}
	case *Join:
		visit(n.LeftKeys...)
		visit(n.RightKeys...)
		visit(n.Cond)
	case *Window:
		visit(n.Partition...)
		for _, k := range n.Order {
			visit(k.X)
		}
		for _, c := range n.Calls {
			visit(c.Args...)
			visit(c.Filter)
		}
	case *Unnest:
		visit(n.X)
	}
	for _, in := range n.Inputs() {
		all = append(all, Constants(in)...)
	}
	return all
}
