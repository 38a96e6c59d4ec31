package differ

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// gen makes statements over the tables of a world.
type gen struct {
	w *world
	r *rand.Rand
	// used are the tables of the statement.
	used map[*table]bool
}

// query is a statement.
type query struct {
	ours, theirs string
	// ordered reports that the order of the rows is defined.
	ordered bool
	types   map[string]string
}

// next returns a statement.
func (g *gen) next() query {
	g.used = map[*table]bool{}
	text, ordered := g.statement()
	q := query{ordered: ordered, types: map[string]string{}}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "{{")
		q.ours += before
		q.theirs += before
		if !found {
			break
		}
		mark, after, _ := strings.Cut(after, "}}")
		for strings.HasPrefix(after, "}") { // {} is text of the mark
			mark, after = mark+"}", after[1:]
		}
		ours, theirs, _ := strings.Cut(mark, "||")
		q.ours += ours
		q.theirs += theirs
		rest = after
	}
	typed := g.w.typed
	for t := range g.used {
		typed = typed || t.rows < 4 // nothing can be inferred from so few rows
	}
	if typed {
		for t := range g.used {
			if !strings.Contains(q.ours, t.glob) {
				continue // the part of the statement was not used
			}
			for _, c := range t.cols {
				q.types[c.name] = c.typ
			}
		}
	}
	return q
}

// ref is a table in FROM, without its alias.
func (g *gen) ref(t *table) string {
	g.used[t] = true
	return fmt.Sprintf("{{'%s'||%s}}", t.glob, t.name)
}

func (g *gen) scopeOf(t *table, alias string, inner bool) *scope {
	s := &scope{inner: inner}
	for _, c := range t.cols {
		if c.name == "st" {
			s.cols = append(s.cols, column{alias + ".st.a", integer, ""}, column{alias + ".st.t", text, ""})
			continue
		}
		s.cols = append(s.cols, column{alias + "." + c.name, c.kind, c.typ})
	}
	return s
}

// small returns a table with few rows.
func (g *gen) small() *table { return pick(g.r, g.w.tables[:3]...) }

// source is FROM with its scope. keys are columns that together name a row; they are empty if rows
// may repeat.
type source struct {
	text  string
	scope *scope
	keys  []string
}

func (g *gen) from() source {
	switch k := g.r.IntN(20); {
	case k < 8:
		t := pick(g.r, g.w.tables[0], g.w.tables[0], g.w.tables[1], g.w.tables[2], g.w.tables[3])
		return source{g.ref(t) + " x", g.scopeOf(t, "x", false), []string{"x.id"}}
	case k < 15:
		return g.join()
	case k < 17: // a subquery
		t := g.small()
		inner := g.scopeOf(t, "q", true)
		var items []string
		s := &scope{}
		for i, k := range []kind{integer, decimal, text, boolean, date, stamp, double, integer, text} {
			name := fmt.Sprintf("c%d", i)
			items = append(items, g.expr(inner, k, 2)+" AS "+name)
			s.cols = append(s.cols, column{"z." + name, k, ""})
		}
		s.cols = append(s.cols, column{"z.id", integer, ""})
		return source{fmt.Sprintf("(SELECT q.id, %s FROM %s q WHERE %s) z", strings.Join(items, ", "), g.ref(t), g.expr(inner, boolean, 1)), s, []string{"z.id"}}
	case k < 18: // groups
		t := pick(g.r, g.w.tables...)
		inner := g.scopeOf(t, "q", true)
		return source{fmt.Sprintf("(SELECT q.u AS g, %s AS a0, %s AS a1, max(q.ts) AS a2 FROM %s q GROUP BY q.u) z", g.exact(inner), g.exact(inner), g.ref(t)),
			&scope{cols: []column{{"z.g", text, ""}, {"z.a0", integer, ""}, {"z.a1", integer, ""}, {"z.a2", stamp, ""}}}, []string{"z.g"}}
	case k < 19: // rows in the statement
		return source{"(VALUES (1, 'a', 1.5), (2, 'k1', NULL), (NULL, NULL, 0.25), (2, 'b', 2.00)) AS z(n, v, w)",
			&scope{cols: []column{{"z.n", integer, ""}, {"z.v", text, ""}, {"z.w", decimal, ""}}}, []string{"z.n", "z.v"}}
	default: // a list as rows
		t := g.small()
		s := g.scopeOf(t, "x", false)
		return source{fmt.Sprintf("(SELECT *, unnest(%s) AS elem FROM %s x) x", g.expr(s, list, 1), g.ref(t)), &scope{cols: append(s.cols, column{"x.elem", integer, ""})}, nil}
	}
}

// exact returns an aggregate with an integer as its result.
func (g *gen) exact(s *scope) string {
	return pick(g.r, "count(*)", "count("+g.any(s).name+")", "count(DISTINCT "+g.any(s).name+")", "max("+g.expr(s, integer, 1)+")", "min(length("+g.expr(s, text, 1)+"))", "CAST(sum("+g.expr(s, integer, 1)+") AS bigint)")
}

func (g *gen) join() source {
	a, b := pick(g.r, g.w.tables...), g.small()
	x, y := g.scopeOf(a, "x", false), g.scopeOf(b, "y", false)
	both := &scope{cols: append(append([]column{}, x.cols...), y.cols...)}
	keys := []string{"x.id", "y.id"}
	key := pick(g.r, "id", "i", "u", "d", "dt", "b", "s", "j", "wide", "ts", "f", "huge")
	on := fmt.Sprintf("x.%s = y.%s", key, key)
	switch g.r.IntN(8) {
	case 0:
		on += " AND x.u = y.u"
	case 1:
		on = "x.i + 1 = y.i"
	case 2:
		on = "x.i = y.d"
	}
	if a.name == "td" { // few pairs
		on = "x.id = y.j"
	}
	more := ""
	if g.r.IntN(3) == 0 {
		more = " AND " + g.expr(both, boolean, 1)
	}
	switch kind := g.r.IntN(12); {
	case kind < 3:
		return source{fmt.Sprintf("%s x %s %s y ON %s%s", g.ref(a), pick(g.r, "JOIN", "INNER JOIN"), g.ref(b), on, more), both, keys}
	case kind < 5:
		return source{fmt.Sprintf("%s x LEFT JOIN %s y ON %s%s", g.ref(a), g.ref(b), on, more), both, keys}
	case kind < 6:
		return source{fmt.Sprintf("%s x RIGHT JOIN %s y ON %s%s", g.ref(a), g.ref(b), on, more), both, keys}
	case kind < 7:
		return source{fmt.Sprintf("%s x FULL JOIN %s y ON %s", g.ref(a), g.ref(b), on), both, keys}
	case kind < 8:
		return source{fmt.Sprintf("%s x %s JOIN %s y ON %s%s", g.ref(a), pick(g.r, "SEMI", "ANTI"), g.ref(b), on, more), x, []string{"x.id"}}
	case kind < 9: // no equality
		a = g.small()
		x = g.scopeOf(a, "x", false)
		both = &scope{cols: append(append([]column{}, x.cols...), y.cols...)}
		return source{fmt.Sprintf("%s x %s %s y ON x.i < y.i AND x.j %s y.j", g.ref(a), pick(g.r, "JOIN", "LEFT JOIN"), g.ref(b), pick(g.r, "<", ">=", "<>")), both, keys}
	case kind < 10:
		a = g.small()
		x = g.scopeOf(a, "x", false)
		both = &scope{cols: append(append([]column{}, x.cols...), y.cols...)}
		return source{fmt.Sprintf("%s x, %s y", g.ref(a), g.ref(b)), both, keys}
	case kind < 11: // a column of USING belongs to no table
		a = g.small()
		x = g.scopeOf(a, "x", false)
		key := pick(g.r, column{"i", integer, ""}, column{"u", text, ""}, column{"dt", date, ""})
		all := []column{key}
		for _, c := range append(append([]column{}, x.cols...), y.cols...) {
			if unqualified(c.name) != key.name {
				all = append(all, c)
			}
		}
		return source{fmt.Sprintf("%s x %s JOIN %s y USING (%s)", g.ref(a), pick(g.r, "INNER", "LEFT", "FULL"), g.ref(b), key.name), &scope{cols: all}, keys}
	default: // three tables
		c := g.small()
		z := g.scopeOf(c, "z", false)
		three := &scope{cols: append(append([]column{}, both.cols...), z.cols...)}
		return source{fmt.Sprintf("%s x %s %s y ON %s LEFT JOIN %s z ON y.id = z.id", g.ref(a), pick(g.r, "JOIN", "LEFT JOIN"), g.ref(b), on, g.ref(c)), three, append(keys, "z.id")}
	}
}
