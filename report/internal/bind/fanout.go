package bind

import "github.com/layshaft/layshaft/report/internal/expr"

// fanout estimates how many rows of a relation match one row of the relations joined so far.
//
// Nothing is known about the values of columns. But columns that equalities connect have at most as
// many values as the smallest of their tables has rows. So a join of customers to suppliers by
// nation makes many pairs, because there are few nations, and a join by the key of customers does
// not.
type fanout struct {
	// class leads from a column to another one of its class, or to itself.
	class []int
	// least is the size of the smallest relation with a column of a class, by the last column of
	// its chain.
	least []int64
}

func newFanout(rels []*relation, joins []*expr.Expr, columns int) *fanout {
	f := &fanout{make([]int, columns), make([]int64, columns)}
	for _, r := range rels {
		for i := range r.width {
			f.class[r.first+i], f.least[r.first+i] = r.first+i, r.raw
		}
	}
	for _, c := range joins {
		if a, b, ok := columnsEqual(c); ok {
			if a, b = f.find(a), f.find(b); a != b {
				f.class[b], f.least[a] = a, min(f.least[a], f.least[b])
			}
		}
	}
	return f
}

// find returns the last column of the chain of a column.
func (f *fanout) find(col int) int {
	for f.class[col] != col {
		col = f.class[col]
	}
	return col
}

// of returns the estimate for a relation by the equalities that link it to placed columns, and
// whether there is one.
func (f *fanout) of(r *relation, joins []*expr.Expr, to []int) (rows int64, linked bool) {
	for _, c := range joins {
		if !links(c, to, r) {
			continue
		}
		x := int64(1)
		if a, _, ok := columnsEqual(c); ok {
			x = r.raw / max(1, f.least[f.find(a)])
		}
		if !linked || x < rows {
			rows, linked = x, true
		}
	}
	return rows, linked
}

// columnsEqual reports whether a condition is an equality of two columns.
func columnsEqual(c *expr.Expr) (a, b int, ok bool) {
	if c.Op != expr.OpCall || c.Name != "=" || len(c.Args) != 2 || c.Args[0].Op != expr.OpColumn || c.Args[1].Op != expr.OpColumn {
		return 0, 0, false
	}
	return c.Args[0].Col, c.Args[1].Col, true
}
