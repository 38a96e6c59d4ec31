package sql

// Walk calls visit for a node and for all nodes below it, parents first, in the order of the text.
// Below a node for which visit returns false it visits nothing. Subqueries are visited too: return
// false for *Query to stay out of them. Names and bounds of frames are not visited.
func Walk(n Node, visit func(Node) bool) {
	w := walker{visit}
	w.node(n)
}

type walker struct{ visit func(Node) bool }

// node visits a node. A typed nil is no node.
func (w walker) node(n Node) {
	switch n := n.(type) {
	case nil:
	case *Query:
		if n != nil && w.visit(n) {
			walkAll(w, n.With)
			w.node(n.Body)
			walkAll(w, n.OrderBy)
			w.expr(n.Limit)
			w.expr(n.Skip)
		}
	case *Copy:
		if w.visit(n) {
			w.node(n.Query)
			walkAll(w, n.Options)
		}
	case *Explain:
		if w.visit(n) {
			w.node(n.Query)
		}
	case *Describe:
		if w.visit(n) {
			w.node(n.Query)
		}
	case *Summarize:
		if w.visit(n) {
			w.node(n.Query)
		}
	case *CTE:
		if w.visit(n) {
			w.node(n.Query)
		}
	case Body:
		w.body(n)
	case Table:
		w.table(n)
	case Expr:
		w.expr(n)
	default:
		w.clause(n)
	}
}

func walkAll[T Node](w walker, nodes []T) {
	for _, n := range nodes {
		w.node(n)
	}
}

func (w walker) exprs(xs []Expr) {
	for _, x := range xs {
		w.expr(x)
	}
}

func (w walker) body(b Body) {
	if !w.visit(b) {
		return
	}
	switch b := b.(type) {
	case *SetOp:
		w.node(b.Left)
		w.node(b.Right)
	case *Values:
		for _, row := range b.Rows {
			w.exprs(row)
		}
	case *Select:
		if b.Distinct != nil {
			w.node(b.Distinct)
		}
		walkAll(w, b.Items)
		walkAll(w, b.From)
		w.expr(b.Where)
		if b.GroupBy != nil {
			w.node(b.GroupBy)
		}
		w.expr(b.Having)
		walkAll(w, b.Windows)
		w.expr(b.Qualify)
	}
}

func (w walker) table(t Table) {
	if !w.visit(t) {
		return
	}
	switch t := t.(type) {
	case *TableFunc:
		w.expr(t.Call)
	case *Subquery:
		w.node(t.Query)
	case *Join:
		w.node(t.Left)
		w.node(t.Right)
		w.expr(t.On)
	}
}

// clause visits a node that is neither a statement, a body, a table nor an expression.
func (w walker) clause(n Node) {
	if !w.visit(n) {
		return
	}
	switch n := n.(type) {
	case *Distinct:
		w.exprs(n.On)
	case *Item:
		w.expr(n.X)
	case *OrderItem:
		w.expr(n.X)
	case *GroupBy:
		walkAll(w, n.Items)
	case *GroupItem:
		w.expr(n.X)
		walkAll(w, n.Items)
	case *WindowDef:
		w.node(n.Window)
	case *Window:
		w.exprs(n.PartitionBy)
		walkAll(w, n.OrderBy)
		if n.Frame != nil {
			w.node(n.Frame)
		}
	case *Frame:
		w.expr(n.Start.X)
		w.expr(n.End.X)
	case *StructField:
		w.expr(n.X)
	case *When:
		w.expr(n.Cond)
		w.expr(n.Then)
	case *Arg:
		w.expr(n.X)
	}
}

func (w walker) expr(x Expr) {
	if x == nil || !w.visit(x) {
		return
	}
	switch x := x.(type) {
	case *Interval:
		w.expr(x.X)
	case *Array:
		w.exprs(x.Items)
	case *Struct:
		walkAll(w, x.Fields)
	case *Row:
		w.exprs(x.Items)
	case *Star:
		walkAll(w, x.Replace)
	case *Unary:
		w.expr(x.X)
	case *Binary:
		w.expr(x.L)
		w.expr(x.R)
	case *Logical:
		w.exprs(x.Args)
	case *Like:
		w.expr(x.X)
		w.expr(x.Pattern)
		w.expr(x.Escape)
	case *Between:
		w.expr(x.X)
		w.expr(x.Low)
		w.expr(x.High)
	case *In:
		w.expr(x.X)
		w.exprs(x.List)
		w.node(x.Query)
	case *Is:
		w.expr(x.X)
	case *Exists:
		w.node(x.Query)
	case *Scalar:
		w.node(x.Query)
	case *Quantified:
		w.expr(x.X)
		w.node(x.Query)
		w.expr(x.Array)
	case *Case:
		w.expr(x.Operand)
		walkAll(w, x.Whens)
		w.expr(x.Else)
	case *Cast:
		w.expr(x.X)
	case *Call:
		walkAll(w, x.Args)
		walkAll(w, x.OrderBy)
		walkAll(w, x.WithinGroup)
		w.expr(x.Filter)
		if x.Over != nil {
			w.node(x.Over)
		}
	case *Index:
		w.expr(x.X)
		w.expr(x.I)
	case *Slice:
		w.expr(x.X)
		w.expr(x.From)
		w.expr(x.To)
	case *Field:
		w.expr(x.X)
	}
}
