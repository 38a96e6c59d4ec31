package differ

import (
	"fmt"
	"strings"
)

// Statements have one text for both systems. Where the dialects differ, {{ours||theirs}} stands in
// it.

// scope is what expressions may refer to.
type scope struct {
	cols []column
	// inner reports that the scope belongs to a subquery, which has no further subqueries.
	inner bool
}

// of returns a column of a kind, or "".
func (g *gen) of(s *scope, k kind) string {
	var names []string
	for _, c := range s.cols {
		if c.kind == k && !isExtreme(unqualified(c.name)) {
			names = append(names, c.name)
		}
	}
	if names == nil {
		return ""
	}
	return pick(g.r, names...)
}

// any returns a column of any type that values can be compared by, extreme ones too.
func (g *gen) any(s *scope) column {
	for {
		if c := pick(g.r, s.cols...); c.kind != list && c.kind != kinds {
			return c
		}
	}
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// maker makes an expression; d is the depth that is left.
type maker func(g *gen, s *scope, d int) string

// form returns a maker from a pattern: %i is an integer expression, %d a decimal, %f a double,
// %t a text, %b a boolean, %D a date, %T a timestamp, %l a list, %n a small number and %w a word.
func form(pattern string) maker {
	return func(g *gen, s *scope, d int) string {
		var b strings.Builder
		for i := 0; i < len(pattern); i++ {
			if pattern[i] != '%' {
				b.WriteByte(pattern[i])
				continue
			}
			i++
			switch pattern[i] {
			case 'i':
				b.WriteString(g.expr(s, integer, d))
			case 'd':
				b.WriteString(g.expr(s, decimal, d))
			case 'f':
				b.WriteString(g.expr(s, double, d))
			case 't':
				b.WriteString(g.expr(s, text, d))
			case 'b':
				b.WriteString(g.expr(s, boolean, d))
			case 'D':
				b.WriteString(g.expr(s, date, d))
			case 'T':
				b.WriteString(g.expr(s, stamp, d))
			case 'l':
				b.WriteString(g.expr(s, list, d))
			case 'n':
				fmt.Fprint(&b, g.r.IntN(6))
			case 'w':
				b.WriteString(pick(g.r, "a", "b", "ab", "-", " ", "x", "k", "é", "日", "A"))
			case 'p':
				b.WriteString(pick(g.r, "a%", "%b", "_", "%b%", "%", "a_c", "", "Ä%", "%-%", "k_", "%日%"))
			case 'r':
				b.WriteString(pick(g.r, "a", "^a", "b$", "[a-c]+", "a|b", "k([0-9])", ".", "^$", "[^a-z]", "(a)(b)?", "\\d+", "(?i)K"))
			case 'c':
				b.WriteString(pick(g.r, "=", "<>", "<", "<=", ">", ">=", "!=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"))
			case 'u':
				b.WriteString(pick(g.r, "year", "quarter", "month", "week", "day", "hour", "minute", "second"))
			case 'j':
				b.WriteString(pick(g.r, "$.a", "$.b[0]", "$.c.d", "$[1]", "$.zz", "$.b"))
			case '%':
				b.WriteByte('%')
			}
		}
		return b.String()
	}
}

func forms(patterns ...string) (all []maker) {
	for _, p := range patterns {
		all = append(all, form(p))
	}
	return all
}

// makers are the expressions of each kind, besides columns and literals.
var makers map[kind][]maker

func init() { // makers refer to each other through makers
	makers = map[kind][]maker{
		integer: forms("(%i + %i)", "(%i - %i)", "(%n * %i)", "abs(%i)", "-(%i)", "coalesce(%i, %n)", "CASE WHEN %b THEN %i ELSE %i END", "CASE WHEN %b THEN %i END",
			"CASE %i WHEN %n THEN %i WHEN 1 THEN 2 ELSE %i END", "nullif(%i, %n)", "(%i / nullif(%i, 0))", "(%i %% nullif(%i, 0))", "mod(%i, 7)", "length(%t)", "strpos(%t, '%w')",
			"extract(year FROM %D)", "extract(month FROM %T)", "extract(day FROM %D)", "extract(dow FROM %D)", "extract(isodow FROM %T)", "extract(doy FROM %D)", "extract(week FROM %D)",
			"extract(quarter FROM %D)", "extract(hour FROM %T)", "extract(minute FROM %T)", "year(%D)", "month(%T)", "date_part('day', %T)", "(%D - %D)", "date_diff('day', %D, %D)",
			"date_diff('month', %T, %T)", "date_diff('%u', %T, %T)", "greatest(%i, %i)", "least(%i, %n, %i)", "sign(%i)", "CAST(%b AS integer)", "ascii(%t)", "unicode(concat('x', %t))", "(%i & %n)", "(%i | %n)", "len(%l)",
			"%l[1]", "%l[-1]", "list_max(%l)", "array_length(%l)", "CAST(%d AS bigint)", "CAST(%f AS bigint)", "bit_count({{||(}}%i{{||)::bigint}})", "gcd(%i, 12)", "list_position(%l, %n)", "TRY_CAST(%t AS bigint)",
			"{{octet_length(||octet_length(encode(}}%t{{)||))}}", "levenshtein(%i::text, '12')", "isoyear(%D)", "weekday(%D)", "dayofyear(%T)", "instr(%t, '%w')", "if(%b, %i, %n)", "CAST(length(%t) AS bigint)", "round(%d)::bigint", "xor(%i, %n)", "(abs(%i) << 2)", "(abs(%i) >> 1)", "date_sub('%u', %T, %T)", "list_min(%l)", "bit_length(%t)", "century(%D)", "decade(%D)", "epoch_ms(%T)", "dayofmonth(%D)", "json_array_length('[1, 2, 3]')"),
		decimal: forms("(%d + %d)", "(%d - %i)", "(%d * %n)", "(@d * %d)", "abs(%d)", "-(%d)", "coalesce(%d, 1.50)", "CASE WHEN %b THEN %d ELSE 0.25 END", "round(%d, 1)", "CAST(%i AS decimal(12,2))",
			"greatest(%d, %d)", "least(%d, 3.25)", "nullif(%d, 0.00)", "floor(%d)", "ceil(%d)", "CAST(%f AS decimal(20,3))", "TRY_CAST(%t AS decimal(8,2))", "trunc(%d)", "(%d %% 3)", "CAST(%d AS decimal(30,1))", "sign(%d)"),
		double: forms("(%f + %f)", "(%f - %d)", "(%f * %i)", "CAST(%i AS double)", "CAST(%d AS double)", "sqrt(abs(%f))", "coalesce(%f, 0.5)", "CASE WHEN %b THEN %f ELSE %f END", "abs(%f)", "-(%f)",
			"greatest(%f, 0.0::double)", "floor(%f)", "ceil(%f)", "{{round||round_even}}(%f * 4{{||, 0}})", "nullif(%f, 3)", "(%f / nullif(%f, 0))", "(%i::double / 8)", "(%d::double / 4)", "list_avg(%l)", "CAST(list_sum(%l) AS double)", "trunc(%f)",
			"extract(epoch FROM %T)", "TRY_CAST(%t AS double)", "degrees(%i)", "cbrt(%i)", "exp(%n)", "ln(abs(%i) + 1)", "log10(abs(%i) + 1)", "log2(%n + 1)", "power(%n, 2)", "atan(%i)", "sin(%i)", "cos(%i)"),
		text: forms("upper(%t)", "lower(%t)", "(%t || '-' || %t)", "substring(%t, 1, %n)", "substring(%t, 2)", "left(%t, %n)", "right(%t, %n)", "replace(%t, '%w', 'zz')", "trim(%t)", "ltrim(%t)", "rtrim(%t)",
			"lpad(%t, %n, '*')", "rpad(%t, 4, 'ab')", "repeat(%t, %n)", "reverse(%t)", "coalesce(%t, 'none')", "CASE WHEN %b THEN %t ELSE '%w' END", "split_part(%t, '-', 1)", "split_part(%t, '%w', 2)", "concat(%t, %i, %b)",
			"concat_ws('/', %t, %t)", "%i::text", "CAST(%D AS text)", "CAST(%d AS text)", "CAST(%b AS text)", "regexp_replace(%t, '%r', '<>')", "regexp_replace(%t, '%r', 'y', 'g')", "regexp_extract(%t, '%r')",
			"strftime(%T, '%%Y/%%m/%%d %%H:%%M:%%S')", "strftime(%D, '%%j %%y %%a %%B')", "md5(%t)", "translate(%t, 'abc', 'xy')", "monthname(%D)", "dayname(%D)", "chr(65 + %n)", "nullif(%t, '%w')", "greatest(%t, %t)",
			"{{array_to_string||array_text}}(%l, ',')", "string_split(%t, '-')[1]", "to_base64({{||encode(}}%t{{::blob||)}})", "(@js::json->>'%j')", "json_extract_string(@js::json, '%j')", "CAST(%T AS text)", "trim(%t, 'ab')", "least(%t, '%w')", "concat('a', %t)", "substring(%t FROM 2 FOR 2)", "hex(%t)", "regexp_extract(%t, 'k([0-9])', 1)", "json_type(@js::json)", "sha256(%t)", "format('{{%%s||{}}}', coalesce(%i, 0))", "CASE %t WHEN '%w' THEN 'one' WHEN '' THEN 'empty' ELSE %t END", "upper(to_hex(abs(%i)))"),
		boolean: forms("%i %c %i", "%i %c %d", "%d %c %d", "%f %c %f", "%t %c %t", "%t %c '%w'", "%D %c DATE '2024-01-31'", "%T %c TIMESTAMP '2024-01-01 00:00:00'", "%D %c %T", "%i IN (%n, 3, %i)", "%i NOT IN (1, %n)",
			"%i NOT IN (%n, NULL)", "%t IN ('a', '%w', 'k1')", "%d BETWEEN %n AND 50", "%i NOT BETWEEN %i AND %i", "%t LIKE '%p'", "%t NOT LIKE '%p'", "%t ILIKE '%p'", "(%b AND %b)", "(%b OR %b)", "NOT (%b)", "(%b) IS TRUE",
			"(%b) IS NOT FALSE", "(%b) IS NULL", "%t IS NULL", "%i IS NOT NULL", "regexp_matches(%t, '%r')", "starts_with(%t, '%w')", "contains(%t, '%w')", "suffix(%t, '%w')", "list_contains(%l, %n)", "isnan(%f)", "isinf(%f)",
			"coalesce(%b, false)", "CASE WHEN %b THEN %b ELSE true END", "%t BETWEEN 'a' AND 'k2'", "%l %c %l", "TRY_CAST(%t AS boolean)", "TRY_CAST(%t AS date) IS NOT NULL", "%t SIMILAR TO '[a-b]+'", "(%b) = (%b)", "%D BETWEEN DATE '1999-01-01' AND %D", "json_valid(%t)", "regexp_full_match(%t, '%r')", "isfinite(%f)"),
		date: forms("%D + %n", "%D - %n", "last_day(%D)", "coalesce(%D, DATE '2000-02-29')", "CASE WHEN %b THEN %D END", "CAST(%T AS date)", "make_date(2020 + %n, 1 + %n, 3)", "greatest(%D, DATE '2001-01-01')", "TRY_CAST(%t AS date)", "CAST(date_trunc('month', %D) AS date)", "least(%D, CAST(%T AS date))", "nullif(%D, DATE '1970-01-01')", "strptime('2024-02-0' || (1 + %n), '%%Y-%%m-%%d')::date"),
		stamp: forms("(%D + INTERVAL '1 day')", "(%T + INTERVAL '3 months')", "(%T - INTERVAL '36 hours')", "(%T + INTERVAL (%n) DAY)", "date_trunc('%u', %T)", "CAST(%D AS timestamp)", "coalesce(%T, TIMESTAMP '2000-01-01 00:00:01')",
			"CASE WHEN %b THEN %T END", "greatest(%T, TIMESTAMP '1999-12-31 00:00:00')", "time_bucket(INTERVAL '2 hours', %T)", "make_timestamp(2024, 1 + %n, 2, 3, 4, 5.5)", "(%T - INTERVAL '1 year 2 months 3 days')", "(%D - INTERVAL '1 month')", "(%T + to_days(%n))", "date_add(%T, INTERVAL '5 minutes')", "TRY_CAST(%t AS timestamp)", "to_timestamp(%n)::timestamp"),
		list: forms("list_sort(%l)", "list_reverse(%l)", "list_append(%l, %n)", "[%i, %n]", "list_sort(list_distinct(%l))", "%l[1:2]", "list_concat(%l, [%n])", "CASE WHEN %b THEN %l ELSE [0] END", "coalesce(%l, [])", "range(%n)", "generate_series(1, %n)", "list_reverse_sort(%l)", "list_slice(%l, 2, 3)", "[%n, NULL]"),
	}
}

// expr returns an expression of a kind with at most d levels of calls.
func (g *gen) expr(s *scope, k kind, d int) string {
	if d > 0 && g.r.IntN(3) > 0 {
		if k == boolean && !s.inner && g.r.IntN(12) == 0 {
			return g.subquery(s, d-1)
		}
		x := pick(g.r, makers[k]...)(g, s, d-1)
		for _, name := range []string{"d", "js"} {
			if strings.Contains(x, "@"+name) {
				x = strings.ReplaceAll(x, "@"+name, g.named(s, name))
			}
		}
		return x
	}
	if g.r.IntN(5) > 0 {
		if name := g.of(s, k); name != "" {
			return name
		}
	}
	return g.literal(k)
}

// named returns a column by its name without the table, or a literal.
func (g *gen) named(s *scope, name string) string {
	for _, c := range s.cols {
		if unqualified(c.name) == name {
			return c.name
		}
	}
	return map[string]string{"d": "1.25", "js": `'{"a": 1}'`}[name]
}

func (g *gen) literal(k kind) string {
	switch k {
	case integer:
		return fmt.Sprint(g.r.IntN(12))
	case decimal:
		return pick(g.r, "1.50", "0.25", "10.00", "3.125")
	case double:
		return pick(g.r, "0.5::double", "2e0", "1.25e1", "'NaN'::double", "0.1::double")
	case text:
		return "'" + pick(g.r, "a", "b", "abc", "", "x y", "é", "a-b") + "'"
	case boolean:
		return pick(g.r, "true", "false", "NULL::boolean")
	case date:
		return "DATE '" + pick(g.r, "2024-02-29", "1999-12-31", "2000-01-01") + "'"
	case stamp:
		return "TIMESTAMP '" + pick(g.r, "2024-02-29 12:34:56", "1999-12-31 23:59:59.5") + "'"
	}
	return pick(g.r, "[1, 2, 3]", "[3, 1]")
}

// subquery returns a condition with a subquery.
func (g *gen) subquery(s *scope, d int) string {
	t := pick(g.r, g.w.tables[:3]...)
	inner := g.scopeOf(t, "q", true)
	where := g.expr(inner, boolean, min(d, 1))
	switch g.r.IntN(7) {
	case 0:
		return fmt.Sprintf("EXISTS (SELECT 1 FROM %s q WHERE %s)", g.ref(t), where)
	case 1:
		return fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %s q WHERE %s)", g.ref(t), where)
	case 2:
		return fmt.Sprintf("%s IN (SELECT q.i FROM %s q WHERE %s)", g.expr(s, integer, 1), g.ref(t), where)
	case 3:
		return fmt.Sprintf("%s NOT IN (SELECT q.i FROM %s q WHERE q.i IS NOT NULL)", g.expr(s, integer, 1), g.ref(t))
	case 4:
		return fmt.Sprintf("%s NOT IN (SELECT q.u FROM %s q WHERE %s)", g.expr(s, text, 1), g.ref(t), where)
	case 5:
		return fmt.Sprintf("%s > (SELECT avg(q.j) FROM %s q WHERE %s)", g.expr(s, integer, 1), g.ref(t), where)
	}
	return fmt.Sprintf("%s %s ANY (SELECT q.j FROM %s q WHERE %s)", g.expr(s, integer, 1), pick(g.r, "=", "<", ">="), g.ref(t), where)
}
