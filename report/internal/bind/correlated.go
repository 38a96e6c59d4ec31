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
// such as inner.k = outer.k become the keys of the join. Type dependent is about other conditions.
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
	// values are the outer values that the subquery was joined with, to be compared by keys; nil if
	// all of its conditions are equalities.
	values *dependent
}

// correlate binds FROM and WHERE of a query that uses columns of s. It returns nil if it uses none.
// With list, the SELECT list may use them too. more are further pairs to compare: over s, and over
// the subquery.
func (s *scope) correlate(q *sql.Query, list bool, more ...[2]sql.Expr) (*correlation, error) {
	sel, ok := q.Body.(*sql.Select)
	if !ok || len(q.With) > 0 || len(sel.From) == 0 || len(s.cols) == 0 {
		return nil, nil
	}
	d := &dependent{around: s, values: &Project{}, at: map[sql.Expr]int{}, key: map[string]int{}}
	usesOuter := func(x sql.Node) bool {
		first, _ := d.look(x)
		return first != nil
	}
	listUsesOuter := func() bool {
		return list && slices.ContainsFunc(listOf(q, sel), usesOuter) ||
			slices.ContainsFunc(more, func(p [2]sql.Expr) bool { return usesOuter(p[1]) })
	}
	if (sel.Where == nil || !usesOuter(sel.Where)) && !listUsesOuter() {
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
	d.inner = node.Columns()
	var all []sql.Expr
	if l, ok := sel.Where.(*sql.Logical); ok && l.Op == sql.And {
		all = l.Args
	} else if sel.Where != nil {
		all = append(all, sel.Where)
	}
	if all, err = splitRows(all); err != nil {
		return nil, err
	}
	// equalities with an outer value become keys of the join; other conditions are kept
	pairs := slices.Clone(more)
	var kept, mixed, alone []sql.Expr
	isValue := func(x sql.Expr) bool {
		_, others := d.look(x)
		return !others
	}
	for _, x := range all {
		outer, others := d.look(x)
		eq, _ := x.(*sql.Binary)
		switch {
		case outer == nil:
			kept = append(kept, x)
		case !others:
			alone = append(alone, x)
		case eq != nil && eq.Op == sql.Eq && isValue(eq.L) && !usesOuter(eq.R):
			pairs = append(pairs, [2]sql.Expr{eq.L, eq.R})
		case eq != nil && eq.Op == sql.Eq && isValue(eq.R) && !usesOuter(eq.L):
			pairs = append(pairs, [2]sql.Expr{eq.R, eq.L})
		default:
			kept, mixed = append(kept, x), append(mixed, x)
		}
	}
	if len(alone) > 0 { // together, so that a.y <> 0 guards a.x / a.y
		x := alone[0]
		if len(alone) > 1 {
			x = &sql.Logical{Pos: sql.Pos{Offset: x.At()}, Op: sql.And, Args: alone}
		}
		pairs = append(pairs, [2]sql.Expr{x, truth(x)})
	}
	needsValues := len(mixed) > 0 || listUsesOuter()
	if len(pairs) == len(more) && !needsValues { // no column is of the outer query
		if s.b.bound == nil {
			s.b.bound = map[*sql.Select]Node{}
		}
		s.b.bound[sel] = node
		return nil, nil
	}
	own := *sel
	own.Where = nil
	switch len(kept) {
	case 0:
	case 1:
		own.Where = kept[0]
	default:
		own.Where = &sql.Logical{Pos: sel.Pos, Op: sql.And, Args: kept}
	}
	own.Items = slices.Clone(sel.Items)
	c := &correlation{inner: &selection{b: s.b, s: &own, node: node, calls: &calls{}}}
	left := make([]*expr.Expr, len(pairs))
	for i, p := range pairs {
		if left[i], err = s.expr(p[0]); err != nil {
			return nil, err
		}
	}
	if needsValues {
		c.values = d
		var listed []sql.Node
		if list {
			listed = listOf(q, sel)
		}
		if err := c.collect(listed, pairs, mixed, left); err != nil {
			return nil, err
		}
	}
	s.b.outer = append(s.b.outer, nil)
	defer func() { s.b.outer = s.b.outer[:len(s.b.outer)-1] }()
	if own.Where != nil {
		if err := c.inner.where(s.seen); err != nil {
			return nil, err
		}
	}
	in := c.inner.scope("WHERE", nil)
	in.seen = s.seen
	for i, p := range pairs {
		l := left[i]
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
	if err := c.inner.attach(c.keys); err != nil || c.values == nil {
		return c, err
	}
	return c, c.compareValues()
}

// listOf returns the SELECT list and the ORDER BY of a query.
func listOf(q *sql.Query, sel *sql.Select) (all []sql.Node) {
	for _, it := range sel.Items {
		all = append(all, it)
	}
	for _, o := range q.OrderBy {
		all = append(all, o)
	}
	return all
}

// collect adds the outer values of a subquery to its tables. left are the bound outer sides of
// pairs; they become the columns of their values. list are the parts of the SELECT list.
func (c *correlation) collect(list []sql.Node, pairs [][2]sql.Expr, mixed []sql.Expr, left []*expr.Expr) error {
	d := c.values
	for _, x := range mixed {
		if err := d.collect(x); err != nil {
			return err
		}
		d.compared(x)
	}
	for _, p := range pairs {
		if err := d.collect(p[1]); err != nil {
			return err
		}
	}
	for _, x := range list {
		if err := d.collect(x); err != nil {
			return err
		}
	}
	for i, x := range left {
		at := d.add(nil, x)
		d.strict[at] = true
		left[i] = d.valueColumn(at, x.Offset)
	}
	c.inner.node, c.inner.values = d.cross(c.inner.node), d
	return nil
}

// compareValues makes conditions of the pairs. The values are what is compared with the outer query
// then.
func (c *correlation) compareValues() error {
	var conds []*expr.Expr
	for i, l := range c.outer {
		eq, err := expr.Call("=", []*expr.Expr{c.keys[i], l}, c.keys[i].Offset)
		if err != nil {
			return err
		}
		conds = append(conds, eq)
	}
	c.inner.node = filtered(c.inner.node, conds)
	c.outer, c.keys = c.values.values.Exprs, nil
	for i := range c.outer {
		c.keys = append(c.keys, c.values.valueColumn(i, c.outer[i].Offset))
	}
	return nil
}

// hasName reports whether one of the columns has a name.
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
	first := &subquery{node: node, left: c.outer, right: right, values: c.values}
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
	one, err := c.matched()
	if err != nil {
		return nil, err
	}
	c.inner.node = one
	marked := c.project(columnsOf(one, len(c.keys), offset), expr.Int(1, offset))
	v := s.join(c, marked, "exists", offset)[0]
	null, err := expr.Call("is null", []*expr.Expr{v}, offset)
	if err != nil {
		return nil, err
	}
	return expr.Call("not", []*expr.Expr{null}, offset)
}

// matched returns the distinct keys of the rows of the subquery.
func (c *correlation) matched() (Node, error) {
	if c.values != nil {
		if n, err := c.values.semi(c.inner.node); n != nil || err != nil {
			return n, err
		}
	}
	return distinctAll(c.project(c.keys, nil)), nil
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
	if len(in.s.Items) != 1 {
		return nil, errAt(q, "select one column", "the subquery returns %d columns", len(in.s.Items))
	}
	if n, ok := q.Limit.(*sql.Number); ok && n.Text == "1" && in.s.Distinct == nil {
		plain := *q
		plain.Limit = nil
		in.s.Items[0], q = firstOf(in.s.Items[0], q.OrderBy), &plain
	}
	if err := c.simple(q, true); err != nil {
		return nil, err
	}
	s.b.outer = append(s.b.outer, nil)
	defer func() { s.b.outer = s.b.outer[:len(s.b.outer)-1] }()
	if _, _, err := in.bindItems(in.s.Items, nil, s.seen); err != nil {
		return nil, err
	}
	if len(in.calls.aggs) == 0 || len(in.calls.windows) > 0 {
		return nil, errAt(in.s.Items[0], "add LIMIT 1, or write max(…) or any_value(…)", "a subquery with columns of the outer query must select an aggregate")
	}
	keys := slices.Clone(c.keys)
	if err := in.group(keys, nil); err != nil {
		return nil, err
	}
	value := []*expr.Expr{in.items[0]}
	if err := in.attach(value); err != nil {
		return nil, err
	}
	empty, err := c.valueOfNothing(value[0], len(keys))
	if err != nil {
		return nil, err
	}
	node := c.project(columnsOf(in.node, len(keys), x.Offset), value[0])
	node.Exprs, node.Cols = append(node.Exprs, expr.Int(1, x.Offset)), append(node.Cols, Column{Name: "one", Type: vec.Of(vec.Int)})
	v := s.join(c, node, "subquery", x.Offset)
	none, err := expr.Call("is null", []*expr.Expr{v[1]}, x.Offset)
	if err != nil {
		return nil, err
	}
	return expr.Case([]*expr.Expr{none}, []*expr.Expr{empty}, v[0], x.Offset)
}

// firstOf returns the item of a query with LIMIT 1 as an aggregate: first(x ORDER BY y).
func firstOf(it *sql.Item, order []*sql.OrderItem) *sql.Item {
	isAggregated := false
	sql.Walk(it.X, func(n sql.Node) bool {
		c, ok := n.(*sql.Call)
		isAggregated = isAggregated || ok && isAggregate(c)
		_, isQuery := n.(*sql.Query)
		return !isQuery
	})
	if isAggregated {
		return it // it has one row anyway
	}
	first := &sql.Call{Pos: it.Pos, Name: "first", Args: []*sql.Arg{{Pos: it.Pos, X: it.X}}}
	for _, o := range order {
		by := *o
		switch x := o.X.(type) {
		case *sql.Number: // a position
			by.X = it.X
		case *sql.Column:
			if it.Alias != nil && len(x.Parts) == 1 && matches(it.Alias.Name, x.Parts[0], false) {
				by.X = it.X
			}
		}
		first.OrderBy = append(first.OrderBy, &by)
	}
	return &sql.Item{Pos: it.Pos, X: first, Alias: it.Alias}
}

// valueOfNothing returns the value of a SELECT list over the groups of the subquery, for an outer
// row without a group: aggregates have their values for no rows.
func (c *correlation) valueOfNothing(x *expr.Expr, keys int) (empty *expr.Expr, err error) {
	aggs := c.inner.calls.aggs
	empty = x.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op != expr.OpColumn {
			return nil
		}
		i := e.Col - keys
		switch {
		case i < 0 && c.values != nil:
			return c.outer[e.Col]
		case i < 0 && c.keys[e.Col].IsConst():
			return c.keys[e.Col]
		case i >= 0 && i < len(aggs):
			v, problem := valueOfNothing(aggs[i], e.Offset)
			if problem == nil {
				return v
			}
			err = problem
		}
		return expr.Const(vec.NullOf(e.Type, 1), e.Offset)
	})
	return empty, err
}

// inOf binds x IN (SELECT y …) of a correlated subquery: true if some y equals x; else NULL if some
// y is NULL, or x is NULL and there is a row; else false.
func (s *scope) inOf(n sql.Node, x sql.Expr, q *sql.Query) (*expr.Expr, error) {
	sel := q.Body.(*sql.Select)
	if len(sel.Items) != 1 {
		return nil, errAt(q, "select one column", "the subquery returns %d columns", len(sel.Items))
	}
	y := sel.Items[0].X
	c, err := s.correlate(q, false, [2]sql.Expr{x, y})
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
