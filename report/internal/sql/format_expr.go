package sql

import (
	"strconv"
	"strings"
)

// precedence returns how tight an expression binds when it is written.
func precedence(x Expr) int {
	switch x := x.(type) {
	case *Logical:
		if x.Op == Or {
			return precOr
		}
		return precAnd
	case *Unary:
		switch x.Op {
		case Not:
			return precNot
		case Match:
			return precOp
		}
		return precUnary
	case *Is:
		return precIs
	case *Quantified:
		return precCompare
	case *Like, *Between, *In:
		return precIn
	case *Binary:
		return binaryPrec(x.Op)
	}
	return precPrimary
}

func binaryPrec(o Op) int {
	switch o {
	case Eq, Ne, Lt, Le, Gt, Ge:
		return precCompare
	case DistinctFrom, NotDistinctFrom:
		return precIs
	case Add, Sub:
		return precAdd
	case Mul, Div, IntDiv, Mod:
		return precMul
	case Pow:
		return precPow
	}
	return precOp
}

func (f *printer) exprs(xs []Expr) {
	each(f, xs, func(x Expr) { f.expr(x, precNone) })
}

// expr writes an expression, in parentheses if it binds weaker than min.
func (f *printer) expr(x Expr, min int) {
	if precedence(x) < min {
		f.paren(x)
		return
	}
	switch x := x.(type) {
	case *Number:
		f.s(x.Text)
	case *String:
		f.s(literal(x.Value))
	case *Bool:
		if x.Value {
			f.s("TRUE")
		} else {
			f.s("FALSE")
		}
	case *Null:
		f.s("NULL")
	case *Typed:
		f.typeName(x.Type)
		f.s(" ", literal(x.Value))
	case *Interval:
		f.interval(x)
	case *Array:
		f.s("ARRAY[")
		f.exprs(x.Items)
		f.s("]")
	case *Struct:
		f.s("{")
		each(f, x.Fields, f.structField)
		f.s("}")
	case *Row:
		f.s("ROW(")
		f.exprs(x.Items)
		f.s(")")
	case *Column:
		for i, id := range x.Parts {
			if i > 0 {
				f.s(".")
			}
			f.ident(id)
		}
	case *Star:
		f.star(x)
	case *Param:
		f.param(x)
	case *Unary:
		f.unary(x)
	case *Binary:
		f.binary(x)
	case *Logical:
		for i, arg := range x.Args {
			if i > 0 {
				f.s(" ", string(x.Op), " ")
			}
			f.expr(arg, precedence(x)+1)
		}
	case *Case:
		f.caseExpr(x)
	case *Cast:
		if x.Try {
			f.s("TRY_")
		}
		f.s("CAST(")
		f.expr(x.X, precNone)
		f.s(" AS ")
		f.typeName(x.Type)
		f.s(")")
	case *Call:
		f.call(x, precNone)
	case *Index:
		f.base(x.X)
		f.s("[")
		f.expr(x.I, precNone)
		f.s("]")
	case *Slice:
		f.base(x.X)
		f.clause("[", x.From)
		if x.From == nil {
			f.s("[")
		}
		f.clause(":", x.To)
		if x.To == nil {
			f.s(":")
		}
		f.s("]")
	case *Field:
		if _, ok := x.X.(*Column); ok {
			f.paren(x.X)
		} else {
			f.base(x.X)
		}
		f.s(".")
		f.ident(x.Name)
	default:
		f.condition(x)
	}
}

// condition writes the expressions that are conditions with operators of their own.
func (f *printer) condition(x Expr) {
	switch x := x.(type) {
	case *Like:
		f.expr(x.X, precIn+1)
		f.s(not(x.Not), " ", string(x.Kind), " ")
		f.expr(x.Pattern, precIn+1)
		if x.Escape != nil {
			f.s(" ESCAPE ")
			f.expr(x.Escape, precIn+1)
		}
	case *Between:
		f.expr(x.X, precIn+1)
		f.s(not(x.Not), " BETWEEN ")
		if x.Symmetric {
			f.s("SYMMETRIC ")
		}
		f.expr(x.Low, precIn+1)
		f.s(" AND ")
		f.expr(x.High, precIn+1)
	case *In:
		f.expr(x.X, precIn+1)
		f.s(not(x.Not), " IN (")
		if x.Query != nil {
			f.query(x.Query)
		} else {
			f.exprs(x.List)
		}
		f.s(")")
	case *Is:
		f.expr(x.X, precIs+1)
		f.s(" IS", not(x.Not), " ", string(x.Kind))
	case *Exists:
		f.s("EXISTS (")
		f.query(x.Query)
		f.s(")")
	case *Scalar:
		f.s("(")
		f.query(x.Query)
		f.s(")")
	case *Quantified:
		f.expr(x.X, precCompare+1)
		f.s(" ", string(x.Op))
		if x.All {
			f.s(" ALL (")
		} else {
			f.s(" ANY (")
		}
		if x.Query != nil {
			f.query(x.Query)
		} else {
			f.expr(x.Array, precNone)
		}
		f.s(")")
	}
}

func not(yes bool) string {
	if yes {
		return " NOT"
	}
	return ""
}

func (f *printer) paren(x Expr) {
	f.s("(")
	f.expr(x, precNone)
	f.s(")")
}

// base writes what an index or a field belongs to. PostgreSQL wants parentheses around all but
// names and parameters.
func (f *printer) base(x Expr) {
	switch x.(type) {
	case *Column, *Param, *Index, *Slice, *Field:
		f.expr(x, precNone)
	default:
		f.paren(x)
	}
}

func (f *printer) interval(x *Interval) {
	f.s("INTERVAL ")
	switch x.X.(type) {
	case *String, *Number:
		f.expr(x.X, precNone)
	default:
		f.paren(x.X)
	}
	if x.Unit != "" {
		f.s(" ", strings.ToUpper(x.Unit))
	}
}

func (f *printer) structField(x *StructField) {
	f.s(literal(x.Name), ": ")
	f.expr(x.X, precNone)
}

func (f *printer) star(x *Star) {
	if x.Table != nil {
		f.ident(*x.Table)
		f.s(".")
	}
	f.s("*")
	if len(x.Exclude) > 0 {
		f.s(" EXCLUDE ")
		f.idents(x.Exclude)
	}
	if len(x.Replace) > 0 {
		f.s(" REPLACE (")
		each(f, x.Replace, f.item)
		f.s(")")
	}
}

func (f *printer) param(x *Param) {
	f.s("$")
	if x.Name != "" {
		f.s(x.Name)
	} else {
		f.s(strconv.Itoa(x.Index))
	}
}

func (f *printer) unary(x *Unary) {
	switch x.Op {
	case Not:
		f.s("NOT ")
		f.expr(x.X, precNot)
	case Match:
		f.s("~")
		f.expr(x.X, precOp+1)
	default:
		f.s(string(x.Op))
		if _, ok := x.X.(*Unary); ok {
			f.s(" ") // not the start of a comment
		}
		f.expr(x.X, precUnary)
	}
}

func (f *printer) binary(x *Binary) {
	prec := binaryPrec(x.Op)
	left := prec
	if prec == precCompare || prec == precIs {
		left++ // these do not chain
	}
	f.expr(x.L, left)
	f.s(" ", string(x.Op), " ")
	f.expr(x.R, prec+1)
}

func (f *printer) caseExpr(x *Case) {
	f.s("CASE")
	f.clause(" ", x.Operand)
	for _, w := range x.Whens {
		f.s(" ")
		f.when(w)
	}
	f.clause(" ELSE ", x.Else)
	f.s(" END")
}

func (f *printer) when(w *When) {
	f.s("WHEN ")
	f.expr(w.Cond, precNone)
	f.s(" THEN ")
	f.expr(w.Then, precNone)
}

// special are the names of functions that the parser reads in a way of their own when they are not
// in quotes.
var special = map[string]bool{
	"extract": true, "position": true, "exists": true, "try_cast": true, "row": true, "interval": true, "isnull": true,
	"columns": true, "rollup": true, "cube": true,
}

// call writes a call. Arguments that bind weaker than min stand in parentheses.
func (f *printer) call(c *Call, min int) {
	plain := !c.Star && !c.Distinct && c.OrderBy == nil && c.WithinGroup == nil && c.Filter == nil && c.Over == nil && !c.IgnoreNulls
	k := lookup(c.Name)
	switch {
	case plain && len(c.Args) == 0 && isCurrent(c.Name):
		f.s(strings.ToUpper(c.Name))
		return
	case c.Name == "extract" && len(c.Args) == 2 && !c.Star && !c.Distinct && c.OrderBy == nil && f.extract(c):
		f.tail(c)
		return
	case special[c.Name] || k != nil && k.class == notCall:
		f.s(quotedIdent(c.Name))
	case k != nil && k.class == function && c.Name == strings.ToLower(c.Name):
		f.s(c.Name)
	default:
		f.s(plainIdent(c.Name))
	}
	f.s("(")
	if c.Star {
		f.s("*")
	}
	if c.Distinct {
		f.s("DISTINCT ")
	}
	each(f, c.Args, func(a *Arg) { f.arg(a, min) })
	f.orderBy(c.OrderBy)
	if c.IgnoreNulls && c.Over == nil {
		f.s(" IGNORE NULLS")
	}
	f.s(")")
	f.tail(c)
}

func isCurrent(name string) bool {
	switch name {
	case "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp":
		return true
	}
	return false
}

// extract writes extract(year FROM x), or reports that the call has another form.
func (f *printer) extract(c *Call) bool {
	field, ok := c.Args[0].X.(*String)
	if !ok || c.Args[0].Name != "" || c.Args[1].Name != "" || field.Value != strings.ToLower(field.Value) {
		return false
	}
	f.s("extract(")
	k := lookup(field.Value)
	if strings.Trim(field.Value, "abcdefghijklmnopqrstuvwxyz") == "" && field.Value != "" && (k == nil || k.class == notAlias) {
		f.s(field.Value)
	} else {
		f.s(literal(field.Value))
	}
	f.s(" FROM ")
	f.expr(c.Args[1].X, precNone)
	f.s(")")
	return true
}

func (f *printer) arg(a *Arg, min int) {
	if k := lookup(a.Name); a.Name != "" {
		if k != nil && k.class == notCall {
			f.s(quotedIdent(a.Name), " => ")
		} else {
			f.s(plainIdent(a.Name), " => ")
		}
		min = precNone
	}
	f.expr(a.X, min)
}

// tail writes what follows the parentheses of a call.
func (f *printer) tail(c *Call) {
	if len(c.WithinGroup) > 0 {
		f.s(" WITHIN GROUP (ORDER BY ")
		each(f, c.WithinGroup, f.orderItem)
		f.s(")")
	}
	if c.Filter != nil {
		f.clause(" FILTER (WHERE ", c.Filter)
		f.s(")")
	}
	if c.Over != nil {
		if c.IgnoreNulls {
			f.s(" IGNORE NULLS")
		}
		f.s(" OVER ")
		f.window(c.Over)
	}
}
