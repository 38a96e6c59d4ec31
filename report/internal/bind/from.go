package bind

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// from binds the FROM clause. Without one there is a single row without columns.
func (b *binder) from(s *sql.Select, seen *names) (Node, error) {
	if node := b.bound[s]; node != nil {
		delete(b.bound, s)
		return node, nil
	}
	var node Node
	for _, t := range s.From {
		if f, ok := t.(*sql.TableFunc); ok && f.Call.Name == "unnest" {
			n, err := b.unnestTable(node, f, seen, false)
			if err != nil {
				return nil, err
			}
			node = n
			continue
		}
		right, err := b.table(t, seen)
		if err != nil {
			return nil, err
		}
		if node == nil {
			node = right
			continue
		}
		node = cross(node, right)
	}
	if node == nil {
		node = oneRow()
	}
	return node, nil
}

// oneRow is a row without columns.
func oneRow() Node { return &Values{Rows: [][]*expr.Expr{{}}} }

func cross(left, right Node) *Join {
	return &Join{Kind: Inner, Left: left, Right: right, Cols: slices.Concat(left.Columns(), right.Columns())}
}

// unnestTable adds unnest(x) of FROM to the tables before it, whose columns x may use. With outer,
// rows without elements stay.
func (b *binder) unnestTable(node Node, f *sql.TableFunc, seen *names, outer bool) (Node, error) {
	if len(f.Call.Args) != 1 {
		return nil, errAt(f, "", "unnest needs one list")
	}
	if node == nil {
		node = oneRow()
	}
	sel := &selection{b: b, node: node, calls: &calls{}}
	b.outer = append(b.outer, nil)
	defer func() { b.outer = b.outer[:len(b.outer)-1] }()
	col, ordinality := Column{Table: "unnest", Name: "unnest"}, (*Column)(nil)
	if f.Alias != nil {
		col.Table, col.Name = f.Alias.Name.Name, f.Alias.Name.Name
		if len(f.Alias.Columns) > 0 {
			col.Name = f.Alias.Columns[0].Name
		}
	}
	if f.Ordinality {
		ordinality = &Column{Table: col.Table, Name: "ordinality", Type: vec.Of(vec.Int)}
		if f.Alias != nil && len(f.Alias.Columns) > 1 {
			ordinality.Name = f.Alias.Columns[1].Name
		}
	}
	s := sel.scope("FROM", nil)
	s.seen = seen
	if err := sel.addUnnest(s, f.Call, col, ordinality); err != nil {
		return nil, err
	}
	if outer {
		sel.node.(*Unnest).Outer = true
	}
	return sel.node, nil
}

// table binds an element of FROM.
func (b *binder) table(t sql.Table, seen *names) (Node, error) {
	if b.depth++; b.depth > 200 {
		return nil, errAt(t, "write fewer levels", "the query is nested too deeply")
	}
	defer func() { b.depth-- }()
	switch t := t.(type) {
	case *sql.TableName:
		for c := seen; c != nil; c = c.next {
			if matches(c.cte.Name.Name, t.Name, false) {
				return b.cte(t, c)
			}
		}
		return b.file(t, pathRequest([]string{t.Name.Name}), t.Alias, seen)
	case *sql.File:
		return b.file(t, pathRequest(t.Paths), t.Alias, seen)
	case *sql.TableFunc:
		return b.tableFunc(t, seen)
	case *sql.Subquery:
		n, err := b.nested(t.Query, seen)
		if err != nil {
			return nil, err
		}
		return rename(n, t.Alias, "")
	case *sql.Join:
		return b.join(t, seen)
	}
	return nil, errAt(t, "", "this element of FROM is not supported")
}

// databaseTable matches postgres://shop/products: a table of the database that is known as shop. A
// connection string has more parts, and is refused.
var databaseTable = regexp.MustCompile(`^postgres(?:ql)?://([A-Za-z0-9_-]+)/([A-Za-z0-9_."]+)$`)

// pathRequest returns what paths in FROM stand for.
func pathRequest(paths []string) scan.Request {
	if m := databaseTable.FindStringSubmatch(paths[0]); m != nil && len(paths) == 1 {
		return postgresRequest(m[1], m[2], map[string]string{})
	}
	return scan.Request{Paths: paths}
}

// postgresRequest returns the request of a table or a query of a database.
func postgresRequest(database, from string, options map[string]string) scan.Request {
	options["database"], options["from"] = database, from
	r := scan.Request{Format: scan.Postgres, Name: "query", Options: options, Paths: []string{fmt.Sprintf("postgres('%s', '%s')", database, from)}}
	if !strings.ContainsAny(from, " (") {
		r.Name = strings.Trim(from[strings.LastIndexByte(from, '.')+1:], `"`)
	}
	return r
}

// nested binds a subquery that sees no columns of the queries around it.
func (b *binder) nested(q *sql.Query, seen *names) (Node, error) {
	if b.depth++; b.depth > 200 {
		return nil, errAt(q, "write fewer levels", "the query is nested too deeply")
	}
	defer func() { b.depth-- }()
	return b.query(q, seen)
}

// cte binds a use of a name of a WITH list.
func (b *binder) cte(t *sql.TableName, c *names) (Node, error) {
	if b.tables++; b.tables > maxTables {
		return nil, errAt(t, "name the common part once", "the statement reads more than %d tables", maxTables)
	}
	n, err := b.nested(c.cte.Query, c.next)
	if err != nil {
		return nil, err
	}
	if len(c.cte.Columns) > 0 {
		if n, err = rename(n, &sql.Alias{Pos: c.cte.Pos, Name: c.cte.Name, Columns: c.cte.Columns}, ""); err != nil {
			return nil, err
		}
	}
	return rename(n, t.Alias, t.Name.Name)
}

// rename gives the columns of a node the names of an alias. Without one their table is name.
func rename(n Node, a *sql.Alias, name string) (Node, error) {
	if a != nil {
		name = a.Name.Name
	}
	p := &Project{In: n}
	for i, c := range n.Columns() {
		p.Exprs = append(p.Exprs, expr.Column(i, c.Type, c.Name, 0))
		c.Table = name
		p.Cols = append(p.Cols, c)
	}
	if a != nil {
		if len(a.Columns) > len(p.Cols) {
			return nil, errAt(a, "", "the alias %s names %d columns, the table has %d", name, len(a.Columns), len(p.Cols))
		}
		for i, id := range a.Columns {
			p.Cols[i].Name = id.Name
		}
	}
	return p, nil
}

// file binds files.
func (b *binder) file(t sql.Node, r scan.Request, a *sql.Alias, seen *names) (Node, error) {
	if b.tables++; b.tables > maxTables {
		return nil, errAt(t, "", "the statement reads more than %d tables", maxTables)
	}
	number := b.tables - 1
	table, err := b.catalog.Table(b.ctx, r)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err
		}
		hint := ""
		if _, bare := t.(*sql.TableName); bare {
			var known []string
			for c := seen; c != nil; c = c.next {
				known = append(known, c.cte.Name.Name)
			}
			if len(known) > 0 {
				hint = nearest(r.Paths[0], known, "names of the WITH list are")
			}
		}
		return nil, &Error{t.At(), err.Error(), hint}
	}
	name := cmp.Or(r.Name, tableName(r.Paths[0]))
	withFilename, _ := strconv.ParseBool(r.Options[scan.Filename])
	n := &Scan{Table: table, Number: number}
	for _, f := range table.Columns {
		n.Cols = append(n.Cols, Column{Table: name, Name: f.Name, Type: f.Type})
	}
	if !slices.ContainsFunc(n.Cols, func(c Column) bool { return c.Name == scan.Filename }) {
		n.Cols = append(n.Cols, Column{Table: name, Name: scan.Filename, Type: vec.Of(vec.Text), Hidden: !withFilename})
	}
	out, err := castTo(n, table.Casts)
	if err != nil {
		return nil, &Error{t.At(), err.Error(), "leave the type out, and convert the column in the query"}
	}
	if a == nil {
		return out, nil
	}
	return rename(out, a, name)
}

// castTo casts columns of a node by their names.
func castTo(n *Scan, casts []vec.Field) (Node, error) {
	if len(casts) == 0 {
		return n, nil
	}
	p := &Project{In: n}
	for i, c := range n.Cols {
		x := expr.Column(i, c.Type, c.Name, 0)
		if at := slices.IndexFunc(casts, func(f vec.Field) bool { return f.Name == c.Name }); at >= 0 {
			var err error
			if x, err = cast(x, casts[at].Type); err != nil {
				return nil, fmt.Errorf("column %q: %w", c.Name, err)
			}
			c.Type = x.Type
		}
		p.Exprs, p.Cols = append(p.Exprs, x), append(p.Cols, c)
	}
	return p, nil
}

// tableName returns the name of a table read from a path: the file's name without its endings.
func tableName(p string) string {
	name := path.Base(strings.TrimRight(p, "/"))
	if i := strings.IndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	return name
}

// formats are the functions of FROM that read files.
var formats = map[string]string{
	"read_csv": "csv", "read_csv_auto": "csv", "read_tsv": "tsv", "read_json": "json", "read_json_auto": "json", "read_jsonl": "json",
	"read_ndjson": "json", "read_parquet": "parquet", "parquet_scan": "parquet", "read_avro": "avro", "read_text": "text",
	"read_stanza": "stanza", "read_log": "log", "postgres": scan.Postgres,
}

func (b *binder) tableFunc(t *sql.TableFunc, seen *names) (Node, error) {
	if t.Call.Name == "unnest" {
		return b.unnestTable(nil, t, seen, false)
	}
	if t.Call.Name == "range" || t.Call.Name == "generate_series" {
		return b.series(t)
	}
	format, ok := formats[t.Call.Name]
	if !ok {
		var known []string
		for name := range formats {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, errAt(t, nearest(t.Call.Name, append(known, "unnest", "range"), "functions of FROM are"), "there is no function %s for FROM", t.Call.Name)
	}
	r := scan.Request{Format: format, Options: map[string]string{}}
	for _, arg := range t.Call.Args {
		if types, ok := arg.X.(*sql.Struct); ok && slices.Contains(typeOptions, arg.Name) {
			if err := b.typeOption(&r, arg.Name, types); err != nil {
				return nil, err
			}
			continue
		}
		value, err := b.text(arg.X)
		if err != nil {
			return nil, err
		}
		if arg.Name != "" {
			separator := ","
			if strings.HasPrefix(arg.Name, "null") { // texts that stand for NULL may have commas
				separator = scan.ListSeparator
			}
			r.Options[arg.Name] = strings.Join(value, separator)
		} else {
			r.Paths = append(r.Paths, value...)
		}
	}
	if format == scan.Postgres {
		if len(r.Paths) != 2 {
			return nil, errAt(t, "write postgres('shop', 'products'), with the connection string in LAYSHAFT_PG_shop", "postgres needs the name of a database, and a table or a query")
		}
		types := r.Types
		r = postgresRequest(r.Paths[0], r.Paths[1], r.Options)
		r.Types = types
	}
	if len(r.Paths) == 0 {
		return nil, errAt(t, fmt.Sprintf("write %s('file')", t.Call.Name), "%s needs a path", t.Call.Name)
	}
	return b.file(t, r, t.Alias, seen)
}

// typeOptions are the options whose value gives columns types, as {'sku': 'text'}.
var typeOptions = []string{"columns", "types", "dtypes"}

// typeOption reads an option that gives columns types. columns names all columns, in order.
func (b *binder) typeOption(r *scan.Request, option string, s *sql.Struct) error {
	r.Types = map[string]vec.Type{}
	var names []string
	for _, f := range s.Fields {
		text, ok := f.X.(*sql.String)
		if !ok {
			return errAt(f.X, "write it in quotes, as in {'sku': 'text'}", "the type of column %q must be a text", f.Name)
		}
		t, err := ParseType(text.Value)
		if err != nil {
			return errAt(f.X, "", "column %q: %s", f.Name, err)
		}
		r.Types[f.Name] = t
		names = append(names, f.Name)
	}
	if option == "columns" {
		r.Options[option] = strings.Join(names, ",")
	}
	return nil
}

// ParseType reads a type as SQL writes it.
func ParseType(text string) (vec.Type, error) {
	x, err := sql.ParseExpr("CAST(NULL AS " + text + ")")
	if err != nil {
		return vec.Type{}, fmt.Errorf("%q is no type: %w", text, err)
	}
	c, ok := x.(*sql.Cast)
	if !ok {
		return vec.Type{}, fmt.Errorf("%q is no type", text)
	}
	return typeOf(c.Type)
}

// text returns the texts of a constant: of a literal or of a list of them.
func (b *binder) text(x sql.Expr) ([]string, error) {
	switch x := x.(type) {
	case *sql.String:
		return []string{x.Value}, nil
	case *sql.Number:
		return []string{x.Text}, nil
	case *sql.Bool:
		return []string{fmt.Sprint(x.Value)}, nil
	case *sql.Array:
		var all []string
		for _, it := range x.Items {
			t, err := b.text(it)
			if err != nil {
				return nil, err
			}
			all = append(all, t...)
		}
		return all, nil
	case *sql.Struct:
		var all []string
		for _, f := range x.Fields {
			t, err := b.text(f.X)
			if err != nil {
				return nil, err
			}
			all = append(all, f.Name+"="+t[0])
		}
		return []string{strings.Join(all, ",")}, nil
	case *sql.Column:
		if len(x.Parts) == 1 { // header = true is a Bool; auto is a word
			return []string{x.Parts[0].Name}, nil
		}
	}
	return nil, errAt(x, "", "options and paths must be constants")
}

// join binds a join.
func (b *binder) join(j *sql.Join, seen *names) (Node, error) {
	left, err := b.table(j.Left, seen)
	if err != nil {
		return nil, err
	}
	if f, ok := j.Right.(*sql.TableFunc); ok && f.Call.Name == "unnest" {
		if n, err := b.unnestJoin(left, j, f, seen); n != nil || err != nil {
			return n, err
		}
	}
	right, err := b.table(j.Right, seen)
	if err != nil {
		return nil, err
	}
	if j.Kind == sql.CrossJoin {
		return cross(left, right), nil
	}
	n := cross(left, right)
	using := j.Using
	if j.Natural {
		using = commonNames(j, left.Columns(), right.Columns())
		if len(using) == 0 {
			return nil, errAt(j, "write ON with a condition", "NATURAL: the two tables have no column names in common")
		}
	}
	width := len(left.Columns())
	var pairs [][2]int
	for _, id := range using {
		l, err := find(left.Columns(), nil, id)
		if err == nil && l < 0 {
			err = errAt(id, nearestColumn(id.Name, left.Columns()), "USING: the left table has no column %q", id.Name)
		}
		if err != nil {
			return nil, err
		}
		r, err := find(right.Columns(), nil, id)
		if err == nil && r < 0 {
			err = errAt(id, nearestColumn(id.Name, right.Columns()), "USING: the right table has no column %q", id.Name)
		}
		if err != nil {
			return nil, err
		}
		lc, rc := n.Cols[l], n.Cols[width+r]
		eq, err := expr.Call("=", []*expr.Expr{expr.Column(l, lc.Type, lc.Name, id.Offset), expr.Column(width+r, rc.Type, rc.Name, id.Offset)}, id.Offset)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]int{l, width + r})
		if n.Cond, err = and(n.Cond, eq); err != nil {
			return nil, err
		}
	}
	if j.On != nil {
		s := &scope{b: b, cols: n.Cols, clause: "ON", calls: &calls{}, seen: seen}
		if n.Cond, err = s.condition(j.On); err != nil {
			return nil, err
		}
		if len(s.calls.subs) > 0 {
			return nil, errAt(j.On, "move it to WHERE", "subqueries are not supported in ON")
		}
	}
	if n.Cond == nil {
		return nil, errAt(j, "write ON or USING, or CROSS JOIN", "a join needs a condition")
	}
	switch j.Kind {
	case sql.LeftJoin:
		n.Kind = Left
	case sql.FullJoin:
		n.Kind = Full
	case sql.SemiJoin, sql.AntiJoin:
		n.Kind = Semi
		if j.Kind == sql.AntiJoin {
			n.Kind = Anti
		}
		n.Cols = left.Columns()
		return split(n)
	}
	var out Node = n
	if j.Kind == sql.RightJoin {
		out = swap(n)
	} else if out, err = split(n); err != nil {
		return nil, err
	}
	if j.Kind == sql.RightJoin {
		if p := out.(*Project); true {
			if p.In, err = split(p.In.(*Join)); err != nil {
				return nil, err
			}
		}
	}
	if len(pairs) == 0 {
		return out, nil
	}
	return merged(out, pairs, j.Kind)
}

// unnestJoin binds a join with unnest(x), whose x may use columns of the left side: CROSS JOIN,
// JOIN with any condition, and LEFT JOIN … ON true. It returns nil for other joins, where x is
// constant.
func (b *binder) unnestJoin(left Node, j *sql.Join, f *sql.TableFunc, seen *names) (Node, error) {
	always, _ := j.On.(*sql.Bool)
	isTrue := always != nil && always.Value
	switch {
	case j.Natural || len(j.Using) > 0:
		return nil, nil
	case j.Kind == sql.CrossJoin || j.Kind == sql.InnerJoin && isTrue:
		return b.unnestTable(left, f, seen, false)
	case j.Kind == sql.LeftJoin && isTrue:
		return b.unnestTable(left, f, seen, true)
	case j.Kind != sql.InnerJoin:
		uses := false
		for _, a := range f.Call.Args {
			sql.Walk(a, func(n sql.Node) bool {
				_, column := n.(*sql.Column)
				uses = uses || column
				return !uses
			})
		}
		switch {
		case uses && (j.Kind == sql.RightJoin || j.Kind == sql.FullJoin):
			return nil, errAt(j, "the elements come from rows of the left side; write LEFT JOIN unnest(x) ON true, or CROSS JOIN unnest(x) and WHERE", "%s JOIN with unnest of a column is not supported", j.Kind)
		case uses && (j.Kind == sql.SemiJoin || j.Kind == sql.AntiJoin):
			return nil, errAt(j, "write a condition on the list in WHERE, such as y = ANY (x)", "%s JOIN with unnest of a column is not supported", j.Kind)
		case uses:
			return nil, errAt(j, "write LEFT JOIN unnest(x) ON true, or CROSS JOIN unnest(x) and WHERE", "%s JOIN with unnest of a column needs the condition true", j.Kind)
		}
		return nil, nil
	}
	n, err := b.unnestTable(left, f, seen, false)
	if err != nil {
		return nil, err
	}
	s := &scope{b: b, cols: n.Columns(), clause: "ON", calls: &calls{}, seen: seen}
	cond, err := s.condition(j.On)
	if err != nil {
		return nil, err
	}
	if len(s.calls.subs) > 0 {
		return nil, errAt(j.On, "move it to WHERE", "subqueries are not supported in ON")
	}
	return &Filter{n, cond}, nil
}

// swap turns a right join into a left join with its sides exchanged, and puts the columns back.
func swap(n *Join) Node {
	l, r := len(n.Left.Columns()), len(n.Right.Columns())
	s := &Join{Kind: Left, Left: n.Right, Right: n.Left, Cols: slices.Concat(n.Right.Columns(), n.Left.Columns())}
	s.Cond = n.Cond.Replace(func(e *expr.Expr) *expr.Expr {
		if e.Op != expr.OpColumn {
			return nil
		}
		if e.Col < l {
			return expr.Column(e.Col+r, e.Type, e.Name, e.Offset)
		}
		return expr.Column(e.Col-l, e.Type, e.Name, e.Offset)
	})
	p := &Project{In: s, Cols: n.Cols}
	for i, c := range n.Cols {
		at := i + r
		if i >= l {
			at = i - l
		}
		p.Exprs = append(p.Exprs, expr.Column(at, c.Type, c.Name, 0))
	}
	return p
}

// merged puts one column for each pair of USING first, and hides the two that it stands for.
func merged(n Node, pairs [][2]int, kind sql.JoinKind) (Node, error) {
	p := &Project{In: n}
	cols := n.Columns()
	hidden := map[int]bool{}
	for _, pair := range pairs {
		l, r := cols[pair[0]], cols[pair[1]]
		x := expr.Column(pair[0], l.Type, l.Name, 0)
		y := expr.Column(pair[1], r.Type, r.Name, 0)
		var err error
		switch kind {
		case sql.RightJoin:
			x = y
		case sql.FullJoin:
			if x, err = expr.Call("coalesce", []*expr.Expr{x, y}, 0); err != nil {
				return nil, err
			}
		}
		p.Exprs = append(p.Exprs, x)
		p.Cols = append(p.Cols, Column{Name: l.Name, Type: x.Type})
		hidden[pair[0]], hidden[pair[1]] = true, true
	}
	for i, c := range cols {
		p.Exprs = append(p.Exprs, expr.Column(i, c.Type, c.Name, 0))
		c.Hidden = c.Hidden || hidden[i]
		p.Cols = append(p.Cols, c)
	}
	return p, nil
}

func commonNames(j *sql.Join, left, right []Column) (ids []sql.Ident) {
	for _, c := range left {
		if !c.Hidden && slices.ContainsFunc(right, func(r Column) bool { return !r.Hidden && strings.EqualFold(r.Name, c.Name) }) {
			ids = append(ids, sql.Ident{Pos: j.Pos, Name: c.Name, Quoted: true})
		}
	}
	return ids
}
