package expr

import (
	"math"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// charTokens are the patterns of to_char, to_date and to_timestamp, longest first. Texts in double
// quotes and all other characters stand for themselves.
var charTokens = []string{
	"HH24", "HH12", "YYYY", "IYYY", "Month", "MONTH", "month", "SSSS", "A.M.", "P.M.", "a.m.", "p.m.", "Mon", "MON", "mon", "Day",
	"DAY", "day", "DDD", "YYY", "HH", "MI", "SS", "MS", "US", "MM", "DD", "YY", "Dy", "DY", "dy", "ID", "IW", "WW", "AM", "PM",
	"am", "pm", "BC", "AD", "TZ", "tz", "OF", "CC", "FM", "TH", "th", "D", "Q", "J", "W", "Y",
}

// nextToken cuts a pattern from a format. literal reports that the token stands for itself.
func nextToken(f string) (token, rest string, literal bool) {
	if f[0] == '"' {
		if end := strings.IndexByte(f[1:], '"'); end >= 0 {
			return f[1 : end+1], f[end+2:], true
		}
	}
	for _, t := range charTokens {
		if strings.HasPrefix(f, t) {
			return t, f[len(t):], false
		}
	}
	for _, t := range charTokens {
		if len(t) > 1 && strings.HasPrefix(f, strings.ToLower(t)) {
			return t, f[len(t):], false
		}
	}
	return f[:1], f[1:], true
}

// toChar appends a timestamp in a format of PostgreSQL, such as YYYY-MM-DD HH24:MI:SS. FM drops
// the padding of the pattern after it.
func toChar(dst []byte, ts int64, format string) ([]byte, error) {
	days, micros := splitMicros(ts)
	y, m, d := civil(days)
	h := micros / hour
	fill := true
	last := int64(0)
	for format != "" {
		var token string
		var literal bool
		if token, format, literal = nextToken(format); literal {
			dst = append(dst, token...)
			continue
		}
		num := func(x int64, width int) {
			if !fill {
				width = 1
			}
			last = x
			dst = pad(dst, x, width)
		}
		name := func(s string, width int) {
			switch token[:2] {
			case "MO", "DA", "DY":
				s = strings.ToUpper(s)
			case "mo", "da", "dy":
				s = strings.ToLower(s)
			}
			dst = append(dst, s...)
			for n := len(s); fill && n < width; n++ {
				dst = append(dst, ' ')
			}
		}
		weekday := floorMod(days+4, 7)
		iso, week := isoWeek(days)
		switch token {
		case "FM":
			fill = false
			continue
		case "YYYY":
			num(abs(bcYear(y)), 4)
		case "YYY":
			num(floorMod(y, 1000), 3)
		case "YY":
			num(floorMod(y, 100), 2)
		case "Y":
			num(floorMod(y, 10), 1)
		case "IYYY":
			num(iso, 4)
		case "CC":
			num(ordinal(y, 100), 2)
		case "Q":
			num((m+2)/3, 1)
		case "MM":
			num(m, 2)
		case "Month", "MONTH", "month":
			name(monthNames[m-1], 9)
		case "Mon", "MON", "mon":
			name(monthNames[m-1][:3], 3)
		case "DD":
			num(d, 2)
		case "DDD":
			num(days-civilDays(y, 1, 1)+1, 3)
		case "Day", "DAY", "day":
			name(dayNames[weekday], 9)
		case "Dy", "DY", "dy":
			name(dayNames[weekday][:3], 3)
		case "D":
			num(weekday+1, 1)
		case "ID":
			num(floorMod(days+3, 7)+1, 1)
		case "IW":
			num(week, 2)
		case "WW":
			num((days-civilDays(y, 1, 1))/7+1, 2)
		case "W":
			num((d-1)/7+1, 1)
		case "J":
			num(days+2440588, 1)
		case "HH24":
			num(h, 2)
		case "HH12", "HH":
			num((h+11)%12+1, 2)
		case "MI":
			num(micros%hour/minute, 2)
		case "SS":
			num(micros%minute/second, 2)
		case "SSSS":
			num(micros/second, 1)
		case "MS":
			num(micros%second/1000, 3)
		case "US":
			num(micros%second, 6)
		case "AM", "PM":
			dst = append(dst, "AMPM"[h/12*2:h/12*2+2]...)
		case "am", "pm":
			dst = append(dst, "ampm"[h/12*2:h/12*2+2]...)
		case "A.M.", "P.M.":
			dst = append(dst, "A.M.P.M."[h/12*4:h/12*4+4]...)
		case "a.m.", "p.m.":
			dst = append(dst, "a.m.p.m."[h/12*4:h/12*4+4]...)
		case "BC", "AD":
			dst = append(dst, "BCAD"[2*b2i(y > 0):2*b2i(y > 0)+2]...)
		case "TZ":
			dst = append(dst, "UTC"...)
		case "tz":
			dst = append(dst, "utc"...)
		case "OF":
			dst = append(dst, "+00"...)
		case "TH", "th":
			suffix := "th"
			if n := last % 10; n >= 1 && n <= 3 && last%100/10 != 1 {
				suffix = []string{"st", "nd", "rd"}[n-1]
			}
			if token == "TH" {
				suffix = strings.ToUpper(suffix)
			}
			dst = append(dst, suffix...)
		}
		fill = true
	}
	return dst, nil
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// parsePattern reads a text in a format of to_char. Separators match any separator or spaces.
func parsePattern(text, format string) (int64, error) {
	t, rest, f := newMoment(), strings.TrimSpace(text), format
	bad := func() (int64, error) {
		return 0, rowError(0, "%s does not match the pattern %s", quote(text), quote(format))
	}
	for f != "" {
		token, after, literal := nextToken(f)
		f = after
		if literal {
			if token == " " {
				rest = strings.TrimLeft(rest, " ")
			} else if rest != "" && strings.HasPrefix(rest, token) {
				rest = rest[len(token):]
			} else if rest != "" && strings.ContainsAny(rest[:1], "-/.,:; T") {
				rest = rest[1:]
			}
			continue
		}
		if rest == "" {
			break
		}
		// a pattern takes its own number of digits only if digits of the next one follow at once
		width := len(token)
		if token == "HH24" || token == "HH12" {
			width = 2
		}
		if token == "US" || f == "" || !startsWithPattern(f) {
			width = max(width, 6)
		}
		rest = strings.TrimLeft(rest, " ")
		var x int64
		n := 1
		take := func() {
			x, rest, n = number(rest, width)
		}
		switch token {
		case "YYYY", "IYYY", "YYY", "YY", "Y":
			take()
			if n <= 2 && len(token) < 4 {
				x += 1900 + 100*int64(b2i(x < 70))
			}
			t.year = x
			if token == "IYYY" {
				t.isoYear = x
			}
		case "MM":
			take()
			t.month = x
		case "DD":
			take()
			t.day = x
		case "DDD":
			take()
			t.doy, t.hasDoy = x, true
		case "IW":
			take()
			t.isoWeek = x
		case "ID":
			take()
			t.isoDay = x
		case "HH24":
			take()
			t.hour = x
		case "HH12", "HH":
			take()
			t.hour, t.twelve = x, true
		case "MI":
			take()
			t.minute = x
		case "SS":
			take()
			t.second = x
		case "MS", "US":
			take()
			frac, _, _ := vec.ParseDecimal("0."+padRight(x, n), 7, 6)
			t.micros = int64(frac.Lo)
		case "Month", "MONTH", "month", "Mon", "MON", "mon":
			t.month, rest = nameOf(rest, monthNames)
			n = int(t.month)
		case "Day", "DAY", "day", "Dy", "DY", "dy":
			x, rest = nameOf(rest, dayNames)
			n = int(x)
		case "AM", "PM", "am", "pm", "A.M.", "P.M.", "a.m.", "p.m.":
			if len(rest) < len(token) {
				return bad()
			}
			t.pm, rest = rest[0]|0x20 == 'p', rest[len(token):]
			t.twelve = true
		case "BC", "AD":
			if len(rest) < 2 {
				return bad()
			}
			t.bc, rest = rest[0]|0x20 == 'b', rest[2:]
		case "OF", "TZ", "tz":
			var ok bool
			if t.offset, rest, ok = zoneOffset(rest); !ok {
				return bad()
			}
		case "FM":
		default:
			return 0, rowError(0, "the pattern %s cannot be read; use YYYY, MM, DD, HH24, MI, SS, Mon and others", token)
		}
		if n == 0 {
			return bad()
		}
	}
	ts, ok := t.timestamp()
	if !ok {
		return bad()
	}
	return ts, nil
}

// padRight returns a fraction of n digits.
func padRight(x int64, n int) string { return string(pad(nil, x, n)) + "0" }

// startsWithPattern reports whether a pattern of digits follows at once.
func startsWithPattern(f string) bool {
	token, _, literal := nextToken(f)
	return !literal && token != "TZ" && token != "OF"
}

// toCharNumber appends a number in a pattern of PostgreSQL: 9 is a digit, 0 a digit with leading
// zeros, D or . the point, G or , a group separator, S or MI a sign, PR angle brackets for negative
// numbers, FM no padding.
func toCharNumber(dst []byte, x vec.Int128, scale int, pattern string) ([]byte, error) {
	p := pattern
	fill := true
	if q, ok := cutFold(p, "FM"); ok {
		fill, p = false, q
	}
	upper := strings.ToUpper(p)
	sign := byte(0) // S, M for MI, P for PR
	signLast := false
	for _, s := range []string{"S", "MI", "PR"} {
		if strings.HasPrefix(upper, s) {
			sign, p, upper = s[0], p[len(s):], upper[len(s):]
		} else if strings.HasSuffix(upper, s) {
			sign, signLast, p, upper = s[0], true, p[:len(p)-len(s)], upper[:len(upper)-len(s)]
		}
	}
	whole, frac, point := upper, "", false
	if at := strings.IndexAny(upper, ".D"); at >= 0 {
		whole, frac, point = upper[:at], upper[at+1:], true
	}
	for _, c := range whole + frac {
		if !strings.ContainsRune("09,G ", c) {
			return dst, rowError(0, "the pattern %s of a number has an unknown %q; use 9 0 . , D G S MI PR and FM", quote(pattern), string(c))
		}
	}
	places := strings.Count(frac, "9") + strings.Count(frac, "0")
	negative := x.Sign() < 0
	if negative {
		x = x.Neg()
	}
	if places < scale {
		x = x.RoundQuo(vec.Pow10(scale - places))
	} else if y, ok := x.Mul(vec.Pow10(min(places-scale, vec.MaxPrecision))); ok {
		x = y
	}
	digits := string(vec.AppendDecimal(nil, x, places))
	fraction := ""
	if at := strings.IndexByte(digits, '.'); at >= 0 {
		digits, fraction = digits[:at], digits[at+1:]
	}
	room := strings.Count(whole, "9") + strings.Count(whole, "0")
	if digits == "0" && !strings.Contains(whole, "0") && places > 0 {
		digits = ""
	}
	overflow := len(digits) > room
	var out []byte
	zeros, started, left := false, false, room
	for i := range len(whole) {
		c := whole[i]
		if c == ',' || c == 'G' {
			if started {
				out = append(out, ',')
			} else if fill {
				out = append(out, ' ')
			}
			continue
		}
		if c == ' ' {
			continue
		}
		zeros = zeros || c == '0'
		switch {
		case overflow:
			out, started = append(out, '#'), true
		case left <= len(digits):
			out, started = append(out, digits[len(digits)-left]), true
		case zeros:
			out, started = append(out, '0'), true
		case fill:
			out = append(out, ' ')
		}
		left--
	}
	if point {
		out = append(out, '.')
		at := 0
		lastZero := strings.LastIndexByte(strings.ReplaceAll(frac, " ", ""), '0')
		keep := len(fraction)
		for !fill && keep > lastZero+1 && fraction[keep-1] == '0' {
			keep--
		}
		for range places {
			if overflow {
				out = append(out, '#')
			} else if at < keep {
				out = append(out, fraction[at])
			}
			at++
		}
	}
	return appendSigned(dst, out, negative && strings.Trim(digits+fraction, "0") != "" || negative && overflow, sign, signLast, fill), nil
}

// appendSigned appends the digits of to_char with their sign.
func appendSigned(dst, out []byte, negative bool, sign byte, signLast, fill bool) []byte {
	body := strings.TrimLeft(string(out), " ")
	blanks := out[:len(out)-len(body)]
	mark := byte(' ')
	if negative {
		mark = '-'
	}
	switch {
	case sign == 'P':
		dst = append(dst, blanks...)
		if negative {
			return append(append(append(dst, '<'), body...), '>')
		}
		if fill {
			return append(append(append(dst, ' '), body...), ' ')
		}
		return append(dst, body...)
	case sign == 'S' && !negative:
		mark = '+'
	}
	if signLast {
		dst = append(append(dst, blanks...), body...)
		if mark != ' ' || fill {
			dst = append(dst, mark)
		}
		return dst
	}
	if sign == 'M' {
		if mark != ' ' || fill {
			dst = append(dst, mark)
		}
		return append(append(dst, blanks...), body...)
	}
	dst = append(dst, blanks...)
	if mark != ' ' || fill {
		dst = append(dst, mark)
	}
	return append(dst, body...)
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func charFunctions() []function {
	text := vec.Of(vec.Text)
	number := func(args []*Expr) (vec.Type, kernel, error) {
		scale := args[0].Type.Scale
		return text, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			x, m := wides(args[0]), maskOf(args[0])
			return appendEach(text, args, n, func(dst []byte, i int) ([]byte, error) {
				return toCharNumber(dst, x[i&m], scale, args[1].String(i))
			})
		}, nil
	}
	return []function{
		def("to_char", "timestamp text", append2(vec.Text, toChar)),
		def("to_char", "timestamptz text", append2(vec.Text, toChar)),
		def("to_char", "int text", number),
		def("to_char", "decimal text", number),
		def("to_char", "double text", append2(vec.Text, func(dst []byte, x float64, p string) ([]byte, error) {
			for scale := 12; scale >= 0; scale -= 4 {
				if d, ok := floatToDecimal(x, vec.MaxPrecision, scale); ok {
					return toCharNumber(dst, d, scale, p)
				}
			}
			if math.IsNaN(x) {
				return append(dst, "NaN"...), nil
			}
			return strconv.AppendFloat(dst, x, 'e', -1, 64), nil
		})),
		def("to_char", "interval text", append2(vec.Text, func(dst []byte, s vec.Span, f string) ([]byte, error) {
			return toChar(dst, s.Micros+int64(s.Days)*day, f)
		})),
	}
}
