package sql

import (
	"strconv"
	"strings"
	"unicode"
)

// Format returns a node as canonical SQL in one line: keywords in upper case, AS before every alias
// and only the parentheses that the tree needs. Parse of the result returns an equal tree but for
// the offsets, when the node is a statement that Parse has returned.
func Format(n Node) string {
	f := &printer{}
	f.node(n)
	return f.b.String()
}

// printer writes nodes. Its methods are named like the nodes that they write.
type printer struct{ b strings.Builder }

func (f *printer) s(parts ...string) {
	for _, p := range parts {
		f.b.WriteString(p)
	}
}

func (f *printer) node(n Node) {
	switch n := n.(type) {
	case *Query:
		f.query(n)
	case *Copy:
		f.s("COPY (")
		f.query(n.Query)
		f.s(") TO ", literal(n.Path))
		if len(n.Options) > 0 {
			f.s(" (")
			each(f, n.Options, f.option)
			f.s(")")
		}
	case *Explain:
		f.s("EXPLAIN ")
		if n.Analyze {
			f.s("ANALYZE ")
		}
		f.query(n.Query)
	case *Describe:
		f.s("DESCRIBE ")
		f.query(n.Query)
	case *Summarize:
		f.s("SUMMARIZE ")
		f.query(n.Query)
	case *Option:
		f.option(n)
	case Body:
		f.body(n)
	case Table:
		f.table(n)
	case Expr:
		f.expr(n, precNone)
	case *Type:
		f.typeName(n)
	case *CTE:
		f.cte(n)
	case *Item:
		f.item(n)
	case *OrderItem:
		f.orderItem(n)
	case *GroupBy:
		f.groupBy(n)
	case *GroupItem:
		f.groupItem(n)
	case *Distinct:
		f.distinct(n)
	case *WindowDef:
		f.windowDef(n)
	case *Window:
		f.window(n)
	case *Frame:
		f.frame(n)
	case *Arg:
		f.arg(n, precNone)
	case *When:
		f.when(n)
	case *StructField:
		f.structField(n)
	case *Alias:
		f.alias(n)
	case *Ident:
		f.ident(*n)
	}
}

// each writes elements with commas between them.
func each[T any](f *printer, xs []T, write func(T)) {
	for i, x := range xs {
		if i > 0 {
			f.s(", ")
		}
		write(x)
	}
}

// literal returns a text as a literal.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// quotedIdent returns a name in double quotes.
func quotedIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// Written returns the name of a column as a query must write it: in double quotes if it has other
// characters than letters, digits and _, begins with a digit, or is a keyword.
func Written(name string) string {
	for i, c := range name {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return quotedIdent(name)
		}
	}
	if k := lookup(name); name == "" || k != nil && (k.class == reserved || k.class == function) {
		return quotedIdent(name)
	}
	return name
}

// plainIdent returns a name without quotes where it can do without: lower-case letters that are no
// keyword that some place gives a meaning.
func plainIdent(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c == '_' || i > 0 && isDigit(c) {
			continue
		}
		return quotedIdent(s)
	}
	if k := lookup(s); k != nil && (k.class == reserved || k.class == function) {
		return quotedIdent(s)
	}
	return s
}

func (f *printer) ident(id Ident) {
	if id.Quoted {
		f.s(quotedIdent(id.Name))
	} else {
		f.s(id.Name)
	}
}

func (f *printer) idents(ids []Ident) {
	f.s("(")
	each(f, ids, f.ident)
	f.s(")")
}

func (f *printer) option(o *Option) {
	f.s(plainIdent(o.Name))
	if o.Values == nil {
		return
	}
	f.s(" ")
	if o.List {
		f.s("(")
	}
	each(f, o.Values, func(v string) {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && !o.List && strconv.FormatInt(n, 10) == v {
			f.s(v)
		} else {
			f.s(literal(v))
		}
	})
	if o.List {
		f.s(")")
	}
}

func (f *printer) query(q *Query) {
	if len(q.With) > 0 {
		f.s("WITH ")
		each(f, q.With, f.cte)
		f.s(" ")
	}
	f.body(q.Body)
	f.orderBy(q.OrderBy)
	if q.Limit != nil {
		f.s(" LIMIT ")
		f.expr(q.Limit, precNone)
	}
	if q.Skip != nil {
		f.s(" OFFSET ")
		f.expr(q.Skip, precNone)
	}
}

func (f *printer) cte(c *CTE) {
	f.ident(c.Name)
	if len(c.Columns) > 0 {
		f.s(" ")
		f.idents(c.Columns)
	}
	f.s(" AS (")
	f.query(c.Query)
	f.s(")")
}

func (f *printer) body(b Body) {
	switch b := b.(type) {
	case *Query:
		f.s("(")
		f.query(b)
		f.s(")")
	case *Values:
		f.s("VALUES ")
		each(f, b.Rows, func(row []Expr) {
			f.s("(")
			f.exprs(row)
			f.s(")")
		})
	case *SetOp:
		f.setOperand(b.Left, setPrec(b))
		f.s(" ", string(b.Op))
		if b.All {
			f.s(" ALL")
		}
		if b.ByName {
			f.s(" BY NAME")
		}
		f.s(" ")
		f.setOperand(b.Right, setPrec(b)+1)
	case *Select:
		f.selectBody(b)
	}
}

func setPrec(s *SetOp) int {
	if s.Op == Intersect {
		return intersectPrec
	}
	return unionPrec
}

// setOperand writes a side of a set operation, in parentheses if it binds weaker than min.
func (f *printer) setOperand(b Body, min int) {
	if s, ok := b.(*SetOp); ok && setPrec(s) < min {
		f.s("(")
		f.body(b)
		f.s(")")
		return
	}
	f.body(b)
}

func (f *printer) selectBody(s *Select) {
	f.s("SELECT ")
	if s.Distinct != nil {
		f.distinct(s.Distinct)
		f.s(" ")
	}
	each(f, s.Items, f.item)
	if len(s.From) > 0 {
		f.s(" FROM ")
		each(f, s.From, f.table)
	}
	f.clause(" WHERE ", s.Where)
	if s.GroupBy != nil {
		f.s(" ")
		f.groupBy(s.GroupBy)
	}
	f.clause(" HAVING ", s.Having)
	if len(s.Windows) > 0 {
		f.s(" WINDOW ")
		each(f, s.Windows, f.windowDef)
	}
	f.clause(" QUALIFY ", s.Qualify)
}

// clause writes a keyword and an expression, if there is one.
func (f *printer) clause(keyword string, x Expr) {
	if x != nil {
		f.s(keyword)
		f.expr(x, precNone)
	}
}

func (f *printer) distinct(d *Distinct) {
	f.s("DISTINCT")
	if len(d.On) > 0 {
		f.s(" ON (")
		f.exprs(d.On)
		f.s(")")
	}
}

func (f *printer) item(it *Item) {
	f.expr(it.X, precNone)
	if it.Alias != nil {
		f.s(" AS ")
		f.ident(*it.Alias)
	}
}

func (f *printer) orderBy(items []*OrderItem) {
	if len(items) > 0 {
		f.s(" ORDER BY ")
		each(f, items, f.orderItem)
	}
}

func (f *printer) orderItem(o *OrderItem) {
	if o.X == nil {
		f.s("ALL")
	} else {
		f.expr(o.X, precNone)
	}
	if o.Desc {
		f.s(" DESC")
	}
	f.s([]string{"", " NULLS FIRST", " NULLS LAST"}[o.Nulls])
}

func (f *printer) groupBy(g *GroupBy) {
	f.s("GROUP BY ")
	if g.All {
		f.s("ALL")
	}
	each(f, g.Items, f.groupItem)
}

func (f *printer) groupItem(g *GroupItem) {
	if g.Kind == GroupExpr {
		f.expr(g.X, precNone)
		return
	}
	f.s([]string{GroupList: "(", GroupRollup: "ROLLUP (", GroupCube: "CUBE (", GroupSets: "GROUPING SETS ("}[g.Kind])
	each(f, g.Items, f.groupItem)
	f.s(")")
}

func (f *printer) windowDef(w *WindowDef) {
	f.ident(w.Name)
	f.s(" AS ")
	f.window(w.Window)
}

func (f *printer) window(w *Window) {
	if w.Ref != nil {
		f.ident(*w.Ref)
		return
	}
	f.s("(")
	sep := ""
	if w.Base != nil {
		f.ident(*w.Base)
		sep = " "
	}
	if len(w.PartitionBy) > 0 {
		f.s(sep, "PARTITION BY ")
		f.exprs(w.PartitionBy)
		sep = " "
	}
	if len(w.OrderBy) > 0 {
		f.s(sep, "ORDER BY ")
		each(f, w.OrderBy, f.orderItem)
		sep = " "
	}
	if w.Frame != nil {
		f.s(sep)
		f.frame(w.Frame)
	}
	f.s(")")
}

func (f *printer) frame(w *Frame) {
	f.s(string(w.Unit), " BETWEEN ")
	f.bound(w.Start)
	f.s(" AND ")
	f.bound(w.End)
	if w.Exclude != ExcludeNothing {
		f.s(" EXCLUDE ", string(w.Exclude))
	}
}

func (f *printer) bound(b Bound) {
	if c, ok := b.X.(*Column); ok && len(c.Parts) == 1 && strings.EqualFold(c.Parts[0].Name, "unbounded") {
		f.paren(c) // a column with the name of a keyword
		f.s(" ")
	} else if b.X != nil {
		f.expr(b.X, precNone)
		f.s(" ")
	}
	f.s([]string{"UNBOUNDED PRECEDING", "PRECEDING", "CURRENT ROW", "FOLLOWING", "UNBOUNDED FOLLOWING"}[b.Kind])
}

func (f *printer) table(t Table) {
	switch t := t.(type) {
	case *TableName:
		f.ident(t.Name)
		f.alias(t.Alias)
	case *File:
		if len(t.Paths) == 1 {
			f.s(literal(t.Paths[0]))
		} else {
			f.s("[")
			each(f, t.Paths, func(p string) { f.s(literal(p)) })
			f.s("]")
		}
		f.alias(t.Alias)
	case *TableFunc:
		f.call(t.Call, precIn) // f(a = 1) would name an option
		if t.Ordinality {
			f.s(" WITH ORDINALITY")
		}
		f.alias(t.Alias)
	case *Subquery:
		f.s("(")
		f.query(t.Query)
		f.s(")")
		f.alias(t.Alias)
	case *Join:
		f.join(t)
	}
}

func (f *printer) alias(a *Alias) {
	if a == nil {
		return
	}
	f.s(" AS ")
	f.ident(a.Name)
	if len(a.Columns) > 0 {
		f.idents(a.Columns)
	}
}

func (f *printer) join(j *Join) {
	f.table(j.Left)
	f.s(" ")
	if j.Natural {
		f.s("NATURAL ")
	}
	if j.Kind != InnerJoin {
		f.s(string(j.Kind), " ")
	}
	f.s("JOIN ")
	if _, ok := j.Right.(*Join); ok {
		f.s("(")
		f.table(j.Right)
		f.s(")")
	} else {
		f.table(j.Right)
	}
	f.clause(" ON ", j.On)
	if len(j.Using) > 0 {
		f.s(" USING ")
		f.idents(j.Using)
	}
}

func (f *printer) typeName(t *Type) {
	f.s(plainIdent(t.Name))
	switch {
	case len(t.Args) > 0:
		f.s("(")
		each(f, t.Args, func(n int) { f.s(strconv.Itoa(n)) })
		f.s(")")
	case len(t.Fields) > 0:
		f.s("(")
		each(f, t.Fields, func(field *TypeField) {
			if field.Name.Name != "" {
				f.ident(field.Name)
				f.s(" ")
			}
			f.typeName(field.Type)
		})
		f.s(")")
	}
	f.s(strings.Repeat("[]", t.Dims))
}
