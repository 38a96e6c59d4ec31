package sql

import (
	"strconv"
	"strings"
)

// primary reads an expression without operators.
func (p *parser) primary() Expr {
	at := p.here()
	switch p.tok.kind {
	case number:
		n := &Number{at, p.tok.num, p.tok.val}
		p.advance()
		return n
	case text:
		s := &String{at, p.tok.val}
		p.advance()
		if p.tok.kind == text {
			p.fail("unexpected second text "+p.tokenName(), "a quote inside a text is written twice: 'it''s'; texts are joined by ||")
		}
		return s
	case param:
		return p.param()
	case quoted:
		return p.column()
	case op:
		switch p.tok.val {
		case "(":
			return p.paren()
		case "[":
			return p.array(at)
		case "{":
			return p.structLiteral()
		case "?":
			p.advance()
			if p.params++; p.params > maxParams {
				p.failAt(at.Offset, "too many parameters: more than 99,999", "")
			}
			return &Param{Pos: at, Index: p.params}
		case ":":
			p.fail("unexpected :; expected an expression", "parameters are $1, $name or ?")
		case "*":
			p.starInside()
		case "!":
			p.fail("unexpected !", foreignOps["!"])
		}
	case bare:
		return p.wordExpr()
	}
	p.unexpected("an expression")
	return nil
}

// starInside reports a star that is not a whole item.
func (p *parser) starInside() {
	p.fail("unexpected *; it stands only as an item of a SELECT list and in count(*)", "name the columns")
}

func (p *parser) param() Expr {
	x := &Param{Pos: p.here(), Name: p.tok.val}
	if isDigit(x.Name[0]) {
		x.Index, _ = strconv.Atoi(x.Name) // the lexer has checked it
		x.Name = ""
	}
	p.advance()
	return x
}

// paren reads an expression, a row or a subquery in parentheses.
func (p *parser) paren() Expr {
	at := p.here()
	p.advance()
	if p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") && !p.isColumnLike() {
		q := p.query()
		if !p.accept(")") {
			p.unexpected(")")
		}
		return &Scalar{at, q}
	}
	x, q := p.exprOrQuery()
	if p.is(",") {
		row := &Row{Pos: at, Items: []Expr{x}}
		for p.accept(",") {
			row.Items = append(row.Items, p.expr())
		}
		p.closeList()
		return row
	}
	if !p.accept(")") {
		p.unexpected("an operator, a comma or )")
	}
	if q != nil {
		return &Scalar{at, q}
	}
	return x
}

// isColumnLike reports whether VALUES at the current token is the name of a column.
func (p *parser) isColumnLike() bool { return p.isKw("VALUES") && !p.follows("(") }

// array reads [a, b].
func (p *parser) array(at Pos) Expr {
	p.expect("[")
	a := &Array{Pos: at}
	if p.accept("]") {
		return a
	}
	a.Items = list(p, p.expr)
	if p.isKw("FOR") {
		p.fail("list comprehensions are not supported", "use unnest(list) in FROM")
	}
	if p.tok.kind == bare && p.tok.kw == nil {
		p.fail("unexpected "+p.tokenName()+"; expected a comma or ]", `[a, b] is a list; put a name in double quotes: "a b"`)
	}
	if !p.accept("]") {
		p.unexpected("a comma or ]")
	}
	return a
}

// structLiteral reads {'a': 1, b: 2}.
func (p *parser) structLiteral() Expr {
	s := &Struct{Pos: p.here()}
	p.advance()
	if p.accept("}") {
		return s
	}
	s.Fields = list(p, func() *StructField {
		f := &StructField{Pos: p.here()}
		if p.tok.kind != text && p.tok.kind != bare && p.tok.kind != quoted {
			p.unexpected("the name of a field")
		}
		f.Name = p.tok.val
		p.advance()
		if p.is("=") || p.is("=>") || p.is(":=") {
			p.fail("unexpected "+p.tokenName()+"; expected :", "write {'name': value}")
		}
		p.expect(":")
		f.X = p.expr()
		return f
	})
	if !p.accept("}") {
		p.unexpected("a comma or }")
	}
	return s
}

// wordExpr reads an expression that starts with a bare word.
func (p *parser) wordExpr() Expr {
	at := p.here()
	if p.tok.kw == nil {
		if typeWords[strings.ToLower(p.tok.val)] {
			if x := p.typed(); x != nil {
				return x
			}
		}
		return p.column()
	}
	name := p.tok.kw.name
	switch name {
	case "NULL":
		p.advance()
		return &Null{at}
	case "TRUE", "FALSE":
		p.advance()
		return &Bool{at, name == "TRUE"}
	case "CASE":
		return p.caseExpr()
	case "CAST", "TRY_CAST":
		if name == "CAST" || p.follows("(") {
			return p.cast()
		}
	case "ARRAY":
		p.advance()
		if p.is("(") {
			p.fail("ARRAY (SELECT …) is not supported", "write (SELECT array_agg(x) FROM …)")
		}
		return p.array(at)
	case "EXISTS":
		if p.follows("(") {
			p.advance()
			p.advance()
			q := p.query()
			p.expect(")")
			return &Exists{at, q}
		}
	case "ROW":
		if p.follows("(") {
			return p.row()
		}
	case "INTERVAL":
		if x := p.interval(); x != nil {
			return x
		}
	case "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP":
		p.advance()
		if p.is("(") {
			p.fail("unexpected ( after "+name, "write "+name+" without parentheses")
		}
		return &Call{Pos: at, Name: strings.ToLower(name)}
	case "EXTRACT", "SUBSTRING", "POSITION", "TRIM", "OVERLAY":
		if p.follows("(") {
			return p.standardCall(name)
		}
	case "MAP":
		if p.follows("{") {
			p.fail("MAP {…} is not supported", "write a struct: {'a': 1}")
		}
	case "COLUMNS":
		if p.follows("(") {
			p.fail("COLUMNS(…) is not supported", "name the columns, or use * EXCLUDE (a) and * REPLACE (f(a) AS a)")
		}
	case "LAMBDA":
		if m := p.mark(); true {
			p.advance()
			if p.tok.kind == bare && (p.follows(":") || p.follows(",")) {
				p.failAt(at.Offset, "lambdas are not supported", lambdaHint)
			}
			p.reset(m)
		}
	case "NULLS":
		if p.follows("FIRST") || p.follows("LAST") {
			p.unexpected("an expression")
		}
	case "ISNULL":
		if p.follows("(") {
			p.fail("ISNULL() is not supported", "use coalesce(a, b), or a IS NULL for a condition")
		}
	case "SELECT", "WITH":
		p.unexpected("an expression")
	case "DISTINCT":
		p.fail("unexpected DISTINCT; expected an expression", "DISTINCT stands behind SELECT, or inside a call: count(DISTINCT a)")
	case "ANY", "ALL", "SOME":
		p.fail("unexpected "+name+"; expected an expression", "it stands behind a comparison: a = ANY (list)")
	}
	if typeWords[strings.ToLower(name)] {
		if x := p.typed(); x != nil {
			return x
		}
	}
	switch p.tok.kw.class {
	case reserved:
		p.fail("unexpected "+p.tokenName()+"; expected an expression", p.quoteHint())
	case function:
		if !p.follows("(") {
			p.fail("unexpected "+p.tokenName()+"; expected an expression", p.quoteHint())
		}
	case notCall:
		if p.follows("(") {
			p.fail("the type "+name+" cannot be called", "write CAST(x AS "+strings.ToLower(name)+")")
		}
	}
	return p.column()
}

// column reads a name with its dots, or a call.
func (p *parser) column() Expr {
	at := p.here()
	if p.tok.kind == bare && p.follows("(") {
		return p.call(at, p.functionName())
	}
	first := p.takeIdent()
	if p.is("(") && first.Quoted {
		return p.call(at, first.Name)
	}
	c := &Column{Pos: at, Parts: []Ident{first}}
	for p.is(".") {
		p.advance()
		if p.is("*") {
			p.starInside()
		}
		dot := p.label("the name of a column or field")
		if p.is("(") {
			p.failAt(at.Offset, "calls with a dot are not supported", "write "+clip(dot.Name)+"(x)")
		}
		c.Parts = append(c.Parts, dot)
		p.grow(dot.Offset)
	}
	if p.tok.kind == text && len(c.Parts) == 1 && !first.Quoted {
		p.fail("unexpected text "+p.tokenName()+" after "+quote(first.Name), "is an operator or a comma missing before it?")
	}
	return c
}

// functionName takes the current word as the name of a function.
func (p *parser) functionName() string {
	name := strings.ToLower(p.tok.val)
	p.advance()
	return name
}

func (p *parser) caseExpr() Expr {
	c := &Case{Pos: p.here()}
	p.advance()
	if !p.isKw("WHEN") {
		c.Operand = p.expr()
	}
	for p.isKw("WHEN") {
		w := &When{Pos: p.here()}
		p.advance()
		w.Cond = p.expr()
		p.expectKw("THEN")
		w.Then = p.expr()
		c.Whens = append(c.Whens, w)
	}
	if len(c.Whens) == 0 {
		p.unexpected("WHEN")
	}
	if p.acceptKw("ELSE") {
		c.Else = p.expr()
	}
	if !p.acceptKw("END") {
		p.unexpected("WHEN, ELSE or END")
	}
	return c
}

func (p *parser) cast() Expr {
	c := &Cast{Pos: p.here(), Try: p.isKw("TRY_CAST")}
	p.advance()
	p.expect("(")
	c.X = p.expr()
	if p.is(",") {
		p.fail("unexpected comma; expected AS", "write CAST(x AS type)")
	}
	p.expectKw("AS")
	c.Type = p.typeName()
	p.expect(")")
	return c
}

func (p *parser) row() Expr {
	r := &Row{Pos: p.here()}
	p.advance()
	p.advance()
	if !p.is(")") {
		r.Items = list(p, p.expr)
	}
	p.closeList()
	return r
}

// units maps the words behind INTERVAL to their canonical form.
var units = func() map[string]string {
	m := map[string]string{}
	for u := range strings.FieldsSeq("year quarter month week day hour minute second millisecond microsecond") {
		m[strings.ToUpper(u)] = u
		m[strings.ToUpper(u)+"S"] = u
	}
	return m
}()

// interval reads INTERVAL '…' [unit], INTERVAL 3 DAY or INTERVAL (x) DAY. It returns nil when the
// word is the name of a column.
func (p *parser) interval() Expr {
	m := p.mark()
	i := &Interval{Pos: p.here()}
	p.advance()
	at := p.here()
	literal := p.tok.kind == text
	switch {
	case literal:
		i.X = &String{at, p.tok.val}
		p.advance()
	case p.tok.kind == number, p.tok.kind == param, p.is("("), p.is("?"):
		i.X = p.primary()
	case p.is("-") && p.negativeUnit():
		p.fail("unexpected -; expected a text or a number", "write INTERVAL '-3 days' or INTERVAL (-3) DAY")
	default:
		p.reset(m)
		return nil
	}
	if p.tok.kw != nil {
		i.Unit = units[p.tok.kw.name]
	}
	if i.Unit == "" && !literal {
		p.unexpected("a unit such as DAY")
	}
	if i.Unit != "" {
		p.advance()
		if p.isKw("TO") {
			p.fail("unexpected TO", "write the parts in one text: INTERVAL '1 year 2 months'")
		}
	}
	return i
}

// negativeUnit reports whether -3 DAY stands here. Without a unit, interval is a column to subtract
// from.
func (p *parser) negativeUnit() bool {
	m := p.mark()
	p.advance()
	yes := p.tok.kind == number || p.tok.kind == text
	p.advance()
	yes = yes && p.tok.kw != nil && units[p.tok.kw.name] != ""
	p.reset(m)
	return yes
}
