package sql

import (
	"strings"
)

// tokenName returns the current token for a message.
func (p *parser) tokenName() string {
	switch p.tok.kind {
	case end:
		return "the end of the statement"
	case text:
		return "'" + strings.ReplaceAll(printable(clip(p.tok.val)), "'", "''") + "'"
	case op:
		return p.tok.val
	}
	if p.tok.kw != nil && p.tok.kw.class == reserved {
		return p.tok.kw.name
	}
	return quote(p.src[p.tok.off:p.tok.end])
}

// unexpected reports the current token, and the word or thing that should stand there.
func (p *parser) unexpected(want string) {
	if p.tok.kind == bad {
		panic(failure{p.lexer.err})
	}
	p.misspelt(want)
	p.fail("unexpected "+p.tokenName()+"; expected "+want, p.foreign())
}

// misspelt reports a word that looks like a misspelt keyword: the current one, or the one before it
// that was taken for an alias.
func (p *parser) misspelt(want string) {
	if a := p.alias; a.end == p.prevEnd && a.end > 0 {
		if k := nearest(a.val); k != "" {
			p.failAt(a.off, "unexpected "+quote(a.val), "did you mean "+k+"?")
		}
	}
	if p.tok.kind != bare || p.tok.kw != nil {
		return
	}
	if k := nearest(p.tok.val); k != "" {
		p.fail("unexpected "+p.tokenName()+"; expected "+want, "did you mean "+k+"?")
	}
}

// order lists the clauses that follow FROM in their order.
var order = map[string]int{
	"FROM": 1, "WHERE": 2, "GROUP": 3, "HAVING": 4, "WINDOW": 5, "QUALIFY": 5, "UNION": 6, "INTERSECT": 6, "EXCEPT": 6,
	"ORDER": 7, "LIMIT": 8, "OFFSET": 8, "FETCH": 8,
}

// trailing reports a token behind a whole statement or expression.
func (p *parser) trailing() {
	if p.tok.kind == bad {
		panic(failure{p.lexer.err})
	}
	p.misspelt("a comma or a clause")
	if p.tok.kw != nil && order[p.tok.kw.name] > 0 {
		p.fail("unexpected "+p.tokenName()+" here",
			"clauses stand once each, in the order SELECT, FROM, WHERE, GROUP BY, HAVING, QUALIFY, ORDER BY, LIMIT, OFFSET")
	}
	if hint := p.foreign(); hint != "" {
		p.fail("unexpected "+p.tokenName(), hint)
	}
	switch p.tok.kind {
	case bare, quoted, number, text, param:
		p.fail("unexpected "+p.tokenName()+"; expected a comma, an operator or a clause", "is a comma missing before it?")
	}
	if p.is(")") {
		p.fail("unexpected ) without its (", "")
	}
	p.fail("unexpected "+p.tokenName()+"; expected a comma, an operator or a clause", "")
}

// foreign returns the nearest thing that works for a token of another dialect, or "".
func (p *parser) foreign() string {
	if p.tok.kind == op {
		return foreignOps[p.tok.val]
	}
	if p.tok.kw != nil {
		return foreignWords[p.tok.kw.name]
	}
	return ""
}

var foreignOps = map[string]string{
	"&&":  "use AND; for lists list_has_any(a, b)",
	"<=>": "use IS NOT DISTINCT FROM",
	"=~":  "use ~ for regular expressions",
	"@>":  "use list_has_all(a, b)",
	"<@":  "use list_has_all(b, a)",
	"#>":  "use -> once for each step",
	"#>>": "use -> for each step, and ->> for the last",
	"^=":  "use <> or starts_with(a, b)",
	"!":   "use NOT, or <> to compare",
	":=":  "use = to compare",
	"=>":  "use >= to compare; name => value stands only in the arguments of a function",
	";":   "run one statement at a time",
}

var foreignWords = map[string]string{
	"INTO":        "write a result with COPY (SELECT …) TO 'file.parquet'",
	"FOR":         "a report changes nothing, so it takes no locks: remove FOR …",
	"COLLATE":     "texts compare by their bytes; use lower(x) to compare without case",
	"REGEXP":      "use x ~ 'pattern'",
	"RLIKE":       "use x ~ 'pattern'",
	"GLOB":        "use x LIKE 'pattern' with % and _, or x ~ 'pattern'",
	"DIV":         "use a // b",
	"MOD":         "use a % b",
	"XOR":         "use a <> b for conditions, xor(a, b) for numbers",
	"OVERLAPS":    "compare the ends: a1 < b2 AND b1 < a2",
	"TABLESAMPLE": "sampling is not supported; use WHERE hash(key) % 100 = 0 for one row in a hundred",
	"SELECT":      "put a subquery in parentheses",
	"WITH":        "put a subquery in parentheses",
	"PIVOT":       "use sum(x) FILTER (WHERE key = 'a') for each column",
	"UNPIVOT":     "use unnest([a, b]), or UNION ALL of one SELECT for each column",
	"ASOF":        "ASOF JOIN is not supported; use a window function over a UNION ALL of both tables",
	"POSITIONAL":  "use row_number() OVER () on both sides and join on it",
}
