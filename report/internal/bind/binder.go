package bind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Catalog finds tables. Tables are asked for in the order of the statement, each time that it names
// one.
type Catalog interface {
	Table(ctx context.Context, r scan.Request) (*scan.Table, error)
}

// Params are the values of the parameters of a statement: constants.
type Params struct {
	Positional []*expr.Expr
	Named      map[string]*expr.Expr
	// Now is the time of now() and current_date.
	Now time.Time
}

// Query binds a query to operators, without any that nothing needs.
func Query(ctx context.Context, catalog Catalog, q *sql.Query, params Params) (Node, error) {
	b := &binder{ctx: ctx, catalog: catalog, params: params}
	n, err := b.query(q, nil)
	if err != nil {
		return nil, err
	}
	n = pushConditions(n)
	n = pruneAll(n)
	addBounds(n)
	useStatistics(n)
	return n, nil
}

// binder binds one statement.
type binder struct {
	ctx     context.Context
	catalog Catalog
	params  Params
	// outer are the columns of the queries around the current one.
	outer [][]Column
	// tables counts the tables, and depth the nesting, to refuse statements that grow without end.
	tables, depth int
	// aliased counts the names that stood for items of a SELECT list.
	aliased int
	// bound are the FROM clauses of subqueries that were bound to find outer columns in WHERE.
	bound map[*sql.Select]Node
	// filters are the row IN (SELECT …) of conditions for which false and NULL are the same.
	filters map[*sql.In]bool
}

// maxTables is how many tables a statement may read, counting a CTE each time that it is named.
const maxTables = 1000

// names are the CTEs that a query can see, the nearest first.
type names struct {
	cte  *sql.CTE
	next *names
}

func (b *binder) param(p *sql.Param) (*expr.Expr, error) {
	if p.Name != "" {
		if x := b.params.Named[p.Name]; x != nil {
			return x, nil
		}
		return nil, errAt(p, "give it a value", "parameter $%s has no value", p.Name)
	}
	if p.Index > len(b.params.Positional) {
		return nil, errAt(p, "give each parameter a value", "parameter $%d has no value; %s given", p.Index, report.Plural(len(b.params.Positional), "value"))
	}
	return b.params.Positional[p.Index-1], nil
}

// query binds a query with its WITH list, order and limits.
func (b *binder) query(q *sql.Query, seen *names) (Node, error) {
	for _, c := range q.With {
		seen = &names{c, seen}
	}
	if s, ok := q.Body.(*sql.Select); ok {
		n, err := b.selectOf(s, q.OrderBy, seen)
		if err != nil {
			return nil, err
		}
		return b.limit(n, q)
	}
	n, err := b.body(q.Body, seen)
	if err != nil {
		return nil, err
	}
	if len(q.OrderBy) > 0 {
		if n, err = b.orderOutput(n, q.OrderBy); err != nil {
			return nil, err
		}
	}
	return b.limit(n, q)
}

func (b *binder) body(body sql.Body, seen *names) (Node, error) {
	if b.depth++; b.depth > 200 {
		return nil, errAt(body, "write fewer levels", "the query is nested too deeply")
	}
	defer func() { b.depth-- }()
	switch body := body.(type) {
	case *sql.Select:
		return b.selectOf(body, nil, seen)
	case *sql.Query:
		return b.query(body, seen)
	case *sql.Values:
		return b.values(body)
	case *sql.SetOp:
		return b.setOp(body, seen)
	}
	return nil, errAt(body, "", "this query is not supported")
}

// limit adds OFFSET and LIMIT.
func (b *binder) limit(n Node, q *sql.Query) (Node, error) {
	if q.Limit == nil && q.Skip == nil {
		return n, nil
	}
	l := &Limit{In: n, N: -1}
	var err error
	if q.Limit != nil {
		if l.N, err = b.integer(q.Limit, "LIMIT"); err != nil {
			return nil, err
		}
	}
	if q.Skip != nil {
		if l.Skip, err = b.integer(q.Skip, "OFFSET"); err != nil {
			return nil, err
		}
	}
	sorted := n
	if p, ok := n.(*Project); ok { // the one that drops hidden sort keys
		sorted = p.In
	}
	if s, ok := sorted.(*Sort); ok && l.N >= 0 {
		s.Limit = l.N + l.Skip
	}
	return l, nil
}

// orderOutput sorts by output columns: their names, positions, and expressions over them.
func (b *binder) orderOutput(n Node, order []*sql.OrderItem) (Node, error) {
	sorted := &Sort{In: n, Limit: -1}
	cols := n.Columns()
	s := &scope{b: b, cols: cols, clause: "ORDER BY", calls: &calls{}}
	for _, o := range order {
		keys, err := b.orderKeys(o, cols, func(x sql.Expr) (*expr.Expr, error) { return s.expr(x) })
		if err != nil {
			return nil, err
		}
		sorted.Keys = append(sorted.Keys, keys...)
	}
	if len(s.calls.subs) > 0 {
		return nil, errAt(order[0], "", "subqueries are not supported in the ORDER BY of a set operation")
	}
	return sorted, nil
}

// orderKeys returns the keys of one item of an ORDER BY: a position, ALL, or an expression that
// bind binds.
func (b *binder) orderKeys(o *sql.OrderItem, out []Column, bind func(sql.Expr) (*expr.Expr, error)) ([]SortKey, error) {
	if o.X == nil {
		keys := make([]SortKey, len(out))
		for i, c := range out {
			keys[i] = SortKey{expr.Column(i, c.Type, c.Name, o.Offset), orderOf(o)}
		}
		return keys, nil
	}
	if i, ok, err := position(o.X, len(out), "ORDER BY"); err != nil {
		return nil, err
	} else if ok {
		return []SortKey{{expr.Column(i, out[i].Type, out[i].Name, o.Offset), orderOf(o)}}, nil
	}
	x, err := bind(o.X)
	if err != nil {
		return nil, err
	}
	return []SortKey{{x, orderOf(o)}}, nil
}

// position returns the column of a position such as the 2 of ORDER BY 2; ok is false for other
// expressions.
func position(x sql.Expr, n int, clause string) (i int, ok bool, err error) {
	num, isNumber := x.(*sql.Number)
	if !isNumber || num.Kind != sql.Integer {
		return 0, false, nil
	}
	if _, err := fmt.Sscan(num.Text, &i); err != nil || i < 1 || i > n {
		return 0, false, errAt(x, "", "%s %s: there is no such column; the result has %s", clause, num.Text, columns(n))
	}
	return i - 1, true, nil
}

// values binds a list of rows. Columns are named col0, col1 and so on, as in DuckDB.
func (b *binder) values(v *sql.Values) (Node, error) {
	n := &Values{}
	s := &scope{b: b, clause: "VALUES", calls: &calls{}}
	for _, row := range v.Rows {
		bound, err := s.exprs(row)
		if err != nil {
			return nil, err
		}
		n.Rows = append(n.Rows, bound)
	}
	if len(s.calls.subs) > 0 {
		return nil, errAt(v, "use SELECT", "subqueries are not supported in VALUES")
	}
	for c := range n.Rows[0] {
		t := n.Rows[0][c].Type
		for _, row := range n.Rows {
			common, ok := expr.Common(t, row[c].Type)
			if !ok {
				return nil, &Error{row[c].Offset, fmt.Sprintf("column %d of VALUES has values of the types %s and %s", c+1, t, row[c].Type), "cast them to one type"}
			}
			t = common
		}
		for _, row := range n.Rows {
			var err error
			if row[c], err = cast(row[c], t); err != nil {
				return nil, err
			}
		}
		n.Cols = append(n.Cols, Column{Name: fmt.Sprintf("col%d", c), Type: t})
	}
	return n, nil
}

// cast casts an expression unless it has the type already.
func cast(x *expr.Expr, t vec.Type) (*expr.Expr, error) {
	if x.Type.Equal(t) {
		return x, nil
	}
	return expr.Cast(x, t, false, x.Offset)
}

// setOp binds UNION, INTERSECT and EXCEPT.
func (b *binder) setOp(op *sql.SetOp, seen *names) (Node, error) {
	// chains lean to the left
	var chain []*sql.SetOp
	first := sql.Body(op)
	for {
		o, ok := first.(*sql.SetOp)
		if !ok {
			break
		}
		chain = append(chain, o)
		first = o.Left
	}
	left, err := b.body(first, seen)
	if err != nil {
		return nil, err
	}
	for i := len(chain) - 1; i >= 0; i-- {
		right, err := b.body(chain[i].Right, seen)
		if err != nil {
			return nil, err
		}
		if left, err = b.combine(chain[i], left, right); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (b *binder) combine(op *sql.SetOp, left, right Node) (Node, error) {
	var err error
	if op.ByName {
		if left, right, err = byName(op, left, right); err != nil {
			return nil, err
		}
	}
	lc, rc := left.Columns(), right.Columns()
	if len(lc) != len(rc) {
		return nil, errAt(op, "", "%s: the left side has %s, the right side %d", op.Op, columns(len(lc)), len(rc))
	}
	cols := make([]Column, len(lc))
	for i := range lc {
		t, ok := expr.Common(lc[i].Type, rc[i].Type)
		if !ok {
			return nil, errAt(op, "cast one of them", "%s: column %d is %s on the left side and %s on the right", op.Op, i+1, lc[i].Type, rc[i].Type)
		}
		cols[i] = Column{Name: lc[i].Name, Type: t}
	}
	if left, err = castColumns(left, cols); err != nil {
		return nil, err
	}
	if right, err = castColumns(right, cols); err != nil {
		return nil, err
	}
	if op.Op != sql.Union {
		return &SetOp{Except: op.Op == sql.Except, All: op.All, Left: left, Right: right}, nil
	}
	u := &Union{Ins: []Node{left, right}, Cols: cols}
	if l, ok := left.(*Union); ok && op.All {
		u.Ins = append(append([]Node(nil), l.Ins...), right)
	}
	if op.All {
		return u, nil
	}
	return distinctAll(u), nil
}

// byName gives both sides of UNION BY NAME the columns of either, in the order of the left side. A
// column that a side lacks is NULL there.
func byName(op *sql.SetOp, left, right Node) (Node, Node, error) {
	var names []string
	for _, n := range []Node{left, right} {
		own := map[string]bool{}
		for _, c := range n.Columns() {
			key := strings.ToLower(c.Name)
			if own[key] {
				return nil, nil, errAt(op, "give one of them another name with AS", "UNION BY NAME: a side has two columns %q", c.Name)
			}
			own[key] = true
			if !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, c.Name) }) {
				names = append(names, c.Name)
			}
		}
	}
	named := func(n Node) Node {
		p := &Project{In: n}
		for _, name := range names {
			x := expr.Null(op.Offset)
			for i, c := range n.Columns() {
				if strings.EqualFold(c.Name, name) {
					x = expr.Column(i, c.Type, c.Name, 0)
				}
			}
			p.Exprs, p.Cols = append(p.Exprs, x), append(p.Cols, Column{Name: name, Type: x.Type})
		}
		return p
	}
	return named(left), named(right), nil
}

// castColumns casts the columns of a node to the types of cols, and gives them their names.
func castColumns(n Node, cols []Column) (Node, error) {
	p := &Project{In: n, Cols: cols}
	same := true
	for i, c := range n.Columns() {
		x, err := cast(expr.Column(i, c.Type, c.Name, 0), cols[i].Type)
		if err != nil {
			return nil, err
		}
		same = same && c.Type.Equal(cols[i].Type)
		p.Exprs = append(p.Exprs, x)
	}
	if same {
		return n, nil
	}
	return p, nil
}

// distinctAll keeps one of each set of equal rows.
func distinctAll(n Node) Node {
	d := &Distinct{In: n}
	for i := range n.Columns() {
		d.Keys = append(d.Keys, i)
	}
	return d
}

// columns returns a number of columns in words.
func columns(n int) string {
	if n == 1 {
		return "1 column"
	}
	return fmt.Sprintf("%d columns", n)
}
