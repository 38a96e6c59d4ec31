package bind

import (
	"slices"
	"strings"

	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// A subquery that uses outer columns in other ways than equalities is joined with the distinct
// outer values that it uses, here d. Then they are columns like its own, and the subquery becomes
// one whose conditions are equalities. See Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW
// 2015).
//
//	(SELECT max(x) FROM t WHERE t.y > o.y)
//	o LEFT JOIN (SELECT d.y, max(x) FROM t, (SELECT DISTINCT y FROM o) d WHERE t.y > d.y GROUP BY d.y)
//
// The join costs one comparison for each pair of a distinct value and a row of the subquery, unless
// another condition is an equality.

// dependent is the distinct outer values of a subquery.
type dependent struct {
	around *scope   // of the outer query
	inner  []Column // of the tables of the subquery
	// values computes the values. Its input is set when the subquery is joined.
	values *Project
	all    *Distinct // of values
	join   *Join     // of the tables of the subquery, and all
	// at are the parts of the subquery that are columns of values, by number.
	at  map[sql.Expr]int
	key map[string]int // the same by the key of the bound expression
	// strict reports for each value that no row of the subquery belongs to NULL.
	strict []bool
}

// maxParts is the size of an expression up to which its largest outer parts are looked for, and
// maxValues the number of values of a subquery. Beyond them, values belong to single columns.
const (
	maxParts  = 1000
	maxValues = 32
)

// isOuter reports whether a column belongs to the outer query.
func (d *dependent) isOuter(c *sql.Column) bool {
	return !hasName(c, d.inner) && hasName(c, d.around.cols)
}

// look returns the first outer column of an expression, and reports whether the expression has
// anything else that needs a row: a column of the subquery, an aggregate, or a query.
func (d *dependent) look(n sql.Node) (outer *sql.Column, others bool) {
	sql.Walk(n, func(n sql.Node) bool {
		switch n := n.(type) {
		case *sql.Column:
			switch {
			case !d.isOuter(n):
				others = true
			case outer == nil:
				outer = n
			}
		case *sql.Query:
			others = true
			if all := d.nested(n); outer == nil && len(all) > 0 {
				outer = all[0]
			}
			return false
		case *sql.Star:
			others = true
		case *sql.Call:
			others = others || isAggregate(n) || n.Over != nil || n.Name == "unnest"
		}
		return true
	})
	return outer, others
}

// isAggregate reports whether a call is one of an aggregate.
func isAggregate(c *sql.Call) bool {
	return c.Over == nil && (c.Star || aggr.IsAggregate(c.Name))
}

// nested returns the columns of a query inside the subquery that belong to the outer query. They
// have the name of their table, because the tables of that query are not known yet.
func (d *dependent) nested(q *sql.Query) (all []*sql.Column) {
	own := map[string]bool{}
	sql.Walk(q, func(n sql.Node) bool {
		var a *sql.Alias
		switch n := n.(type) {
		case *sql.TableName:
			own[strings.ToLower(tableName(n.Name.Name))], a = true, n.Alias
		case *sql.File:
			own[strings.ToLower(tableName(n.Paths[0]))], a = true, n.Alias
		case *sql.TableFunc:
			own[strings.ToLower(n.Call.Name)], a = true, n.Alias
		case *sql.Subquery:
			a = n.Alias
		}
		if a != nil {
			own[strings.ToLower(a.Name.Name)] = true
		}
		return true
	})
	sql.Walk(q, func(n sql.Node) bool {
		c, ok := n.(*sql.Column)
		if !ok || len(c.Parts) < 2 || own[strings.ToLower(c.Parts[0].Name)] || hasName(c, d.inner) {
			return true
		}
		if i, err := find(d.around.cols, &c.Parts[0], c.Parts[1]); i >= 0 && err == nil {
			all = append(all, c)
		}
		return true
	})
	return all
}

// collect makes values of the largest parts of an expression that use outer columns alone.
func (d *dependent) collect(n sql.Node) (err error) {
	size := 0
	sql.Walk(n, func(sql.Node) bool {
		size++
		return size <= maxParts
	})
	sql.Walk(n, func(n sql.Node) bool {
		if err != nil {
			return false
		}
		if q, ok := n.(*sql.Query); ok {
			for _, c := range d.nested(q) {
				i, _ := find(d.around.cols, &c.Parts[0], c.Parts[1])
				col := d.around.cols[i]
				d.add(nil, expr.Column(i, col.Type, col.Name, c.Offset))
			}
			return false
		}
		if c, ok := n.(*sql.Call); ok && isAggregate(c) {
			if err = d.checkAggregate(c); err != nil {
				return false
			}
		}
		x, ok := n.(sql.Expr)
		_, column := n.(*sql.Column)
		if !ok || !column && (size > maxParts || len(d.values.Exprs) >= maxValues) {
			return true
		}
		outer, others := d.look(x)
		if outer == nil || others || mayFail(x) && !column {
			return outer != nil
		}
		var e *expr.Expr
		if e, err = d.around.expr(x); err == nil {
			d.add(x, e)
		}
		return false
	})
	return err
}

// safeCalls are functions whose values for an outer row may be computed before other conditions are
// checked.
var safeCalls = []string{"abs", "coalesce", "date_trunc", "length", "lower", "trim", "upper"}

// mayFail reports whether an expression may fail for rows that other conditions leave out, such as
// a division.
func mayFail(x sql.Expr) (may bool) {
	sql.Walk(x, func(n sql.Node) bool {
		switch n := n.(type) {
		case *sql.Cast, *sql.Index, *sql.Slice:
			may = true
		case *sql.Call:
			may = may || !slices.Contains(safeCalls, n.Name)
		case *sql.Binary:
			may = may || !slices.Contains([]sql.Op{sql.Add, sql.Sub, sql.Mul, sql.Eq, sql.Ne, sql.Lt, sql.Le, sql.Gt, sql.Ge}, n.Op)
		}
		return !may
	})
	return may
}

// checkAggregate refuses an aggregate of outer columns alone: SQL takes it for an aggregate of the
// outer query.
func (d *dependent) checkAggregate(c *sql.Call) error {
	var outer *sql.Column
	others := false
	for _, a := range c.Args {
		first, more := d.look(a)
		if outer == nil {
			outer = first
		}
		others = others || more
	}
	if outer == nil || others {
		return nil
	}
	return errAt(c, "compute it in the outer query, or use a column of the subquery in it", "%s has columns of the outer query alone", c.Name)
}

// add returns the number of a value, which the part x of the subquery stands for; nil for none.
func (d *dependent) add(x sql.Expr, e *expr.Expr) int {
	key := e.Key()
	i, ok := d.key[key]
	if !ok {
		i = len(d.values.Exprs)
		col := Column{Name: "outer", Type: e.Type, Hidden: true}
		if e.Op == expr.OpColumn && e.Col < len(d.around.cols) {
			col.Table, col.Name = d.around.cols[e.Col].Table, d.around.cols[e.Col].Name
		} else if x != nil {
			col.Name = nameOf(&sql.Item{X: x})
		}
		d.values.Exprs, d.values.Cols = append(d.values.Exprs, e), append(d.values.Cols, col)
		d.strict = append(d.strict, false)
		d.key[key] = i
	}
	if x != nil {
		d.at[x] = i
	}
	return i
}

// compared notes values that a condition compares with something: it is not true for NULL.
func (d *dependent) compared(x sql.Expr) {
	b, ok := x.(*sql.Binary)
	if !ok || !slices.Contains([]sql.Op{sql.Eq, sql.Ne, sql.Lt, sql.Le, sql.Gt, sql.Ge}, b.Op) {
		return
	}
	for _, side := range []sql.Expr{b.L, b.R} {
		if i, ok := d.at[side]; ok {
			d.strict[i] = true
		}
	}
}

// cross joins the tables of the subquery with the values. Nothing can be added later.
func (d *dependent) cross(node Node) Node {
	d.all = distinctAll(d.values).(*Distinct)
	d.join = cross(node, d.all)
	return d.join
}

// column returns the column of a part of the subquery that is a value; nil for other parts.
func (d *dependent) column(x sql.Expr) *expr.Expr {
	if d == nil {
		return nil
	}
	i, ok := d.at[x]
	if !ok {
		return nil
	}
	return d.valueColumn(i, x.At())
}

// valueColumn returns the column of a value.
func (d *dependent) valueColumn(i, offset int) *expr.Expr {
	c := d.values.Cols[i]
	return expr.Column(len(d.inner)+i, c.Type, c.Name, offset)
}

// fill computes the values from a node, over whose columns the expressions are.
func (d *dependent) fill(n Node, exprs []*expr.Expr) {
	d.values.In, d.values.Exprs = source(n, exprs), exprs
}

// source returns a node that has all values of the expressions over the columns of n. It leaves out
// joins that keep every row, such as joins of other subqueries, and conditions on their columns.
func source(n Node, exprs []*expr.Expr) Node {
	width := 0
	for _, x := range exprs {
		width = max(width, highest(x)+1)
	}
	for {
		in := n
		var conds []*expr.Expr
		if f, ok := n.(*Filter); ok {
			in, conds = f.In, conjuncts(f.Cond)
		}
		j, ok := in.(*Join)
		if !ok || j.Kind != Left && j.Kind != Scalar && j.Kind != Mark || width > len(j.Left.Columns()) {
			return n
		}
		left, _ := divide(conds, len(j.Left.Columns()))
		n = filtered(j.Left, left)
	}
}

// nullSafe returns the keys of a join of values, so that NULL equals NULL where that matters.
func (d *dependent) nullSafe(keys []*expr.Expr) ([]*expr.Expr, error) {
	all := slices.Clone(keys)
	for i, k := range keys {
		if d.strict[i] {
			continue
		}
		list, err := expr.Call("list_value", []*expr.Expr{k}, k.Offset)
		if err != nil {
			return nil, err
		}
		all[i] = list
	}
	return all, nil
}

// maxSemi is the size of the tables of a subquery in bytes up to which all tasks get their rows, to
// find whether there is one. Beyond it, all tasks get the values.
const maxSemi = 64 << 20

// semi returns the values for which the subquery has a row; nil if the tables of the subquery are
// large, or were joined with others since.
func (d *dependent) semi(n Node) (Node, error) {
	var conds []*expr.Expr
	for {
		f, ok := n.(*Filter)
		if !ok {
			break
		}
		conds = append(conjuncts(f.Cond), conds...)
		n = f.In
	}
	if n != Node(d.join) || Size(d.join.Left) > maxSemi {
		return nil, nil
	}
	inner, outer := len(d.inner), len(d.values.Cols)
	var onValues, onTables, both []*expr.Expr
	for _, c := range conds {
		switch low, high := lowest(c), highest(c); {
		case high < inner:
			onTables = append(onTables, c)
		case low >= inner:
			onValues = append(onValues, shift(c, -inner))
		default:
			both = append(both, c.Replace(func(e *expr.Expr) *expr.Expr {
				switch {
				case e.Op != expr.OpColumn:
					return nil
				case e.Col < inner:
					return expr.Column(e.Col+outer, e.Type, e.Name, e.Offset)
				}
				return expr.Column(e.Col-inner, e.Type, e.Name, e.Offset)
			}))
		}
	}
	cond, err := conjunction(both)
	if err != nil {
		return nil, err
	}
	j := &Join{Kind: Semi, Left: filtered(d.all, onValues), Right: filtered(d.join.Left, onTables), Cond: cond, Cols: d.values.Cols}
	return split(j)
}

// truth is TRUE at the place of a node.
func truth(n sql.Node) sql.Expr { return &sql.Bool{Pos: sql.Pos{Offset: n.At()}, Value: true} }

// valueOfNothing returns what an aggregate returns for no rows.
func valueOfNothing(a *Agg, offset int) (*expr.Expr, error) {
	state := a.Func.New()
	state.Resize(1)
	v, err := state.Result(0, 1)
	if err != nil {
		return nil, err
	}
	if v.Null(0) {
		return expr.Const(vec.NullOf(a.Func.Result, 1), offset), nil
	}
	v = v.Flat()
	v.Const = true
	return expr.Const(v, offset), nil
}
