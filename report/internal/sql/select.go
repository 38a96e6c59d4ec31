package sql

// selectBody reads SELECT …, or FROM … [SELECT …].
func (p *parser) selectBody() *Select {
	s := &Select{Pos: p.here()}
	if p.isKw("FROM") {
		s.From = p.from()
		if p.isKw("SELECT") {
			p.selectList(s)
		} else {
			s.Items = []*Item{{Pos: s.Pos, X: &Star{Pos: s.Pos}}}
		}
	} else {
		p.selectList(s)
		if p.isKw("INTO") {
			p.unexpected("FROM")
		}
		if p.isKw("FROM") {
			s.From = p.from()
		}
	}
	if p.acceptKw("WHERE") {
		s.Where = p.expr()
	}
	if p.isKw("GROUP") {
		s.GroupBy = p.groupBy()
	}
	if p.acceptKw("HAVING") {
		s.Having = p.expr()
	}
	for range 2 {
		if s.Windows == nil && p.acceptKw("WINDOW") {
			s.Windows = list(p, p.windowDef)
		}
		if s.Qualify == nil && p.acceptKw("QUALIFY") {
			s.Qualify = p.expr()
		}
	}
	return s
}

// selectList reads SELECT and its items.
func (p *parser) selectList(s *Select) {
	p.advance()
	switch {
	case p.isKw("DISTINCT"):
		s.Distinct = &Distinct{Pos: p.here()}
		p.advance()
		if p.acceptKw("ON") {
			p.expect("(")
			s.Distinct.On = list(p, p.expr)
			p.closeList()
		}
	case p.isKw("ALL"):
		p.advance()
	case p.isKw("TOP"):
		p.top()
	}
	if p.isKw("FROM") {
		p.fail("unexpected FROM; expected a column or an expression", "write SELECT * FROM … for all columns")
	}
	s.Items = list(p, p.item)
}

// top reports TOP n of other dialects; TOP may be a column.
func (p *parser) top() {
	m := p.mark()
	at := p.tok.off
	p.advance()
	paren := p.accept("(")
	n := p.tok
	if n.kind == number {
		p.advance()
		if paren && p.accept(")") && (p.is("*") || p.isName()) || !paren {
			p.failAt(at, "TOP is not supported", "write LIMIT "+n.val+" at the end of the query")
		}
	}
	p.reset(m)
}

// item reads one item of a SELECT list.
func (p *parser) item() *Item {
	if star := p.star(); star != nil {
		return &Item{Pos: star.Pos, X: star}
	}
	return p.namedExpr()
}

// namedExpr reads an expression with an optional alias.
func (p *parser) namedExpr() *Item {
	it := &Item{Pos: p.here()}
	it.X = p.expr()
	switch {
	case p.acceptKw("AS"):
		id := p.label("a name")
		it.Alias = &id
	case p.isName() && (p.tok.kw == nil || p.tok.kw.class != notAlias && !p.isAnyKw("PRECISION", "CHAR", "CHARACTER", "AT")):
		p.alias = p.tok
		if p.tok.kind == quoted {
			p.alias = token{}
		}
		id := p.takeIdent()
		it.Alias = &id
	case p.isName() && !p.isAnyKw("FILTER", "OVER", "WITHIN", "AT"):
		p.fail("unexpected "+p.tokenName()+"; expected a comma, an operator or a clause", "this alias needs AS: AS "+p.tok.val)
	case p.tok.kind == text:
		p.fail("unexpected text "+p.tokenName(), `an alias needs double quotes: AS "`+clip(p.tok.val)+`"`)
	}
	return it
}

// star reads * or t.* with EXCLUDE and REPLACE, or returns nil.
func (p *parser) star() *Star {
	s := &Star{Pos: p.here()}
	switch {
	case p.is("*"):
		p.advance()
	case p.isName():
		m := p.mark()
		id := p.takeIdent()
		if !p.is(".") || !p.acceptDotStar() {
			p.reset(m)
			return nil
		}
		s.Table = &id
	default:
		return nil
	}
	if p.acceptKw("EXCLUDE") {
		if p.is("(") {
			s.Exclude = p.names("the name of a column")
		} else {
			s.Exclude = []Ident{p.name("the name of a column")}
		}
	}
	if p.acceptKw("REPLACE") {
		p.expect("(")
		s.Replace = list(p, func() *Item {
			it := &Item{Pos: p.here()}
			it.X = p.expr()
			p.expectKw("AS")
			id := p.label("the name of a column")
			it.Alias = &id
			return it
		})
		p.closeList()
	}
	if p.isKw("RENAME") {
		p.fail("RENAME is not supported", "write * EXCLUDE (a), a AS b")
	}
	return s
}

// acceptDotStar takes a dot and a star, or only the dot.
func (p *parser) acceptDotStar() bool {
	p.advance()
	return p.accept("*")
}

func (p *parser) groupBy() *GroupBy {
	g := &GroupBy{Pos: p.here()}
	p.advance()
	p.expectKw("BY")
	if p.acceptKw("ALL") {
		g.All = true
		return g
	}
	g.Items = list(p, p.groupItem)
	if p.isKw("WITH") {
		m := p.mark()
		p.advance()
		if p.isKw("ROLLUP") || p.isKw("CUBE") {
			p.fail("WITH "+p.tok.kw.name+" is not supported", "write GROUP BY "+p.tok.kw.name+" (a, b)")
		}
		p.reset(m)
	}
	return g
}

func (p *parser) groupItem() *GroupItem {
	g := &GroupItem{Pos: p.here()}
	switch {
	case p.isKw("ROLLUP") && p.follows("("):
		g.Kind = GroupRollup
		p.advance()
	case p.isKw("CUBE") && p.follows("("):
		g.Kind = GroupCube
		p.advance()
	case p.isKw("GROUPING") && p.follows("SETS"):
		g.Kind = GroupSets
		p.advance()
		p.advance()
	default:
		return p.groupElement()
	}
	p.enter()
	p.expect("(")
	g.Items = list(p, func() *GroupItem {
		if g.Kind == GroupSets {
			return p.groupItem()
		}
		return p.groupElement()
	})
	p.closeList()
	p.leave()
	return g
}

// groupElement reads an expression, or a list of them in parentheses: (), (a, b).
func (p *parser) groupElement() *GroupItem {
	g := &GroupItem{Pos: p.here()}
	paren := p.is("(")
	if paren {
		m := p.mark()
		p.advance()
		if p.accept(")") {
			g.Kind = GroupList
			return g
		}
		p.reset(m)
	}
	g.X = p.expr()
	if row, ok := g.X.(*Row); ok && paren && len(row.Items) > 1 {
		g.Kind, g.X = GroupList, nil
		for _, x := range row.Items {
			g.Items = append(g.Items, &GroupItem{Pos: Pos{x.At()}, X: x})
		}
	}
	return g
}

func (p *parser) orderBy() []*OrderItem {
	p.advance()
	p.expectKw("BY")
	return list(p, p.orderItem)
}

func (p *parser) orderItem() *OrderItem {
	o := &OrderItem{Pos: p.here()}
	if !p.acceptKw("ALL") {
		o.X = p.expr()
	}
	switch {
	case p.acceptKw("ASC"):
	case p.acceptKw("DESC"):
		o.Desc = true
	case p.isKw("USING"):
		p.fail("ORDER BY … USING is not supported", "use ASC or DESC")
	}
	if p.acceptKw("NULLS") {
		switch {
		case p.acceptKw("FIRST"):
			o.Nulls = NullsFirst
		case p.acceptKw("LAST"):
			o.Nulls = NullsLast
		default:
			p.unexpected("FIRST or LAST")
		}
	}
	return o
}

func (p *parser) windowDef() *WindowDef {
	w := &WindowDef{Pos: p.here(), Name: p.name("the name of a window")}
	p.expectKw("AS")
	w.Window = p.window()
	return w
}

// window reads a definition in parentheses.
func (p *parser) window() *Window {
	w := &Window{Pos: p.here()}
	p.expect("(")
	if p.isName() && !p.isAnyKw("PARTITION", "ROWS", "RANGE", "GROUPS") {
		id := p.takeIdent()
		w.Base = &id
	}
	if p.acceptKw("PARTITION") {
		p.expectKw("BY")
		w.PartitionBy = list(p, p.expr)
	}
	if p.isKw("ORDER") {
		w.OrderBy = p.orderBy()
	}
	if p.isAnyKw("ROWS", "RANGE", "GROUPS") {
		w.Frame = p.frame()
	}
	if !p.accept(")") {
		p.unexpected("PARTITION BY, ORDER BY, ROWS, RANGE, GROUPS or )")
	}
	return w
}

func (p *parser) frame() *Frame {
	f := &Frame{Pos: p.here(), Unit: FrameUnit(p.tok.kw.name)}
	p.advance()
	if p.acceptKw("BETWEEN") {
		f.Start = p.bound()
		p.expectKw("AND")
		f.End = p.bound()
	} else {
		f.Start = p.bound()
		f.End = Bound{f.Start.Pos, CurrentRow, nil}
	}
	if f.Start.Kind > f.End.Kind || f.Start.Kind == UnboundedFollowing || f.End.Kind == UnboundedPreceding {
		p.failAt(f.Start.Offset, "the frame ends before it starts", "write the earlier end first: BETWEEN 2 PRECEDING AND CURRENT ROW")
	}
	if p.acceptKw("EXCLUDE") {
		switch {
		case p.acceptKw("NO"):
			p.expectKw("OTHERS")
		case p.acceptKw("CURRENT"):
			p.expectKw("ROW")
			f.Exclude = ExcludeCurrent
		case p.acceptKw("GROUP"):
			f.Exclude = ExcludeGroup
		case p.acceptKw("TIES"):
			f.Exclude = ExcludeTies
		default:
			p.unexpected("CURRENT ROW, GROUP, TIES or NO OTHERS")
		}
	}
	return f
}

func (p *parser) bound() Bound {
	b := Bound{Pos: p.here()}
	switch {
	case p.isKw("UNBOUNDED") && (p.follows("PRECEDING") || p.follows("FOLLOWING")):
		p.advance()
		b.Kind = UnboundedPreceding
		if p.isKw("FOLLOWING") {
			b.Kind = UnboundedFollowing
		}
		p.advance()
	case p.isKw("CURRENT") && p.follows("ROW"):
		p.advance()
		p.advance()
		b.Kind = CurrentRow
	default:
		b.X = p.expr()
		switch {
		case p.acceptKw("PRECEDING"):
			b.Kind = Preceding
		case p.acceptKw("FOLLOWING"):
			b.Kind = Following
		default:
			p.unexpected("PRECEDING or FOLLOWING")
		}
	}
	return b
}
