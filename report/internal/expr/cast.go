package expr

import (
	"math"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Cast returns e as another type. With try, values that cannot be cast become NULL.
func Cast(e *Expr, to vec.Type, try bool, offset int) (*Expr, error) {
	if e.untyped && to.Kind == vec.Text {
		return Coerce(e, to)
	}
	if e.Type.Equal(to) {
		return e, nil
	}
	if e.Op == OpConst && e.isNull() {
		return Const(vec.NullOf(to, 1), offset), nil
	}
	k := caster(e.Type, to, try)
	if k == nil {
		return nil, errorAt(offset, "%s cannot be cast to %s", e.Type, to)
	}
	c := &Expr{Type: to, Op: OpCast, Args: []*Expr{e}, Offset: offset, Try: try, kernel: k, cost: 20}
	if c = c.finished(); e.untyped && c.Op != OpConst {
		// a literal that is no value of the type is an error of the statement
		_, err := c.Eval(&vec.Batch{N: 1})
		if x, ok := err.(*Error); ok {
			x.Offset, x.Row = e.Offset, -1
		}
		return nil, err
	}
	return c, nil
}

// caster returns the kernel of a cast, nil if there is none.
func caster(from, to vec.Type, try bool) kernel {
	if from.Kind == vec.Null {
		return func(_ []*vec.Vec, n int) (*vec.Vec, error) { return vec.NullOf(to, n), nil }
	}
	c := &casting{from: from, to: to, try: try}
	if from.Kind == to.Kind {
		switch to.Kind {
		case vec.Decimal:
			return c.decimalToDecimal
		case vec.List, vec.Map:
			return c.lists()
		case vec.Struct:
			return c.structs()
		}
		return nil
	}
	switch to.Kind {
	case vec.Text:
		return c.toText
	case vec.JSON:
		if from.Kind == vec.Text {
			return c.textToJSON
		}
		return c.toJSON
	}
	switch from.Kind {
	case vec.Text:
		return c.fromText()
	case vec.JSON:
		return c.fromJSON()
	case vec.Bool:
		return c.fromBool()
	case vec.Int, vec.Decimal, vec.Float:
		return c.fromNumber()
	case vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ, vec.Interval:
		return c.fromTime()
	case vec.Map:
		return nil
	}
	return nil
}

// casting is the state of a cast.
type casting struct {
	from, to vec.Type
	try      bool
}

// errText returns the error for a text that is no value of the type.
func (c *casting) errText(s string) error {
	if c.try {
		return errNull
	}
	hint := ""
	switch c.to.Kind {
	case vec.Date:
		hint = "; write it as 2024-01-31, or use strptime(x, '%d.%m.%Y')"
	case vec.Timestamp, vec.TimestampTZ:
		hint = "; write it as 2024-01-31 15:04:05, or use strptime(x, '%d.%m.%Y %H:%M')"
	case vec.Bool:
		hint = "; write true or false"
	case vec.JSON:
		hint = "; a text in JSON has double quotes, and ->> takes a member as text"
	case vec.Interval:
		hint = "; write it as 1 year 2 months 3 days 04:05:06"
	}
	if hint == "" {
		hint = "; TRY_CAST gives NULL for such values"
	}
	return rowError(0, "%s is no %s%s", quote(s), c.to, hint)
}

// errRange returns the error for a value that the type cannot have.
func (c *casting) errRange(text []byte) error {
	if c.try {
		return errNull
	}
	return rowError(0, "%s is out of range for %s", text, c.to)
}

func (c *casting) toText(args []*vec.Vec, n int) (*vec.Vec, error) {
	v := args[0]
	return appendEach(c.to, args, n, func(dst []byte, i int) ([]byte, error) { return AppendText(dst, v, i), nil })
}

func (c *casting) toJSON(args []*vec.Vec, n int) (*vec.Vec, error) {
	v := args[0]
	return appendEach(c.to, args, n, func(dst []byte, i int) ([]byte, error) { return appendJSON(dst, v, i, ""), nil })
}

func (c *casting) textToJSON(args []*vec.Vec, n int) (*vec.Vec, error) {
	s, m := strs(args[0]), maskOf(args[0])
	return each(c.to, args, n, func(i int) (string, error) {
		if !validJSON(s[i&m]) {
			return "", c.errText(s[i&m])
		}
		return s[i&m], nil
	})
}

// cast1 returns a kernel of a cast of one value.
func cast1[A, R value](t vec.Type, f func(A) (R, error)) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, m := values[A](args[0]), maskOf(args[0])
		return each(t, args, n, func(i int) (R, error) { return f(a[i&m]) })
	}
}

// fromText returns the kernel that reads texts.
func (c *casting) fromText() kernel {
	switch c.to.Kind {
	case vec.Bool:
		return cast1(c.to, func(s string) (bool, error) {
			if b, ok := parseBool(s); ok {
				return b, nil
			}
			return false, c.errText(s)
		})
	case vec.Int:
		return cast1(c.to, func(s string) (int64, error) {
			if x, err := strconv.ParseInt(s, 10, 64); err == nil {
				return x, nil
			}
			return c.readInt(s)
		})
	case vec.Decimal:
		return cast1(c.to, func(s string) (vec.Int128, error) {
			if x, _, ok := vec.ParseDecimal(strings.TrimSpace(s), c.to.Precision, c.to.Scale); ok {
				return x, nil
			}
			if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && f-f == 0 {
				return vec.Int128{}, c.errRange([]byte(s))
			}
			return vec.Int128{}, c.errText(s)
		})
	case vec.Float:
		return cast1(c.to, c.readFloat)
	case vec.Blob:
		return cast1(c.to, func(s string) (string, error) {
			if b, ok := parseBlob(s); ok {
				return b, nil
			}
			return "", c.errText(s)
		})
	case vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		parse := map[vec.Kind]func(string) (int64, bool){
			vec.Date: parseDate, vec.Time: parseTime,
			// a zone is dropped, as in PostgreSQL
			vec.Timestamp: func(s string) (int64, bool) { ts, _, ok := parseStamp(s); return ts, ok },
			vec.TimestampTZ: func(s string) (int64, bool) {
				ts, offset, ok := parseStamp(s)
				return ts - offset, ok
			},
		}
		f := parse[c.to.Kind]
		return cast1(c.to, func(s string) (int64, error) {
			if x, ok := f(s); ok {
				return x, nil
			}
			return 0, c.errText(s)
		})
	case vec.Interval:
		return cast1(c.to, func(s string) (vec.Span, error) {
			if x, ok := parseSpan(s); ok {
				return x, nil
			}
			return vec.Span{}, c.errText(s)
		})
	case vec.List, vec.Struct, vec.Map:
		return c.decodeJSON
	}
	return nil
}

// readInt reads the forms of integers that strconv does not: spaces, 0x1f, 1_000.
func (c *casting) readInt(s string) (int64, error) {
	t := strings.TrimSpace(s)
	digits := strings.TrimLeft(t, "+-")
	base := 10
	if len(digits) > 1 && digits[0] == '0' && strings.ContainsRune("xXoObB", rune(digits[1])) || strings.Contains(t, "_") {
		base = 0
	}
	if len(t)-len(digits) <= 1 && (base == 10 || digits == strings.TrimLeft(digits, "0") || digits[1] > '9') {
		x, err := strconv.ParseInt(t, base, 64)
		if err == nil {
			return x, nil
		}
		if strings.Contains(err.Error(), "range") {
			return 0, c.errRange([]byte(t))
		}
	}
	return 0, c.errText(s)
}

func (c *casting) readFloat(s string) (float64, error) {
	t := strings.TrimSpace(s)
	x, err := strconv.ParseFloat(t, 64)
	if err == nil && !strings.ContainsAny(t, "xX_") {
		return x, nil
	}
	if err != nil && strings.Contains(err.Error(), "range") {
		return 0, c.errRange([]byte(t))
	}
	return 0, c.errText(s)
}

// parseBool reads a boolean as PostgreSQL does: true, yes, on, 1 and their beginnings.
func parseBool(s string) (value, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	switch s {
	case "t", "tr", "tru", "true", "y", "ye", "yes", "on", "1":
		return true, true
	case "f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0":
		return false, true
	}
	return false, false
}

func (c *casting) fromBool() kernel {
	one := int64(1)
	switch c.to.Kind {
	case vec.Int:
	case vec.Decimal:
		p, _ := vec.Pow10(min(c.to.Scale, 18)).Int64()
		one = p
		if c.to.Scale > 18 || c.to.Scale == c.to.Precision {
			return nil
		}
	case vec.Float:
		return cast1(c.to, func(b bool) (float64, error) {
			if b {
				return 1, nil
			}
			return 0, nil
		})
	default:
		return nil
	}
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		b, m := args[0].Bools, maskOf(args[0])
		out := make([]int64, n)
		for i := range out {
			if b[i&m] {
				out[i] = one
			}
		}
		return vecOf(c.to, out, nullsOf(args, n)), nil
	}
}

// fromNumber returns the kernel of a cast of a number to a number or a boolean.
func (c *casting) fromNumber() kernel {
	switch {
	case c.to.Kind == vec.Bool && c.from.Kind == vec.Float:
		return cast1(c.to, func(x float64) (bool, error) { return x != 0, nil })
	case c.to.Kind == vec.Bool:
		return cast1(c.to, func(x vec.Int128) (bool, error) { return x.Sign() != 0, nil })
	case c.to.Kind == vec.Float && c.from.Kind == vec.Int:
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			a, m := args[0].Ints, maskOf(args[0])
			out := make([]float64, n)
			for i := range out {
				out[i] = float64(a[i&m])
			}
			return vecOf(c.to, out, nullsOf(args, n)), nil
		}
	case c.to.Kind == vec.Float && c.from.Kind == vec.Decimal:
		return c.decimalToFloat
	case c.to.Kind == vec.Decimal && c.from.Kind == vec.Int:
		return c.decimalToDecimal
	case c.to.Kind == vec.Decimal && c.from.Kind == vec.Float:
		return cast1(c.to, func(x float64) (vec.Int128, error) {
			d, ok := floatToDecimal(x, c.to.Precision, c.to.Scale)
			if !ok {
				return d, c.errRange(appendFloat(nil, x))
			}
			return d, nil
		})
	case c.to.Kind == vec.Int && c.from.Kind == vec.Float:
		return cast1(c.to, func(x float64) (int64, error) {
			r := math.RoundToEven(x)
			if !(r >= -1<<63 && r < 1<<63) {
				return 0, c.errRange(appendFloat(nil, x))
			}
			return int64(r), nil
		})
	case c.to.Kind == vec.Int && c.from.Kind == vec.Decimal:
		down := vec.Pow10(c.from.Scale)
		return cast1(c.to, func(x vec.Int128) (int64, error) {
			r := x
			if c.from.Scale > 0 {
				r = x.RoundQuo(down)
			}
			i, ok := r.Int64()
			if !ok {
				return 0, c.errRange(vec.AppendDecimal(nil, x, c.from.Scale))
			}
			return i, nil
		})
	}
	return nil
}

// floatToDecimal returns a float as a decimal: its shortest digits, rounded half away from zero.
func floatToDecimal(x float64, precision, scale int) (vec.Int128, bool) {
	if x-x != 0 {
		return vec.Int128{}, false
	}
	var buf [32]byte
	d, _, ok := vec.ParseDecimal(string(strconv.AppendFloat(buf[:0], x, 'e', -1, 64)), precision, scale)
	return d, ok
}

// tens are powers of ten that a float has exactly.
var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
	1e19, 1e20, 1e21, 1e22}

// decimalFloat returns the float that is nearest to x / 10^scale.
func decimalFloat(x vec.Int128, scale int) float64 {
	if i, ok := x.Int64(); ok && i > -1<<53 && i < 1<<53 && scale < len(tens) {
		return float64(i) / tens[scale]
	}
	f, _ := strconv.ParseFloat(string(vec.AppendDecimal(nil, x, scale)), 64)
	return f
}

func (c *casting) decimalToFloat(args []*vec.Vec, n int) (*vec.Vec, error) {
	v, m, scale := args[0], maskOf(args[0]), c.from.Scale
	out := make([]float64, n)
	if v.Wide != nil {
		for i := range out {
			out[i] = decimalFloat(v.Wide[i&m], scale)
		}
	} else {
		for i := range out {
			out[i] = decimalFloat(vec.Int128Of(v.Ints[i&m]), scale)
		}
	}
	return vecOf(c.to, out, nullsOf(args, n)), nil
}

// decimalToDecimal casts decimals and integers to another precision and scale.
func (c *casting) decimalToDecimal(args []*vec.Vec, n int) (*vec.Vec, error) {
	v, m := args[0], maskOf(args[0])
	up := c.to.Scale - c.from.Scale
	limit := vec.Pow10(c.to.Precision)
	from := asDecimal(c.from)
	if up >= 0 && c.to.Precision-c.to.Scale >= from.Precision-from.Scale {
		// all values fit
		if x, ok := rescaled(v, up); ok && !v.Const {
			return vecOf(c.to, x, v.Nulls), nil
		}
	}
	x := wides(v)
	return each(c.to, args, n, func(i int) (vec.Int128, error) {
		a, ok := x[i&m], true
		if up >= 0 {
			a, ok = a.Mul(vec.Pow10(up))
		} else {
			a = a.RoundQuo(vec.Pow10(-up))
		}
		if !ok || !isBelow(a, limit) {
			return a, c.errRange(vec.AppendDecimal(nil, x[i&m], c.from.Scale))
		}
		return a, nil
	})
}

// fromTime returns the kernel of a cast between dates, times, timestamps and intervals.
func (c *casting) fromTime() kernel {
	convert := func(f func(x int64) int64) kernel {
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			a, m := args[0].Ints, maskOf(args[0])
			out := make([]int64, n)
			for i := range out {
				out[i] = f(a[i&m])
			}
			return vecOf(c.to, out, nullsOf(args, n)), nil
		}
	}
	stamp := c.from.Kind == vec.Timestamp || c.from.Kind == vec.TimestampTZ
	switch {
	case c.from.Kind == vec.Date && (c.to.Kind == vec.Timestamp || c.to.Kind == vec.TimestampTZ):
		return convert(func(x int64) int64 { return x * day })
	case stamp && c.to.Kind == vec.Date:
		return convert(func(x int64) int64 { return floorDiv(x, day) })
	case stamp && c.to.Kind == vec.Time:
		return convert(func(x int64) int64 { return floorMod(x, day) })
	case stamp && (c.to.Kind == vec.Timestamp || c.to.Kind == vec.TimestampTZ):
		return convert(func(x int64) int64 { return x })
	case c.from.Kind == vec.Time && c.to.Kind == vec.Interval:
		return cast1(c.to, func(x int64) (vec.Span, error) { return vec.Span{Micros: x}, nil })
	case c.from.Kind == vec.Interval && c.to.Kind == vec.Time:
		return cast1(c.to, func(s vec.Span) (int64, error) { return floorMod(s.Micros, day), nil })
	}
	return nil
}

// parseBlob reads bytes as PostgreSQL does: \x and hexadecimal digits, or text in which \\ is a
// backslash and \ooo an octal byte.
func parseBlob(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	if hexed, ok := strings.CutPrefix(s, `\x`); ok && len(hexed)%2 == 0 {
		out := make([]byte, len(hexed)/2)
		whole := true
		for i := range out {
			x, err := strconv.ParseUint(hexed[2*i:2*i+2], 16, 8)
			whole = whole && err == nil
			out[i] = byte(x)
		}
		if whole {
			return string(out), true
		}
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			out = append(out, s[i])
		case strings.HasPrefix(s[i:], `\\`):
			out = append(out, '\\')
			i++
		case strings.HasPrefix(s[i:], `\x`) && len(s) >= i+4:
			x, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", false
			}
			out = append(out, byte(x))
			i += 3
		case len(s) >= i+4:
			x, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
			if err != nil {
				return "", false
			}
			out = append(out, byte(x))
			i += 3
		default:
			return "", false
		}
	}
	return string(out), true
}
