package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Text functions count characters: code points of UTF-8. A byte that is no UTF-8 is one character.

// isASCII reports whether all characters are bytes.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func charCount(s string) int64 {
	return int64(utf8.RuneCountInString(s))
}

// charAt returns the position in bytes of character n from 0, or the end.
func charAt(s string, n int64) int {
	if n >= int64(len(s)) {
		return len(s)
	}
	if n <= 0 {
		return 0
	}
	if isASCII(s[:n]) {
		return int(n)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// substring returns count characters from character start, which begins at 1.
func substring(s string, start, count int64) (string, error) {
	if count < 0 {
		return "", rowError(0, "substring with the negative length %d", count)
	}
	end := start + count
	if end < start {
		end = 1 << 62 // larger than any text
	}
	from := charAt(s, start-1)
	to := charAt(s, end-1)
	if to <= from {
		return "", nil
	}
	return s[from:to], nil
}

// left returns the first n characters, or all but the last -n.
func left(s string, n int64) string {
	if n < 0 {
		n = max(0, charCount(s)+n)
	}
	return s[:charAt(s, n)]
}

// right returns the last n characters, or all but the first -n.
func right(s string, n int64) string {
	if n < 0 {
		if -n < 0 {
			return ""
		}
		return s[charAt(s, -n):]
	}
	return s[charAt(s, max(0, charCount(s)-n)):]
}

// appendPad appends s with n characters, filled up from the left or the right, or cut.
func appendPad(dst []byte, s string, n int64, fill string, atLeft bool) ([]byte, error) {
	if n <= 0 {
		return dst, nil
	}
	missing := n - charCount(s)
	if missing <= 0 || fill == "" {
		return append(dst, s[:charAt(s, n)]...), nil
	}
	if missing > maxText {
		return dst, rowError(0, "a text of %d characters is too long; at most %d are allowed", n, maxText)
	}
	if !atLeft {
		dst = append(dst, s...)
	}
	whole := charCount(fill)
	for ; missing >= whole; missing -= whole {
		dst = append(dst, fill...)
	}
	dst = append(dst, fill[:charAt(fill, missing)]...)
	if atLeft {
		dst = append(dst, s...)
	}
	return dst, nil
}

// appendMapped appends s with every character changed.
func appendMapped(dst []byte, s string, f func(rune) rune) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[i])
		} else {
			dst = utf8.AppendRune(dst, f(r))
		}
		i += n
	}
	return dst
}

func appendLower(dst []byte, s string) ([]byte, error) {
	if !isASCII(s) {
		return appendMapped(dst, s, unicode.ToLower), nil
	}
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c-'A' < 26 {
			dst[start+i] = c + 'a' - 'A'
		}
	}
	return dst, nil
}

func appendUpper(dst []byte, s string) ([]byte, error) {
	if !isASCII(s) {
		return appendMapped(dst, s, unicode.ToUpper), nil
	}
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c-'a' < 26 {
			dst[start+i] = c - ('a' - 'A')
		}
	}
	return dst, nil
}

// position returns the character, from 1, at which part begins in s, or 0.
func position(s, part string) int64 {
	i := strings.Index(s, part)
	if i < 0 {
		return 0
	}
	return charCount(s[:i]) + 1
}

func splitPart(s, sep string, n int64) (string, error) {
	if n == 0 {
		return "", rowError(0, "split_part: fields are counted from 1, or from -1 at the end, not from 0")
	}
	if sep == "" {
		if n == 1 || n == -1 {
			return s, nil
		}
		return "", nil
	}
	if n < 0 {
		for ; n < -1; n++ {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				return "", nil
			}
			s = s[:i]
		}
		if i := strings.LastIndex(s, sep); i >= 0 {
			s = s[i+len(sep):]
		}
		return s, nil
	}
	for ; n > 1; n-- {
		i := strings.Index(s, sep)
		if i < 0 {
			return "", nil
		}
		s = s[i+len(sep):]
	}
	if i := strings.Index(s, sep); i >= 0 {
		s = s[:i]
	}
	return s, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendReplaced(dst []byte, s, old, by string) ([]byte, error) {
	if old == "" {
		return append(dst, s...), nil
	}
	for {
		i := strings.Index(s, old)
		if i < 0 {
			return append(dst, s...), nil
		}
		dst = append(append(dst, s[:i]...), by...)
		s = s[i+len(old):]
	}
}

func appendTranslated(dst []byte, s, from, to string) ([]byte, error) {
	out, in := []rune(to), []rune(from)
next:
	for _, r := range s {
		for i, f := range in {
			if f == r {
				if i < len(out) {
					dst = utf8.AppendRune(dst, out[i])
				}
				continue next
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

func appendInitcap(dst []byte, s string) ([]byte, error) {
	inside := false
	return appendMapped(dst, s, func(r rune) rune {
		word := unicode.IsLetter(r) || unicode.IsDigit(r)
		defer func() { inside = word }()
		if inside {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}), nil
}

func appendReversed(dst []byte, s string) ([]byte, error) {
	for len(s) > 0 {
		_, n := utf8.DecodeLastRuneInString(s)
		dst = append(dst, s[len(s)-n:]...)
		s = s[:len(s)-n]
	}
	return dst, nil
}

func appendRepeated(dst []byte, s string, n int64) ([]byte, error) {
	if n > 0 && n > maxText/int64(max(1, len(s))) {
		return dst, rowError(0, "repeat(%s, %d) is too long; at most %d bytes are allowed", quote(s), n, maxText)
	}
	for ; n > 0; n-- {
		dst = append(dst, s...)
	}
	return dst, nil
}

// appendOverlay replaces count characters from start.
func appendOverlay(dst []byte, s, by string, start, count int64) ([]byte, error) {
	if start < 1 {
		return dst, rowError(0, "overlay from %d: characters are counted from 1", start)
	}
	dst = append(append(dst, s[:charAt(s, start-1)]...), by...)
	return append(dst, s[charAt(s, max(0, start-1+count)):]...), nil
}

func chr(dst []byte, n int64) ([]byte, error) {
	if n < 1 || n > unicode.MaxRune || n >= 0xd800 && n < 0xe000 {
		return dst, rowError(0, "chr(%d): no character has this number", n)
	}
	return utf8.AppendRune(dst, rune(n)), nil
}

func firstRune(s string) int64 {
	if s == "" {
		return 0
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return int64(s[0])
	}
	return int64(r)
}

func levenshtein(a, b string) (int64, error) {
	x, y := []rune(a), []rune(b)
	if len(x)*len(y) > 1<<24 {
		return 0, rowError(0, "levenshtein of texts with %d and %d characters takes too long", len(x), len(y))
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		last := row[0]
		row[0] = i + 1
		for j := range y {
			change := last + b2i(x[i] != y[j])
			last = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return int64(row[len(y)]), nil
}

func appendQuoted(dst []byte, s string, q byte) []byte {
	dst = append(dst, q)
	for i := range len(s) {
		if s[i] == q {
			dst = append(dst, q)
		}
		dst = append(dst, s[i])
	}
	return append(dst, q)
}

// concatKernel joins the texts of all arguments. NULL counts as nothing. The first argument is put
// between the others if separated is true.
func concatKernel(separated bool) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		var strict []*vec.Vec
		parts := args
		if separated {
			strict, parts = args[:1], args[1:]
			if args[0].Const && args[0].Null(0) {
				return vec.NullOf(vec.Of(vec.Text), n), nil
			}
		}
		return appendEach(vec.Of(vec.Text), strict, n, func(dst []byte, i int) ([]byte, error) {
			first := true
			for _, v := range parts {
				if v.Null(i) {
					continue
				}
				if separated && !first {
					dst = AppendText(dst, args[0], i)
				}
				first = false
				dst = AppendText(dst, v, i)
			}
			return dst, nil
		})
	}
}

// bindConcat resolves ||: texts, lists, or a text and any other value.
func bindConcat(op string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(op, args, 2, 2, offset); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if a.Type.Kind == vec.List || b.Type.Kind == vec.List {
		return bindListConcat(a, b, offset)
	}
	text := func(e *Expr) bool { return e.Type.Kind == vec.Text || e.Type.Kind == vec.Null }
	if a.Type.Kind == vec.Blob && b.Type.Kind == vec.Blob {
		k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
			x, xm, y, ym := strs(args[0]), maskOf(args[0]), strs(args[1]), maskOf(args[1])
			return appendEach(vec.Of(vec.Blob), args, n, func(dst []byte, i int) ([]byte, error) {
				return append(append(dst, x[i&xm]...), y[i&ym]...), nil
			})
		}
		return newCall(op, args, vec.Of(vec.Blob), k, strict, 20, offset), nil
	}
	if !text(a) && !text(b) {
		return nil, errorAt(offset, "%s || %s is no operation; cast one side to text, as in x::text", a.Type, b.Type)
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		x, y := args[0], args[1]
		return appendEach(vec.Of(vec.Text), args, n, func(dst []byte, i int) ([]byte, error) {
			return AppendText(AppendText(dst, x, i), y, i), nil
		})
	}
	return newCall(op, args, vec.Of(vec.Text), k, strict, 30, offset), nil
}

// bindConcatLists resolves concat of lists; texts are left to the signatures.
func bindConcatLists(_ string, args []*Expr, offset int) (*Expr, error) {
	if len(args) < 2 || args[0].Type.Kind != vec.List {
		return nil, nil
	}
	e := args[0]
	for _, a := range args[1:] {
		var err error
		if e, err = bindListConcat(e, a, offset); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func stringFunctions() []function {
	text := vec.Text
	trimmer := func(f func(s, chars string) string) (binding, binding) {
		return of1(text, func(s string) string { return f(s, " ") }), of2(text, f)
	}
	trim1, trim2 := trimmer(strings.Trim)
	ltrim1, ltrim2 := trimmer(strings.TrimLeft)
	rtrim1, rtrim2 := trimmer(strings.TrimRight)
	padder := func(atLeft bool) (binding, binding) {
		return append2(text, func(dst []byte, s string, n int64) ([]byte, error) { return appendPad(dst, s, n, " ", atLeft) }),
			append3(text, func(dst []byte, s string, n int64, fill string) ([]byte, error) {
				return appendPad(dst, s, n, fill, atLeft)
			})
	}
	lpad2, lpad3 := padder(true)
	rpad2, rpad3 := padder(false)
	anyText := always(vec.Of(text), concatKernel(false))
	return []function{
		def("lower lcase", "text", append1(text, appendLower)),
		def("upper ucase", "text", append1(text, appendUpper)),
		def("length char_length character_length len", "text", of1(vec.Int, charCount)),
		def("length octet_length len", "blob", of1(vec.Int, func(s string) int64 { return int64(len(s)) })),
		def("octet_length strlen", "text", of1(vec.Int, func(s string) int64 { return int64(len(s)) })),
		def("bit_length", "text", of1(vec.Int, func(s string) int64 { return 8 * int64(len(s)) })),
		def("trim btrim", "text", trim1), def("trim btrim", "text text", trim2),
		def("ltrim", "text", ltrim1), def("ltrim", "text text", ltrim2),
		def("rtrim", "text", rtrim1), def("rtrim", "text text", rtrim2),
		def("substr substring", "text int", try2(text, func(s string, start int64) (string, error) {
			return substring(s, start, max(0, 1<<61-max(start, -1<<60)))
		})),
		def("substr substring", "text int int", try3(text, substring)),
		def("left", "text int", of2(text, left)),
		def("right", "text int", of2(text, right)),
		def("lpad", "text int", lpad2), def("lpad", "text int text", lpad3),
		def("rpad", "text int", rpad2), def("rpad", "text int text", rpad3),
		def("replace", "text text text", append3(text, appendReplaced)),
		def("translate", "text text text", append3(text, appendTranslated)),
		def("reverse", "text", append1(text, appendReversed)),
		def("repeat", "text int", append2(text, appendRepeated)),
		def("initcap", "text", append1(text, appendInitcap)),
		def("split_part", "text text int", try3(text, splitPart)),
		def("strpos instr position", "text text", of2(vec.Int, position)),
		def("starts_with prefix ^@", "text text", of2(vec.Bool, strings.HasPrefix)),
		def("ends_with suffix", "text text", of2(vec.Bool, strings.HasSuffix)),
		def("contains", "text text", of2(vec.Bool, strings.Contains)),
		def("ascii", "text", of1(vec.Int, firstRune)),
		def("ord unicode", "text", of1(vec.Int, func(s string) int64 {
			if s == "" {
				return -1 // as in DuckDB
			}
			return firstRune(s)
		})),
		def("chr", "int", append1(text, chr)),
		def("levenshtein editdist3", "text text", try2(vec.Int, levenshtein)),
		def("quote_literal", "text", append1(text, func(dst []byte, s string) ([]byte, error) { return appendQuoted(dst, s, '\''), nil })),
		def("quote_ident", "text", append1(text, func(dst []byte, s string) ([]byte, error) {
			if plainIdent(s) {
				return append(dst, s...), nil
			}
			return appendQuoted(dst, s, '"'), nil
		})),
		def("overlay", "text text int int", overlayBinding()),
		def("overlay", "text text int", append3(text, func(dst []byte, s, by string, start int64) ([]byte, error) {
			return appendOverlay(dst, s, by, start, charCount(by))
		})),
		withNulls("concat", "any...", anyText),
		withNulls("concat_ws", "text any...", always(vec.Of(text), concatKernel(true))),
		withNulls("format", "text any...", always(vec.Of(text), formatKernel)),
		withNulls("printf", "text any...", always(vec.Of(text), printfKernel)),
	}
}

func overlayBinding() binding {
	t := vec.Of(vec.Text)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		s, by, start, count := strs(args[0]), strs(args[1]), args[2], args[3]
		sm, bm := maskOf(args[0]), maskOf(args[1])
		return appendEach(t, args, n, func(dst []byte, i int) ([]byte, error) {
			return appendOverlay(dst, s[i&sm], by[i&bm], start.Ints[i&maskOf(start)], count.Ints[i&maskOf(count)])
		})
	})
}

// plainIdent reports whether a name needs no double quotes.
func plainIdent(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// formatKernel is PostgreSQL's format: %s is a text, %I a name, %L a literal, %% a percent sign,
// and %2$s the second argument.
func formatKernel(args []*vec.Vec, n int) (*vec.Vec, error) {
	f, fm := strs(args[0]), maskOf(args[0])
	if args[0].Const && args[0].Null(0) {
		return vec.NullOf(vec.Of(vec.Text), n), nil
	}
	return appendEach(vec.Of(vec.Text), args[:1], n, func(dst []byte, i int) ([]byte, error) {
		s := f[i&fm]
		next := 1
		for {
			at := strings.IndexByte(s, '%')
			if at < 0 || at+1 == len(s) {
				if at >= 0 {
					return dst, rowError(0, "format: the text ends with %%; write %%%% for a percent sign")
				}
				return append(dst, s...), nil
			}
			dst, s = append(dst, s[:at]...), s[at+1:]
			if s[0] == '%' {
				dst, s = append(dst, '%'), s[1:]
				continue
			}
			if p, rest, digits := number(s, 4); digits > 0 && strings.HasPrefix(rest, "$") && len(rest) > 1 {
				next, s = int(p), rest[1:]
			}
			if !strings.ContainsRune("sIL", rune(s[0])) {
				return dst, rowError(0, "format: %%%c is unknown; use %%s, %%I, %%L or %%%%", s[0])
			}
			if next < 1 || next >= len(args) {
				return dst, rowError(0, "format: argument %d is missing", next)
			}
			v := args[next]
			next++
			switch value := string(AppendText(nil, v, i)); {
			case v.Null(i) && s[0] == 'L':
				dst = append(dst, "NULL"...)
			case s[0] == 'L':
				dst = appendQuoted(dst, value, '\'')
			case s[0] == 'I' && !plainIdent(value):
				dst = appendQuoted(dst, value, '"')
			default:
				dst = append(dst, value...)
			}
			s = s[1:]
		}
	})
}
