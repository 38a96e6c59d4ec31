package sql

import (
	"strings"
)

// tokenName returns the current token for a message.
func (p *parser) tokenName() string {
	switch p.tok.kind {
	case end:
		return "end of statement"
	case text:
		return "'" + strings.ReplaceAll(clip(p.tok.val), "'", "''") + "'"
	case op:
		if p.tok.val == "," {
			return "comma"
		}
		return p.tok.val
	case quoted:
		return clip(p.src[p.tok.off:p.tok.end])
	}
	if p.tok.kw != nil && p.tok.kw.class == reserved {
		return p.tok.kw.name
	}
	return quote(p.src[p.tok.off:p.tok.end])
}

// unexpected reports the current token, and the word or thing that should stand there.
func (p *parser) unexpected(want string) {
	if p.tok.kind == bad {
		p.failLexing()
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

// clauseOrder holds the keywords that start the clauses behind a SELECT list.
var clauseOrder = map[string]bool{
	"FROM": true, "WHERE": true, "GROUP": true, "HAVING": true, "WINDOW": true, "QUALIFY": true, "UNION": true,
	"INTERSECT": true, "EXCEPT": true, "ORDER": true, "LIMIT": true, "OFFSET": true, "FETCH": true,
}

// atClause reports whether the current token starts a clause. A keyword before a comma, a dot and
// so on was meant to be a name.
func (p *parser) atClause() bool {
	return p.tok.kw != nil && clauseOrder[p.tok.kw.name] && !p.keywordAsName()
}

// keywordAsName reports whether something behind the current keyword can only follow a name.
func (p *parser) keywordAsName() bool {
	if p.isAnyKw("FROM") {
		return false
	}
	m := p.mark()
	p.advance()
	yes := p.is(",") || p.is(".") || p.is(")") || p.is("=") || p.is("<") || p.is(">") || p.isAnyKw("FROM", "AS", "IS", "IN")
	if m.tok.kw.name == "ORDER" || m.tok.kw.name == "GROUP" {
		yes = !p.isKw("BY")
	}
	p.reset(m)
	return yes
}

// quoteHint returns the advice to quote a keyword that was meant to be a name, or "".
func (p *parser) quoteHint() string {
	if p.tok.kind != bare || p.tok.kw == nil || clauseOrder[p.tok.kw.name] && !p.keywordAsName() {
		return ""
	}
	switch p.tok.kw.name {
	case "SELECT", "WITH", "AS", "ON", "AND", "OR", "THEN", "ELSE", "WHEN", "DISTINCT", "JOIN", "LIKE", "IS", "IN":
		if !p.keywordAsName() {
			return p.foreign()
		}
	case "END":
		return p.foreign()
	}
	return `a name that is a keyword needs double quotes: "` + p.tok.val + `"`
}

// trailing reports a token behind a whole statement or expression.
func (p *parser) trailing() {
	if p.tok.kind == bad {
		p.failLexing()
	}
	p.misspelt("a comma or a clause")
	if p.tok.kw != nil && clauseOrder[p.tok.kw.name] {
		if p.part {
			p.fail("unexpected "+p.tokenName()+" here", "only expressions may stand here")
		}
		p.fail("unexpected "+p.tokenName()+" here",
			"clauses stand once each, in the order SELECT, FROM, WHERE, GROUP BY, HAVING, QUALIFY, ORDER BY, LIMIT, OFFSET")
	}
	if hint := p.foreign(); hint != "" {
		p.fail("unexpected "+p.tokenName(), hint)
	}
	switch p.tok.kind {
	case bare, quoted, number, text, param:
		if p.tok.kw != nil {
			break
		}
		p.fail("unexpected "+p.tokenName()+"; expected a comma, an operator or a clause", "is a comma missing before it?")
	}
	if p.is(")") {
		p.fail("unexpected ) without its (", "")
	}
	want := "a comma, an operator or a clause"
	if p.is(",") {
		want = "an operator or the end"
	}
	p.fail("unexpected "+p.tokenName()+"; expected "+want, "")
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
	"&&":  "use AND",
	"<=>": "use IS NOT DISTINCT FROM",
	"=~":  "use ~ for regular expressions",
	"@>":  "for one element of a list use x = ANY (list)",
	"<@":  "for one element of a list use x = ANY (list)",
	"#>":  "use -> once for each step",
	"#>>": "use -> for each step, and ->> for the last",
	"^=":  "use <>",
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
	"XOR":         "use a <> b for two conditions",
	"OVERLAPS":    "compare the ends: a1 < b2 AND b1 < a2",
	"TABLESAMPLE": sampleHint,
	"ON":          "ON stands behind JOIN and its table",
	"USING":       "USING stands behind JOIN and its table",
	"OVER":        "OVER stands directly behind a call: sum(a) OVER (…)",
	"FILTER":      "FILTER stands directly behind a call: sum(a) FILTER (WHERE …)",
	"SELECT":      "put a subquery in parentheses",
	"WITH":        "put a subquery in parentheses",
	"PIVOT":       "use sum(x) FILTER (WHERE key = 'a') for each column",
	"UNPIVOT":     "use UNION ALL of one SELECT for each column",
	"ASOF":        "ASOF JOIN is not supported; use a window function over a UNION ALL of both tables",
	"POSITIONAL":  "use row_number() OVER () on both sides and join on it",
}

const sampleHint = "sampling is not supported; use WHERE with a condition on a column, or LIMIT"
