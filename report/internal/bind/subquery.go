package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// subquery is a subquery inside an expression, until attach joins it.
type subquery struct {
	node Node
	// x is the left side of IN, over the columns of the query; nil for a scalar subquery.
	x   *expr.Expr
	key *expr.Expr // the right side, over the columns of node
	typ vec.Type
	// joined reports that attach has joined the subquery, so that x is over columns below.
	joined bool
	// left and right are the keys of a correlated subquery: over the columns of the query, and over
	// the first columns of node. at is the column of node with the value. of is the subquery whose
	// join this one shares.
	left, right []*expr.Expr
	at          int
	of          *subquery
	place       int // of the first column of node, when joined
	// values are the outer values of the subquery, which are left then; nil for none.
	values *dependent
	// text is equal for equal subqueries of a SELECT: GROUP BY and the list may both have one.
	text string
}

// subqueryNode binds the query of a subquery.
func (s *scope) subqueryNode(q *sql.Query, columns int) (Node, error) {
	s.b.outer[len(s.b.outer)-1] = s.cols
	n, err := s.b.nested(q, s.seen)
	if err != nil {
		return nil, err
	}
	if got := len(n.Columns()); columns > 0 && got != columns {
		return nil, errAt(q, "select one column", "the subquery returns %d columns", got)
	}
	return n, nil
}

// virtual returns the virtual column of a subquery, whose query is q.
func (s *scope) virtual(sub *subquery, q *sql.Query, name string, offset int) *expr.Expr {
	if sub.text = name + " " + sql.Format(q); sub.x != nil {
		sub.text = sub.x.Key() + " " + sub.text
	}
	i := slices.IndexFunc(s.calls.subs, func(other *subquery) bool { return other.text == sub.text && !other.joined })
	if i < 0 {
		i = len(s.calls.subs)
		s.calls.subs = append(s.calls.subs, sub)
	}
	return expr.Column(subBase+i, sub.typ, name, offset)
}

// scalar binds a query used as a value.
func (s *scope) scalar(x *sql.Scalar) (*expr.Expr, error) {
	if len(s.b.outer) == 0 {
		return nil, errAt(x, "", "subqueries are not supported in %s", s.clause)
	}
	if c, err := s.correlate(x.Query, true); err != nil {
		return nil, err
	} else if c != nil {
		return s.scalarOf(x, c)
	}
	n, err := s.subqueryNode(x.Query, 1)
	if err != nil {
		return nil, err
	}
	return s.virtual(&subquery{node: n, typ: n.Columns()[0].Type}, x.Query, "subquery", x.Offset), nil
}

// exists binds EXISTS (query): the number of its rows, at most one, is above 0.
func (s *scope) exists(x *sql.Exists) (*expr.Expr, error) {
	if len(s.b.outer) == 0 {
		return nil, errAt(x, "", "subqueries are not supported in %s", s.clause)
	}
	if c, err := s.correlate(x.Query, false); err != nil {
		return nil, err
	} else if c != nil {
		return s.existsOf(x.Query, c, x.Offset)
	}
	n, err := s.subqueryNode(x.Query, 0)
	if err != nil {
		return nil, err
	}
	one := &Limit{In: &Project{n, []*expr.Expr{expr.Int(1, x.Offset)}, []Column{{Name: "one", Type: vec.Of(vec.Int)}}}, N: 1}
	v := s.virtual(&subquery{node: one, typ: vec.Of(vec.Int)}, x.Query, "exists", x.Offset)
	null, err := expr.Call("is null", []*expr.Expr{v}, x.Offset)
	return negate(null, err, true, x)
}

// mark binds x IN (query).
func (s *scope) mark(n sql.Node, x sql.Expr, q *sql.Query, _ sql.Op) (*expr.Expr, error) {
	if len(s.b.outer) == 0 {
		return nil, errAt(n, "", "subqueries are not supported in %s", s.clause)
	}
	if c, err := s.correlate(q, true); err != nil {
		return nil, err
	} else if c != nil {
		return s.inOf(n, x, q)
	}
	left, err := s.expr(x)
	if err != nil {
		return nil, err
	}
	node, err := s.subqueryNode(q, 1)
	if err != nil {
		return nil, err
	}
	c := node.Columns()[0]
	t, ok := expr.Common(left.Type, c.Type)
	if !ok {
		return nil, errAt(n, "cast one of them", "IN compares %s with %s", left.Type, c.Type)
	}
	if left, err = cast(left, t); err != nil {
		return nil, err
	}
	key, err := cast(expr.Column(0, c.Type, c.Name, n.At()), t)
	if err != nil {
		return nil, err
	}
	return s.virtual(&subquery{node: node, x: left, key: key, typ: vec.Of(vec.Bool)}, q, "in", n.At()), nil
}

// attach joins the subqueries that the expressions use to the node, and rewrites the expressions in
// place.
func (sel *selection) attach(exprs []*expr.Expr) error {
	at := map[int]int{}
	for _, x := range exprs {
		var err error
		x.Walk(func(e *expr.Expr) bool {
			if err == nil && e.Op == expr.OpColumn && e.Col >= subBase && e.Col < groupBase {
				if _, done := at[e.Col]; !done {
					at[e.Col] = -1
					err = sel.attachOne(e.Col, at)
				}
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	if len(at) == 0 {
		return nil
	}
	for i, x := range exprs {
		exprs[i] = placed(x, at)
	}
	return nil
}

// placed replaces the virtual columns of subqueries by their places.
func placed(x *expr.Expr, at map[int]int) *expr.Expr {
	return x.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op != expr.OpColumn {
			return nil
		}
		if i, ok := at[e.Col]; ok && i >= 0 {
			return expr.Column(i, e.Type, e.Name, e.Offset)
		}
		return e
	})
}

// attachOne joins one subquery.
func (sel *selection) attachOne(virtual int, at map[int]int) error {
	sub := sel.calls.subs[virtual-subBase]
	if sub.of != nil || sub.left != nil {
		return sel.attachKeyed(sub, virtual, at)
	}
	sub.joined = true
	cols := sel.node.Columns()
	if sub.x == nil {
		j := cross(sel.node, sub.node)
		j.Kind = Scalar
		for i := range j.Cols[len(cols):] {
			j.Cols[len(cols)+i].Hidden = true
		}
		sel.node, at[virtual] = j, len(cols)
		return nil
	}
	x := []*expr.Expr{sub.x}
	if err := sel.attach(x); err != nil { // the left side may use subqueries, too
		return err
	}
	cols = sel.node.Columns()
	j := &Join{Kind: Mark, Left: sel.node, Right: sub.node, LeftKeys: x, RightKeys: []*expr.Expr{sub.key}}
	j.Cols = append(append(j.Cols, cols...), Column{Name: "in", Type: vec.Of(vec.Bool), Hidden: true})
	sel.node, at[virtual] = j, len(cols)
	return nil
}

// attachKeyed joins a correlated subquery, unless another column of it was used before.
func (sel *selection) attachKeyed(sub *subquery, virtual int, at map[int]int) error {
	first := sub
	if sub.of != nil {
		first = sub.of
	}
	if !first.joined {
		first.joined = true
		keys := slices.Clone(first.left)
		if err := sel.attach(keys); err != nil {
			return err
		}
		right := first.right
		if d := first.values; d != nil {
			d.fill(sel.node, keys)
			var err error
			if keys, err = d.nullSafe(keys); err != nil {
				return err
			}
			if right, err = d.nullSafe(right); err != nil {
				return err
			}
		}
		cols := sel.node.Columns()
		first.place = len(cols)
		j := &Join{Kind: Left, Left: sel.node, Right: first.node, LeftKeys: keys, RightKeys: right, Cols: slices.Concat(cols, first.node.Columns())}
		for i := range j.Cols[len(cols):] {
			j.Cols[len(cols)+i].Hidden = true
		}
		sel.node = j
	}
	at[virtual] = first.place + sub.at
	return nil
}
