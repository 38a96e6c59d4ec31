package differ

import (
	"fmt"
	"slices"
	"strings"
)

// aggregates are aggregate functions, with @key for a column that tells rows apart.
var aggregates = forms("count(*)", "count(%i)", "count(%t)", "count(%b)", "sum(%i)", "sum(%d)", "sum(%f)", "avg(%i)", "avg(%d)", "avg(%f)", "min(%i)", "max(%t)", "min(%D)", "max(%T)", "min(%d)", "max(%f)", "min(%b)", "max(%t)",
	"count(DISTINCT %i)", "count(DISTINCT %t)", "count(DISTINCT %D)", "sum(DISTINCT %i)", "avg(DISTINCT %d)", "stddev(%i)", "stddev_samp(%d)", "var_pop(%i)", "variance(%f)", "var_samp(%i)", "stddev_pop(%d)",
	"median(%i)", "median(%f)", "quantile_cont(%i, 0.3)", "quantile_disc(%i, 0.75)", "percentile_cont(0.5) WITHIN GROUP (ORDER BY %i)", "percentile_disc(0.25) WITHIN GROUP (ORDER BY %d)",
	"bool_and(%b)", "bool_or(%b)", "string_agg(%t, ',' ORDER BY @key)", "array_agg(%i ORDER BY @key)", "list(%t ORDER BY @key)", "arg_max(%t, @key)", "arg_min(%i, @key)", "count_if(%b)", "first(%t ORDER BY @key)", "last(%i ORDER BY @key DESC)",
	"corr(%i, %i)", "covar_pop(%i, %d)", "covar_samp(%i, %i)", "regr_slope(%i, %i)", "regr_count(%i, %i)", "regr_r2(%i, %i)", "bit_and(%i)", "bit_or(%i)", "bit_xor(%i)", "max(%i)", "min(%T)", "skewness(%i)", "kurtosis(%i)", "product(%n)", "sum(%i) FILTER (WHERE %b)", "count(*) FILTER (WHERE %b)",
	"avg(%d) FILTER (WHERE %b)", "max(%l)", "sum(CASE WHEN %b THEN 1 ELSE 0 END)", "entropy(%i)", "regr_intercept(%i, %i)", "regr_avgx(%i, %i)", "regr_sxy(%i, %i)", "max(%t, 2)", "min(%i, 3)", "histogram(%i)", "any_value(1)", "geomean(abs(%i) + 1)", "bit_and(abs(%i)) FILTER (WHERE %b)", "sem(%i)")

// windows are window functions; @over is PARTITION BY and an ORDER BY that leaves no two rows
// equal, @ties one that may, and @frame a frame.
var windows = forms("row_number() OVER (@over)", "rank() OVER (@ties)", "dense_rank() OVER (@ties)", "percent_rank() OVER (@ties)", "cume_dist() OVER (@ties)", "ntile(3) OVER (@over)", "lag(%i) OVER (@over)", "lead(%t, 2) OVER (@over)",
	"lag(%d, 1, 0.00) OVER (@over)", "first_value(%i) OVER (@over)", "last_value(%t) OVER (@over @rows)", "nth_value(%i, 2) OVER (@over @rows)", "sum(%i) OVER (@over @rows)", "count(*) OVER (@ties)", "avg(%d) OVER (@over @rows)",
	"max(%t) OVER (@ties)", "min(%D) OVER (@over @rows)", "sum(%i) OVER (@ties)", "count(%t) OVER (@part)", "sum(%d) OVER (@part)", "max(%i) OVER (@ties @groups)", "sum(%f) OVER (@over @rows)", "count(*) FILTER (WHERE %b) OVER (@over)",
	"string_agg(%t, '') OVER (@over @rows)", "sum(%i) OVER (@range)", "first_value(%t IGNORE NULLS) OVER (@over @rows)", "lag(%i IGNORE NULLS) OVER (@over)", "bool_or(%b) OVER (@over @rows)", "stddev(%i) OVER (@over @rows)", "median(%i) OVER (@part)",
	"count(DISTINCT %i) OVER (@part)", "sum(%i) OVER (@over @rows EXCLUDE CURRENT ROW)", "array_agg(%i) OVER (@over @rows)", "arg_max(%t, @key) OVER (@over @rows)", "lead(%i, -1) OVER (@over)", "count(*) OVER (@daterange)", "avg(%f) OVER (@part)")

// aggregate returns an aggregate over rows that keys tell apart. Without keys it does not depend
// on the order of rows.
func (g *gen) aggregate(s *scope, keys []string) string {
	for {
		x := pick(g.r, aggregates...)(g, s, g.r.IntN(3))
		if !strings.Contains(x, "@key") {
			return x
		}
		if len(keys) == 1 {
			return strings.ReplaceAll(x, "@key", keys[0])
		}
	}
}

func (g *gen) window(s *scope, keys []string) string {
	x := pick(g.r, windows...)(g, s, 1)
	part := ""
	if g.r.IntN(3) > 0 {
		part = "PARTITION BY " + g.key(s)
	}
	nulls := func() string {
		return pick(g.r, "", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST")
	}
	total := strings.Join(keys, ", ")
	x = strings.ReplaceAll(x, "@key", keys[0])
	x = strings.ReplaceAll(x, "@over", part+" ORDER BY "+g.expr(s, kind(g.r.IntN(int(list))), 1)+nulls()+", "+total)
	x = strings.ReplaceAll(x, "@ties", part+" ORDER BY "+g.key(s)+nulls())
	x = strings.ReplaceAll(x, "@part", part)
	x = strings.ReplaceAll(x, "@rows", "ROWS BETWEEN "+pick(g.r, "UNBOUNDED PRECEDING AND CURRENT ROW", "2 PRECEDING AND 1 FOLLOWING", "CURRENT ROW AND UNBOUNDED FOLLOWING", "1 FOLLOWING AND 3 FOLLOWING", "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "3 PRECEDING AND 1 PRECEDING"))
	x = strings.ReplaceAll(x, "@groups", "GROUPS BETWEEN "+pick(g.r, "1 PRECEDING AND CURRENT ROW", "CURRENT ROW AND 1 FOLLOWING"))
	x = strings.ReplaceAll(x, "@range", part+" ORDER BY "+g.expr(s, integer, 0)+pick(g.r, "", " DESC")+" RANGE BETWEEN "+pick(g.r, "2 PRECEDING AND CURRENT ROW", "1 PRECEDING AND 3 FOLLOWING", "UNBOUNDED PRECEDING AND CURRENT ROW"))
	return strings.ReplaceAll(x, "@daterange", part+" ORDER BY "+g.expr(s, stamp, 0)+" RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW")
}

// key returns an expression to group or to partition by.
func (g *gen) key(s *scope) string {
	for range 100 {
		x := g.any(s).name
		if g.r.IntN(2) == 0 {
			x = g.expr(s, kind(g.r.IntN(int(list))), 1)
		}
		if !isLiteral(x) {
			return x
		}
	}
	return s.cols[0].name
}

// isLiteral reports that an expression in GROUP BY or ORDER BY would be the number of a column, or
// a constant.
func isLiteral(x string) bool {
	return !strings.ContainsAny(x, ".") || !strings.ContainsAny(x, "xyzq") || x[0] >= '0' && x[0] <= '9' || x[0] == '\'' || strings.HasPrefix(x, "DATE '") || strings.HasPrefix(x, "TIMESTAMP '")
}

// item returns an expression to select.
func (g *gen) item(s *scope) string {
	if g.r.IntN(4) == 0 {
		return g.any(s).name
	}
	return g.expr(s, kind(g.r.IntN(int(kinds))), 1+g.r.IntN(3))
}

func (g *gen) items(s *scope, most int) []string {
	var all []string
	for range 1 + g.r.IntN(most) {
		all = append(all, g.item(s))
	}
	return all
}

func (g *gen) where(s *scope) string {
	if g.r.IntN(2) == 0 {
		return ""
	}
	return " WHERE " + g.expr(s, boolean, 1+g.r.IntN(3))
}

// statement returns a statement, and whether the order of its rows is defined.
func (g *gen) statement() (text string, ordered bool) {
	switch g.r.IntN(13) {
	case 0:
		return g.set(), false
	case 1:
		return g.with(), false
	}
	f := g.from()
	s := f.scope
	where := g.where(s)
	from := " FROM " + f.text + where
	switch g.r.IntN(11) {
	case 0, 1:
		return "SELECT " + strings.Join(g.items(s, 4), ", ") + from, false
	case 2: // sorted
		if len(f.keys) == 0 {
			return "SELECT " + strings.Join(g.items(s, 3), ", ") + from, false
		}
		order := ""
		for range g.r.IntN(3) {
			order += g.key(s) + pick(g.r, "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST", " DESC NULLS FIRST") + ", "
		}
		text = "SELECT " + strings.Join(g.items(s, 3), ", ") + from + " ORDER BY " + order + strings.Join(f.keys, ", ")
		return text + pick(g.r, "", " LIMIT 5", " LIMIT 7 OFFSET 3", " OFFSET 4", " LIMIT 0", " LIMIT 1000 OFFSET 15"), true
	case 3:
		return "SELECT DISTINCT " + strings.Join(g.items(s, 2), ", ") + from, false
	case 4, 5, 6:
		return g.grouped(f, from), false
	case 7:
		var all []string
		for range 1 + g.r.IntN(4) {
			all = append(all, g.aggregate(s, f.keys))
		}
		having := ""
		if g.r.IntN(5) == 0 {
			having = " HAVING " + g.exact(s) + " > 3"
		}
		return "SELECT " + strings.Join(all, ", ") + from + having, false
	case 8, 9:
		if len(f.keys) == 0 {
			return "SELECT " + strings.Join(g.items(s, 3), ", ") + from, false
		}
		all := append(slices.Clone(f.keys), g.window(s, f.keys))
		if g.r.IntN(3) == 0 {
			all = append(all, g.window(s, f.keys))
		}
		qualify := ""
		if g.r.IntN(4) == 0 {
			qualify = " QUALIFY " + pick(g.r, "row_number()", "rank()") + " OVER (PARTITION BY " + g.key(s) + " ORDER BY " + strings.Join(f.keys, ", ") + ") <= 2"
		}
		return "SELECT " + strings.Join(all, ", ") + from + qualify, false
	default:
		if len(f.keys) == 0 {
			return "SELECT DISTINCT " + strings.Join(g.items(s, 2), ", ") + from, false
		}
		key := g.key(s)
		return fmt.Sprintf("SELECT DISTINCT ON (%s) %s%s ORDER BY %s%s, %s", key, strings.Join(g.items(s, 3), ", "), from, key, pick(g.r, "", " DESC"), strings.Join(f.keys, ", ")), false
	}
}

// grouped returns a statement with GROUP BY.
func (g *gen) grouped(f source, from string) string {
	var keys, all []string
	for range 1 + g.r.IntN(3) {
		keys = append(keys, g.key(f.scope))
	}
	for range 1 + g.r.IntN(3) {
		all = append(all, g.aggregate(f.scope, f.keys))
	}
	having := ""
	if g.r.IntN(4) == 0 {
		having = pick(g.r, " HAVING count(*) > 1", " HAVING "+g.exact(f.scope)+" >= 2", " HAVING max("+g.expr(f.scope, integer, 1)+") IS NOT NULL")
	}
	by := strings.Join(keys, ", ")
	switch g.r.IntN(8) {
	case 0:
		by = "ROLLUP (" + by + ")"
	case 1:
		by = "CUBE (" + by + ")"
	case 2:
		by = "GROUPING SETS ((" + by + "), (" + keys[0] + "), ())"
		if g.r.IntN(2) == 0 {
			all = append(all, "grouping("+keys[0]+")")
		}
	case 3:
		by = "ALL"
	case 4:
		by = "1"
		for i := range keys[1:] {
			by += fmt.Sprintf(", %d", i+2)
		}
	}
	return "SELECT " + strings.Join(append(keys, all...), ", ") + from + " GROUP BY " + by + having
}

// set returns a statement with a set operation.
func (g *gen) set() string {
	var shape []kind
	for range 1 + g.r.IntN(3) {
		shape = append(shape, kind(g.r.IntN(int(list))))
	}
	side := func() string {
		t := g.small()
		s := g.scopeOf(t, "x", false)
		var all []string
		for _, k := range shape {
			all = append(all, g.expr(s, k, 1))
		}
		return "SELECT " + strings.Join(all, ", ") + " FROM " + g.ref(t) + " x" + g.where(s)
	}
	op := func() string {
		return pick(g.r, " UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ", " INTERSECT ALL ", " EXCEPT ALL ")
	}
	text := side() + op() + side()
	if g.r.IntN(3) == 0 {
		text = "(" + text + ")" + op() + side()
	}
	return text
}

// with returns a statement with common table expressions.
func (g *gen) with() string {
	t := g.small()
	s := g.scopeOf(t, "q", true)
	first := fmt.Sprintf("a AS (SELECT q.id, %s AS n, %s AS v FROM %s q%s)", g.expr(s, integer, 2), g.expr(s, text, 2), g.ref(t), g.where(s))
	z := &scope{cols: []column{{"z.id", integer, ""}, {"z.n", integer, ""}, {"z.v", text, ""}}}
	switch g.r.IntN(4) {
	case 0:
		return "WITH " + first + ", b AS (SELECT n, count(*) AS c FROM a GROUP BY n) SELECT z.id, z.v, b.c FROM a z LEFT JOIN b ON z.n = b.n" + g.where(z)
	case 1:
		return "WITH " + first + " SELECT z.v, " + g.aggregate(z, []string{"z.id"}) + " FROM a z GROUP BY z.v"
	case 2:
		return "WITH " + first + " SELECT z.id, " + g.window(z, []string{"z.id"}) + " FROM a z"
	}
	return "WITH " + first + " SELECT z.id, (SELECT max(n) FROM a) - z.n, z.id IN (SELECT n FROM a) FROM a z" + g.where(z)
}
