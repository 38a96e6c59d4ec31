package bind

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// exprs binds a list.
func (s *scope) exprs(list []sql.Expr) (bound []*expr.Expr, err error) {
	for _, x := range list {
		e, err := s.expr(x)
		if err != nil {
			return nil, err
		}
		bound = append(bound, e)
	}
	return bound, nil
}

// call binds the arguments and calls a function.
func (s *scope) call(n sql.Node, name string, args ...sql.Expr) (*expr.Expr, error) {
	bound, err := s.exprs(args)
	if err != nil {
		return nil, err
	}
	return expr.Call(name, bound, n.At())
}

// negate returns NOT e if not is true.
func negate(e *expr.Expr, err error, not bool, n sql.Node) (*expr.Expr, error) {
	if err != nil || !not {
		return e, err
	}
	return expr.Call("not", []*expr.Expr{e}, n.At())
}

// expr binds an expression.
func (s *scope) expr(x sql.Expr) (*expr.Expr, error) {
	if v := s.values.column(x); v != nil {
		return v, nil
	}
	switch x := x.(type) {
	case *sql.Number:
		return expr.ParseNumber(x.Text, x.Offset)
	case *sql.String:
		return expr.Text(x.Value, x.Offset), nil
	case *sql.Bool:
		return expr.Bool(x.Value, x.Offset), nil
	case *sql.Null:
		return expr.Null(x.Offset), nil
	case *sql.Typed:
		t, err := typeOf(x.Type)
		if err != nil {
			return nil, err
		}
		return expr.Cast(expr.Text(x.Value, x.Offset), t, false, x.Offset)
	case *sql.Interval:
		return s.interval(x)
	case *sql.Array:
		return s.call(x, "list_value", x.Items...)
	case *sql.Struct:
		return s.structOf(x)
	case *sql.Row:
		return nil, errAt(x, "compare the columns one by one, with AND", "rows in parentheses are not supported as values")
	case *sql.Column:
		return s.column(x)
	case *numbered:
		return expr.Column(x.col, s.cols[x.col].Type, s.cols[x.col].Name, x.Offset), nil
	case *sql.Star:
		return nil, errAt(x, "", "* stands for all columns in a SELECT list and in count(*) only")
	case *sql.Param:
		return s.b.param(x)
	case *sql.Unary:
		if x.Op == sql.Add {
			return s.expr(x.X)
		}
		return s.call(x, strings.ToLower(string(x.Op)), x.X)
	case *sql.Binary:
		if row, err := rowComparison(x); err != nil || row != nil {
			if err != nil {
				return nil, err
			}
			return s.expr(row)
		}
		return s.binary(x)
	case *sql.Logical:
		return s.call(x, strings.ToLower(string(x.Op)), x.Args...)
	case *sql.Like:
		args := []sql.Expr{x.X, x.Pattern}
		if x.Escape != nil {
			args = append(args, x.Escape)
		}
		e, err := s.call(x, strings.ToLower(string(x.Kind)), args...)
		return negate(e, err, x.Not, x)
	case *sql.Between:
		return s.between(x)
	case *sql.In:
		return s.in(x)
	case *sql.Is:
		name := "is " + strings.ToLower(string(x.Kind))
		if x.Kind == sql.IsUnknown {
			name = "is null"
		}
		e, err := s.call(x, name, x.X)
		return negate(e, err, x.Not, x)
	case *sql.Exists:
		return s.exists(x)
	case *sql.Scalar:
		return s.scalar(x)
	case *sql.Quantified:
		return s.quantified(x)
	case *sql.Case:
		return s.caseOf(x)
	case *sql.Cast:
		e, err := s.expr(x.X)
		if err != nil {
			return nil, err
		}
		t, err := typeOf(x.Type)
		if err != nil {
			return nil, err
		}
		return expr.Cast(e, t, x.Try, x.Offset)
	case *sql.Call:
		return s.function(x)
	case *sql.Index:
		return s.call(x, "list_extract", x.X, x.I)
	case *sql.Slice:
		return s.slice(x)
	case *sql.Field:
		e, err := s.expr(x.X)
		if err != nil {
			return nil, err
		}
		return expr.Field(e, x.Name.Name, x.Name.Offset)
	}
	return nil, errAt(x, "", "this expression is not supported")
}

// binary binds an operator with two operands. Chains that lean to the left may be long, so their
// left side is bound in a loop.
func (s *scope) binary(x *sql.Binary) (*expr.Expr, error) {
	var chain []*sql.Binary
	for {
		chain = append(chain, x)
		l, ok := x.L.(*sql.Binary)
		if !ok || s.values.column(l) != nil {
			break
		}
		x = l
	}
	left, err := s.expr(x.L)
	if err != nil {
		return nil, err
	}
	for i := len(chain) - 1; i >= 0; i-- {
		x := chain[i]
		right, err := s.expr(x.R)
		if err != nil {
			return nil, err
		}
		if left, err = expr.Call(strings.ToLower(string(x.Op)), []*expr.Expr{left, right}, x.Offset); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (s *scope) between(x *sql.Between) (*expr.Expr, error) {
	b, err := s.exprs([]sql.Expr{x.X, x.Low, x.High})
	if err != nil {
		return nil, err
	}
	within := func(low, high *expr.Expr) (*expr.Expr, error) {
		ge, err := expr.Call(">=", []*expr.Expr{b[0], low}, x.Offset)
		if err != nil {
			return nil, err
		}
		le, err := expr.Call("<=", []*expr.Expr{b[0], high}, x.Offset)
		if err != nil {
			return nil, err
		}
		return expr.Call("and", []*expr.Expr{ge, le}, x.Offset)
	}
	e, err := within(b[1], b[2])
	if err == nil && x.Symmetric {
		var other *expr.Expr
		if other, err = within(b[2], b[1]); err == nil {
			e, err = expr.Call("or", []*expr.Expr{e, other}, x.Offset)
		}
	}
	return negate(e, err, x.Not, x)
}

func (s *scope) in(x *sql.In) (*expr.Expr, error) {
	if row, ok := x.X.(*sql.Row); ok {
		in, err := inRows(x, row, s.b.filters[x])
		if err != nil {
			return nil, err
		}
		return s.expr(in)
	}
	if x.Query != nil {
		e, err := s.mark(x, x.X, x.Query, sql.Eq)
		return negate(e, err, x.Not, x)
	}
	e, err := s.expr(x.X)
	if err != nil {
		return nil, err
	}
	list, err := s.exprs(x.List)
	if err != nil {
		return nil, err
	}
	return expr.In(e, list, x.Not, x.Offset)
}

// quantified binds a comparison with ANY or ALL of a list. = ANY and <> ALL of a subquery are IN
// and NOT IN.
func (s *scope) quantified(x *sql.Quantified) (*expr.Expr, error) {
	if x.Query == nil {
		which := " any"
		if x.All {
			which = " all"
		}
		return s.call(x, string(x.Op)+which, x.X, x.Array)
	}
	if x.All && x.Op != sql.Ne || !x.All && x.Op != sql.Eq {
		list, err := extremesOf(x.Query)
		if err != nil {
			return nil, err
		}
		return s.quantified(&sql.Quantified{Pos: x.Pos, Op: x.Op, All: x.All, X: x.X, Array: list})
	}
	e, err := s.mark(x, x.X, x.Query, x.Op)
	return negate(e, err, x.All, x)
}

// extremesOf returns a list that compares as the values of a query do, with ANY or ALL and every
// operator but = ANY and <> ALL: the least and the greatest value, and NULL if one is NULL.
func extremesOf(q *sql.Query) (sql.Expr, error) {
	list, err := sql.ParseExpr("CASE WHEN count(*) = 0 THEN [] WHEN count(*) > count(v) THEN [min(v), max(v), NULL] ELSE [min(v), max(v)] END")
	if err != nil {
		return nil, err
	}
	all := sql.Select{Pos: q.Pos, Items: []*sql.Item{{Pos: q.Pos, X: list}}}
	if s, ok := q.Body.(*sql.Select); ok && isPlain(q, s) { // it may use outer columns
		sql.Walk(list, func(n sql.Node) bool {
			if c, ok := n.(*sql.Call); ok && !c.Star {
				c.Args[0].X = s.Items[0].X
				return false
			}
			return true
		})
		all.From, all.Where = s.From, s.Where
	} else {
		name := sql.Ident{Pos: q.Pos, Name: "values of ANY", Quoted: true}
		alias := &sql.Alias{Pos: q.Pos, Name: name, Columns: []sql.Ident{{Pos: q.Pos, Name: "v"}}}
		all.From = []sql.Table{&sql.Subquery{Pos: q.Pos, Query: q, Alias: alias}}
	}
	return &sql.Scalar{Pos: q.Pos, Query: &sql.Query{Pos: q.Pos, Body: &all}}, nil
}

// isPlain reports whether a query is SELECT x FROM … WHERE … with one value for each row.
func isPlain(q *sql.Query, s *sql.Select) bool {
	plain := len(q.With) == 0 && len(q.OrderBy) == 0 && q.Limit == nil && q.Skip == nil && len(s.From) > 0 && len(s.Items) == 1 &&
		s.Distinct == nil && s.GroupBy == nil && s.Having == nil && s.Qualify == nil
	for _, it := range s.Items {
		sql.Walk(it, func(n sql.Node) bool {
			switch n := n.(type) {
			case *sql.Star, *sql.Query:
				plain = false
			case *sql.Call:
				plain = plain && !isAggregate(n) && n.Over == nil && n.Name != "unnest"
			}
			return plain
		})
	}
	return plain
}

func (s *scope) caseOf(x *sql.Case) (*expr.Expr, error) {
	var operand *expr.Expr
	var err error
	if x.Operand != nil {
		if operand, err = s.expr(x.Operand); err != nil {
			return nil, err
		}
	}
	var whens, thens []*expr.Expr
	for _, w := range x.Whens {
		cond, err := s.expr(w.Cond)
		if err == nil && operand != nil {
			cond, err = expr.Call("=", []*expr.Expr{operand, cond}, w.Offset)
		}
		if err != nil {
			return nil, err
		}
		then, err := s.expr(w.Then)
		if err != nil {
			return nil, err
		}
		whens, thens = append(whens, cond), append(thens, then)
	}
	otherwise := expr.Null(x.Offset)
	if x.Else != nil {
		if otherwise, err = s.expr(x.Else); err != nil {
			return nil, err
		}
	}
	return expr.Case(whens, thens, otherwise, x.Offset)
}

func (s *scope) interval(x *sql.Interval) (*expr.Expr, error) {
	e, err := s.expr(x.X)
	if err != nil {
		return nil, err
	}
	if x.Unit == "" {
		return expr.Cast(e, vec.Of(vec.Interval), false, x.Offset)
	}
	one, err := expr.Cast(expr.Text("1 "+x.Unit, x.Offset), vec.Of(vec.Interval), false, x.Offset)
	if err != nil {
		return nil, err
	}
	if e.Type.Kind == vec.Text {
		if e, err = expr.Cast(e, vec.Of(vec.Float), false, x.Offset); err != nil {
			return nil, err
		}
	}
	return expr.Call("*", []*expr.Expr{one, e}, x.Offset)
}

func (s *scope) structOf(x *sql.Struct) (*expr.Expr, error) {
	var args []*expr.Expr
	for _, f := range x.Fields {
		e, err := s.expr(f.X)
		if err != nil {
			return nil, err
		}
		args = append(args, expr.Text(f.Name, f.Offset), e)
	}
	return expr.Call("struct_pack", args, x.Offset)
}

func (s *scope) slice(x *sql.Slice) (*expr.Expr, error) {
	from, to := sql.Expr(&sql.Null{Pos: x.Pos}), sql.Expr(&sql.Null{Pos: x.Pos})
	if x.From != nil {
		from = x.From
	}
	if x.To != nil {
		to = x.To
	}
	return s.call(x, "list_slice", x.X, from, to)
}

// function binds a call of a function, an aggregate or a window function.
func (s *scope) function(c *sql.Call) (*expr.Expr, error) {
	for _, a := range c.Args {
		if a.Name != "" {
			return nil, errAt(a, "leave the name out", "function %s has no named arguments", c.Name)
		}
	}
	if jsonAggregates[c.Name] {
		list, err := s.functionCall(c)
		if err != nil {
			return nil, err
		}
		return expr.Call("to_json", []*expr.Expr{list}, c.Offset)
	}
	return s.functionCall(c)
}

// jsonAggregates are the names of array_agg as JSON.
var jsonAggregates = map[string]bool{"json_agg": true, "jsonb_agg": true, "json_group_array": true}

// functionCall binds a call without named arguments. The calls of jsonAggregates return lists.
func (s *scope) functionCall(c *sql.Call) (*expr.Expr, error) {
	switch {
	case c.Over != nil:
		return s.window(c)
	case c.IgnoreNulls:
		return nil, errAt(c, "write FILTER (WHERE x IS NOT NULL), or OVER (…)", "%s: IGNORE NULLS is for window functions", c.Name)
	case aggr.IsAggregate(c.Name) || c.Star || c.Filter != nil || c.WithinGroup != nil || c.Distinct:
		return s.aggregate(c)
	case c.Name == "grouping" || c.Name == "grouping_id":
		return s.grouping(c)
	case aggr.IsWindow(c.Name):
		return nil, errAt(c, fmt.Sprintf("write %s(…) OVER (ORDER BY …)", c.Name), "%s is a window function", c.Name)
	case c.Name == "unnest":
		return nil, errAt(c, "write it as an item of its own in SELECT, or in FROM: FROM file, unnest(tags) AS t(tag)", "unnest is not supported inside an expression")
	}
	args, err := s.exprs(argsOf(c))
	if err != nil {
		return nil, err
	}
	if c.Name == "age" && len(args) == 1 { // the age today
		today, _ := expr.StatementTime("current_date", s.b.params.Now, c.Offset)
		args = []*expr.Expr{today, args[0]}
	}
	if now, ok := expr.StatementTime(c.Name, s.b.params.Now, c.Offset); ok && len(args) == 0 {
		return now, nil
	}
	if !expr.IsFunction(c.Name) {
		return nil, &Error{c.Offset, "no function is named " + c.Name, similarFunction(c.Name)}
	}
	return expr.Call(c.Name, args, c.Offset)
}

func argsOf(c *sql.Call) (args []sql.Expr) {
	for _, a := range c.Args {
		args = append(args, a.X)
	}
	return args
}

// constants returns the values of the constant expressions of a list, and nil for the others.
func constants(args []*expr.Expr) ([]*vec.Vec, error) {
	values := make([]*vec.Vec, len(args))
	for i, a := range args {
		if !a.IsConst() {
			continue
		}
		f, err := expr.Fold(a)
		if err != nil {
			return nil, err
		}
		values[i] = f.Value
	}
	return values, nil
}

// similarFunction returns a hint with the function whose name is most like name.
func similarFunction(name string) string {
	if near := spelling.Nearest(name, slices.Concat(aggr.Names(), aggr.WindowNames(), expr.Names())); near != "" {
		return "did you mean " + near + "?"
	}
	return "layshaft report -functions lists all"
}

// aggregate binds a call of an aggregate to a virtual column.
func (s *scope) aggregate(c *sql.Call) (*expr.Expr, error) {
	switch {
	case !aggr.IsAggregate(c.Name) && !slices.Contains(expr.Names(), strings.ToLower(c.Name)):
		return nil, errAt(c, similarFunction(c.Name), "no function is named %s", c.Name)
	case !aggr.IsAggregate(c.Name):
		return nil, errAt(c, "FILTER, DISTINCT and WITHIN GROUP belong to aggregates", "%s is not an aggregate", c.Name)
	case s.inside:
		return nil, errAt(c, "aggregate in a subquery first", "%s: aggregates cannot contain aggregates", c.Name)
	case !s.aggregates:
		return nil, errAt(c, "conditions on aggregates belong to HAVING", "%s: aggregates are not allowed in %s", c.Name, s.clause)
	}
	inner := *s
	inner.inside = true
	agg, err := inner.aggregateCall(c)
	if err != nil {
		return nil, err
	}
	key := agg.key()
	if s.calls.aggKeys == nil {
		s.calls.aggKeys = map[string]int{}
	}
	i, ok := s.calls.aggKeys[key]
	if !ok {
		i = len(s.calls.aggs)
		s.calls.aggs = append(s.calls.aggs, agg)
		s.calls.aggKeys[key] = i
	}
	return expr.Column(aggBase+i, agg.Func.Result, c.Name, c.Offset), nil
}

// aggregateCall binds the arguments of an aggregate.
func (s *scope) aggregateCall(c *sql.Call) (*Agg, error) {
	list := argsOf(c)
	if len(list) == 1 && c.Name == "count" { // count(DISTINCT (a, b))
		if row, ok := list[0].(*sql.Row); ok {
			fields := &sql.Struct{Pos: row.Pos}
			for i, item := range row.Items {
				fields.Fields = append(fields.Fields, &sql.StructField{Pos: row.Pos, Name: fmt.Sprintf("f%d", i+1), X: item})
			}
			list[0] = fields
		}
	}
	args, err := s.exprs(list)
	if err != nil {
		return nil, err
	}
	order := c.OrderBy
	switch {
	case len(c.WithinGroup) > 0 && !aggr.IsOrderedSet(c.Name):
		order = c.WithinGroup // listagg(x, ',') WITHIN GROUP (ORDER BY y)
	case len(c.WithinGroup) > 0:
		// percentile_cont(0.5) WITHIN GROUP (ORDER BY x) is percentile_cont(x, 0.5)
		if len(c.WithinGroup) > 1 {
			return nil, errAt(c.WithinGroup[1], "", "%s sorts by one expression", c.Name)
		}
		x, err := s.expr(c.WithinGroup[0].X)
		if err != nil {
			return nil, err
		}
		args = append([]*expr.Expr{x}, args...)
		if c.WithinGroup[0].Desc {
			order = c.WithinGroup
		}
	}
	var keys []*expr.Expr
	var orders []vec.Order
	for _, o := range order {
		if o.X == nil {
			return nil, errAt(o, "name the expressions", "ORDER BY ALL is not supported inside an aggregate")
		}
		x, err := s.expr(o.X)
		if err != nil {
			return nil, err
		}
		keys, orders = append(keys, x), append(orders, orderOf(o))
	}
	types := make([]vec.Type, len(args))
	for i, a := range args {
		types[i] = a.Type
	}
	consts, err := constants(args)
	if err != nil {
		return nil, err
	}
	if c.Star && len(args) > 0 {
		return nil, errAt(c, "", "%s(*) has no other arguments", c.Name)
	}
	f, err := aggr.Bind(c.Name, types, consts, c.Distinct, orders, c.Offset)
	if err != nil {
		return nil, err
	}
	for i := range args {
		if i < len(f.Args) && !args[i].Type.Equal(f.Args[i]) {
			if args[i], err = expr.Cast(args[i], f.Args[i], false, args[i].Offset); err != nil {
				return nil, err
			}
		}
	}
	agg := &Agg{Func: f, Args: append(args[:min(len(args), len(f.Args))], keys...)}
	if c.Filter != nil {
		if agg.Filter, err = s.condition(c.Filter); err != nil {
			return nil, err
		}
	}
	return agg, nil
}

// key returns a text that is equal for equal calls.
func (a *Agg) key() string {
	var k strings.Builder
	fmt.Fprintf(&k, "%s %v %v %s", a.Func.Name, a.Func.Distinct, a.Func.Order, a.Func.Result)
	for _, x := range a.Args {
		k.WriteString(", " + x.Key())
	}
	if a.Filter != nil {
		k.WriteString(" filter " + a.Filter.Key())
	}
	return k.String()
}

// condition binds an expression that must be a boolean. Rows are kept where it is true: false and
// NULL are the same.
func (s *scope) condition(x sql.Expr) (*expr.Expr, error) {
	s.b.noteFilters(x)
	e, err := s.expr(x)
	if err != nil {
		return nil, err
	}
	switch e.Type.Kind {
	case vec.Bool:
		return e, nil
	case vec.Null:
		return expr.Cast(e, vec.Of(vec.Bool), false, e.Offset)
	}
	return nil, errAt(x, "compare it with something", "a condition must be true or false, this is %s", e.Type)
}

func orderOf(o *sql.OrderItem) vec.Order {
	nullsFirst := o.Desc // as in PostgreSQL: NULL is greater than every value
	if o.Nulls != sql.NullsDefault {
		nullsFirst = o.Nulls == sql.NullsFirst
	}
	return vec.Order{Desc: o.Desc, NullsFirst: nullsFirst}
}

// typeOf resolves the name of a type.
func typeOf(t *sql.Type) (typ vec.Type, err error) {
	switch t.Name {
	case "struct", "map":
		var fields []vec.Field
		for _, f := range t.Fields {
			ft, err := typeOf(f.Type)
			if err != nil {
				return typ, err
			}
			fields = append(fields, vec.Field{Name: f.Name.Name, Type: ft})
		}
		if typ = (vec.Type{Kind: vec.Struct, Fields: fields}); t.Name == "map" {
			if len(fields) != 2 {
				return typ, errAt(t, "write map(text, bigint)", "a map has a key type and a value type")
			}
			typ = vec.MapOf(fields[0].Type, fields[1].Type)
		}
	default:
		if typ, err = expr.TypeByName(t.Name, t.Args); err != nil {
			return typ, errAt(t, "", "%s", err)
		}
	}
	for range t.Dims {
		typ = vec.ListOf(typ)
	}
	return typ, nil
}

// integer returns the value of a constant expression that must be an integer from 0.
func (b *binder) integer(x sql.Expr, what string) (int64, error) {
	s := &scope{b: b, clause: what, calls: &calls{}}
	e, err := s.expr(x)
	if err != nil {
		return 0, err
	}
	if e, err = expr.Fold(e); err != nil {
		return 0, err
	}
	if !e.IsConst() || e.Value == nil || e.Type.Kind != vec.Int || e.Value.Null(0) {
		return 0, errAt(x, "", "%s needs an integer", what)
	}
	n := e.Value.Ints[0]
	if n < 0 {
		return 0, errAt(x, "", "%s needs an integer from 0, not %s", what, strconv.FormatInt(n, 10))
	}
	return n, nil
}
