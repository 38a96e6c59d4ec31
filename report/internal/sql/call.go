package sql

import (
	"strconv"
	"strings"
)

const lambdaHint = "use unnest(list) in FROM, then filter and aggregate its rows"

// call reads the arguments of a function and what follows them. The current token is the
// parenthesis; the name stands at a place before it.
func (p *parser) call(at Pos, name string) Expr {
	c := &Call{Pos: at, Name: name}
	p.expect("(")
	switch {
	case p.isKw("DISTINCT"):
		c.Distinct = true
		p.advance()
	case p.isKw("ALL"):
		p.advance()
		if p.is(")") {
			p.unexpected("an argument")
		}
	case p.isKw("VARIADIC"):
		p.fail("VARIADIC is not supported", "write the arguments one by one")
	}
	switch {
	case p.is("*") && !c.Distinct:
		c.Star = true
		p.advance()
		if !p.is(")") {
			p.unexpected(")")
		}
	case p.isKw("SELECT"):
		p.unexpected("an argument")
	case !p.is(")"):
		c.Args = list(p, func() *Arg { return p.arg(false) })
	case c.Distinct, name == "grouping", name == "coalesce", name == "greatest", name == "least", name == "nullif":
		p.unexpected("an argument")
	}
	if p.isKw("ORDER") && !c.Star {
		c.OrderBy = p.orderBy()
	}
	c.IgnoreNulls = p.nullsClause()
	if !p.is(")") {
		p.badArgument()
	}
	p.advance()
	if name == "nullif" && len(c.Args) != 2 {
		p.failAt(at.Offset, "nullif takes two arguments, not "+strconv.Itoa(len(c.Args)), "write nullif(a, b)")
	}
	p.callTail(c)
	return c
}

// badArgument reports what stands behind an argument.
func (p *parser) badArgument() {
	const message = "; expected a comma or )"
	switch {
	case p.isKw("AS"):
		p.fail("unexpected AS"+message, "only CAST(x AS type) and TRY_CAST(x AS type) take AS")
	case p.tok.kind == bare && strings.EqualFold(p.tok.val, "separator"):
		p.fail("unexpected "+p.tokenName()+message, "write string_agg(x, ',' ORDER BY y)")
	}
	p.unexpected("a comma or )")
}

// nullsClause reads IGNORE NULLS or RESPECT NULLS.
func (p *parser) nullsClause() bool {
	if !p.isAnyKw("IGNORE", "RESPECT") || !p.follows("NULLS") {
		return false
	}
	ignore := p.isKw("IGNORE")
	p.advance()
	p.advance()
	return ignore
}

// callTail reads WITHIN GROUP, FILTER, IGNORE NULLS and OVER.
func (p *parser) callTail(c *Call) {
	if p.isKw("WITHIN") && p.follows("GROUP") {
		if c.Distinct || c.OrderBy != nil {
			p.fail("unexpected WITHIN GROUP after DISTINCT or ORDER BY", "write the order once: f(x) WITHIN GROUP (ORDER BY y)")
		}
		p.advance()
		p.advance()
		p.expect("(")
		if !p.isKw("ORDER") {
			p.unexpected("ORDER BY")
		}
		c.WithinGroup = p.orderBy()
		p.closeList()
	}
	if p.isKw("FILTER") && p.follows("(") {
		p.advance()
		p.advance()
		if !p.acceptKw("WHERE") {
			p.fail("unexpected "+p.tokenName()+"; expected WHERE", "write FILTER (WHERE condition)")
		}
		c.Filter = p.expr()
		p.expect(")")
	}
	if m := p.mark(); p.isAnyKw("IGNORE", "RESPECT") && p.follows("NULLS") {
		ignore := p.nullsClause()
		if p.isKw("OVER") {
			c.IgnoreNulls = ignore
		} else {
			p.reset(m) // it belongs to the call around this one: lag(abs(x) IGNORE NULLS)
		}
	}
	if p.isKw("OVER") {
		at := p.here()
		m := p.mark()
		p.advance()
		switch {
		case p.is("("):
			c.Over = p.window()
		case p.isName():
			id := p.takeIdent()
			c.Over = &Window{Pos: at, Ref: &id}
		default:
			if m.tok.kw != nil {
				p.unexpected("( or the name of a window")
			}
		}
	}
}

// arg reads one argument. In a function of FROM, name = value names an option.
func (p *parser) arg(table bool) *Arg {
	a := &Arg{Pos: p.here()}
	if k := p.tok.kw; p.tok.kind == bare && (k == nil || k.class != reserved && k.class != notCall) || p.tok.kind == quoted {
		m := p.mark()
		name := p.tok.val
		p.advance()
		if p.is("=>") || p.is(":=") || table && (p.is("=") || p.is("==")) {
			a.Name = strings.ToLower(name)
			p.advance()
		} else {
			p.reset(m)
		}
	}
	if p.isKw("VARIADIC") {
		p.fail("VARIADIC is not supported", "write the arguments one by one")
	}
	a.X = p.expr()
	p.refuseLambda(a.X)
	return a
}

// refuseLambda reports x -> f(x) and (x, y) -> f(x, y) as an argument: they look like the operator
// of JSON, but use their left side as a column on the right.
func (p *parser) refuseLambda(x Expr) {
	b, ok := x.(*Binary)
	if !ok || b.Op != Arrow {
		return
	}
	bad := false
	switch l := b.L.(type) {
	case *Row:
		bad = true
	case *Column:
		Walk(b.R, func(n Node) bool {
			if c, ok := n.(*Column); ok && len(l.Parts) == 1 && strings.EqualFold(c.Parts[0].Name, l.Parts[0].Name) {
				bad = true
			}
			return !bad
		})
	}
	if bad {
		p.failAt(b.Offset, "lambdas are not supported", lambdaHint)
	}
}

// isPart reports whether the current token can be the field of extract().
func (p *parser) isPart() bool {
	return p.tok.kind == bare && (p.tok.kw == nil || p.tok.kw.class == word || p.tok.kw.class == notAlias)
}

// standardCall reads the forms of the SQL standard with words between the arguments.
func (p *parser) standardCall(name string) Expr {
	c := &Call{Pos: p.here(), Name: strings.ToLower(name)}
	add := func(xs ...Expr) {
		for _, x := range xs {
			c.Args = append(c.Args, &Arg{Pos: Pos{x.At()}, X: x})
		}
	}
	p.advance()
	p.advance()
	switch name {
	case "EXTRACT":
		field := &String{p.here(), strings.ToLower(p.tok.val)}
		if p.tok.kind != text && p.tok.kind != quoted && !p.isPart() {
			p.unexpected("a field such as year")
		}
		p.advance()
		if !p.acceptKw("FROM") {
			p.fail("unexpected "+p.tokenName()+"; expected FROM", "write extract(year FROM x), or date_part('year', x)")
		}
		add(field, p.expr())
	case "POSITION":
		p.enter()
		defer p.leave()
		a := p.operand()
		if !p.acceptKw("IN") {
			p.fail("unexpected "+p.tokenName()+"; expected IN", "write position(a IN b), or strpos(b, a)")
		}
		b := p.operand()
		c.Name = "strpos"
		add(b, a)
	case "SUBSTRING":
		x := p.expr()
		if !p.isAnyKw("FROM", "FOR") {
			return p.plainCall(c, name, x)
		}
		var from Expr = &Number{p.here(), Integer, "1"}
		if p.acceptKw("FROM") {
			from = p.expr()
		}
		add(x, from)
		if p.acceptKw("FOR") {
			add(p.expr())
		}
	case "OVERLAY":
		x := p.expr()
		if !p.acceptKw("PLACING") {
			return p.plainCall(c, name, x)
		}
		y := p.expr()
		p.expectKw("FROM")
		add(x, y, p.expr())
		if p.acceptKw("FOR") {
			add(p.expr())
		}
	case "TRIM":
		c.Name = "btrim"
		sides := p.isAnyKw("BOTH", "LEADING", "TRAILING")
		if sides {
			c.Name = map[string]string{"BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}[p.tok.kw.name]
			p.advance()
		}
		if p.acceptKw("FROM") {
			add(p.expr())
			break
		}
		if !sides && p.is(")") {
			p.unexpected("an argument")
		}
		x := p.expr()
		switch {
		case p.acceptKw("FROM"):
			add(p.expr(), x)
		case sides:
			add(x)
		default:
			return p.plainCall(c, name, x)
		}
	}
	p.closeList()
	p.callTail(c)
	return c
}

// plainCall reads the rest of a call without words between its arguments, behind the first one.
func (p *parser) plainCall(c *Call, name string, first Expr) Expr {
	c.Name = strings.ToLower(name)
	c.Args = []*Arg{{Pos: Pos{first.At()}, X: first}}
	for p.accept(",") {
		c.Args = append(c.Args, p.arg(false))
	}
	p.closeList()
	p.callTail(c)
	return c
}
