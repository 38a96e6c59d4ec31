package sql

import (
	"strings"
	"unicode/utf8"
)

// Limits of a statement. Deeper ones are refused, so that neither the parser nor a function that
// walks a tree by recursion can exhaust the stack.
const (
	maxNesting = 500    // parentheses, subqueries, CASE and so on inside one another
	maxChain   = 10_000 // operators in a row: a + b + c has two. AND and OR do not count
	maxParams  = 99_999
)

// Parse reads one statement, with an optional semicolon at its end. Its errors are *Error.
func Parse(text string) (Statement, error) {
	return parse(text, (*parser).statement)
}

// ParseExpr reads one expression.
func ParseExpr(text string) (Expr, error) {
	return parse(text, func(p *parser) Expr {
		p.part = true
		if p.isKw("WHERE") {
			p.fail("unexpected WHERE; expected an expression", "write the condition without WHERE")
		}
		return p.expr()
	})
}

// ParseExprList reads expressions with optional aliases, separated by commas.
func ParseExprList(text string) ([]*Item, error) {
	return parse(text, func(p *parser) []*Item {
		p.part = true
		return list(p, p.namedExpr)
	})
}

// parser holds the current token of a statement. Its methods read a part of the grammar each, and
// start at the current token. An error leaves them as a panic with a failure, which parse catches.
type parser struct {
	lexer
	tok     token
	prevEnd int  // end of the token before tok
	part    bool // the text is a part of a statement, without clauses

	nesting int
	chain   int // most operators in a row below the expression that is being read
	params  int // the question marks so far

	alias token // the last bare alias without AS: it may be a misspelt keyword
}

type failure struct{ err *Error }

// byteOrderMark stands at the start of files from some editors.
const byteOrderMark = "\ufeff"

func parse[T any](text string, read func(*parser) T) (t T, err error) {
	p := &parser{lexer: lexer{src: text}}
	defer func() {
		switch x := recover().(type) {
		case nil:
		case failure:
			var none T
			t, err = none, x.err
		default:
			panic(x)
		}
	}()
	if i := strings.IndexByte(text, 0); i >= 0 {
		p.failAt(i, "the statement holds a zero byte", "")
	}
	if !utf8.ValidString(text) {
		p.failAt(invalidByte(text), "the statement is not valid UTF-8", "convert it, such as with iconv -f latin1 -t UTF-8")
	}
	if strings.HasPrefix(text, byteOrderMark) {
		p.pos = len(byteOrderMark)
	}
	p.advance()
	t = read(p)
	ended := p.is(";")
	for p.accept(";") {
	}
	if ended && p.tok.kind != end {
		p.fail("unexpected "+p.tokenName()+" after the semicolon", "run one statement at a time")
	}
	if p.tok.kind != end {
		p.trailing()
	}
	return t, nil
}

// invalidByte returns the offset of the first byte that is not UTF-8.
func invalidByte(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return i
		}
	}
	return len(s)
}

func (p *parser) failAt(off int, message, hint string) {
	panic(failure{NewError(p.src, off, message, hint)})
}

// failLexing reports that the current token is none.
func (p *parser) failLexing() { p.failAt(p.why.Offset, p.why.Message, p.why.Hint) }

// fail reports an error at the current token.
func (p *parser) fail(message, hint string) {
	if p.tok.kind == bad {
		p.failLexing()
	}
	p.failAt(p.tok.off, message, hint)
}

func (p *parser) advance() {
	p.prevEnd = p.tok.end
	p.tok = p.next()
}

// mark is a place to return to.
type mark struct {
	pos     int
	tok     token
	prevEnd int
	alias   token
}

func (p *parser) mark() mark { return mark{p.pos, p.tok, p.prevEnd, p.alias} }

func (p *parser) reset(m mark) {
	p.pos, p.tok, p.prevEnd, p.alias = m.pos, m.tok, m.prevEnd, m.alias
}

// follows reports whether the token after the current one is an operator or a keyword.
func (p *parser) follows(s string) bool {
	i := p.pos
	for i < len(p.src) && p.src[i] == ' ' {
		i++
	}
	if i == len(p.src) || p.src[i] > ' ' && p.src[i]|0x20 != s[0]|0x20 && p.src[i] != '-' && p.src[i] != '/' {
		return false // the common case, without cutting a token
	}
	m := p.mark()
	p.advance()
	yes := p.is(s) || p.isKw(s)
	p.reset(m)
	return yes
}

// is reports whether the current token is an operator or punctuation mark.
func (p *parser) is(s string) bool { return p.tok.kind == op && p.tok.val == s }

// isKw reports whether the current token is a keyword.
func (p *parser) isKw(name string) bool { return p.tok.kw != nil && p.tok.kw.name == name }

// isAnyKw reports whether the current token is one of the keywords.
func (p *parser) isAnyKw(names ...string) bool {
	if p.tok.kw == nil {
		return false
	}
	for _, name := range names {
		if p.tok.kw.name == name {
			return true
		}
	}
	return false
}

func (p *parser) accept(s string) bool {
	if p.is(s) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) acceptKw(name string) bool {
	if p.isKw(name) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.unexpected(s)
	}
}

func (p *parser) expectKw(name string) {
	if !p.acceptKw(name) {
		p.unexpected(name)
	}
}

// pos returns the place of the current token.
func (p *parser) here() Pos { return Pos{p.tok.off} }

// enter goes one level down; leave goes back.
func (p *parser) enter() {
	if p.nesting++; p.nesting > maxNesting {
		p.fail("the statement is nested too deep: more than 500 levels", "move inner parts into a WITH list")
	}
}

func (p *parser) leave() { p.nesting-- }

// grow counts one more operator on top of a chain, and fails when the chain is too long.
func (p *parser) grow(off int) {
	if p.chain++; p.chain > maxChain {
		p.failAt(off, "too many operators in a row: more than 10,000", "use IN for alternatives, and sum() or string_agg() over rows")
	}
}

// list reads one or more elements separated by commas.
func list[T any](p *parser, element func() T) []T {
	var out []T
	for {
		out = append(out, element())
		if !p.is(",") {
			return out
		}
		comma := p.tok.off
		p.advance()
		if p.atClause() || p.is(")") || p.is("]") || p.tok.kind == end {
			p.failAt(comma, "unexpected comma before "+p.tokenName(), "remove the comma")
		}
	}
}

// isName reports whether the current token can be the name of a column or table.
func (p *parser) isName() bool {
	switch p.tok.kind {
	case quoted:
		return true
	case bare:
		k := p.tok.kw
		return k == nil || k.class != reserved && k.class != function && (k.name != "NULLS" || !p.follows("FIRST") && !p.follows("LAST"))
	}
	return false
}

// takeIdent takes the current token as a name.
func (p *parser) takeIdent() Ident {
	id := Ident{Pos: p.here(), Name: p.tok.val, Quoted: p.tok.kind == quoted}
	p.advance()
	return id
}

// name reads the name of a column or table.
func (p *parser) name(what string) Ident {
	if !p.isName() {
		if hint := p.quoteHint(); hint != "" {
			p.fail("unexpected "+p.tokenName()+"; expected "+what, hint)
		}
		p.unexpected(what)
	}
	return p.takeIdent()
}

// label reads a name behind AS or a dot, where keywords are names.
func (p *parser) label(what string) Ident {
	if p.tok.kind != bare && p.tok.kind != quoted {
		if p.tok.kind == text {
			p.fail("unexpected text "+p.tokenName()+"; expected "+what, `put a name in double quotes: "`+clip(p.tok.val)+`"`)
		}
		p.unexpected(what)
	}
	return p.takeIdent()
}

// names reads a list of names in parentheses.
func (p *parser) names(what string) []Ident {
	p.expect("(")
	out := list(p, func() Ident { return p.name(what) })
	p.closeList()
	return out
}

// closeList reads the parenthesis at the end of a list.
func (p *parser) closeList() {
	if !p.accept(")") {
		p.unexpected("a comma or )")
	}
}
