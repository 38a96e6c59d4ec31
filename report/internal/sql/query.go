package sql

import (
	"strconv"
	"strings"
)

// statement reads a whole statement.
func (p *parser) statement() Statement {
	at := p.here()
	switch {
	case p.tok.kind == end:
		p.fail("the statement is empty", "write SELECT … FROM 'file'")
	case p.isKw("COPY"):
		return p.copy()
	case p.acceptKw("EXPLAIN"):
		analyze := p.acceptKw("ANALYZE") || p.acceptKw("ANALYSE")
		if p.is("(") && !p.startsQuery() {
			p.fail("options of EXPLAIN in parentheses are not supported", "write EXPLAIN SELECT … or EXPLAIN ANALYZE SELECT …")
		}
		return &Explain{at, analyze, p.query()}
	case p.isKw("DESCRIBE"), p.isKw("DESC"):
		p.advance()
		return &Describe{at, p.queryOrSource()}
	case p.acceptKw("SUMMARIZE"):
		return &Summarize{at, p.queryOrSource()}
	case p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") || p.is("("):
		return p.query()
	}
	p.otherStatement()
	return nil
}

// otherStatement reports the start of a statement that cannot run.
func (p *parser) otherStatement() {
	const known = "SELECT, FROM, WITH, VALUES, COPY, EXPLAIN, DESCRIBE or SUMMARIZE"
	if p.tok.kw == nil {
		p.unexpected(known)
	}
	switch p.tok.kw.name {
	case "CREATE", "INSERT", "EXPORT":
		p.fail(p.tok.kw.name+" is not supported: a report only reads", "write a result with COPY (SELECT …) TO 'file.parquet'")
	case "SHOW":
		p.fail("SHOW is not supported", "DESCRIBE 'file' lists its columns and types")
	case "TABLE":
		p.fail("TABLE is not supported", "write FROM 'file'")
	case "SET", "PRAGMA", "USE", "ATTACH", "DETACH", "INSTALL", "LOAD":
		p.fail(p.tok.kw.name+" is not supported", "options of a file stand in a call: FROM read_csv('file', delim => ';')")
	case "UPDATE", "DELETE", "DROP", "ALTER", "MERGE", "TRUNCATE", "GRANT", "IMPORT", "CALL", "VACUUM", "BEGIN", "COMMIT", "ROLLBACK":
		p.fail(p.tok.kw.name+" is not supported: a report only reads", "statements start with "+known)
	}
	p.unexpected(known)
}

// startsQuery reports whether the current token, or the one behind its parentheses, starts a query.
func (p *parser) startsQuery() bool {
	if !p.is("(") {
		return p.isAnyKw("SELECT", "WITH", "VALUES", "FROM")
	}
	m := p.mark()
	for n := 0; p.is("(") && n <= maxNesting; n++ {
		p.advance()
	}
	yes := p.is("(") || p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") // too many parentheses fail later
	p.reset(m)
	return yes
}

// queryOrSource reads a query, or an element of FROM as SELECT * FROM it.
func (p *parser) queryOrSource() *Query {
	if p.startsQuery() {
		return p.query()
	}
	at := p.here()
	t := p.tablePrimary()
	return &Query{Pos: at, Body: &Select{Pos: at, Items: []*Item{{Pos: at, X: &Star{Pos: at}}}, From: []Table{t}}}
}

func (p *parser) copy() *Copy {
	c := &Copy{Pos: p.here()}
	p.advance()
	if p.is("(") {
		p.advance()
		c.Query = p.query()
		p.expect(")")
	} else {
		if p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") {
			p.fail("unexpected "+p.tokenName(), "put the query in parentheses: COPY (SELECT …) TO 'file.parquet'")
		}
		c.Query = p.queryOrSource()
	}
	if p.isKw("FROM") {
		p.fail("COPY … FROM is not supported: a report only reads", "use SELECT * FROM 'file'")
	}
	p.expectKw("TO")
	if p.tok.kind != text {
		if p.tok.kind == quoted {
			p.fail("unexpected "+p.tokenName()+"; expected a path", "put the path in single quotes: 'out.parquet'")
		}
		p.unexpected("a path in single quotes")
	}
	c.Path = p.tok.val
	p.advance()
	p.acceptKw("WITH")
	if p.accept("(") {
		c.Options = list(p, p.option)
		p.closeList()
	} else if p.tok.kind == bare {
		p.fail("unexpected "+p.tokenName()+"; expected the end or (", "options stand in parentheses: (FORMAT csv, HEADER)")
	}
	return c
}

func (p *parser) option() *Option {
	o := &Option{Pos: p.here()}
	o.Name = strings.ToLower(p.label("the name of an option").Name)
	switch {
	case p.is(",") || p.is(")"):
	case p.accept("("):
		o.List = true
		o.Values = list(p, func() string {
			if p.tok.kind == number || p.is("-") {
				p.unexpected("a name or a text")
			}
			return p.optionValue()
		})
		p.closeList()
	default:
		if p.is("=") {
			p.fail("unexpected =", "write the option and its value with a space: FORMAT parquet")
		}
		o.Values = []string{p.optionValue()}
	}
	return o
}

func (p *parser) optionValue() string {
	sign := ""
	if p.is("-") {
		sign = "-"
		p.advance()
		if p.tok.kind != number {
			p.unexpected("a number")
		}
	}
	if p.tok.kw != nil && p.tok.kw.class == reserved && !p.isAnyKw("TRUE", "FALSE", "ON") {
		p.unexpected("a value")
	}
	switch p.tok.kind {
	case bare, quoted, text, number:
		v := sign + p.tok.val
		p.advance()
		return v
	}
	p.unexpected("a value")
	return ""
}

// query reads a query with its WITH list, order and limits.
func (p *parser) query() *Query {
	p.enter()
	q := &Query{Pos: p.here()}
	if p.isKw("WITH") {
		p.advance()
		if p.isKw("RECURSIVE") && !p.follows("AS") {
			p.fail("WITH RECURSIVE is not supported", "a query in WITH uses the queries before it, not itself")
		}
		q.With = list(p, p.cte)
	}
	q.Body = p.body(unionPrec)
	q = p.finish(q)
	p.leave()
	return q
}

// finish reads ORDER BY and the limits of a query, and drops parentheses without a meaning.
func (p *parser) finish(q *Query) *Query {
	if p.isKw("ORDER") {
		q.OrderBy = p.orderBy()
	}
	for {
		switch {
		case p.isKw("LIMIT") && q.Limit == nil:
			p.limit(q)
		case p.isKw("OFFSET") && q.Skip == nil:
			p.advance()
			q.Skip = p.expr()
			if p.isAnyKw("ROW", "ROWS") {
				p.advance()
			}
		case p.isKw("FETCH") && q.Limit == nil:
			p.fetch(q)
		default:
			if in, ok := q.Body.(*Query); ok && q.With == nil && q.OrderBy == nil && q.Limit == nil && q.Skip == nil {
				return in
			}
			return q
		}
	}
}

func (p *parser) limit(q *Query) {
	p.advance()
	if p.acceptKw("ALL") {
		return
	}
	q.Limit = p.expr()
	switch {
	case p.is(","):
		comma := p.tok.off
		p.advance()
		count := p.expr()
		p.failAt(comma, "unexpected comma in LIMIT", "write LIMIT "+clip(Format(count))+" OFFSET "+clip(Format(q.Limit)))
	case p.isKw("PERCENT"):
		p.fail("LIMIT in percent is not supported", "write a number of rows")
	}
}

func (p *parser) fetch(q *Query) {
	at := p.here()
	p.advance()
	if !p.acceptKw("FIRST") {
		p.expectKw("NEXT")
	}
	if p.isAnyKw("ROW", "ROWS") {
		q.Limit = &Number{at, Integer, "1"}
	} else {
		q.Limit = p.infix(precOp)
	}
	if !p.acceptKw("ROWS") {
		p.expectKw("ROW")
	}
	if p.isKw("WITH") {
		p.fail("WITH TIES is not supported", "use QUALIFY rank() OVER (ORDER BY …) <= n")
	}
	p.expectKw("ONLY")
}

func (p *parser) cte() *CTE {
	if p.isKw("SELECT") {
		p.fail("unexpected SELECT; expected the name of a query", "remove the comma before it")
	}
	c := &CTE{Pos: p.here(), Name: p.name("the name of a query")}
	if p.is("(") {
		if p.follows("SELECT") {
			p.unexpected("AS")
		}
		c.Columns = p.names("the name of a column")
	}
	p.expectKw("AS")
	if p.isKw("NOT") {
		p.advance()
		p.expectKw("MATERIALIZED")
	} else {
		p.acceptKw("MATERIALIZED")
	}
	p.expect("(")
	if p.isAnyKw("INSERT", "UPDATE", "DELETE", "MERGE") {
		p.otherStatement()
	}
	c.Query = p.query()
	p.expect(")")
	return c
}

// Precedences of set operations.
const (
	unionPrec = iota
	intersectPrec
)

// body reads SELECTs with set operations between them.
func (p *parser) body(prec int) Body { return p.setOps(nil, prec) }

// setOps reads the rest of a body whose first part is left; nil stands for a part not read yet.
func (p *parser) setOps(left Body, prec int) Body {
	saved := p.chain
	p.chain = 0
	if left == nil {
		left = p.bodyPrimary()
	}
	for {
		var kind SetKind
		next := unionPrec
		switch {
		case p.isKw("UNION"):
			kind = Union
		case p.isKw("EXCEPT"):
			kind = Except
		case p.isKw("INTERSECT"):
			kind, next = Intersect, intersectPrec
		}
		if kind == "" || next < prec {
			p.chain = max(p.chain, saved)
			return left
		}
		at := p.here()
		p.advance()
		if kind == Except && p.is("(") && !p.startsQuery() {
			p.failAt(at.Offset, "unexpected EXCEPT before a list of columns", "write * EXCLUDE (a, b)")
		}
		all := p.acceptKw("ALL")
		if !all {
			p.acceptKw("DISTINCT")
		}
		byName := p.isKw("BY")
		if byName {
			if kind != Union {
				p.fail(string(kind)+" BY NAME is not supported", "name the columns in the same order on both sides")
			}
			p.advance()
			if p.tok.kind != bare || !strings.EqualFold(p.tok.val, "name") {
				p.unexpected("NAME")
			}
			p.advance()
		}
		right := p.setOps(nil, next+1)
		p.grow(at.Offset)
		left = &SetOp{at, kind, all, byName, left, right}
	}
}

func (p *parser) bodyPrimary() Body {
	switch {
	case p.isKw("SELECT"), p.isKw("FROM"):
		return p.selectBody()
	case p.isKw("VALUES"):
		return p.values()
	case p.is("("):
		p.advance()
		q := p.query()
		p.expect(")")
		if q.With == nil && q.OrderBy == nil && q.Limit == nil && q.Skip == nil {
			return q.Body
		}
		return q
	case p.isKw("TABLE"):
		p.fail("TABLE is not supported", "write FROM 'file'")
	}
	p.unexpected("SELECT")
	return nil
}

func (p *parser) values() *Values {
	v := &Values{Pos: p.here()}
	p.advance()
	width := -1
	v.Rows = list(p, func() []Expr {
		at := p.tok.off
		p.expect("(")
		row := list(p, p.expr)
		p.closeList()
		if width >= 0 && len(row) != width {
			p.failAt(at, "the rows of VALUES differ in length: "+plural(width)+" before, "+plural(len(row))+" here", "")
		}
		width = len(row)
		return row
	})
	return v
}

func plural(n int) string {
	if n == 1 {
		return "1 value"
	}
	return strconv.Itoa(n) + " values"
}
