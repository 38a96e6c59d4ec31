package exec

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// countsUnique reports whether all aggregates are count(DISTINCT x) of one column, of which nearly
// all values differ. The sets of the few groups would hold all rows, each in the memory of one
// task.
func countsUnique(n *bind.Aggregate) bool {
	if n.Sets != nil || len(n.Aggs) == 0 {
		return false
	}
	for _, a := range n.Aggs {
		if a.Func.Name != "count" || !a.Func.Distinct || a.Filter != nil || len(a.Args) != 1 || a.Args[0].Key() != n.Aggs[0].Args[0].Key() {
			return false
		}
	}
	return isUnique(n.In, n.Aggs[0].Args[0])
}

// isUnique reports whether an expression over the columns of an operator is a column of a table
// with unique values.
func isUnique(n bind.Node, x *expr.Expr) bool {
	for x.Op == expr.OpColumn {
		switch in := n.(type) {
		case *bind.Filter:
			n = in.In
		case *bind.Project:
			n, x = in.In, in.Exprs[x.Col]
		case *bind.Scan:
			return slices.Contains(in.Table.Unique, in.Cols[x.Col].Name)
		default:
			return false
		}
	}
	return false
}

// countInTwoSteps groups by the keys and the value first, and counts the values of each group then.
// So the values are spread over all tasks, and may exceed the memory.
func (p *plan) countInTwoSteps(n *bind.Aggregate) batches {
	x := n.Aggs[0].Args[0]
	values := &bind.Aggregate{In: n.In, Keys: append(slices.Clone(n.Keys), x)}
	for _, k := range values.Keys {
		values.Cols = append(values.Cols, bind.Column{Name: "key", Type: k.Type})
	}
	counts := &bind.Aggregate{In: values, Keys: []*expr.Expr{}, Cols: n.Cols}
	for i := range n.Keys {
		counts.Keys = append(counts.Keys, keyColumn(values.Cols, i))
	}
	value := keyColumn(values.Cols, len(n.Keys))
	for range n.Aggs {
		count, err := aggr.Bind("count", []vec.Type{value.Type}, []*vec.Vec{nil}, false, nil, 0)
		if err != nil {
			panic(err) // count takes every type
		}
		counts.Aggs = append(counts.Aggs, &bind.Agg{Func: count, Args: []*expr.Expr{value}})
	}
	return p.aggregate(counts)
}
