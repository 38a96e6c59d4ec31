package bind

import (
	"slices"
	"strings"

	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// A correlated subquery is bound once, and joined with the rows of the query around it. Conditions
// such as inner.k = outer.k become the keys of the join:
//
//	EXISTS (SELECT 1 FROM t WHERE t.k = o.k)        o LEFT JOIN (SELECT DISTINCT k, 1 FROM t)
//	(SELECT max(x) FROM t WHERE t.k = o.k)          o LEFT JOIN (SELECT k, max(x) FROM t GROUP BY k)
//	o.x IN (SELECT y FROM t WHERE t.k = o.k)        EXISTS (… AND t.y = o.x), and two counts for NULL

// correlation is a SELECT whose WHERE compares columns of its own with outer ones.
type correlation struct {
	inner *selection
	// outer and keys are compared for equality, pair by pair: over the outer columns, and over the
	// columns of inner.
	outer, keys []*expr.Expr
}

// correlate binds FROM and WHERE of a query that uses columns of s in its WHERE. It returns nil if
// it uses none. more are further pairs to compare: over s, and over the subquery.
func (s *scope) correlate(q *sql.Query, more ...[2]sql.Expr) (*correlation, error) {
	sel, ok := q.Body.(*sql.Select)
	if !ok || len(q.With) > 0 || sel.Where == nil || len(sel.From) == 0 || len(s.cols) == 0 {
		return nil, nil
	}
	uses := func(x sql.Expr, cols []Column) (first *sql.Column) {
		sql.Walk(x, func(n sql.Node) bool {
			if c, ok := n.(*sql.Column); ok && first == nil && hasName(c, cols) {
				first = c
			}
			_, isQuery := n.(*sql.Query)
			return !isQuery
		})
		return first
	}
	if uses(sel.Where, s.cols) == nil {
		return nil, nil
	}
	s.b.outer[len(s.b.outer)-1] = s.cols
	if s.b.depth++; s.b.depth > 200 {
		return nil, errAt(q, "write fewer levels", "the query is nested too deeply")
	}
	defer func() { s.b.depth-- }()
	node, err := s.b.from(sel, s.seen)
	if err != nil {
		return nil, err
	}
	cols := node.Columns()
	// outer returns a column of x that the inner tables do not have
	outer := func(x sql.Expr) (found *sql.Column) {
		sql.Walk(x, func(n sql.Node) bool {
			if c, ok := n.(*sql.Column); ok && found == nil && !hasName(c, cols) && hasName(c, s.cols) {
				found = c
			}
			_, isQuery := n.(*sql.Query)
			return !isQuery
		})
		return found
	}
	all := []sql.Expr{sel.Where}
	if l, ok := sel.Where.(*sql.Logical); ok && l.Op == sql.And {
		all = l.Args
	}
	pairs := slices.Clone(more)
	var rest []sql.Expr
	for _, x := range all {
		c := outer(x)
		if c == nil {
			rest = append(rest, x)
			continue
		}
		eq, ok := x.(*sql.Binary)
		switch {
		case ok && eq.Op == sql.Eq && outer(eq.R) == nil && uses(eq.L, cols) == nil:
			pairs = append(pairs, [2]sql.Expr{eq.L, eq.R})
		case ok && eq.Op == sql.Eq && outer(eq.L) == nil && uses(eq.R, cols) == nil:
			pairs = append(pairs, [2]sql.Expr{eq.R, eq.L})
		default:
			return nil, errAt(c, "compare it with a column of the subquery by =, as one condition of AND, or join the two tables", "column %q belongs to the outer query", c.Parts[len(c.Parts)-1].Name)
		}
	}
	if len(pairs) == len(more) { // no column is of the outer query
		if s.b.bound == nil {
			s.b.bound = map[*sql.Select]Node{}
		}
		s.b.bound[sel] = node
		return nil, nil
	}
	own := *sel
	own.Where = nil
	switch len(rest) {
	case 0:
	case 1:
		own.Where = rest[0]
	default:
		own.Where = &sql.Logical{Pos: sel.Pos, Op: sql.And, Args: rest}
	}
	c := &correlation{inner: &selection{b: s.b, s: &own, node: node, calls: &calls{}}}
	s.b.outer = append(s.b.outer, nil)
	defer func() { s.b.outer = s.b.outer[:len(s.b.outer)-1] }()
	if own.Where != nil {
		if err := c.inner.where(s.seen); err != nil {
			return nil, err
		}
	}
	in := c.inner.scope("WHERE", nil)
	in.seen = s.seen
	for _, p := range pairs {
		l, err := s.expr(p[0])
		if err != nil {
			return nil, err
		}
		r, err := in.expr(p[1])
		if err != nil {
			return nil, err
		}
		t, ok := expr.Common(l.Type, r.Type)
		if !ok {
			return nil, errAt(p[1], "cast one of them", "= compares %s with %s", l.Type, r.Type)
		}
		if l, err = cast(l, t); err != nil {
			return nil, err
		}
		if r, err = cast(r, t); err != nil {
			return nil, err
		}
		c.outer, c.keys = append(c.outer, l), append(c.keys, r)
	}
	return c, c.inner.attach(c.keys)
}

// hasName reports whether a name is that of one of the columns.
func hasName(c *sql.Column, cols []Column) bool {
	if len(c.Parts) > 1 {
		if i, err := find(cols, &c.Parts[0], c.Parts[1]); i >= 0 || err != nil {
			return true
		}
	}
	i, err := find(cols, nil, c.Parts[0])
	return i >= 0 || err != nil
}

// simple refuses clauses that a correlated subquery may not have.
func (c *correlation) simple(q *sql.Query, most bool) error {
	s := c.inner.s
	if s.GroupBy != nil || s.Having != nil || s.Qualify != nil || q.Skip != nil || most && (s.Distinct != nil || q.Limit != nil) {
		return errAt(q, "join the two tables instead", "a subquery with columns of the outer query must have SELECT, FROM and WHERE only")
	}
	if n, ok := q.Limit.(*sql.Number); q.Limit != nil && (!ok || strings.Trim(n.Text, "0") == "") {
		return errAt(q, "leave LIMIT out", "EXISTS needs a row")
	}
	return nil
}

// join adds a subquery whose rows are unique by the first columns, the keys. It returns the virtual
// columns after the keys.
func (s *scope) join(c *correlation, node Node, name string, offset int) (values []*expr.Expr) {
	var right []*expr.Expr
	cols := node.Columns()
	for i := range c.keys {
		right = append(right, expr.Column(i, cols[i].Type, cols[i].Name, offset))
	}
	first := &subquery{node: node, left: c.outer, right: right}
	for i, col := range cols[len(right):] {
		sub := first
		if i > 0 {
			sub = &subquery{of: first}
		}
		sub.typ, sub.at = col.Type, len(right)+i
		s.calls.subs = append(s.calls.subs, sub)
		values = append(values, expr.Column(subBase+len(s.calls.subs)-1, sub.typ, name, offset))
	}
	return values
}

// project returns the keys and one more column over the node of the subquery.
func (c *correlation) project(keys []*expr.Expr, x *expr.Expr) *Project {
	p := &Project{In: c.inner.node}
	for _, k := range keys {
		p.Exprs, p.Cols = append(p.Exprs, k), append(p.Cols, Column{Name: "key", Type: k.Type})
	}
	if x != nil {
		p.Exprs, p.Cols = append(p.Exprs, x), append(p.Cols, Column{Name: "value", Type: x.Type})
	}
	return p
}

// existsOf binds EXISTS of a correlated subquery: whether the join found a row.
func (s *scope) existsOf(q *sql.Query, c *correlation, offset int) (*expr.Expr, error) {
	if err := c.simple(q, false); err != nil {
		return nil, err
	}
	for _, it := range c.inner.s.Items {
		if call, ok := it.X.(*sql.Call); ok && (call.Star || aggr.IsAggregate(call.Name)) && call.Over == nil {
			return nil, errAt(it, "select a column", "EXISTS of an aggregate is always true")
		}
	}
	one := distinctAll(c.project(c.keys, nil))
	c.inner.node = one
	marked := c.project(columnsOf(one, len(c.keys), offset), expr.Int(1, offset))
	v := s.join(c, marked, "exists", offset)[0]
	null, err := expr.Call("is null", []*expr.Expr{v}, offset)
	if err != nil {
		return nil, err
	}
	return expr.Call("not", []*expr.Expr{null}, offset)
}

// columnsOf returns the first n columns of a node.
func columnsOf(node Node, n, offset int) (all []*expr.Expr) {
	for i, c := range node.Columns()[:n] {
		all = append(all, expr.Column(i, c.Type, c.Name, offset))
	}
	return all
}

// scalarOf binds a correlated subquery with an aggregate. For outer rows without a match it has the
// value over no rows: count is 0.
func (s *scope) scalarOf(x *sql.Scalar, c *correlation) (*expr.Expr, error) {
	q, in := x.Query, c.inner
	if err := c.simple(q, true); err != nil {
		return nil, err
	}
	if len(in.s.Items) != 1 {
		return nil, errAt(q, "select one column", "the subquery returns %d columns", len(in.s.Items))
	}
	s.b.outer = append(s.b.outer, nil)
	defer func() { s.b.outer = s.b.outer[:len(s.b.outer)-1] }()
	if _, _, err := in.bindItems(in.s.Items, nil, s.seen); err != nil {
		return nil, err
	}
	if len(in.calls.aggs) == 0 || len(in.calls.windows) > 0 {
		return nil, errAt(in.s.Items[0], "write max(…) or any_value(…), or join the two tables", "a subquery with columns of the outer query must select an aggregate")
	}
	keys := slices.Clone(c.keys)
	if err := in.group(keys, nil); err != nil {
		return nil, err
	}
	value := []*expr.Expr{in.items[0]}
	if err := in.attach(value); err != nil {
		return nil, err
	}
	empty := value[0].Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op != expr.OpColumn {
			return nil
		}
		if i := e.Col - len(keys); i >= 0 && i < len(in.calls.aggs) && strings.Contains(in.calls.aggs[i].Func.Name, "count") && e.Type.Kind == vec.Int {
			return expr.Int(0, e.Offset)
		}
		return expr.Const(vec.NullOf(e.Type, 1), e.Offset)
	})
	node := c.project(columnsOf(in.node, len(keys), x.Offset), value[0])
	node.Exprs, node.Cols = append(node.Exprs, expr.Int(1, x.Offset)), append(node.Cols, Column{Name: "one", Type: vec.Of(vec.Int)})
	v := s.join(c, node, "subquery", x.Offset)
	none, err := expr.Call("is null", []*expr.Expr{v[1]}, x.Offset)
	if err != nil {
		return nil, err
	}
	return expr.Case([]*expr.Expr{none}, []*expr.Expr{empty}, v[0], x.Offset)
}

// inOf binds x IN (SELECT y …) of a correlated subquery: true if some y equals x; else NULL if some
// y is NULL, or x is NULL and there is a row; else false.
func (s *scope) inOf(n sql.Node, x sql.Expr, q *sql.Query) (*expr.Expr, error) {
	sel := q.Body.(*sql.Select)
	if len(sel.Items) != 1 {
		return nil, errAt(q, "select one column", "the subquery returns %d columns", len(sel.Items))
	}
	y := sel.Items[0].X
	c, err := s.correlate(q, [2]sql.Expr{x, y})
	if err != nil {
		return nil, err
	}
	found, err := s.existsOf(q, c, n.At())
	if err != nil {
		return nil, err
	}
	count := func(text string) (sql.Expr, error) {
		call, err := sql.ParseExpr(text)
		if err != nil {
			return nil, err
		}
		sql.Walk(call, func(v sql.Node) bool {
			if c, ok := v.(*sql.Call); ok && !c.Star {
				c.Args[0].X = y
				return false
			}
			return true
		})
		some := *sel
		some.Items, some.Distinct = []*sql.Item{{Pos: sel.Items[0].Pos, X: call}}, nil
		return &sql.Scalar{Pos: sel.Pos, Query: &sql.Query{Pos: q.Pos, Body: &some}}, nil
	}
	rows, err1 := count("count(*) > 0")
	nulls, err2 := count("count(*) > count(y)")
	if err1 != nil || err2 != nil {
		return nil, errAt(n, "", "IN cannot be bound")
	}
	pos := sql.Pos{Offset: n.At()}
	unknown, err := s.expr(&sql.Logical{Pos: pos, Op: sql.Or, Args: []sql.Expr{nulls,
		&sql.Logical{Pos: pos, Op: sql.And, Args: []sql.Expr{rows, &sql.Is{Pos: pos, Kind: sql.IsNull, X: x}}}}})
	if err != nil {
		return nil, err
	}
	maybe, err := expr.Call("and", []*expr.Expr{expr.Const(vec.NullOf(vec.Of(vec.Bool), 1), n.At()), unknown}, n.At())
	if err != nil {
		return nil, err
	}
	return expr.Call("or", []*expr.Expr{found, maybe}, n.At())
}
