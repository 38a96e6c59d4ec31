package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// from reads FROM and its tables.
func (p *parser) from() []Table {
	p.advance()
	if p.tok.kind == end || p.atClause() || p.isKw("SELECT") {
		p.unexpected("a file, a name or a subquery")
	}
	return list(p, func() Table { return p.joins(nil) })
}

// joins reads a table and the joins behind it. Nil for left reads the first table too.
func (p *parser) joins(left Table) Table {
	saved := p.chain
	p.chain = 0
	if left == nil {
		left = p.tablePrimary()
	}
	for {
		j := &Join{Pos: p.here(), Kind: InnerJoin}
		if !p.joinKind(j) {
			p.chain = max(p.chain, saved)
			return left
		}
		j.Left = left
		j.Right = p.tablePrimary()
		p.joinCondition(j)
		p.grow(j.Offset)
		left = j
	}
}

// joinKind reads the words up to JOIN, and reports false when there is no join.
func (p *parser) joinKind(j *Join) bool {
	natural := p.acceptKw("NATURAL")
	j.Natural = natural
	switch {
	case p.isKw("JOIN"):
	case p.acceptKw("INNER"):
	case p.isAnyKw("LEFT", "RIGHT", "FULL"):
		j.Kind = JoinKind(p.tok.kw.name)
		p.advance()
		switch {
		case p.acceptKw("OUTER"):
		case j.Kind == LeftJoin && p.acceptKw("SEMI"):
			j.Kind = SemiJoin
		case j.Kind == LeftJoin && p.acceptKw("ANTI"):
			j.Kind = AntiJoin
		}
	case p.isAnyKw("SEMI", "ANTI"):
		j.Kind = JoinKind(p.tok.kw.name)
		p.advance()
	case !natural && p.acceptKw("CROSS"):
		j.Kind = CrossJoin
	case p.isAnyKw("OUTER"):
		p.fail("unexpected OUTER", "write LEFT, RIGHT or FULL before it")
	default:
		if natural {
			p.unexpected("JOIN, LEFT, RIGHT, FULL or INNER")
		}
		return false
	}
	p.expectKw("JOIN")
	return true
}

// joinCondition reads ON or USING.
func (p *parser) joinCondition(j *Join) {
	switch {
	case j.Kind == CrossJoin || j.Natural:
		if p.isAnyKw("ON", "USING") {
			kind := "CROSS JOIN"
			if j.Natural {
				kind = "NATURAL JOIN"
			}
			p.fail("unexpected "+p.tok.kw.name+": "+kind+" has no condition", "write JOIN … "+p.tok.kw.name)
		}
	case p.acceptKw("ON"):
		j.On = p.expr()
	case p.acceptKw("USING"):
		j.Using = p.names("the name of a column")
	default:
		p.misspelt("ON or USING")
		p.fail("unexpected "+p.tokenName()+"; expected ON or USING", "write CROSS JOIN for all pairs of rows")
	}
}

// tablePrimary reads one element of FROM with its alias.
func (p *parser) tablePrimary() Table {
	at := p.here()
	if path, ok := p.barePath(); ok {
		return &File{Pos: at, Paths: []string{path}, Alias: p.tableAlias()}
	}
	switch {
	case p.tok.kind == text:
		path := p.tok.val
		p.advance()
		return &File{Pos: at, Paths: []string{p.path(at, path)}, Alias: p.tableAlias()}
	case p.is("["):
		p.advance()
		f := &File{Pos: at}
		f.Paths = list(p, func() string {
			if p.tok.kind != text {
				p.unexpected("a path in single quotes")
			}
			at, path := p.here(), p.tok.val
			p.advance()
			return p.path(at, path)
		})
		if !p.accept("]") {
			p.unexpected("a comma or ]")
		}
		f.Alias = p.tableAlias()
		return f
	case p.is("("):
		return p.tableParen()
	case p.isKw("VALUES") && p.follows("("):
		v := p.values()
		return &Subquery{Pos: at, Query: &Query{Pos: at, Body: v}, Alias: p.tableAlias()}
	case p.isKw("LATERAL"):
		m := p.mark()
		p.advance()
		if p.tok.kind == bare && strings.EqualFold(p.tok.val, "unnest") && p.follows("(") {
			return p.tableFunc("unnest") // it may use the tables beside it anyway
		}
		p.reset(m)
		p.fail("LATERAL is not supported", "a subquery in FROM cannot use the tables beside it; join with ON, or use unnest(x)")
	case p.isKw("ONLY"), p.isKw("TABLE"):
		p.fail("unexpected "+p.tok.kw.name, "write the file or name alone")
	case p.isKw("SELECT"):
		p.unexpected("a file, a name or a subquery")
	}
	if p.tok.kind == quoted && p.follows("(") {
		return p.tableFunc(p.tok.val)
	}
	if p.tok.kind == bare && p.follows("(") && (p.tok.kw == nil || p.tok.kw.class != reserved) {
		name := strings.ToLower(p.tok.val)
		if special[name] || p.tok.kw != nil && p.tok.kw.class == notCall {
			p.fail(name+" is no function that returns rows", "read a file with read_csv('file'), read_json or read_parquet")
		}
		return p.tableFunc(name)
	}
	t := &TableName{Pos: at, Name: p.name("a file, a name or a subquery")}
	t.Alias = p.tableAlias()
	return t
}

// path checks a path from a text.
func (p *parser) path(at Pos, path string) string {
	if path == "" {
		p.failAt(at.Offset, "the path is empty", "name a file, a directory or a pattern, such as 'orders/*.csv'")
	}
	return path
}

// tableFunc reads a function in FROM.
func (p *parser) tableFunc(name string) *TableFunc {
	t := &TableFunc{Pos: p.here()}
	t.Call = &Call{Pos: t.Pos, Name: name}
	p.advance()
	p.expect("(")
	if !p.accept(")") {
		t.Call.Args = list(p, func() *Arg { return p.arg(true) })
		p.closeList()
	}
	if p.isKw("WITH") {
		p.advance()
		p.expectKw("ORDINALITY")
		t.Ordinality = true
	}
	t.Alias = p.tableAlias()
	return t
}

// tableParen reads a subquery or joins in parentheses.
func (p *parser) tableParen() Table {
	at := p.here()
	p.enter()
	p.advance()
	var t Table
	if p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") {
		t = &Subquery{Pos: at, Query: p.query()}
	} else {
		t = p.joins(nil)
		if s, ok := t.(*Subquery); ok && s.Alias == nil && p.src[s.Offset] == '(' {
			s.Query = p.restOfQuery(s.Query)
		}
	}
	if p.is(",") {
		p.fail("unexpected comma between tables in parentheses", "write CROSS JOIN")
	}
	if !p.accept(")") {
		p.unexpected(")")
	}
	p.leave()
	switch t := t.(type) {
	case *Subquery:
		if t.Alias == nil {
			t.Alias = p.tableAlias()
			return t
		}
	case *Join:
		if p.isKw("AS") || p.isName() {
			p.fail("joins in parentheses cannot have an alias", "write (SELECT * FROM …) AS name")
		}
		return t
	}
	p.failAt(at.Offset, "unexpected parentheses around one table", "remove the parentheses")
	return nil
}

// restOfQuery reads what follows a query in parentheses that is the first part of a larger one: a
// set operation, ORDER BY or a limit. It returns the larger query, or q.
func (p *parser) restOfQuery(q *Query) *Query {
	if !p.isAnyKw("UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT", "OFFSET", "FETCH") {
		return q
	}
	var body Body = q
	if q.With == nil && q.OrderBy == nil && q.Limit == nil && q.Skip == nil {
		body = q.Body
	}
	return p.finish(&Query{Pos: q.Pos, Body: p.setOps(body, unionPrec)})
}

// tableAlias reads an optional alias with its columns.
func (p *parser) tableAlias() *Alias {
	a := &Alias{Pos: p.here()}
	switch {
	case p.acceptKw("AS"):
		if p.tok.kind == text {
			p.fail("unexpected text "+p.tokenName(), `an alias needs double quotes: AS "`+clip(p.tok.val)+`"`)
		}
		a.Name = p.name("an alias")
	case p.isName():
		p.alias = p.tok
		if p.tok.kind == quoted || p.tok.kw != nil {
			p.alias = token{}
		}
		a.Name = p.takeIdent()
	case p.isAnyKw("TABLESAMPLE", "PIVOT", "UNPIVOT", "ASOF", "POSITIONAL") || p.isKw("USING") && p.follows("SAMPLE"):
		if p.isKw("USING") {
			p.fail("USING SAMPLE is not supported", sampleHint)
		}
		p.unexpected("a comma, JOIN or a clause")
	default:
		return nil
	}
	if p.is("(") {
		a.Columns = p.names("the name of a column")
	}
	return a
}

// barePath reads a path without quotes when the current token starts one. A path holds a character
// that no name holds, such as a slash, a dot or a star, and ends at white space, a comma, a
// parenthesis, a quote, a semicolon or a comment.
func (p *parser) barePath() (string, bool) {
	off := p.tok.off
	if p.tok.kind == end || p.src[off] == '[' || p.src[off] == '$' || strings.HasPrefix(p.src[off:], "/*") {
		return "", false // also keeps a long text without an end from being searched again and again
	}
	n := pathLength(p.src[off:])
	path := p.src[off : off+n]
	if n == 0 || wordEnd(path, 0) == n && !isDigit(path[0]) || strings.Trim(path, "0123456789") == "" {
		return "", false
	}
	if strings.Trim(path, "-./*?:=<>+%&|~^!@#$") == "" && path != "-" && path != "*" && path != "**" && !strings.Contains(path, "/") {
		return "", false // stray operators
	}
	for _, r := range path {
		if unicode.In(r, unicode.Pi, unicode.Pf, unicode.Cc) {
			return "", false
		}
	}
	p.pos = off + n
	p.tok.end = p.pos
	p.advance()
	return path, true
}

// pathLength returns the length of the path without quotes that s starts with. Commas inside {…}
// belong to the path.
func pathLength(s string) int {
	braces := 0
	for i, r := range s {
		switch {
		case unicode.IsSpace(r), strings.ContainsRune(`();'"`, r), r == '`', r == ',' && braces == 0, r == utf8.RuneError,
			r == '-' && strings.HasPrefix(s[i:], "--"):
			return i
		case r == '{':
			braces++
		case r == '}':
			braces--
		case r == '/' && strings.HasPrefix(s[i:], "/*") && isComment(s[i:]):
			return i
		}
	}
	return len(s)
}

// longestRemark is how long a comment directly behind a bare name may be.
const longestRemark = 512

// isComment reports whether s, which starts with /*, starts with a comment rather than a pattern
// such as /*.csv. A comment has an end, and white space behind its start or its end.
func isComment(s string) bool {
	n := commentEnd(s[:min(len(s), longestRemark)])
	if n < 0 {
		return false
	}
	if unicode.IsSpace(rune(s[2])) {
		return true
	}
	next, _ := utf8.DecodeRuneInString(s[n:])
	return n == len(s) || unicode.IsSpace(next) || strings.ContainsRune("();,", next)
}
