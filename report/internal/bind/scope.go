package bind

import (
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
)

// Error is an error in a statement.
type Error struct {
	Offset  int // in bytes
	Message string
	Hint    string // the way out; may be empty
}

// Error returns the message and the hint.
func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + "; " + e.Hint
	}
	return e.Message
}

func errAt(n sql.Node, hint, format string, args ...any) error {
	return &Error{n.At(), fmt.Sprintf(format, args...), hint}
}

// scope binds expressions over the columns of a node.
type scope struct {
	b    *binder
	cols []Column
	// aliases are the items of the SELECT list; a name that is no column may be the alias of one.
	aliases []*sql.Item
	// named are the windows of the WINDOW clause.
	named []*sql.WindowDef
	// calls collects the aggregates, window functions and subqueries of the expressions.
	calls *calls
	// clause is the name of the clause, for errors.
	clause string
	// seen are the names of WITH that subqueries may use.
	seen *names
	// aggregates and windows report whether the clause may contain them.
	aggregates, windows bool
	// values are the outer values that parts of the expressions stand for; nil for none.
	values *dependent
	// inside reports that the expression is an argument of an aggregate.
	inside bool
}

// Calls have virtual columns until their node is made: a base plus their number.
const (
	aggBase    = 1 << 20
	windowBase = 1 << 21
	subBase    = 1 << 22
	groupBase  = 1 << 23 // GROUPING
)

// calls are the parts of expressions that become nodes of their own.
type calls struct {
	aggs    []*Agg
	aggKeys map[string]int
	windows []*windowCall
	subs    []*subquery
	// groupings are the arguments of the calls of GROUPING.
	groupings [][]*expr.Expr
}

// matches reports whether name is the name of an identifier. Case counts only if exact is true.
func matches(name string, id sql.Ident, exact bool) bool {
	return name == id.Name || !exact && strings.EqualFold(name, id.Name)
}

// find returns the number of the column that an identifier names, -1 if there is none. An exact
// name goes before a name in another case.
func find(cols []Column, table *sql.Ident, name sql.Ident) (int, error) {
	for _, exact := range []bool{true, false} {
		found := -1
		for i, c := range cols {
			if c.Hidden && table == nil || !matches(c.Name, name, exact) || table != nil && !matches(c.Table, *table, false) {
				continue
			}
			if found >= 0 {
				if table != nil {
					return -1, errAt(name, "give the two tables different aliases", "column %s.%s is there twice", table.Name, name.Name)
				}
				return -1, errAt(name, fmt.Sprintf("write %s.%s or %s.%s", cols[found].Table, name.Name, c.Table, name.Name), "column %q is ambiguous", name.Name)
			}
			found = i
		}
		if found >= 0 {
			return found, nil
		}
	}
	return -1, nil
}

// column resolves the longest start of a name with dots to a column, and the rest to fields.
func (s *scope) column(c *sql.Column) (*expr.Expr, error) {
	i, used := -1, 1
	var err error
	if len(c.Parts) > 1 {
		if i, err = find(s.cols, &c.Parts[0], c.Parts[1]); err != nil {
			return nil, err
		}
		used = 2
	}
	if i < 0 {
		if i, err = find(s.cols, nil, c.Parts[0]); err != nil {
			return nil, err
		}
		used = 1
	}
	if i < 0 {
		if x, err := s.alias(c); x != nil || err != nil {
			return x, err
		}
		return nil, s.unknown(c)
	}
	x := expr.Column(i, s.cols[i].Type, s.cols[i].Name, c.Offset)
	for _, p := range c.Parts[used:] {
		if x, err = expr.Field(x, p.Name, p.Offset); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// maxAliased is how many times the names of a statement may stand for items of a SELECT list. Items
// that use earlier items twice each double at each step.
const maxAliased = 10_000

// alias resolves a name to an item of the SELECT list, and what follows its dots to fields; nil if
// there is none.
func (s *scope) alias(c *sql.Column) (x *expr.Expr, err error) {
	for i, it := range s.aliases {
		if it.Alias == nil || !matches(it.Alias.Name, c.Parts[0], false) {
			continue
		}
		if s.b.aliased++; s.b.aliased > maxAliased {
			return nil, errAt(c, "compute it in a subquery first", "names of the SELECT list stand for one another more than %d times", maxAliased)
		}
		inner := *s
		inner.aliases = s.aliases[:i] // an item sees those before it, so there is no loop
		if x, err = inner.expr(it.X); err != nil {
			return nil, err
		}
		for _, p := range c.Parts[1:] {
			if x, err = expr.Field(x, p.Name, p.Offset); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
	return nil, nil
}

// unknown returns the error of a column that does not exist.
func (s *scope) unknown(c *sql.Column) error {
	name := c.Parts[len(c.Parts)-1]
	for _, o := range s.b.outer {
		var table *sql.Ident
		if len(c.Parts) > 1 {
			table = &c.Parts[0]
		}
		if i, _ := find(o, table, name); i >= 0 {
			return errAt(c, fmt.Sprintf("use it in WHERE or in the SELECT list of the subquery, as %s", qualified(o[i], name)), "column %q belongs to the outer query", name.Name)
		}
	}
	if len(c.Parts) > 1 {
		known := false
		var tables []string
		for _, col := range s.cols {
			known = known || matches(col.Table, c.Parts[0], false)
			if !slices.Contains(tables, col.Table) && col.Table != "" {
				tables = append(tables, col.Table)
			}
		}
		if !known {
			hint := nearest(c.Parts[0].Name, tables, "tables are")
			if names := shown(s.cols); len(names) > 0 && (len(tables) == 0 || spelling.Nearest(c.Parts[0].Name, names) != "") {
				hint = nearest(c.Parts[0].Name, quoted(names), "columns are")
			}
			return errAt(c, hint, "there is no table or column %q", c.Parts[0].Name)
		}
	}
	if len(s.cols) == 0 {
		return errAt(c, "put text in single quotes, and name a file in FROM", "there is no column %q, because the query has no FROM", name.Name)
	}
	names := shown(s.cols)
	if len(names) == 0 {
		return errAt(c, emptyHint, "there is no column %q, because the files are empty", name.Name)
	}
	hint := nearest(name.Name, quoted(names), "columns are")
	if name.Quoted || spelling.Nearest(name.Name, names) == "" {
		hint += fmt.Sprintf("; text needs single quotes: '%s'", name.Name)
	}
	return errAt(c, hint, "there is no column %q", name.Name)
}

// qualified returns the name of a column with the one of its table.
func qualified(c Column, name sql.Ident) string {
	if c.Table == "" {
		return name.Name
	}
	return c.Table + "." + name.Name
}

// emptyHint is the way out for files without a row and a header.
const emptyHint = "name other files as well, or the columns, as in read_json('…', columns={'a': 'bigint'})"

// shown returns the names of the columns that * stands for.
func shown(cols []Column) (names []string) {
	for _, c := range cols {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// quoted returns names as a query must write them.
func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = sql.Written(name)
	}
	return out
}

// nearest lists the known names, the most similar first.
func nearest(name string, known []string, what string) string {
	const most = 8
	known = spelling.Sort(name, known)
	known = slices.Compact(known)
	more := ""
	if len(known) > most {
		more = fmt.Sprintf(" and %d more", len(known)-most)
		known = known[:most]
	}
	return what + " " + strings.Join(known, ", ") + more
}
