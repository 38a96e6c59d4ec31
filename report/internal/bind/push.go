package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
)

// pushConditions moves conditions as near to the files as possible, and orders inner joins: the
// largest input is read row by row, and the smaller ones are joined to it, those with an equality
// first.
func pushConditions(n Node) Node { return push(n, nil) }

// push returns a node that keeps the rows of n for which all conditions are true. They are over the
// columns of n.
func push(n Node, conds []*expr.Expr) Node {
	switch n := n.(type) {
	case *Filter:
		return push(n.In, append(conjuncts(n.Cond), conds...))
	case *Project:
		var below, here []*expr.Expr
		for _, c := range conds {
			if plainColumns(c, n.Exprs) {
				below = append(below, substituted(c, n.Exprs))
			} else {
				here = append(here, c)
			}
		}
		return filtered(&Project{push(n.In, below), n.Exprs, n.Cols}, here)
	case *Aggregate:
		first := len(n.Cols) - len(n.Aggs)
		var below, here []*expr.Expr
		for _, c := range conds {
			if n.Sets == nil && len(n.Keys) > 0 && highest(c) < first && plainColumns(c, n.Keys) {
				below = append(below, substituted(c, n.Keys))
			} else {
				here = append(here, c)
			}
		}
		a := *n
		a.In = push(n.In, below)
		return filtered(&a, here)
	case *Sort:
		if n.Limit >= 0 {
			return filtered(&Sort{push(n.In, nil), n.Keys, n.Limit}, conds)
		}
		return &Sort{push(n.In, conds), n.Keys, n.Limit}
	case *Limit:
		return filtered(&Limit{push(n.In, nil), n.Skip, n.N}, conds)
	case *Distinct:
		var below, here []*expr.Expr
		for _, c := range conds {
			if onlyUses(c, n.Keys) {
				below = append(below, c)
			} else {
				here = append(here, c)
			}
		}
		return filtered(&Distinct{push(n.In, below), n.Keys}, here)
	case *Union:
		u := *n
		u.Ins = nil
		for _, in := range n.Ins {
			u.Ins = append(u.Ins, push(in, conds))
		}
		return &u
	case *SetOp:
		s := *n
		s.Left, s.Right = push(n.Left, nil), push(n.Right, nil)
		return filtered(&s, conds)
	case *Window:
		w := *n
		w.In = push(n.In, nil)
		return filtered(&w, conds)
	case *Unnest:
		below, here := divide(conds, len(n.In.Columns()))
		u := *n
		u.In = push(n.In, below)
		return filtered(&u, here)
	case *Join:
		return pushJoin(n, conds)
	}
	return filtered(n, conds)
}

// filtered adds a Filter unless there are no conditions.
func filtered(n Node, conds []*expr.Expr) Node {
	cond, err := conjunction(conds)
	if err != nil || cond == nil { // conditions are booleans, which AND always takes
		return n
	}
	return &Filter{n, cond}
}

// plainColumns reports whether the columns that a condition uses are plain columns or constants
// among exprs, so that nothing is computed twice.
func plainColumns(c *expr.Expr, exprs []*expr.Expr) bool {
	plain := true
	c.Walk(func(e *expr.Expr) bool {
		if e.Op == expr.OpColumn {
			x := exprs[e.Col]
			plain = plain && (x.Op == expr.OpColumn || x.IsConst())
		}
		return plain
	})
	return plain
}

// substituted replaces columns by expressions.
func substituted(c *expr.Expr, exprs []*expr.Expr) *expr.Expr {
	return c.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op == expr.OpColumn {
			return exprs[e.Col]
		}
		return nil
	})
}

// highest returns the highest column that an expression uses, -1 for none.
func highest(x *expr.Expr) int {
	h := -1
	x.Walk(func(e *expr.Expr) bool {
		if e.Op == expr.OpColumn {
			h = max(h, e.Col)
		}
		return true
	})
	return h
}

// onlyUses reports whether an expression uses none but the given columns.
func onlyUses(x *expr.Expr, cols []int) bool {
	only := true
	x.Walk(func(e *expr.Expr) bool {
		only = only && (e.Op != expr.OpColumn || slices.Contains(cols, e.Col))
		return only
	})
	return only
}

// divide separates the conditions over the first width columns from the others.
func divide(conds []*expr.Expr, width int) (first, others []*expr.Expr) {
	for _, c := range conds {
		if highest(c) < width {
			first = append(first, c)
		} else {
			others = append(others, c)
		}
	}
	return first, others
}

func pushJoin(n *Join, conds []*expr.Expr) Node {
	if n.Kind == Inner {
		return orderJoins(n, conds)
	}
	j := *n
	var below, here []*expr.Expr
	if n.Kind == Full {
		here = conds
	} else {
		below, here = divide(conds, len(n.Left.Columns()))
	}
	j.Left, j.Right = push(n.Left, below), push(n.Right, nil)
	return filtered(&j, here)
}

// relation is an input of a tree of inner joins.
type relation struct {
	node  Node
	first int // its first column among the columns of all relations
	width int
	conds []*expr.Expr
	size  int64
	raw   int64 // the size without its conditions
}

// orderJoins flattens a tree of inner joins, gives each condition to the relations that it needs,
// and joins them again.
func orderJoins(n *Join, conds []*expr.Expr) Node {
	var rels []*relation
	conds = append(flatten(n, 0, &rels), conds...)
	var joins []*expr.Expr
	for _, c := range conds {
		low, high := lowest(c), highest(c)
		i := slices.IndexFunc(rels, func(r *relation) bool { return low >= r.first && high < r.first+r.width })
		if i >= 0 {
			rels[i].conds = append(rels[i].conds, shift(c, -rels[i].first))
		} else {
			joins = append(joins, c) // constants, too
		}
	}
	for _, r := range rels {
		r.raw = Size(r.node)
		r.node = push(r.node, r.conds)
		r.size = Size(r.node)
	}
	cols := n.Columns()
	to := make([]int, len(cols)) // where each column is in the joined node; -1 for not yet
	for i := range to {
		to[i] = -1
	}
	place := func(r *relation, at int) {
		for i := range r.width {
			to[r.first+i] = at + i
		}
	}
	largest := 0
	for i, r := range rels {
		if r.size > rels[largest].size {
			largest = i
		}
	}
	fan := newFanout(rels, joins, len(cols))
	node := rels[largest].node
	place(rels[largest], 0)
	rels = slices.Delete(rels, largest, largest+1)
	for len(rels) > 0 {
		best, linked, rows := -1, false, int64(0)
		for i, r := range rels {
			n, l := fan.of(r, joins, to)
			if best < 0 || l && !linked || l == linked && (n < rows || n == rows && r.size < rels[best].size) {
				best, linked, rows = i, l, n
			}
		}
		r := rels[best]
		rels = slices.Delete(rels, best, best+1)
		j := cross(node, r.node)
		place(r, len(node.Columns()))
		var rest []*expr.Expr
		for _, c := range joins {
			if !placedAll(c, to) {
				rest = append(rest, c)
				continue
			}
			m := renumber(c, to)
			if l, rk, ok := equality(m, len(node.Columns())); ok {
				j.LeftKeys = append(j.LeftKeys, l)
				j.RightKeys = append(j.RightKeys, shift(rk, -len(node.Columns())))
				continue
			}
			if x, err := and(j.Cond, m); err == nil {
				j.Cond = x
			}
		}
		joins = rest
		node = j
	}
	node = filtered(node, renumberAll(joins, to))
	p := &Project{In: node, Cols: cols}
	same := true
	for i, c := range cols {
		same = same && to[i] == i
		p.Exprs = append(p.Exprs, expr.Column(to[i], c.Type, c.Name, 0))
	}
	if same {
		if j, ok := node.(*Join); ok {
			j.Cols = cols
			return j
		}
	}
	return p
}

// flatten collects the inputs of inner joins, and returns their conditions over the columns of all
// inputs. first is the number of the first column of n.
func flatten(n Node, first int, rels *[]*relation) (conds []*expr.Expr) {
	switch j := n.(type) {
	case *Filter:
		if _, ok := j.In.(*Join); ok {
			conds = flatten(j.In, first, rels)
			for _, c := range conjuncts(j.Cond) {
				conds = append(conds, shift(c, first))
			}
			return conds
		}
	case *Join:
		if j.Kind != Inner {
			break
		}
		width := len(j.Left.Columns())
		conds = append(flatten(j.Left, first, rels), flatten(j.Right, first+width, rels)...)
		for i := range j.LeftKeys {
			eq, err := expr.Call("=", []*expr.Expr{shift(j.LeftKeys[i], first), shift(j.RightKeys[i], first+width)}, j.LeftKeys[i].Offset)
			if err == nil { // the two were compared before
				conds = append(conds, eq)
			}
		}
		for _, c := range conjuncts(j.Cond) {
			conds = append(conds, shift(c, first))
		}
		return conds
	}
	*rels = append(*rels, &relation{node: n, first: first, width: len(n.Columns())})
	return nil
}

// lowest returns the lowest column that an expression uses, -1 for none.
func lowest(x *expr.Expr) int {
	l := -1
	x.Walk(func(e *expr.Expr) bool {
		if e.Op == expr.OpColumn && (l < 0 || e.Col < l) {
			l = e.Col
		}
		return true
	})
	return l
}

// links reports whether a condition is an equality between placed columns and columns of r.
func links(c *expr.Expr, to []int, r *relation) bool {
	if c.Op != expr.OpCall || c.Name != "=" {
		return false
	}
	placed, own := false, false
	for _, a := range c.Args {
		all, of := highest(a) >= 0, highest(a) >= 0
		a.Walk(func(e *expr.Expr) bool {
			if e.Op == expr.OpColumn {
				all = all && to[e.Col] >= 0
				of = of && e.Col >= r.first && e.Col < r.first+r.width
			}
			return true
		})
		placed, own = placed || all, own || of
	}
	return placed && own
}

// placedAll reports whether all columns of an expression have a place.
func placedAll(x *expr.Expr, to []int) bool {
	all := true
	x.Walk(func(e *expr.Expr) bool {
		all = all && (e.Op != expr.OpColumn || to[e.Col] >= 0)
		return all
	})
	return all
}

// Size estimates the bytes that a node emits. It compares inputs of joins, no more.
func Size(n Node) int64 {
	switch n := n.(type) {
	case *Scan:
		return n.Table.Bytes
	case *Values:
		return int64(len(n.Rows)) * 16
	case *Filter:
		return Size(n.In) / 2
	case *Aggregate, *Distinct:
		return Size(n.Inputs()[0]) / 4
	case *Limit:
		if n.N >= 0 {
			return min(Size(n.In), n.N*100)
		}
		return Size(n.In)
	case *Union:
		total := int64(0)
		for _, in := range n.Ins {
			total += Size(in)
		}
		return total
	case *Join:
		if len(n.LeftKeys) == 0 && n.Kind == Inner {
			return Size(n.Left) + Size(n.Right)*16
		}
		return max(Size(n.Left), Size(n.Right))
	}
	return Size(n.Inputs()[0])
}
