package sql

import (
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxBased is how many digits a number in base 16, 8 or 2 may have.
const maxBased = 1000

// number reads a number and turns it into its canonical text.
func (l *lexer) number() token {
	off := l.pos
	s := l.src
	if s[off] == '0' && off+1 < len(s) {
		if base := strings.IndexByte("xXoObB", s[off+1]); base >= 0 {
			return l.based([]int{16, 8, 2}[base/2])
		}
	}
	whole := l.digits()
	kind, text := Integer, strings.TrimLeft(whole, "0")
	if text == "" {
		text = "0"
	}
	if l.pos < len(s) && s[l.pos] == '.' {
		l.pos++
		part := l.digits()
		if part == "" {
			part = "0"
		}
		kind, text = Decimal, text+"."+part
	}
	if i := l.pos; i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		sign := ""
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			if s[i] == '-' {
				sign = "-"
			}
			i++
		}
		if i < len(s) && isDigit(s[i]) {
			l.pos = i
			exp := strings.TrimLeft(l.digits(), "0")
			if exp == "" {
				exp, sign = "0", ""
			}
			kind, text = Float, text+"e"+sign+exp
		}
	}
	if l.pos < len(s) && isWordByte(s[l.pos]) {
		l.pos = wordEnd(s, l.pos)
		return l.fails(off, "unexpected letters in the number "+quote(s[off:l.pos]), "a name that starts with a digit needs double quotes")
	}
	return token{kind: number, num: kind, off: off, end: l.pos, val: text}
}

// digits reads decimal digits, and underscores between them.
func (l *lexer) digits() string {
	start, underscores := l.pos, false
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		if c == '_' && l.pos > start && l.pos+1 < len(l.src) && isDigit(l.src[l.pos+1]) {
			underscores = true
		} else if !isDigit(c) {
			break
		}
		l.pos++
	}
	s := l.src[start:l.pos]
	if underscores {
		s = strings.ReplaceAll(s, "_", "")
	}
	return s
}

// based reads 0x1F, 0o17 or 0b11.
func (l *lexer) based(base int) token {
	off := l.pos
	l.pos = wordEnd(l.src, off+2)
	s := l.src[off+2 : l.pos]
	n, ok := new(big.Int), len(s) <= maxBased && s != "" && !strings.HasSuffix(s, "_") && !strings.Contains(s, "__")
	if ok {
		_, ok = n.SetString(strings.ReplaceAll(s, "_", ""), base)
	}
	if !ok {
		return l.fails(off, "the number "+quote(l.src[off:l.pos])+" has a wrong digit, none or too many", "")
	}
	return token{kind: number, num: Integer, off: off, end: l.pos, val: n.String()}
}

// text reads a text that starts at off; its first byte behind the quote is at i. Escapes with a
// backslash hold for E'…' only.
func (l *lexer) text(off, i int, escapes bool) token {
	start, plain := i, true
	for {
		j := strings.IndexAny(l.src[i:], `'\`)
		if j < 0 {
			l.pos = len(l.src)
			return l.fails(off, "this text has no closing quote", "a quote inside a text is written twice: 'it''s'")
		}
		i += j
		if l.src[i] == '\\' {
			if i++; escapes {
				plain = false
				i = min(i+1, len(l.src))
			}
			continue
		}
		if i++; i == len(l.src) || l.src[i] != '\'' {
			break
		}
		plain = false
		i++
	}
	l.pos = i
	val := l.src[start : i-1]
	if !plain {
		if !escapes {
			val = strings.ReplaceAll(val, "''", "'")
		} else if s, at, why := unescape(val); why != "" {
			return l.fails(start+at, why, `write \\ for a backslash`)
		} else {
			val = s
		}
	}
	return token{kind: text, off: off, end: i, val: val}
}

// unescape returns the value of an E'…' text, or the offset of a wrong escape and the reason.
func unescape(s string) (val string, at int, why string) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c := s[i]
		i++
		if c == '\'' {
			i++ // doubled
		}
		if c != '\\' {
			b = append(b, c)
			continue
		}
		start := i - 1
		c = s[i]
		i++
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'x', 'u', 'U', '0', '1', '2', '3', '4', '5', '6', '7':
			base, most, least := 16, 2, 1
			switch c {
			case 'x':
			case 'u':
				most, least = 4, 4
			case 'U':
				most, least = 8, 8
			default:
				base, most = 8, 3
				i--
			}
			j := i
			for j < len(s) && j < i+most && isBaseDigit(s[j], base) {
				j++
			}
			n, err := strconv.ParseUint(s[i:j], base, 32)
			r := rune(n)
			if err != nil || j-i < least || n == 0 || n > utf8.MaxRune || base == 8 && n > 0xff || !utf8.ValidRune(r) {
				return "", start, "wrong escape " + quote(s[start:min(j+1, len(s))])
			}
			i = j
			if most < 4 && n >= utf8.RuneSelf {
				b = append(b, byte(n))
			} else {
				b = utf8.AppendRune(b, r)
			}
			continue
		}
		b = append(b, c)
	}
	if !utf8.Valid(b) {
		return "", 0, "the escapes of this text are not valid UTF-8"
	}
	return string(b), 0, ""
}

func isBaseDigit(c byte, base int) bool {
	if base == 8 {
		return '0' <= c && c <= '7'
	}
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// clip returns a text for a message: shortened, and without control characters.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return printable(s)
	}
	i := most
	for !utf8.RuneStart(s[i]) {
		i--
	}
	return printable(s[:i]) + "…"
}

// quote returns a text in double quotes for a message.
func quote(s string) string { return `"` + clip(s) + `"` }
