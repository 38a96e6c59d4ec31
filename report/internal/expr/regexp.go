package expr

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Regular expressions have the syntax of Go and RE2: their time is linear in the text, and there
// are neither back references nor look-around. A dot matches a line break, as in PostgreSQL.

// regexpReason returns the reason why an expression is not valid.
func regexpReason(err error) string {
	x, ok := err.(*syntax.Error)
	if !ok {
		return err.Error()
	}
	reason := string(x.Code)
	if x.Expr != "" && !strings.HasPrefix(x.Expr, "(?") || x.Code == syntax.ErrInvalidPerlOp {
		reason += " " + quote(x.Expr)
	}
	if x.Code == syntax.ErrInvalidPerlOp || x.Code == syntax.ErrInvalidEscape {
		reason += "; look-around and back references are not supported"
	}
	return reason
}

// compileRegexp compiles an expression with flags: i without case, c with case, s and n for dots
// that do or do not match line breaks, m for ^ and $ at lines, l for a literal text, g for all
// matches.
func compileRegexp(pattern, flags string) (re *regexp.Regexp, all bool, err error) {
	on, literal := "s", false
	drop := func(f string) { on = strings.ReplaceAll(on, f, "") }
	for _, f := range flags {
		switch f {
		case 'g':
			all = true
		case 'i':
			on += "i"
		case 'c':
			drop("i")
		case 's':
			drop("s")
			on += "s"
		case 'n', 'm':
			drop("s")
			on += "m"
		case 'p':
			drop("s")
		case 'l':
			literal = true
		default:
			return nil, false, rowError(0, "the flag %q of a regular expression is unknown; flags are i, c, g, s, n, m, p and l", string(f))
		}
	}
	source := pattern
	if literal {
		source = regexp.QuoteMeta(pattern)
	}
	if on != "" {
		source = "(?" + on + ")" + source
	}
	re, err = regexp.Compile(source)
	if err != nil {
		return nil, false, rowError(0, "%s is no regular expression: %s", quote(pattern), regexpReason(err))
	}
	return re, all, nil
}

// literalPrefix returns a faster matcher for expressions without special characters.
func regexpMatcher(pattern, flags string) (matcher, error) {
	re, _, err := compileRegexp(pattern, flags)
	if err != nil {
		return nil, err
	}
	if flags == "" {
		if plain := strings.TrimPrefix(pattern, "^"); plain == regexp.QuoteMeta(plain) {
			if plain != pattern {
				return func(s string) bool { return strings.HasPrefix(s, plain) }, nil
			}
			return func(s string) bool { return strings.Contains(s, plain) }, nil
		}
	}
	return re.MatchString, nil
}

// bindMatch resolves ~, ~*, !~ and !~*.
func bindMatch(op string, args []*Expr, offset int) (*Expr, error) {
	if op == "~" && len(args) == 1 {
		return Call("bitwise_not", args, offset)
	}
	if err := arity(op, args, 2, 2, offset); err != nil {
		return nil, err
	}
	cast := make([]*Expr, 2)
	for i, a := range args {
		if a.Type.Kind != vec.Text && a.Type.Kind != vec.Null && a.Type.Kind != vec.JSON {
			return nil, errorAt(a.Offset, "%s needs text, not %s; cast it, as in x::text", op, a.Type)
		}
		var err error
		if cast[i], err = Coerce(a, vec.Of(vec.Text)); err != nil {
			return nil, err
		}
	}
	flags := ""
	if strings.HasSuffix(op, "*") {
		flags = "i"
	}
	k, err := patternKernel(cast, op[0] == '!', func(pattern, _ string, _ bool) (matcher, error) { return regexpMatcher(pattern, flags) })
	if err != nil {
		return nil, err
	}
	return newCall(op, cast, vec.Of(vec.Bool), k, strict, 100, offset), nil
}

// compiled is an expression that was compiled for the row before.
type compiled struct {
	re             *regexp.Regexp
	all            bool
	pattern, flags string
}

// of returns the expression for the pattern and the flags, and compiles it if they changed.
func (c *compiled) of(pattern, flags string) (*regexp.Regexp, error) {
	if c.re != nil && c.pattern == pattern && c.flags == flags {
		return c.re, nil
	}
	re, all, err := compileRegexp(pattern, flags)
	if err != nil {
		return nil, err
	}
	c.re, c.all, c.pattern, c.flags = re, all, pattern, flags
	return re, nil
}

// regexpBinding returns the binding of a function of a text, a pattern and more. A constant pattern
// is compiled when the statement is bound. flags is the number of the argument with flags.
func regexpBinding(t vec.Type, flags int, make func(c compiled) kernel) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		var c compiled
		flag := ""
		if flags < len(args) && args[flags].Op == OpConst && !args[flags].isNull() {
			flag = args[flags].Value.String(0)
		}
		if args[1].Op == OpConst && !args[1].isNull() {
			if _, err := c.of(args[1].Value.String(0), flag); err != nil {
				if x, ok := err.(*Error); ok {
					x.Offset, x.Row = args[1].Offset, -1
				}
				return t, nil, err
			}
		}
		return t, make(c), nil
	}
}

// flagsAt returns the flags of row i.
func flagsAt(args []*vec.Vec, at, i int) string {
	if at < len(args) {
		return args[at].String(i)
	}
	return ""
}

// appendExpanded appends a replacement: \1 is the first group, \& and \0 the match, \\ a backslash.
func appendExpanded(dst []byte, by, s string, groups []int) []byte {
	for i := 0; i < len(by); i++ {
		if by[i] != '\\' || i+1 == len(by) {
			dst = append(dst, by[i])
			continue
		}
		i++
		g := -1
		switch c := by[i]; {
		case c == '&':
			g = 0
		case c >= '0' && c <= '9':
			g = int(c - '0')
		case c == '\\':
			dst = append(dst, c)
		default:
			dst = append(dst, '\\', c)
		}
		if g >= 0 && 2*g+1 < len(groups) && groups[2*g] >= 0 {
			dst = append(dst, s[groups[2*g]:groups[2*g+1]]...)
		}
	}
	return dst
}

func regexpFunctions() []function {
	text, list := vec.Of(vec.Text), vec.ListOf(vec.Of(vec.Text))
	matches := func(whole bool) binding {
		return func(args []*Expr) (vec.Type, kernel, error) {
			k, err := patternKernel(args, false, func(pattern, flags string, _ bool) (matcher, error) {
				if whole {
					pattern = "^(?:" + pattern + ")$"
				}
				return regexpMatcher(pattern, flags)
			})
			return vec.Of(vec.Bool), k, err
		}
	}
	replace := regexpBinding(text, 3, func(c compiled) kernel {
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			s, m := strs(args[0]), maskOf(args[0])
			c := c
			return appendEach(text, args, n, func(dst []byte, i int) ([]byte, error) {
				re, err := c.of(args[1].String(i), flagsAt(args, 3, i))
				if err != nil {
					return dst, err
				}
				limit := 1
				if c.all {
					limit = -1
				}
				x, by, from := s[i&m], args[2].String(i), 0
				for _, g := range re.FindAllStringSubmatchIndex(x, limit) {
					dst = appendExpanded(append(dst, x[from:g[0]]...), by, x, g)
					from = g[1]
				}
				return append(dst, x[from:]...), nil
			})
		}
	})
	// group returns a group of the first match; missing is the error without a match
	group := func(missing error) binding {
		return regexpBinding(text, 3, func(c compiled) kernel {
			return func(args []*vec.Vec, n int) (*vec.Vec, error) {
				s, m := strs(args[0]), maskOf(args[0])
				c := c
				return each(text, args, n, func(i int) (string, error) {
					re, err := c.of(args[1].String(i), flagsAt(args, 3, i))
					if err != nil {
						return "", err
					}
					var g int64
					if len(args) > 2 {
						g = args[2].Ints[i&maskOf(args[2])]
					}
					if g < 0 || g > int64(re.NumSubexp()) {
						return "", rowError(0, "the regular expression %s has %s, not %d", quote(c.pattern), report.Plural(re.NumSubexp(), "group"), g)
					}
					x := s[i&m]
					at := re.FindStringSubmatchIndex(x)
					if at == nil || at[2*g] < 0 {
						return "", missing
					}
					return x[at[2*g]:at[2*g+1]], nil
				})
			}
		})
	}
	count := regexpBinding(vec.Of(vec.Int), 2, func(c compiled) kernel {
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			s, m := strs(args[0]), maskOf(args[0])
			c := c
			return each(vec.Of(vec.Int), args, n, func(i int) (int64, error) {
				re, err := c.of(args[1].String(i), flagsAt(args, 2, i))
				if err != nil {
					return 0, err
				}
				return int64(len(re.FindAllStringIndex(s[i&m], -1))), nil
			})
		}
	})
	// pieces returns a list of texts for each row; missing ones are NULL
	pieces := func(flags int, f func(re *regexp.Regexp, s string, group int64) (texts []string, missing []bool, err error)) binding {
		return regexpBinding(list, flags, func(c compiled) kernel {
			return func(args []*vec.Vec, n int) (*vec.Vec, error) {
				s, m := strs(args[0]), maskOf(args[0])
				c := c
				return eachList(args, n, func(i int) ([]string, []bool, error) {
					re, err := c.of(args[1].String(i), flagsAt(args, flags, i))
					if err != nil {
						return nil, nil, err
					}
					var g int64
					if flags == 3 && len(args) > 2 {
						g = args[2].Ints[i&maskOf(args[2])]
					}
					return f(re, s[i&m], g)
				})
			}
		})
	}
	extractAll := pieces(3, func(re *regexp.Regexp, s string, g int64) ([]string, []bool, error) {
		if g < 0 || g > int64(re.NumSubexp()) {
			return nil, nil, rowError(0, "the regular expression has %s, not %d", report.Plural(re.NumSubexp(), "group"), g)
		}
		var out []string
		for _, at := range re.FindAllStringSubmatchIndex(s, -1) {
			if at[2*g] >= 0 {
				out = append(out, s[at[2*g]:at[2*g+1]])
			} else {
				out = append(out, "")
			}
		}
		return out, nil, nil
	})
	match := pieces(2, func(re *regexp.Regexp, s string, _ int64) (groups []string, missing []bool, err error) {
		at := re.FindStringSubmatchIndex(s)
		switch len(at) {
		case 0:
			return nil, nil, errNull
		case 2: // no groups
			return []string{s[at[0]:at[1]]}, nil, nil
		}
		for at = at[2:]; len(at) > 0; at = at[2:] {
			group := ""
			if at[0] >= 0 {
				group = s[at[0]:at[1]]
			}
			groups, missing = append(groups, group), append(missing, at[0] < 0)
		}
		return groups, missing, nil
	})
	split := pieces(2, func(re *regexp.Regexp, s string, _ int64) ([]string, []bool, error) { return re.Split(s, -1), nil, nil })
	heavy := func(f function) function { f.cost = 150; return f }
	return []function{
		heavy(def("regexp_matches regexp_like", "text text [text]", matches(false))),
		heavy(def("regexp_full_match", "text text [text]", matches(true))),
		heavy(def("regexp_replace", "text text text [text]", replace)),
		heavy(def("regexp_extract", "text text [int] [text]", group(nil))),
		heavy(def("regexp_substr", "text text", group(errNull))),
		heavy(def("regexp_match", "text text [text]", match)),
		heavy(def("regexp_count", "text text [text]", count)),
		heavy(def("regexp_extract_all", "text text [int] [text]", extractAll)),
		heavy(def("regexp_split_to_array string_split_regex str_split_regex regexp_split", "text text [text]", split)),
	}
}

// eachList computes a list of texts for each row that is not NULL. f returns which of the texts are
// NULL, or nil.
func eachList(args []*vec.Vec, n int, f func(i int) (texts []string, missing []bool, err error)) (*vec.Vec, error) {
	nulls, own := nullsOf(args, n), false
	out := &vec.Vec{Type: vec.ListOf(vec.Of(vec.Text)), Len: n, Offsets: make([]int32, n+1)}
	var all []string
	var none []bool // which of all are NULL; nil for none
	for i := range n {
		if nulls == nil || !nulls[i] {
			s, missing, err := f(i)
			if err != nil {
				if err := failure(err, i, n, &nulls, &own); err != nil {
					return nil, err
				}
			}
			if none == nil && slices.Contains(missing, true) {
				none = make([]bool, len(all))
			}
			all = append(all, s...)
			if none != nil {
				none = append(none, missing...)
				none = append(none, make([]bool, len(all)-len(none))...)
			}
		}
		out.Offsets[i+1] = int32(len(all))
	}
	out.Nulls = nulls
	out.Elem = vecOf(vec.Of(vec.Text), all, none)
	return out, nil
}
