package bind

import (
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/report/internal/expr"
)

// Describe returns one line about an operator, for people.
func Describe(n Node) string {
	switch n := n.(type) {
	case *Scan:
		names := make([]string, len(n.Cols))
		for i, c := range n.Cols {
			names[i] = c.Name
		}
		if n.Extremes {
			return fmt.Sprintf("statistics of %s; columns: %s", n.Table.Describe(), orNone(names))
		}
		return fmt.Sprintf("scan %s; columns: %s", n.Table.Describe(), orNone(names))
	case *Values:
		return "values: " + report.Plural(len(n.Rows), "row")
	case *Filter:
		return "filter " + text(n.Cond, n.In)
	case *Project:
		parts := make([]string, len(n.Exprs))
		for i, x := range n.Exprs {
			if parts[i] = text(x, n.In); parts[i] != n.Cols[i].Name {
				parts[i] += " AS " + n.Cols[i].Name
			}
		}
		return "project " + strings.Join(parts, ", ")
	case *Aggregate:
		var keys, aggs []string
		for _, k := range n.Keys {
			keys = append(keys, text(k, n.In))
		}
		for _, a := range n.Aggs {
			var args []string
			for _, x := range a.Args {
				args = append(args, text(x, n.In))
			}
			aggs = append(aggs, a.Func.Name+"("+strings.Join(args, ", ")+")")
		}
		return fmt.Sprintf("aggregate by %s: %s", orNone(keys), orNone(aggs))
	case *Sort:
		var keys []string
		for _, k := range n.Keys {
			key := text(k.X, n.In)
			if k.Order.Desc {
				key += " DESC"
			}
			keys = append(keys, key)
		}
		if n.Limit >= 0 {
			return fmt.Sprintf("first %d by %s", n.Limit, strings.Join(keys, ", "))
		}
		return "sort by " + strings.Join(keys, ", ")
	case *Limit:
		if n.N < 0 {
			return fmt.Sprintf("skip %d", n.Skip)
		}
		return fmt.Sprintf("limit %d, skip %d", n.N, n.Skip)
	case *Distinct:
		return "distinct"
	case *Join:
		var keys []string
		for i := range n.LeftKeys {
			keys = append(keys, text(n.LeftKeys[i], n.Left)+" = "+text(n.RightKeys[i], n.Right))
		}
		if n.Cond != nil {
			keys = append(keys, textOf(n.Cond, append(append([]Column(nil), n.Left.Columns()...), n.Right.Columns()...)))
		}
		return fmt.Sprintf("%s join on %s", n.Kind, orNone(keys))
	case *Window:
		var calls []string
		for _, c := range n.Calls {
			calls = append(calls, c.Func.Name)
		}
		return "window " + strings.Join(calls, ", ")
	case *Union:
		return "union all"
	case *SetOp:
		if n.Except {
			return "except"
		}
		return "intersect"
	case *Unnest:
		if n.Outer {
			return "left unnest " + text(n.X, n.In)
		}
		return "unnest " + text(n.X, n.In)
	}
	return fmt.Sprintf("%T", n)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// text returns an expression over the columns of a node as people read it.
func text(x *expr.Expr, in Node) string { return textOf(x, in.Columns()) }

func textOf(x *expr.Expr, cols []Column) string {
	var args []string
	for _, a := range x.Args {
		args = append(args, textOf(a, cols))
	}
	switch x.Op {
	case expr.OpColumn:
		if x.Col < len(cols) {
			return cols[x.Col].Name
		}
		return x.Name
	case expr.OpConst:
		if x.Value.Null(0) {
			return "NULL"
		}
		return string(expr.AppendText(nil, x.Value, 0))
	case expr.OpCast:
		return fmt.Sprintf("CAST(%s AS %s)", args[0], x.Type)
	case expr.OpCase:
		return "CASE " + strings.Join(args, " ") + " END"
	case expr.OpIn:
		not := ""
		if x.Negated {
			not = "NOT "
		}
		return fmt.Sprintf("%s %sIN (%s)", args[0], not, strings.Join(args[1:], ", "))
	}
	if len(args) >= 2 && !isWord(x.Name) || x.Name == "and" || x.Name == "or" {
		return "(" + strings.Join(args, " "+x.Name+" ") + ")"
	}
	return x.Name + "(" + strings.Join(args, ", ") + ")"
}

// isWord reports whether a function is not written between its arguments.
func isWord(name string) bool { return name != "" && (name[0] >= 'a' && name[0] <= 'z') }
