package expr

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// matcher reports whether a text matches.
type matcher func(s string) bool

// patternKernel returns the kernel of a match of args[0] with the pattern args[1], and a third
// argument for an escape character or flags. A constant pattern is compiled once.
func patternKernel(args []*Expr, negated bool, compile func(pattern, extra string, has bool) (matcher, error)) (kernel, error) {
	t := vec.Of(vec.Bool)
	match := func(m matcher, args []*vec.Vec, n int) (*vec.Vec, error) {
		s, mask := strs(args[0]), maskOf(args[0])
		out := make([]bool, n)
		nulls := nullsOf(args, n)
		for i := range out {
			if nulls == nil || !nulls[i] {
				out[i] = m(s[i&mask]) != negated
			}
		}
		return vecOf(t, out, nulls), nil
	}
	constant := true
	for _, a := range args[1:] {
		constant = constant && a.Op == OpConst && !a.isNull()
	}
	if constant {
		extra := ""
		if len(args) > 2 {
			extra = args[2].Value.String(0)
		}
		m, err := compile(args[1].Value.String(0), extra, len(args) > 2)
		if err != nil {
			if x, ok := err.(*Error); ok {
				x.Offset, x.Row = args[1].Offset, -1
			}
			return nil, err
		}
		return func(args []*vec.Vec, n int) (*vec.Vec, error) { return match(m, args, n) }, nil
	}
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		s, mask := strs(args[0]), maskOf(args[0])
		var m matcher
		var pattern, extra string
		return each(t, args, n, func(i int) (bool, error) {
			p, x := args[1].String(i), ""
			if len(args) > 2 {
				x = args[2].String(i)
			}
			if m == nil || p != pattern || x != extra {
				var err error
				if m, err = compile(p, x, len(args) > 2); err != nil {
					return false, err
				}
				pattern, extra = p, x
			}
			return m(s[i&mask]) != negated, nil
		})
	}, nil
}

// bindLike resolves [NOT] LIKE, ILIKE and SIMILAR TO: text, pattern and perhaps an escape
// character.
func bindLike(op string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(op, args, 2, 3, offset); err != nil {
		return nil, err
	}
	cast := make([]*Expr, len(args))
	for i, a := range args {
		if a.Type.Kind != vec.Text && a.Type.Kind != vec.Null && a.Type.Kind != vec.JSON {
			return nil, errorAt(a.Offset, "%s needs text, not %s; cast it, as in x::text", strings.ToUpper(op), a.Type)
		}
		var err error
		if cast[i], err = Coerce(a, vec.Of(vec.Text)); err != nil {
			return nil, err
		}
	}
	kind, negated := strings.CutPrefix(op, "not ")
	compile := func(pattern, escape string, has bool) (matcher, error) {
		if !has {
			escape = `\`
		}
		if utf8.RuneCountInString(escape) > 1 {
			return nil, rowError(0, "the escape %s must be one character, or empty for none", quote(escape))
		}
		if kind == "similar to" {
			return compileSimilar(pattern, escape)
		}
		return compileLike(pattern, escape, kind == "ilike")
	}
	k, err := patternKernel(cast, negated, compile)
	if err != nil {
		return nil, err
	}
	return newCall(op, cast, vec.Of(vec.Bool), k, strict, 15, offset), nil
}

// A likePart is a run of a LIKE pattern between two % signs. Where any is set, a character of text
// stands for any one character.
type likePart struct {
	text string
	any  []bool // by byte; nil if there is no _
}

// compileLike compiles a LIKE pattern. The frequent forms become calls of package strings.
func compileLike(pattern, escape string, fold bool) (matcher, error) {
	if fold {
		pattern = strings.ToLower(pattern)
		escape = strings.ToLower(escape)
	}
	parts := []likePart{{}}
	for i := 0; i < len(pattern); {
		_, n := utf8.DecodeRuneInString(pattern[i:])
		c := pattern[i : i+n]
		i += n
		p := &parts[len(parts)-1]
		switch {
		case c == escape && escape != "":
			if i == len(pattern) {
				return nil, rowError(0, "the LIKE pattern %s ends with its escape character", quote(pattern))
			}
			_, n := utf8.DecodeRuneInString(pattern[i:])
			p.add(pattern[i:i+n], false)
			i += n
		case c == "%":
			parts = append(parts, likePart{})
		default:
			p.add(c, c == "_")
		}
	}
	m := likeMatcher(parts)
	if fold {
		return func(s string) bool { return m(strings.ToLower(s)) }, nil
	}
	return m, nil
}

func (p *likePart) add(c string, any bool) {
	if any && p.any == nil {
		p.any = make([]bool, len(p.text))
	}
	p.text += c
	if p.any != nil {
		for range len(c) {
			p.any = append(p.any, any)
		}
	}
}

func likeMatcher(parts []likePart) matcher {
	plain := true
	for _, p := range parts {
		plain = plain && p.any == nil
	}
	first, last := parts[0], parts[len(parts)-1]
	if plain {
		switch {
		case len(parts) == 1:
			return func(s string) bool { return s == first.text }
		case len(parts) == 2:
			return func(s string) bool {
				return len(s) >= len(first.text)+len(last.text) && strings.HasPrefix(s, first.text) && strings.HasSuffix(s, last.text)
			}
		case len(parts) == 3 && first.text == "" && last.text == "":
			middle := parts[1].text
			return func(s string) bool { return strings.Contains(s, middle) }
		}
	}
	middle := parts[1:max(1, len(parts)-1)]
	return func(s string) bool {
		n := first.match(s)
		if n < 0 {
			return false
		}
		if len(parts) == 1 {
			return n == len(s)
		}
		s = s[n:]
		for _, p := range middle {
			start, end := p.find(s)
			if start < 0 {
				return false
			}
			s = s[end:]
		}
		return last.matchEnd(s)
	}
}

// match returns the length of the beginning of s that p matches, or -1.
func (p *likePart) match(s string) int {
	if p.any == nil {
		if strings.HasPrefix(s, p.text) {
			return len(p.text)
		}
		return -1
	}
	at := 0
	for i := range len(p.text) {
		if at >= len(s) {
			return -1
		}
		if p.any[i] {
			_, n := utf8.DecodeRuneInString(s[at:])
			at += n
			continue
		}
		if s[at] != p.text[i] {
			return -1
		}
		at++
	}
	return at
}

// find returns the first place where p matches.
func (p *likePart) find(s string) (start, end int) {
	if p.any == nil {
		i := strings.Index(s, p.text)
		return i, i + len(p.text)
	}
	fixed := slices.Index(p.any, true) // the part begins with that many bytes that must occur
	for i := 0; i <= len(s); {
		at := strings.Index(s[i:], p.text[:fixed])
		if at < 0 {
			break
		}
		i += at
		if n := p.match(s[i:]); n >= 0 {
			return i, i + n
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		i += max(1, n)
	}
	return -1, 0
}

// matchEnd reports whether p matches the end of s.
func (p *likePart) matchEnd(s string) bool {
	if p.any == nil {
		return strings.HasSuffix(s, p.text)
	}
	// as many characters from the end as the part has
	at := len(s)
	for range utf8.RuneCountInString(p.text) {
		if at == 0 {
			return false
		}
		_, n := utf8.DecodeLastRuneInString(s[:at])
		at -= n
	}
	return p.match(s[at:]) == len(s)-at
}

// compileSimilar compiles a pattern of SIMILAR TO: % and _ as in LIKE, and | * + ? {} () [] as in
// regular expressions.
func compileSimilar(pattern, escape string) (matcher, error) {
	var b strings.Builder
	b.WriteString("(?s)^(?:")
	class := false
	for i := 0; i < len(pattern); {
		_, n := utf8.DecodeRuneInString(pattern[i:])
		c := pattern[i : i+n]
		i += n
		switch {
		case c == escape && escape != "":
			if i == len(pattern) {
				return nil, rowError(0, "the pattern %s ends with its escape character", quote(pattern))
			}
			_, n := utf8.DecodeRuneInString(pattern[i:])
			b.WriteString(regexp.QuoteMeta(pattern[i : i+n]))
			i += n
		case class:
			class = c != "]"
			b.WriteString(c)
		case c == "[":
			class = true
			b.WriteString(c)
		case c == "%":
			b.WriteString(".*")
		case c == "_":
			b.WriteString(".")
		case strings.Contains(`.^$\`, c):
			b.WriteString(`\` + c)
		default:
			b.WriteString(c)
		}
	}
	b.WriteString(")$")
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, rowError(0, "%s is no pattern of SIMILAR TO: %s", quote(pattern), regexpReason(err))
	}
	return re.MatchString, nil
}
