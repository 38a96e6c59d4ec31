package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
)

// pruneAll leaves out all columns that nothing needs. The columns of the root stay.
func pruneAll(n Node) Node {
	need := make([]bool, len(n.Columns()))
	for i := range need {
		need[i] = true
	}
	n, _ = prune(n, need)
	return n
}

// use marks the columns of expressions.
func use(need []bool, exprs ...*expr.Expr) {
	for _, x := range exprs {
		if x == nil {
			continue
		}
		x.Walk(func(e *expr.Expr) bool {
			if e.Op == expr.OpColumn {
				need[e.Col] = true
			}
			return true
		})
	}
}

// renumber renumbers the columns of an expression.
func renumber(x *expr.Expr, to []int) *expr.Expr {
	if x == nil {
		return nil
	}
	return x.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op == expr.OpColumn {
			return expr.Column(to[e.Col], e.Type, e.Name, e.Offset)
		}
		return nil
	})
}

func renumberAll(xs []*expr.Expr, to []int) []*expr.Expr {
	all := make([]*expr.Expr, len(xs))
	for i, x := range xs {
		all[i] = renumber(x, to)
	}
	return all
}

// kept returns the columns that are needed, and the new number of each.
func kept(cols []Column, need []bool) (left []Column, to []int) {
	to = make([]int, len(cols))
	for i, c := range cols {
		to[i] = len(left)
		if need[i] {
			left = append(left, c)
		} else {
			to[i] = -1
		}
	}
	return left, to
}

// prune returns a node with the needed columns, and the new number of each old column; -1 for those
// left out. Some nodes keep more columns than needed.
func prune(n Node, need []bool) (Node, []int) {
	all := func(cols []Column) []bool { return slices.Repeat([]bool{true}, len(cols)) }
	switch n := n.(type) {
	case *Scan:
		s := *n
		var to []int
		s.Cols, to = kept(n.Cols, need)
		return &s, to
	case *Values:
		v := *n
		var to []int
		v.Cols, to = kept(n.Cols, need)
		v.Rows = make([][]*expr.Expr, len(n.Rows))
		for r, row := range n.Rows {
			v.Rows[r] = []*expr.Expr{}
			for i, x := range row {
				if need[i] {
					v.Rows[r] = append(v.Rows[r], x)
				}
			}
		}
		return &v, to
	case *Filter:
		inner := slices.Clone(need)
		use(inner, n.Cond)
		in, to := prune(n.In, inner)
		return &Filter{in, renumber(n.Cond, to)}, to
	case *Project:
		p := &Project{}
		var to []int
		p.Cols, to = kept(n.Cols, need)
		for i, x := range n.Exprs {
			if need[i] {
				p.Exprs = append(p.Exprs, x)
			}
		}
		inner := make([]bool, len(n.In.Columns()))
		use(inner, p.Exprs...)
		in, moves := prune(n.In, inner)
		p.In, p.Exprs = in, renumberAll(p.Exprs, moves)
		return p, to
	case *Aggregate:
		return pruneAggregate(n, need)
	case *Sort:
		inner := slices.Clone(need)
		for _, k := range n.Keys {
			use(inner, k.X)
		}
		in, to := prune(n.In, inner)
		return &Sort{in, movedKeys(n.Keys, to), n.Limit}, to
	case *Limit:
		in, to := prune(n.In, need)
		return &Limit{in, n.Skip, n.N}, to
	case *Distinct:
		inner := slices.Clone(need)
		for _, k := range n.Keys {
			inner[k] = true
		}
		in, to := prune(n.In, inner)
		d := &Distinct{In: in}
		for _, k := range n.Keys {
			d.Keys = append(d.Keys, to[k])
		}
		return d, to
	case *Join:
		return pruneJoin(n, need)
	case *Window:
		return pruneWindow(n, need)
	case *Union:
		u := &Union{}
		var to []int
		u.Cols, to = kept(n.Cols, need)
		for _, in := range n.Ins {
			u.Ins = append(u.Ins, only(in, need))
		}
		return u, to
	case *SetOp:
		s := *n
		s.Left, s.Right = only(n.Left, all(n.Left.Columns())), only(n.Right, all(n.Right.Columns()))
		return &s, identity(len(need))
	case *Unnest:
		width := len(n.In.Columns())
		inner := slices.Clone(need[:width])
		use(inner, n.X)
		in, moves := prune(n.In, inner)
		u := &Unnest{In: in, X: renumber(n.X, moves), Ordinality: n.Ordinality, Outer: n.Outer}
		u.Cols = append(slices.Clone(in.Columns()), n.Cols[width:]...)
		to := slices.Clone(moves)
		for i := range n.Cols[width:] {
			to = append(to, len(in.Columns())+i)
		}
		return u, to
	}
	return n, identity(len(need))
}

func identity(n int) []int {
	to := make([]int, n)
	for i := range to {
		to[i] = i
	}
	return to
}

// only prunes to exactly the needed columns, in their order.
func only(n Node, need []bool) Node {
	in, to := prune(n, need)
	p := &Project{In: in}
	exact := true
	for i, c := range n.Columns() {
		if need[i] {
			exact = exact && to[i] == len(p.Cols)
			p.Exprs = append(p.Exprs, expr.Column(to[i], c.Type, c.Name, 0))
			p.Cols = append(p.Cols, c)
		}
	}
	if exact && len(p.Cols) == len(in.Columns()) {
		return in
	}
	return p
}

func movedKeys(keys []SortKey, to []int) []SortKey {
	all := make([]SortKey, len(keys))
	for i, k := range keys {
		all[i] = SortKey{renumber(k.X, to), k.Order}
	}
	return all
}

// pruneAggregate keeps all keys, and the aggregates that are needed.
func pruneAggregate(n *Aggregate, need []bool) (Node, []int) {
	a := &Aggregate{Sets: n.Sets}
	first := len(n.Cols) - len(n.Aggs)
	to := identity(first)
	a.Cols = slices.Clone(n.Cols[:first])
	inner := make([]bool, len(n.In.Columns()))
	use(inner, n.Keys...)
	for i, agg := range n.Aggs {
		if !need[first+i] {
			to = append(to, -1)
			continue
		}
		to = append(to, len(a.Cols))
		a.Cols = append(a.Cols, n.Cols[first+i])
		a.Aggs = append(a.Aggs, agg)
		use(inner, agg.Args...)
		use(inner, agg.Filter)
	}
	in, moves := prune(n.In, inner)
	a.In, a.Keys = in, renumberAll(n.Keys, moves)
	for i, agg := range a.Aggs {
		a.Aggs[i] = &Agg{agg.Func, renumberAll(agg.Args, moves), renumber(agg.Filter, moves)}
	}
	return a, to
}

func pruneJoin(n *Join, need []bool) (Node, []int) {
	lw, rw := len(n.Left.Columns()), len(n.Right.Columns())
	inner := make([]bool, lw+rw)
	copy(inner, need[:min(len(need), lw)])
	if n.Kind != Mark && len(need) > lw {
		copy(inner[lw:], need[lw:])
	}
	use(inner, n.LeftKeys...)
	use(inner[lw:], n.RightKeys...)
	use(inner, n.Cond)
	if n.Kind == Scalar {
		inner[lw] = true // the row must be counted
	}
	j := &Join{Kind: n.Kind}
	var lto, rto []int
	j.Left, lto = prune(n.Left, inner[:lw])
	j.Right, rto = prune(n.Right, inner[lw:])
	width := len(j.Left.Columns())
	both := slices.Clone(lto)
	for _, t := range rto {
		if t >= 0 {
			t += width
		}
		both = append(both, t)
	}
	j.LeftKeys, j.RightKeys, j.Cond = renumberAll(n.LeftKeys, lto), renumberAll(n.RightKeys, rto), renumber(n.Cond, both)
	// the columns have the names of the old join
	name := func(cols []Column, to []int, old []Column) {
		for i, t := range to {
			if t >= 0 {
				cols[t] = old[i]
			}
		}
	}
	j.Cols = slices.Clone(j.Left.Columns())
	name(j.Cols, lto, n.Cols[:lw])
	switch n.Kind {
	case Semi, Anti:
		return j, lto
	case Mark:
		j.Cols = append(j.Cols, n.Cols[lw])
		return j, append(lto, width)
	}
	right := slices.Clone(j.Right.Columns())
	name(right, rto, n.Cols[lw:])
	j.Cols = append(j.Cols, right...)
	return j, both
}

func pruneWindow(n *Window, need []bool) (Node, []int) {
	width := len(n.In.Columns())
	inner := slices.Clone(need[:width])
	use(inner, n.Partition...)
	for _, k := range n.Order {
		use(inner, k.X)
	}
	for i, c := range n.Calls {
		if need[width+i] {
			use(inner, c.Args...)
			use(inner, c.Filter)
		}
	}
	in, to := prune(n.In, inner)
	w := &Window{In: in, Partition: renumberAll(n.Partition, to), Order: movedKeys(n.Order, to), Cols: slices.Clone(in.Columns())}
	for i, c := range n.Calls {
		if !need[width+i] {
			to = append(to, -1)
			continue
		}
		to = append(to, len(w.Cols))
		w.Cols = append(w.Cols, n.Cols[width+i])
		w.Calls = append(w.Calls, &WindowCall{c.Func, renumberAll(c.Args, to), renumber(c.Filter, to)})
	}
	return w, to
}
