package expr

import (
	"fmt"
	"math"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// maxPadding is the most digits or blanks that a directive of printf may ask for.
const maxPadding = 1000

// printfKernel is the printf of C for %d, %i, %u, %x, %o, %f, %e, %g, %c, %s and %%, with flags, a
// width and digits after the point. Integers have 64 bits: %x of -1 is ffffffffffffffff. Unlike in
// C, %u, %x and %o write larger integers with their sign, and a width counts characters. NULL makes
// the result NULL.
func printfKernel(args []*vec.Vec, n int) (*vec.Vec, error) {
	for _, a := range args {
		if a.Const && a.Null(0) {
			return vec.NullOf(vec.Of(vec.Text), n), nil
		}
	}
	f, fm := strs(args[0]), maskOf(args[0])
	return appendEach(vec.Of(vec.Text), args, n, func(dst []byte, i int) ([]byte, error) {
		next := 1
		for s := f[i&fm]; ; {
			at := strings.IndexByte(s, '%')
			if at < 0 {
				return append(dst, s...), nil
			}
			dst, s = append(dst, s[:at]...), s[at+1:]
			size := 0
			for size < len(s) && strings.IndexByte("-+ #0123456789.", s[size]) >= 0 {
				size++
			}
			if size == len(s) {
				return dst, rowError(0, "printf: the text ends inside of a directive; write %%%% for a percent sign")
			}
			flags, verb := s[:size], s[size]
			if s = s[size+1:]; verb == '%' {
				dst = append(dst, '%')
				continue
			}
			if next >= len(args) {
				return dst, rowError(0, "printf: argument %d is missing", next)
			}
			if err := checkPadding(flags); err != nil {
				return dst, err
			}
			var err error
			if dst, err = appendDirective(dst, flags, verb, args[next], i); err != nil {
				return dst, err
			}
			next++
		}
	})
}

// checkPadding refuses a second point, and widths that would take much memory.
func checkPadding(flags string) error {
	if strings.Count(flags, ".") > 1 {
		return rowError(0, "printf: %%%s has more than one point; write a width, a point and digits, such as %%8.2f", flags)
	}
	for part := range strings.SplitSeq(strings.TrimLeft(flags, "-+ #0"), ".") {
		if p, rest, digits := number(part, 5); digits > 0 && (p > maxPadding || rest != "") || digits == 0 && part != "" {
			return rowError(0, "printf: %%%s is no width; the most is %d", flags, maxPadding)
		}
	}
	return nil
}

// appendDirective appends row i of v in the form of a directive.
func appendDirective(dst []byte, flags string, verb byte, v *vec.Vec, i int) ([]byte, error) {
	switch verb {
	case 's':
		return fmt.Appendf(dst, "%"+flags+"s", AppendText(nil, v, i)), nil
	case 'd', 'i', 'x', 'X', 'o', 'c', 'u':
		unsigned := strings.IndexByte("xXou", verb) >= 0
		format := "%" + flags + string(verb)
		switch verb {
		case 'i', 'u':
			format = "%" + flags + "d"
		}
		if v.Type.Kind == vec.Int || v.Type.Kind == vec.Decimal && v.Type.Scale == 0 {
			switch x, ok := v.Int128(i).Int64(); {
			case !ok:
				return fmt.Appendf(dst, format, v.Int128(i).Big()), nil
			case unsigned:
				return fmt.Appendf(dst, strings.NewReplacer("+", "", " ", "").Replace(format), uint64(x)), nil
			default:
				return fmt.Appendf(dst, format, x), nil
			}
		}
		return dst, rowError(0, "printf: %%%c needs an integer, not %s; write %%s, or cast the argument", verb, v.Type)
	case 'f', 'e', 'E', 'g', 'G':
		var x float64
		switch v.Type.Kind {
		case vec.Float:
			x = v.Floats[i&maskOf(v)]
		case vec.Int:
			x = float64(v.Ints[i&maskOf(v)])
		case vec.Decimal:
			x = decimalFloat(v.Int128(i), v.Type.Scale)
		default:
			return dst, rowError(0, "printf: %%%c needs a number, not %s; write %%s, or cast the argument", verb, v.Type)
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return appendSpecial(dst, flags, verb, x), nil
		}
		if !strings.Contains(flags, ".") {
			flags += ".6" // as in C
		}
		return fmt.Appendf(dst, "%"+flags+string(verb), x), nil
	}
	return dst, rowError(0, "printf: %%%c is unknown; use %%d, %%x, %%o, %%f, %%e, %%g, %%c, %%s or %%%%", verb)
}

// appendSpecial appends NaN or an infinity as C does: nan, inf or -inf, padded with blanks.
func appendSpecial(dst []byte, flags string, verb byte, x float64) []byte {
	text := "nan"
	switch {
	case math.IsInf(x, -1):
		text = "-inf"
	case math.IsInf(x, 1):
		text = "inf"
	}
	width := strings.TrimLeft(flags, "-+ #0")
	set := flags[:len(flags)-len(width)]
	switch {
	case text[0] == '-':
	case strings.Contains(set, "+"):
		text = "+" + text
	case strings.Contains(set, " "):
		text = " " + text
	}
	if verb < 'a' {
		text = strings.ToUpper(text)
	}
	width, _, _ = strings.Cut(width, ".")
	if strings.Contains(set, "-") {
		width = "-" + width
	}
	return fmt.Appendf(dst, "%"+width+"s", text)
}
