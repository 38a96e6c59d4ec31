package sql

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is the kind of a token.
type kind uint8

const (
	end    kind = iota
	bare        // a name or keyword
	quoted      // a name in double quotes
	number
	text  // a text in single quotes or dollars
	param // $1 or $name; ? is an op
	op    // an operator or a punctuation mark
	bad   // no token; lexer.why holds the reason
)

// token is one token. For bare and op, val is the source; else it is the value without quotes.
type token struct {
	kind     kind
	num      NumberKind // of number
	off, end int
	val      string
	kw       *keyword // of bare; nil for no keyword
}

// lexer cuts a statement into tokens, one at a time. A wrong token becomes an error only when the
// parser looks at it: before that, a path in FROM may take its place.
type lexer struct {
	src string
	pos int

	why Error // of the last bad token, without a line and a column
}

// fails returns a bad token.
func (l *lexer) fails(off int, message, hint string) token {
	l.why = Error{Offset: off, Message: message, Hint: hint}
	return token{kind: bad, off: off, end: max(l.pos, off)}
}

// next returns the token after pos, and moves pos behind it.
func (l *lexer) next() token {
	if at, ok := l.space(); !ok {
		l.pos = len(l.src)
		return l.fails(at, "this comment has no end", "close it with */, or put a path with /* in quotes")
	}
	off := l.pos
	if off == len(l.src) {
		return token{kind: end, off: off, end: off}
	}
	c := l.src[off]
	switch {
	case isLetter(c):
		return l.word()
	case isDigit(c), c == '.' && off+1 < len(l.src) && isDigit(l.src[off+1]):
		return l.number()
	case c == '\'':
		return l.text(off, off+1, false)
	case c == '"':
		return l.quotedName()
	case c == '$':
		return l.dollar()
	}
	return l.operator()
}

// space skips white space and comments. It fails with the offset of a comment without an end.
func (l *lexer) space() (at int, ok bool) {
	s := l.src
	for l.pos < len(s) {
		switch c := s[l.pos]; {
		case c == ' ', '\t' <= c && c <= '\r':
			l.pos++
		case c == '-' && strings.HasPrefix(s[l.pos:], "--"):
			i := strings.IndexByte(s[l.pos:], '\n')
			if i < 0 {
				l.pos = len(s)
				return 0, true
			}
			l.pos += i + 1
		case c == '/' && strings.HasPrefix(s[l.pos:], "/*"):
			n := commentEnd(s[l.pos:])
			if n < 0 {
				return l.pos, false
			}
			l.pos += n
		default:
			return 0, true
		}
	}
	return 0, true
}

// commentEnd returns the length of the comment that s starts with, or -1. Comments nest.
func commentEnd(s string) int {
	depth := 1
	for i := 2; i+1 < len(s); i++ {
		switch {
		case s[i] == '/' && s[i+1] == '*':
			depth++
			i++
		case s[i] == '*' && s[i+1] == '/':
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) || c == '$' }

// wordEnd returns the end of the name that starts at i.
func wordEnd(s string, i int) int {
	for i < len(s) && isWordByte(s[i]) {
		i++
	}
	return i
}

// word reads a bare name, or a text with a letter before its quote.
func (l *lexer) word() token {
	off := l.pos
	l.pos = wordEnd(l.src, off)
	val := l.src[off:l.pos]
	for i, r := range val {
		if r < utf8.RuneSelf || unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.So, unicode.Sk, unicode.Co) {
			continue
		}
		if i > 0 {
			l.pos = off + i
			val = val[:i]
			break
		}
		l.pos = off + utf8.RuneLen(r)
		switch {
		case unicode.In(r, unicode.Pi, unicode.Pf) || r == '„' || r == '‚':
			return l.fails(off, "unexpected typographic quote "+string(r), `use ' around texts and " around names`)
		case unicode.IsSpace(r):
			return l.fails(off, "unexpected space character U+"+hex(r), "replace it by a plain space")
		}
		return l.fails(off, "unexpected character U+"+hex(r), "put a name with this character in double quotes")
	}
	if l.pos < len(l.src) && l.src[l.pos] == '\'' && len(val) == 1 {
		switch val {
		case "e", "E":
			return l.text(off, l.pos+1, true)
		case "b", "B", "x", "X", "n", "N":
			return l.fails(off, val+"'…' is not supported", "write a plain text '…', or a number such as 0x1F")
		}
	}
	return token{kind: bare, off: off, end: l.pos, val: val, kw: lookup(val)}
}

func hex(r rune) string {
	s := strings.ToUpper(big.NewInt(int64(r)).Text(16))
	return strings.Repeat("0", max(0, 4-len(s))) + s
}

// quotedName reads a name in double quotes.
func (l *lexer) quotedName() token {
	off := l.pos
	i := off + 1
	doubled := false
	for {
		j := strings.IndexByte(l.src[i:], '"')
		if j < 0 {
			l.pos = len(l.src)
			return l.fails(off, "this name has no closing double quote", "")
		}
		i += j + 1
		if i == len(l.src) || l.src[i] != '"' {
			break
		}
		doubled = true
		i++
	}
	l.pos = i
	val := l.src[off+1 : i-1]
	if doubled {
		val = strings.ReplaceAll(val, `""`, `"`)
	}
	if val == "" {
		return l.fails(off, "a name in double quotes is empty", "an empty text is ''")
	}
	return token{kind: quoted, off: off, end: i, val: val}
}

// dollar reads $1, $name, $$text$$ or $tag$text$tag$.
func (l *lexer) dollar() token {
	off := l.pos
	i := off + 1
	for i < len(l.src) && (isLetter(l.src[i]) || isDigit(l.src[i])) {
		i++
	}
	l.pos = i
	name := l.src[off+1 : i]
	switch {
	case name != "" && isDigit(name[0]):
		if strings.Trim(name, "0123456789") != "" || name[0] == '0' || len(name) > 5 {
			return l.fails(off, "no parameter is called $"+clip(name), "parameters are $1 to $99999, or $name")
		}
	case i < len(l.src) && l.src[i] == '$':
		tag := l.src[off : i+1]
		n := strings.Index(l.src[i+1:], tag)
		if n < 0 {
			l.pos = len(l.src)
			return l.fails(off, "this text has no closing "+clip(tag), "")
		}
		l.pos = i + 1 + n + len(tag)
		return token{kind: text, off: off, end: l.pos, val: l.src[i+1 : i+1+n]}
	case name == "":
		return l.fails(off, "unexpected $", "parameters are $1 or $name")
	}
	return token{kind: param, off: off, end: i, val: name}
}

// operators are tried longest first. The last ones are of other dialects and refused.
var operators = []string{
	"!~*", "->>", "#>>", "<=>", "::", "||", "->", "<=", ">=", "<>", "!=", "!~", "~*", "=>", ":=", "==", "**", "//", "<<", ">>",
	"&&", "@>", "<@", "#>", "=~", "^=",
}

// operator reads an operator or a punctuation mark.
func (l *lexer) operator() token {
	off := l.pos
	rest := l.src[off:]
	n := 1
	if len(rest) > 1 && strings.IndexByte("!->#<:|=~*/&@^", rest[0]) >= 0 && strings.IndexByte("~>=:|*/<&@", rest[1]) >= 0 {
		for _, o := range operators {
			if strings.HasPrefix(rest, o) {
				n = len(o)
				break
			}
		}
	}
	l.pos += n
	val := rest[:n]
	if n == 1 {
		switch val[0] {
		case '`':
			return l.fails(off, "unexpected backtick", `put a name in double quotes: "name"`)
		case '@':
			return l.fails(off, "unexpected character @", "parameters are $1, $name or ?")
		case '#':
			return l.fails(off, "unexpected character #", "a comment starts with --")
		case '\\':
			return l.fails(off, "unexpected character "+val, "put a path or a name with it in quotes")
		}
		if val[0] < ' ' || val[0] == 0x7f {
			return l.fails(off, "unexpected control character", "")
		}
	}
	return token{kind: op, off: off, end: l.pos, val: val}
}
