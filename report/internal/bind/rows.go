package bind

import (
	"fmt"

	"github.com/layshaft/layshaft/report/internal/sql"
)

// Rows in parentheses are compared column by column, as in PostgreSQL:
//
//	(a, b) = (c, d)                   a = c AND b = d
//	(a, b) < (c, d)                   a < c OR a = c AND b < d
//	(a, b) IN ((1, 2), (3, 4))        (a, b) = (1, 2) OR (a, b) = (3, 4)
//	(a, b) IN (SELECT c, d FROM t)    EXISTS (SELECT 1 FROM (SELECT c, d FROM t) WHERE a = c AND b = d)
//
// EXISTS is false where IN is NULL. So the last form is for conditions alone, below AND and OR.

const rowHint = "compare the columns one by one, with AND"

// rowComparison returns what a comparison of two rows stands for; nil for other comparisons.
func rowComparison(x *sql.Binary) (sql.Expr, error) {
	l, isRow := x.L.(*sql.Row)
	r, ok := x.R.(*sql.Row)
	switch {
	case !isRow && !ok:
		return nil, nil
	case !isRow || !ok:
		return nil, errAt(x, rowHint, "a row in parentheses is compared with a row only")
	}
	return compareRows(x.Pos, x.Op, l, r)
}

// splitRows replaces comparisons of rows in a chain of AND by comparisons of their columns.
func splitRows(chain []sql.Expr) (all []sql.Expr, err error) {
	for _, x := range chain {
		if b, ok := x.(*sql.Binary); ok {
			row, err := rowComparison(b)
			if err != nil {
				return nil, err
			}
			if l, ok := row.(*sql.Logical); ok && l.Op == sql.And {
				all = append(all, l.Args...)
				continue
			}
			if row != nil {
				x = row
			}
		}
		all = append(all, x)
	}
	return all, nil
}

// compareRows returns the comparison of two rows.
func compareRows(pos sql.Pos, op sql.Op, l, r *sql.Row) (sql.Expr, error) {
	if len(l.Items) != len(r.Items) || len(l.Items) == 0 {
		return nil, errAt(r, "", "a row of %s is compared with a row of %d", columns(len(l.Items)), len(r.Items))
	}
	pair := func(op sql.Op, i int) sql.Expr { return &sql.Binary{Pos: pos, Op: op, L: l.Items[i], R: r.Items[i]} }
	each := func(with, op sql.Op) sql.Expr {
		all := &sql.Logical{Pos: pos, Op: with}
		for i := range l.Items {
			all.Args = append(all.Args, pair(op, i))
		}
		if len(all.Args) == 1 {
			return all.Args[0]
		}
		return all
	}
	switch op {
	case sql.Eq, sql.NotDistinctFrom:
		return each(sql.And, op), nil
	case sql.Ne, sql.DistinctFrom:
		return each(sql.Or, op), nil
	case sql.Lt, sql.Le, sql.Gt, sql.Ge:
	default:
		return nil, errAt(l, rowHint, "rows in parentheses are compared only; %s is not supported", op)
	}
	strict := sql.Lt
	if op == sql.Gt || op == sql.Ge {
		strict = sql.Gt
	}
	last := len(l.Items) - 1
	x := pair(op, last)
	for i := last - 1; i >= 0; i-- {
		x = &sql.Logical{Pos: pos, Op: sql.Or, Args: []sql.Expr{pair(strict, i), &sql.Logical{Pos: pos, Op: sql.And, Args: []sql.Expr{pair(sql.Eq, i), x}}}}
	}
	return x, nil
}

// noteFilters notes the row IN (SELECT …) of a condition for which false and NULL are the same.
func (b *binder) noteFilters(x sql.Expr) {
	switch x := x.(type) {
	case *sql.Logical: // AND or OR
		for _, a := range x.Args {
			b.noteFilters(a)
		}
	case *sql.In:
		if _, isRow := x.X.(*sql.Row); isRow && x.Query != nil {
			if b.filters == nil {
				b.filters = map[*sql.In]bool{}
			}
			b.filters[x] = true
		}
	}
}

// inRows returns what row IN (…) stands for. isFilter reports that false and NULL are the same.
func inRows(x *sql.In, row *sql.Row, isFilter bool) (in sql.Expr, err error) {
	if x.Query != nil {
		if x.Not {
			return nil, errAt(x, "write NOT EXISTS (SELECT 1 FROM … WHERE a = c AND b = d), which is true also if a column is NULL", "a row in parentheses is not supported before NOT IN (SELECT …)")
		}
		if !isFilter {
			return nil, errAt(x, "write EXISTS (SELECT 1 FROM … WHERE a = c AND b = d), which is false where IN is NULL", "a row in parentheses before IN (SELECT …) is supported only in conditions, below AND and OR")
		}
		if n := itemsOf(x.Query); n > 0 && n != len(row.Items) {
			return nil, errAt(x.Query, "select as many columns as the row has", "a row of %s is compared with a subquery of %d", columns(len(row.Items)), n)
		}
		return existsRow(x.Query, row, x.Pos), nil
	}
	either := &sql.Logical{Pos: x.Pos, Op: sql.Or}
	for _, item := range x.List {
		other, ok := item.(*sql.Row)
		if !ok {
			return nil, errAt(item, fmt.Sprintf("write rows of %s", columns(len(row.Items))), "a row in parentheses is compared with a row only")
		}
		eq, err := compareRows(x.Pos, sql.Eq, row, other)
		if err != nil {
			return nil, err
		}
		either.Args = append(either.Args, eq)
	}
	if in = either; len(either.Args) == 1 {
		in = either.Args[0]
	}
	if x.Not {
		in = &sql.Unary{Pos: x.Pos, Op: sql.Not, X: in}
	}
	return in, nil
}

// itemsOf returns the number of columns of a query that is a SELECT without a star; 0 for others.
func itemsOf(q *sql.Query) int {
	s, ok := q.Body.(*sql.Select)
	if !ok {
		return 0
	}
	for _, it := range s.Items {
		if _, star := it.X.(*sql.Star); star {
			return 0
		}
	}
	return len(s.Items)
}

// existsRow returns EXISTS (SELECT 1 FROM (q) AS t WHERE row = t). Other columns cannot
// have the names of its columns.
func existsRow(q *sql.Query, row *sql.Row, pos sql.Pos) sql.Expr {
	const table = "rows of IN"
	alias := &sql.Alias{Pos: q.Pos, Name: sql.Ident{Pos: q.Pos, Name: table, Quoted: true}}
	all := &sql.Logical{Pos: pos, Op: sql.And}
	for i, item := range row.Items {
		id := sql.Ident{Pos: q.Pos, Name: fmt.Sprintf("row of IN %d", i), Quoted: true}
		alias.Columns = append(alias.Columns, id)
		c := &sql.Column{Pos: pos, Parts: []sql.Ident{alias.Name, id}}
		all.Args = append(all.Args, &sql.Binary{Pos: pos, Op: sql.Eq, L: item, R: c})
	}
	return &sql.Exists{Pos: pos, Query: &sql.Query{Pos: q.Pos, Body: &sql.Select{
		Pos: q.Pos, Items: []*sql.Item{{Pos: q.Pos, X: &sql.Number{Pos: q.Pos, Kind: sql.Integer, Text: "1"}}},
		From: []sql.Table{&sql.Subquery{Pos: q.Pos, Query: q, Alias: alias}}, Where: all,
	}}}
}
