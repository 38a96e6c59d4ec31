package sql

// Precedences of operators, as in PostgreSQL.
const (
	precNone = iota
	precOr
	precAnd
	precNot
	precIs
	precCompare
	precIn // IN, LIKE, BETWEEN
	precOp // || -> ~ and so on
	precAdd
	precMul
	precPow
	precAt
	precUnary
	precIndex
	precCast
	precPrimary
)

// expr reads an expression.
func (p *parser) expr() Expr {
	p.enter()
	x := p.infix(precNone)
	p.leave()
	return x
}

// infix reads an expression whose operators all bind tighter than min or as tight.
func (p *parser) infix(min int) Expr {
	saved := p.chain
	p.chain = 0
	left := p.prefix()
	last := precPrimary + 1 // the precedence of the operator before, if it does not chain
	for {
		prec := p.infixPrec()
		if prec == 0 || prec < min {
			break
		}
		if prec == last {
			p.noChain(prec)
		}
		left = p.operate(left, prec)
		last = precPrimary + 1
		if prec == precIs || prec == precCompare || prec == precIn {
			last = prec
		}
	}
	p.chain = max(p.chain, saved)
	return left
}

// noChain reports a second operator of a kind that does not chain: a < b < c.
func (p *parser) noChain(prec int) {
	hint := "use parentheses"
	if prec == precCompare {
		hint = "write a < b AND b < c"
	}
	p.fail("unexpected "+p.tokenName()+": operators of this kind do not chain", hint)
}

// infixPrec returns the precedence of the current token as an infix operator, or 0.
func (p *parser) infixPrec() int {
	switch p.tok.kind {
	case op:
		switch p.tok.val {
		case "=", "<", ">", "<=", ">=", "<>", "!=", "==":
			return precCompare
		case "||", "->", "->>", "~", "~*", "!~", "!~*", "&", "|", "<<", ">>":
			return precOp
		case "+", "-":
			return precAdd
		case "*", "/", "//", "%":
			return precMul
		case "^", "**":
			return precPow
		case "[":
			return precIndex
		case "::":
			return precCast
		case ".":
			return precPrimary
		}
	case bare:
		if p.tok.kw == nil {
			return 0
		}
		switch p.tok.kw.name {
		case "OR":
			return precOr
		case "AND":
			return precAnd
		case "IS", "ISNULL", "NOTNULL":
			return precIs
		case "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN":
			return precIn
		case "NOT":
			if p.follows("NULL") {
				return precIs
			}
			return precIn
		case "AT":
			if p.follows("TIME") {
				return precAt
			}
		case "COLLATE", "OVERLAPS":
			p.unexpected("an operator")
		case "REGEXP", "RLIKE", "GLOB", "DIV", "MOD", "XOR":
			// These words can be aliases. An operand behind them makes them operators.
			if p.operandFollows() {
				p.unexpected("an operator")
			}
		}
	}
	return 0
}

// operandFollows reports whether the token after the current one can only be an operand.
func (p *parser) operandFollows() bool {
	m := p.mark()
	p.advance()
	yes := p.tok.kind == text || p.tok.kind == number || p.tok.kind == quoted || p.tok.kind == bare && p.tok.kw == nil
	p.reset(m)
	return yes
}

// binaryOps maps the spelling of an operator to its canonical form.
var binaryOps = map[string]Op{
	"=": Eq, "==": Eq, "<>": Ne, "!=": Ne, "<": Lt, "<=": Le, ">": Gt, ">=": Ge,
	"||": Concat, "->": Arrow, "->>": ArrowText, "~": Match, "~*": MatchFold, "!~": NotMatch, "!~*": NotMatchFold,
	"&": BitAnd, "|": BitOr, "<<": ShiftLeft, ">>": ShiftRight,
	"+": Add, "-": Sub, "*": Mul, "/": Div, "//": IntDiv, "%": Mod, "^": Pow, "**": Pow,
}

// operate reads the operator at the current token and its right side.
func (p *parser) operate(left Expr, prec int) Expr {
	at := p.here()
	if prec == precIndex || prec == precPrimary {
		p.checkBase(left, prec)
	}
	switch prec {
	case precOr, precAnd:
		return p.logical(left, prec)
	case precIs:
		p.grow(at.Offset)
		return p.isExpr(left)
	case precIn:
		p.grow(at.Offset)
		return p.inExpr(left)
	case precAt:
		p.advance()
		p.advance()
		p.expectKw("ZONE")
		zone := p.infix(precAt + 1)
		p.grow(at.Offset)
		return &Call{Pos: at, Name: "timezone", Args: []*Arg{{Pos: Pos{zone.At()}, X: zone}, {Pos: Pos{left.At()}, X: left}}}
	case precIndex:
		p.grow(at.Offset)
		return p.index(left)
	case precCast:
		p.grow(at.Offset)
		p.advance()
		return &Cast{Pos: at, X: left, Type: p.typeName()}
	case precPrimary:
		p.grow(at.Offset)
		p.advance()
		if p.is("*") {
			p.starInside()
		}
		name := p.label("the name of a field")
		if p.is("(") {
			p.failAt(at.Offset, "calls with a dot are not supported", "write "+clip(name.Name)+"(x)")
		}
		return &Field{Pos: at, X: left, Name: name}
	}
	o := binaryOps[p.tok.val]
	p.advance()
	if prec == precCompare && p.isAnyKw("ANY", "SOME", "ALL") {
		p.grow(at.Offset)
		return p.quantified(at, left, o)
	}
	right := p.infix(prec + 1)
	p.grow(at.Offset)
	return &Binary{at, o, left, right}
}

// checkBase reports a literal that has neither elements nor fields.
func (p *parser) checkBase(x Expr, prec int) {
	switch x.(type) {
	case *String:
		if prec == precIndex {
			return
		}
	case *Number, *Bool, *Null, *Typed, *Interval:
	default:
		return
	}
	p.fail("unexpected "+p.tokenName()+" after a literal", "")
}

// logical reads a chain of AND or of OR as one node.
func (p *parser) logical(left Expr, prec int) Expr {
	o, name := Or, "OR"
	if prec == precAnd {
		o, name = And, "AND"
	}
	l := &Logical{Pos: p.here(), Op: o, Args: []Expr{left}}
	add := func(x Expr) {
		if in, ok := x.(*Logical); ok && in.Op == o {
			l.Args = append(l.Args, in.Args...)
			return
		}
		l.Args = append(l.Args, x)
	}
	if in, ok := left.(*Logical); ok && in.Op == o {
		l.Args = in.Args // parentheses on the left: (a AND b) AND c
	}
	p.grow(l.Offset)
	for p.acceptKw(name) {
		add(p.infix(prec + 1))
	}
	return l
}

func (p *parser) isExpr(left Expr) Expr {
	at := p.here()
	switch {
	case p.acceptKw("ISNULL"):
		return &Is{Pos: at, X: left, Kind: IsNull}
	case p.acceptKw("NOTNULL"), p.acceptKw("NOT") && p.acceptKw("NULL"):
		return &Is{Pos: at, Not: true, X: left, Kind: IsNull}
	}
	p.advance()
	not := p.acceptKw("NOT")
	switch {
	case p.isAnyKw("NULL", "TRUE", "FALSE", "UNKNOWN"):
		kind := IsKind(p.tok.kw.name)
		p.advance()
		return &Is{at, not, left, kind}
	case p.acceptKw("DISTINCT"):
		p.expectKw("FROM")
		o := DistinctFrom
		if not {
			o = NotDistinctFrom
		}
		return &Binary{at, o, left, p.infix(precIs + 1)}
	}
	hint := "use IS NOT DISTINCT FROM to compare values and NULL"
	if not {
		hint = "use IS DISTINCT FROM to compare values and NULL"
	}
	p.misspelt("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")
	p.fail("unexpected "+p.tokenName()+"; expected NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM", hint)
	return nil
}

// inExpr reads [NOT] IN, LIKE, ILIKE, SIMILAR TO or BETWEEN.
func (p *parser) inExpr(left Expr) Expr {
	at := p.here()
	not := p.acceptKw("NOT")
	switch {
	case p.acceptKw("IN"):
		return p.in(at, left, not)
	case p.isAnyKw("LIKE", "ILIKE", "SIMILAR"):
		l := &Like{Pos: at, Not: not, X: left, Kind: LikeKind(p.tok.kw.name)}
		similar := p.isKw("SIMILAR")
		p.advance()
		if similar {
			p.expectKw("TO")
			l.Kind = SimilarTo
		}
		if p.isAnyKw("ANY", "SOME", "ALL") {
			p.fail(string(l.Kind)+" "+p.tok.kw.name+" is not supported", "write one LIKE for each pattern with OR, or x ~ 'a|b'")
		}
		l.Pattern = p.infix(precIn + 1)
		if p.acceptKw("ESCAPE") {
			l.Escape = p.infix(precIn + 1)
		}
		return l
	case p.acceptKw("BETWEEN"):
		b := &Between{Pos: at, Not: not, X: left}
		if p.acceptKw("SYMMETRIC") {
			b.Symmetric = true
		} else {
			p.acceptKw("ASYMMETRIC")
		}
		b.Low = p.operand()
		p.expectKw("AND")
		b.High = p.infix(precIn + 1)
		return b
	}
	if p.isAnyKw("REGEXP", "RLIKE", "GLOB") {
		p.fail("NOT "+p.tok.kw.name+" is not supported", "use x !~ 'pattern', or x NOT LIKE 'pattern'")
	}
	p.unexpected("IN, LIKE, ILIKE, SIMILAR TO or BETWEEN")
	return nil
}

// operand reads an expression without conditions, where PostgreSQL allows nothing else.
func (p *parser) operand() Expr {
	if p.isKw("NOT") {
		p.fail("unexpected NOT; expected a value", "use parentheses around a condition")
	}
	return p.infix(precIn + 1)
}

// in reads what follows IN.
func (p *parser) in(at Pos, left Expr, not bool) Expr {
	if !p.is("(") {
		p.fail("unexpected "+p.tokenName()+"; expected (", "write IN (a, b), IN (SELECT …), or = ANY (list) for a list in a column")
	}
	in := &In{Pos: at, Not: not, X: left}
	p.advance()
	switch {
	case p.is(")"):
		p.advance()
		return &Bool{at, not} // whatever the left side is, NULL too
	case p.isAnyKw("SELECT", "WITH", "VALUES", "FROM"):
		in.Query = p.query()
	default:
		first, q := p.exprOrQuery()
		if q != nil && !p.is(",") {
			in.Query = q
			break
		}
		in.List = []Expr{first}
		for p.accept(",") {
			in.List = append(in.List, p.expr())
		}
	}
	p.closeList()
	return in
}

// quantified reads ANY (…) or ALL (…) behind a comparison.
func (p *parser) quantified(at Pos, left Expr, o Op) Expr {
	q := &Quantified{Pos: at, Op: o, All: p.isKw("ALL"), X: left}
	p.advance()
	p.expect("(")
	if p.isAnyKw("SELECT", "WITH", "VALUES", "FROM") {
		q.Query = p.query()
	} else {
		q.Array, q.Query = p.exprOrQuery()
		if q.Query != nil {
			q.Array = nil
		}
	}
	p.expect(")")
	return q
}

// index reads [i] or [from:to].
func (p *parser) index(left Expr) Expr {
	at := p.here()
	p.advance()
	var from, to Expr
	if !p.is(":") {
		from = p.expr()
		if p.accept("]") {
			return &Index{at, left, from}
		}
	}
	if !p.is(":") {
		p.unexpected("] or :")
	}
	p.advance()
	if !p.is("]") {
		to = p.expr()
	}
	if p.is(":") {
		p.fail("slices with a step are not supported", "")
	}
	if !p.accept("]") {
		p.unexpected("]")
	}
	return &Slice{at, left, from, to}
}

// prefix reads NOT, a sign, or a primary expression.
func (p *parser) prefix() Expr {
	at := p.here()
	switch {
	case p.isKw("NOT"):
		return p.unary(at, Not, precNot)
	case p.is("-"):
		return p.unary(at, Sub, precUnary)
	case p.is("+"):
		return p.unary(at, Add, precUnary)
	case p.is("~"):
		return p.unary(at, Match, precOp+1)
	}
	return p.primary()
}

func (p *parser) unary(at Pos, o Op, prec int) Expr {
	p.enter()
	p.advance()
	x := p.infix(prec)
	p.leave()
	return &Unary{at, o, x}
}

// exprOrQuery reads an expression inside parentheses. When it is a query in parentheses of its own,
// it reads what may follow a query and returns the query too: ((SELECT 1) UNION SELECT 2).
func (p *parser) exprOrQuery() (Expr, *Query) {
	paren := p.is("(")
	x := p.expr()
	s, ok := x.(*Scalar)
	if !ok || !paren {
		return x, nil
	}
	if q := p.restOfQuery(s.Query); q != s.Query {
		if !p.is(")") {
			p.unexpected(")")
		}
		return &Scalar{s.Pos, q}, q
	}
	return x, s.Query
}
