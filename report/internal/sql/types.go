package sql

import (
	"strconv"
	"strings"
)

// typeWords are the types that may stand before a text: DATE '2024-01-31'.
var typeWords = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`date time timestamp timestamptz timetz datetime json uuid blob bytea
		bigint boolean bool decimal dec numeric float float4 float8 double int int2 int4 int8 integer real smallint varchar char
		character text string hugeint tinyint`) {
		m[w] = true
	}
	return m
}()

// typed reads a type and a text, or returns nil and stays where it was.
func (p *parser) typed() Expr {
	m := p.mark()
	at := p.here()
	p.advance()
	ok := p.tok.kind == text || p.isAnyKw("PRECISION", "WITH", "WITHOUT", "VARYING")
	p.reset(m)
	if !ok {
		return nil
	}
	t := p.typeWords()
	if p.tok.kind != text {
		p.reset(m)
		return nil
	}
	if t.Args != nil {
		p.failAt(at.Offset, "a type with parameters cannot stand before a text", "write CAST('…' AS type)")
	}
	v := p.tok.val
	p.advance()
	return &Typed{at, t, v}
}

// typeName reads a type with its parameters and brackets.
func (p *parser) typeName() *Type {
	p.enter()
	if p.tok.kind == text {
		p.fail("unexpected text "+p.tokenName()+"; expected a type", "write the type without quotes")
	}
	if !p.isName() || p.isAnyKw("PRECISION", "BETWEEN", "VALUES", "NONE", "OUT", "INOUT", "SETOF", "EXISTS", "EXTRACT", "POSITION",
		"SUBSTRING", "TRIM", "OVERLAY") {
		p.unexpected("a type such as integer, decimal(12, 2) or timestamp")
	}
	return p.brackets(p.typeWords())
}

// brackets reads the pairs of brackets behind a type, and leaves its level.
func (p *parser) brackets(t *Type) *Type {
	for p.is("[") {
		if t.Dims++; t.Dims > maxDims {
			p.fail("too many brackets: more than 16", "")
		}
		p.advance()
		if p.tok.kind == number && p.tok.num == Integer {
			p.advance() // as in PostgreSQL, the length is not part of the type
		}
		if !p.accept("]") {
			p.unexpected("]")
		}
	}
	if p.isKw("ARRAY") {
		p.fail("unexpected ARRAY", "write the type with brackets: integer[]")
	}
	p.leave()
	return t
}

const maxDims = 16

// typeWords reads the words of a type and its parameters.
func (p *parser) typeWords() *Type {
	t := &Type{Pos: p.here(), Name: p.tok.val}
	if p.tok.kind == bare {
		t.Name = strings.ToLower(t.Name)
	}
	p.advance()
	switch t.Name {
	case "double":
		p.acceptKw("PRECISION")
	case "character", "char":
		if p.acceptKw("VARYING") {
			t.Name = "varchar"
		}
	}
	if p.is("(") {
		p.typeParams(t)
	}
	if t.Name != "time" && t.Name != "timestamp" {
		return t
	}
	if p.isAnyKw("WITH", "WITHOUT") && p.follows("TIME") {
		with := p.isKw("WITH")
		p.advance()
		p.advance()
		p.expectKw("ZONE")
		if with {
			t.Name += "tz"
		}
	}
	return t
}

// typeParams reads (12, 2), or the fields of a struct or map.
func (p *parser) typeParams(t *Type) {
	p.advance()
	switch t.Name {
	case "struct", "row":
		t.Name = "struct"
		t.Fields = list(p, func() *TypeField {
			f := &TypeField{Pos: p.here(), Name: p.label("the name of a field")}
			f.Type = p.typeName()
			return f
		})
	case "map":
		t.Fields = list(p, func() *TypeField {
			return &TypeField{Pos: p.here(), Type: p.typeName()}
		})
		if len(t.Fields) != 2 {
			p.fail("a map needs the types of its keys and of its values", "write map(text, integer)")
		}
	default:
		t.Args = list(p, func() int {
			n, err := strconv.Atoi(p.tok.val)
			if p.tok.kind != number || err != nil || n > 1<<30 {
				p.unexpected("a whole number")
			}
			p.advance()
			return n
		})
	}
	p.closeList()
}
