package bind

import (
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// selection is a SELECT while it is bound.
type selection struct {
	b     *binder
	s     *sql.Select
	node  Node
	calls *calls
	// items and cols are the output; later ones than visible are for ORDER BY only
	items   []*expr.Expr
	cols    []Column
	visible int
	having  *expr.Expr
	qualify *expr.Expr
	order   []SortKey // over the items
	on      []int     // the items of DISTINCT ON
	// values are the outer values of a correlated subquery, columns of node; nil for none.
	values *dependent
}

// selectOf binds a SELECT with the ORDER BY behind it.
func (b *binder) selectOf(s *sql.Select, order []*sql.OrderItem, seen *names) (Node, error) {
	node, err := b.from(s, seen)
	if err != nil {
		return nil, err
	}
	sel := &selection{b: b, s: s, node: node, calls: &calls{}}
	b.outer = append(b.outer, nil)
	defer func() { b.outer = b.outer[:len(b.outer)-1] }()
	if s.Where != nil {
		if err := sel.where(seen); err != nil {
			return nil, err
		}
	}
	items, err := sel.unnest(s.Items, seen)
	if err != nil {
		return nil, err
	}
	if items, err = sel.expand(items); err != nil {
		return nil, err
	}
	keys, sets, err := sel.bindItems(items, order, seen)
	if err != nil {
		return nil, err
	}
	if keys != nil || sets != nil || len(sel.calls.aggs) > 0 || len(sel.calls.groupings) > 0 || s.Having != nil {
		if err := sel.group(keys, sets); err != nil {
			return nil, err
		}
	}
	return sel.finish()
}

// scope returns a scope of a clause over the columns of the current node.
func (sel *selection) scope(clause string, items []*sql.Item) *scope {
	cols := sel.node.Columns()
	sel.b.outer[len(sel.b.outer)-1] = cols
	return &scope{b: sel.b, cols: cols, aliases: items, calls: sel.calls, clause: clause, values: sel.values}
}

func (sel *selection) where(seen *names) error {
	s := sel.scope("WHERE", sel.s.Items)
	s.seen = seen
	cond, err := s.condition(sel.s.Where)
	if err != nil {
		return err
	}
	// conditions without subqueries come first, so that subqueries have fewer outer rows
	var plain, others []*expr.Expr
	for _, c := range conjuncts(cond) {
		if hasVirtual(c, subBase) {
			others = append(others, c)
		} else {
			plain = append(plain, c)
		}
	}
	if len(others) == 0 {
		sel.node = &Filter{sel.node, cond}
		return nil
	}
	sel.node = filtered(sel.node, plain)
	if err := sel.attach(others); err != nil {
		return err
	}
	sel.node = filtered(sel.node, others)
	return nil
}

// unnest adds the operators of unnest(x) in a SELECT list, and replaces the items by their columns.
func (sel *selection) unnest(items []*sql.Item, seen *names) ([]*sql.Item, error) {
	items = slices.Clone(items)
	before := sel.node
	for i, it := range items {
		c, ok := it.X.(*sql.Call)
		if !ok || c.Name != "unnest" || len(c.Args) != 1 {
			continue
		}
		if sel.node != before {
			return nil, errAt(c, "combine all elements of two lists by FROM file, unnest(a) AS x(a), unnest(b) AS y(b)", "a SELECT may have one unnest only")
		}
		name := sql.Ident{Pos: it.Pos, Name: "unnest", Quoted: true}
		if it.Alias != nil {
			name = *it.Alias
		}
		s := sel.scope("unnest", nil)
		s.seen = seen
		if err := sel.addUnnest(s, c, Column{Name: name.Name, Hidden: true}, nil); err != nil {
			return nil, err
		}
		items[i] = &sql.Item{Pos: it.Pos, X: &numbered{Column: sql.Column{Pos: it.Pos}, col: len(sel.node.Columns()) - 1}, Alias: &name}
	}
	return items, nil
}

// addUnnest adds an Unnest to the node.
func (sel *selection) addUnnest(s *scope, c *sql.Call, col Column, ordinality *Column) error {
	x, err := s.expr(c.Args[0].X)
	if err != nil {
		return err
	}
	exprs := []*expr.Expr{x}
	if err := sel.attach(exprs); err != nil {
		return err
	}
	if x = exprs[0]; x.Type.Kind != vec.List && x.Type.Kind != vec.Map {
		return errAt(c, "", "unnest needs a list, this is %s", x.Type)
	}
	col.Type = *x.Type.Elem
	n := &Unnest{In: sel.node, X: x, Cols: append(slices.Clone(sel.node.Columns()), col)}
	if ordinality != nil {
		n.Ordinality = true
		n.Cols = append(n.Cols, *ordinality)
	}
	sel.node = n
	return nil
}

// expand replaces stars by columns.
func (sel *selection) expand(items []*sql.Item) (all []*sql.Item, err error) {
	for _, it := range items {
		star, ok := it.X.(*sql.Star)
		if !ok {
			all = append(all, it)
			continue
		}
		cols := sel.node.Columns()
		excluded, replaced, found := map[int]bool{}, map[int]*sql.Item{}, false
		for _, id := range star.Exclude {
			i, err := find(cols, star.Table, id)
			if err == nil && i < 0 {
				err = errAt(id, nearestColumn(id.Name, cols), "EXCLUDE: there is no column %q", id.Name)
			}
			if err != nil {
				return nil, err
			}
			excluded[i] = true
		}
		for _, r := range star.Replace {
			i, err := find(cols, star.Table, *r.Alias)
			if err == nil && i < 0 {
				err = errAt(r, nearestColumn(r.Alias.Name, cols), "REPLACE: there is no column %q", r.Alias.Name)
			}
			if err != nil {
				return nil, err
			}
			replaced[i] = r
		}
		for i, c := range cols {
			if c.Hidden && (star.Table == nil || c.Name == scan.Filename) || star.Table != nil && !matches(c.Table, *star.Table, false) {
				continue
			}
			found = true
			switch {
			case excluded[i]:
			case replaced[i] != nil:
				all = append(all, replaced[i])
			default:
				all = append(all, &sql.Item{Pos: star.Pos, X: &numbered{Column: sql.Column{Pos: star.Pos}, col: i}, Alias: &sql.Ident{Pos: star.Pos, Name: c.Name, Quoted: true}})
			}
		}
		if !found {
			if star.Table != nil {
				return nil, errAt(star, "", "there is no table %q", star.Table.Name)
			}
			if len(cols) > 0 {
				return nil, errAt(star, emptyHint, "* stands for all columns, and the files are empty")
			}
			return nil, errAt(star, "name a file in FROM", "* stands for all columns, and there are none")
		}
	}
	return all, nil
}

func nearestColumn(name string, cols []Column) string {
	return nearest(name, quoted(shown(cols)), "columns are")
}

// numbered is a column by its number, which the expansion of * and unnest make.
type numbered struct {
	sql.Column
	col int
}

// bindItems binds the SELECT list, GROUP BY, HAVING, QUALIFY and ORDER BY over the same columns.
// keys is not nil if the query groups.
func (sel *selection) bindItems(items []*sql.Item, order []*sql.OrderItem, seen *names) (keys []*expr.Expr, sets [][]bool, err error) {
	s := sel.scope("SELECT", items)
	s.aggregates, s.windows, s.named, s.seen = true, true, sel.s.Windows, seen
	for _, it := range items {
		x, err := s.expr(it.X)
		if err != nil {
			return nil, nil, err
		}
		sel.items = append(sel.items, x)
		sel.cols = append(sel.cols, Column{Name: nameOf(it), Type: x.Type})
	}
	sel.visible = len(sel.items)
	if sel.s.GroupBy != nil {
		if keys, sets, err = sel.groupKeys(items, seen); err != nil {
			return nil, nil, err
		}
	}
	if sel.s.Having != nil {
		h := *s
		h.clause, h.windows = "HAVING", false
		if sel.having, err = h.condition(sel.s.Having); err != nil {
			return nil, nil, err
		}
	}
	if sel.s.Qualify != nil {
		q := *s
		q.clause = "QUALIFY"
		if sel.qualify, err = q.condition(sel.s.Qualify); err != nil {
			return nil, nil, err
		}
	}
	o := *s
	o.clause = "ORDER BY"
	for _, item := range order {
		bound, err := sel.b.orderKeys(item, sel.cols[:sel.visible], func(x sql.Expr) (*expr.Expr, error) {
			return sel.orderExpr(&o, items, x)
		})
		if err != nil {
			return nil, nil, err
		}
		sel.order = append(sel.order, bound...)
	}
	return keys, sets, sel.bindDistinctOn(s, items)
}

// bindDistinctOn binds the expressions of DISTINCT ON like expressions of ORDER BY.
func (sel *selection) bindDistinctOn(s *scope, items []*sql.Item) error {
	if sel.s.Distinct == nil {
		return nil
	}
	on := *s
	on.clause = "DISTINCT ON"
	for _, x := range sel.s.Distinct.On {
		i, ok, err := position(x, sel.visible, "DISTINCT ON")
		if err != nil {
			return err
		}
		if !ok {
			e, err := sel.orderExpr(&on, items, x)
			if err != nil {
				return err
			}
			i = e.Col
		}
		sel.on = append(sel.on, i)
	}
	return nil
}

// orderExpr returns the output column of an expression of ORDER BY. It adds a hidden one if none is
// equal. The name of an output column goes before the name of an input column.
func (sel *selection) orderExpr(s *scope, items []*sql.Item, x sql.Expr) (*expr.Expr, error) {
	output := func(i int) *expr.Expr { return expr.Column(i, sel.cols[i].Type, sel.cols[i].Name, x.At()) }
	if c, ok := x.(*sql.Column); ok && len(c.Parts) == 1 {
		for _, exact := range []bool{true, false} {
			for i, it := range items {
				if it.Alias != nil && matches(it.Alias.Name, c.Parts[0], exact) {
					return output(i), nil
				}
			}
		}
	}
	e, err := s.expr(x)
	if err != nil {
		return nil, err
	}
	key := e.Key()
	for i, it := range sel.items {
		if it.Key() == key {
			return output(i), nil
		}
	}
	if sel.s.Distinct != nil && len(sel.s.Distinct.On) == 0 {
		return nil, errAt(x, "add it to the SELECT list", "with DISTINCT, ORDER BY can use selected expressions only")
	}
	sel.items = append(sel.items, e)
	sel.cols = append(sel.cols, Column{Name: "order", Type: e.Type, Hidden: true})
	return output(len(sel.items) - 1), nil
}

// nameOf returns the name of an output column: the alias, the column, the function, or the text of
// the expression.
func nameOf(it *sql.Item) string {
	if it.Alias != nil {
		return it.Alias.Name
	}
	switch x := it.X.(type) {
	case *sql.Column:
		return x.Parts[len(x.Parts)-1].Name
	case *sql.Field:
		return x.Name.Name
	}
	const most = 60
	text := strings.Join(strings.Fields(sql.Format(it.X)), " ")
	if len(text) > most {
		text = fmt.Sprintf("%.*s…", most, text)
	}
	return text
}

// finish adds the operators after grouping: HAVING, windows, QUALIFY, the SELECT list, DISTINCT and
// ORDER BY.
func (sel *selection) finish() (Node, error) {
	if sel.having != nil {
		exprs := []*expr.Expr{sel.having}
		if err := sel.attach(exprs); err != nil {
			return nil, err
		}
		sel.node = &Filter{sel.node, exprs[0]}
	}
	all := slices.Clone(sel.items)
	if sel.qualify != nil {
		all = append(all, sel.qualify)
	}
	if err := sel.addWindows(all); err != nil {
		return nil, err
	}
	if err := sel.attach(all); err != nil {
		return nil, err
	}
	if sel.qualify != nil {
		sel.node = &Filter{sel.node, all[len(all)-1]}
		all = all[:len(all)-1]
	}
	var node Node = &Project{sel.node, all, sel.cols}
	if d := sel.s.Distinct; d != nil {
		if len(d.On) > 0 {
			return sel.distinctOn(node), nil
		}
		node = distinctAll(node)
	}
	if len(sel.order) > 0 {
		node = &Sort{node, sel.order, -1}
	}
	return sel.hide(node), nil
}

// hide drops the columns that only ORDER BY needed.
func (sel *selection) hide(node Node) Node {
	if sel.visible == len(node.Columns()) {
		return node
	}
	p := &Project{In: node, Cols: sel.cols[:sel.visible]}
	for i, c := range p.Cols {
		p.Exprs = append(p.Exprs, expr.Column(i, c.Type, c.Name, 0))
	}
	return p
}

// distinctOn keeps the first row, by the order, of each set of rows with equal expressions.
func (sel *selection) distinctOn(node Node) Node {
	keys := &Distinct{In: node, Keys: sel.on}
	if len(sel.order) == 0 {
		return sel.hide(keys)
	}
	keys.In = &Sort{node, sel.order, -1}
	return sel.hide(&Sort{keys, sel.order, -1})
}
