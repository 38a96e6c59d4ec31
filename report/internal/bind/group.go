package bind

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// maxSets is how many grouping sets a query may have: CUBE of ten columns.
const maxSets = 1024

// groupKeys binds GROUP BY. sets is nil for a plain list.
func (sel *selection) groupKeys(items []*sql.Item, seen *names) (keys []*expr.Expr, sets [][]bool, err error) {
	g := sel.s.GroupBy
	keys = []*expr.Expr{}
	if g.All {
		for i, x := range sel.items[:sel.visible] {
			if !hasVirtual(x, aggBase) && !hasVirtual(x, windowBase) && !hasVirtual(x, groupBase) && !slices.ContainsFunc(keys, func(k *expr.Expr) bool { return k.Key() == x.Key() }) {
				keys = append(keys, sel.items[i])
			}
		}
		return keys, nil, nil
	}
	s := sel.scope("GROUP BY", items)
	s.seen = seen
	index := func(x sql.Expr) (int, error) {
		e, err := sel.groupKey(s, items, x)
		if err != nil {
			return 0, err
		}
		i := slices.IndexFunc(keys, func(k *expr.Expr) bool { return k.Key() == e.Key() })
		if i < 0 {
			i = len(keys)
			keys = append(keys, e)
		}
		return i, nil
	}
	plain := true
	all := [][]int{{}}
	for _, it := range g.Items {
		these, err := groupingSets(it, index)
		if err != nil {
			return nil, nil, err
		}
		plain = plain && it.Kind == sql.GroupExpr
		var product [][]int
		for _, a := range all {
			for _, t := range these {
				product = append(product, append(slices.Clone(a), t...))
			}
		}
		if all = product; len(all) > maxSets {
			return nil, nil, errAt(it, "use fewer columns in CUBE or ROLLUP", "GROUP BY has more than %d grouping sets", maxSets)
		}
	}
	if plain {
		return keys, nil, nil
	}
	for _, set := range all {
		has := make([]bool, len(keys))
		for _, i := range set {
			has[i] = true
		}
		sets = append(sets, has)
	}
	return keys, sets, nil
}

// groupKey binds one key: a position, an input column, an alias of the SELECT list or an
// expression.
func (sel *selection) groupKey(s *scope, items []*sql.Item, x sql.Expr) (*expr.Expr, error) {
	i, ok, err := position(x, sel.visible, "GROUP BY")
	if err != nil {
		return nil, err
	}
	if ok {
		if hasVirtual(sel.items[i], aggBase) {
			return nil, errAt(x, "", "GROUP BY %d: column %d is an aggregate", i+1, i+1)
		}
		return sel.items[i], nil
	}
	return s.expr(x)
}

// groupingSets returns the sets of keys that an item of GROUP BY stands for.
func groupingSets(it *sql.GroupItem, index func(sql.Expr) (int, error)) (sets [][]int, err error) {
	list := func() (parts [][]int, err error) {
		for _, sub := range it.Items {
			of, err := groupingSets(sub, index)
			if err != nil {
				return nil, err
			}
			parts = append(parts, slices.Concat(of...))
		}
		return parts, nil
	}
	switch it.Kind {
	case sql.GroupExpr:
		i, err := index(it.X)
		return [][]int{{i}}, err
	case sql.GroupList:
		parts, err := list()
		return [][]int{slices.Concat(parts...)}, err
	case sql.GroupRollup:
		parts, err := list()
		for n := len(parts); n >= 0 && err == nil; n-- {
			sets = append(sets, slices.Concat(parts[:n]...))
		}
		return sets, err
	case sql.GroupCube:
		parts, err := list()
		if err == nil && len(parts) > 10 {
			err = errAt(it, "name the sets with GROUPING SETS", "CUBE of %d columns has more than %d grouping sets", len(parts), maxSets)
		}
		if err != nil {
			return nil, err
		}
		for mask := 1<<len(parts) - 1; mask >= 0; mask-- {
			var set []int
			for i, p := range parts {
				if mask>>(len(parts)-1-i)&1 == 1 {
					set = append(set, p...)
				}
			}
			sets = append(sets, set)
		}
		return sets, nil
	}
	for _, sub := range it.Items {
		of, err := groupingSets(sub, index)
		if err != nil {
			return nil, err
		}
		sets = append(sets, of...)
	}
	return sets, nil
}

// hasVirtual reports whether an expression uses a virtual column of a kind.
func hasVirtual(x *expr.Expr, base int) (has bool) {
	x.Walk(func(e *expr.Expr) bool {
		has = has || e.Op == expr.OpColumn && e.Col >= base && e.Col < base*2
		return !has
	})
	return has
}

// group adds the Aggregate, and rewrites the expressions after it to its columns.
func (sel *selection) group(keys []*expr.Expr, sets [][]bool) error {
	agg := &Aggregate{Keys: slices.Clone(keys), Sets: sets, Aggs: sel.calls.aggs}
	// what is below the Aggregate: keys, arguments and filters
	below := slices.Clone(keys)
	for _, a := range agg.Aggs {
		below = append(below, a.Args...)
		if a.Filter != nil {
			below = append(below, a.Filter)
		}
	}
	if err := sel.attach(below); err != nil {
		return err
	}
	copy(agg.Keys, below)
	rest := below[len(keys):]
	for _, a := range agg.Aggs {
		copy(a.Args, rest)
		if rest = rest[len(a.Args):]; a.Filter != nil {
			a.Filter, rest = rest[0], rest[1:]
		}
	}
	agg.In = sel.node
	first := 0
	if sets != nil {
		agg.Cols = append(agg.Cols, Column{Name: "grouping set", Type: vec.Of(vec.Int), Hidden: true})
		first = 1
	}
	for _, k := range keys {
		name := "key"
		if k.Op == expr.OpColumn {
			name = k.Name
		}
		agg.Cols = append(agg.Cols, Column{Name: name, Type: k.Type})
	}
	for _, a := range agg.Aggs {
		agg.Cols = append(agg.Cols, Column{Name: a.Func.Name, Type: a.Func.Result})
	}
	r := &regrouping{keys: map[string]int{}, first: first, aggs: first + len(keys), sets: sets, groupings: sel.calls.groupings}
	for i, k := range keys {
		r.keys[k.Key()] = i
	}
	sel.node = agg
	for i, x := range sel.items {
		sel.items[i] = r.expr(x)
	}
	for _, w := range sel.calls.windows {
		w.rewrite(r.expr)
	}
	for _, sub := range sel.calls.subs {
		if sub.x != nil && !sub.joined {
			sub.x = r.expr(sub.x)
		}
		for i, x := range sub.left {
			if !sub.joined {
				sub.left[i] = r.expr(x)
			}
		}
	}
	if sel.having != nil {
		sel.having = r.expr(sel.having)
	}
	if sel.qualify != nil {
		sel.qualify = r.expr(sel.qualify)
	}
	return r.err
}

// regrouping rewrites expressions over the input of an Aggregate to expressions over its output.
type regrouping struct {
	keys        map[string]int
	first, aggs int // columns of the first key and the first aggregate
	sets        [][]bool
	groupings   [][]*expr.Expr
	err         error
}

func (r *regrouping) expr(x *expr.Expr) *expr.Expr {
	return x.Replace(func(e *expr.Expr) *expr.Expr {
		if i, ok := r.keys[e.Key()]; ok {
			return expr.Column(r.first+i, e.Type, e.Name, e.Offset)
		}
		if e.Op != expr.OpColumn {
			return nil
		}
		switch {
		case e.Col >= groupBase:
			return r.grouping(e)
		case e.Col >= windowBase:
			return e
		case e.Col >= aggBase:
			return expr.Column(r.aggs+e.Col-aggBase, e.Type, e.Name, e.Offset)
		}
		if r.err == nil {
			r.err = &Error{e.Offset, fmt.Sprintf("column %q is neither in GROUP BY nor inside an aggregate", e.Name), fmt.Sprintf("add it to GROUP BY, or write any_value(%s)", e.Name)}
		}
		return e
	})
}

// grouping binds GROUPING(a, b) to a virtual column.
func (s *scope) grouping(c *sql.Call) (*expr.Expr, error) {
	if !s.aggregates {
		return nil, errAt(c, "", "GROUPING is not allowed in %s", s.clause)
	}
	args, err := s.exprs(argsOf(c))
	if err != nil {
		return nil, err
	}
	if len(args) == 0 || len(args) > 31 {
		return nil, errAt(c, "name keys of GROUP BY", "GROUPING takes 1 to 31 arguments")
	}
	s.calls.groupings = append(s.calls.groupings, args)
	return expr.Column(groupBase+len(s.calls.groupings)-1, vec.Of(vec.Int), c.Name, c.Offset), nil
}

// grouping returns the value of a GROUPING for each grouping set: a bit for each argument, 1 if the
// set lacks it.
func (r *regrouping) grouping(e *expr.Expr) *expr.Expr {
	var whens, thens []*expr.Expr
	args := r.groupings[e.Col-groupBase]
	for number, set := range r.sets {
		bits := int64(0)
		for _, a := range args {
			i, ok := r.keys[a.Key()]
			if !ok {
				r.err = &Error{a.Offset, "the argument of GROUPING is no key of GROUP BY", ""}
				return e
			}
			bits <<= 1
			if !set[i] {
				bits |= 1
			}
		}
		is, err := expr.Call("=", []*expr.Expr{expr.Column(0, vec.Of(vec.Int), "grouping set", e.Offset), expr.Int(int64(number), e.Offset)}, e.Offset)
		if err != nil {
			r.err = err
			return e
		}
		whens, thens = append(whens, is), append(thens, expr.Int(bits, e.Offset))
	}
	if whens == nil {
		return expr.Int(0, e.Offset)
	}
	x, err := expr.Case(whens, thens, expr.Int(0, e.Offset), e.Offset)
	if err != nil {
		r.err = err
		return e
	}
	return x
}
