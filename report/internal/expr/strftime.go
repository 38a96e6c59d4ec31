package expr

import (
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// strftime appends a timestamp in a format such as %Y-%m-%d %H:%M:%S. A dash, as in %-d, drops
// leading zeros.
func strftime(dst []byte, ts int64, format string) ([]byte, error) {
	days, micros := splitMicros(ts)
	y, m, d := civil(days)
	h := micros / hour
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			dst = append(dst, format[i])
			continue
		}
		i++
		dash := i < len(format) && format[i] == '-'
		if dash {
			i++
		}
		if i >= len(format) {
			return dst, rowError(0, "strftime: the format %s ends with %%; write %%%% for a percent sign", quote(format))
		}
		two := func(x int64, width int) {
			if dash {
				width = 1
			}
			dst = pad(dst, x, width)
		}
		switch format[i] {
		case 'Y':
			dst = pad(dst, y, 4)
		case 'y':
			two(floorMod(y, 100), 2)
		case 'm':
			two(m, 2)
		case 'd':
			two(d, 2)
		case 'H':
			two(h, 2)
		case 'I':
			two((h+11)%12+1, 2)
		case 'M':
			two(micros%hour/minute, 2)
		case 'S':
			two(micros%minute/second, 2)
		case 'f':
			two(micros%second, 6)
		case 'g':
			two(micros%second/1000, 3)
		case 'n':
			dst = pad(dst, micros%second*1000, 9)
		case 'p':
			dst = append(dst, "AMPM"[h/12*2:h/12*2+2]...)
		case 'b', 'h':
			dst = append(dst, monthNames[m-1][:3]...)
		case 'B':
			dst = append(dst, monthNames[m-1]...)
		case 'a':
			dst = append(dst, dayNames[floorMod(days+4, 7)][:3]...)
		case 'A':
			dst = append(dst, dayNames[floorMod(days+4, 7)]...)
		case 'w':
			dst = pad(dst, floorMod(days+4, 7), 1)
		case 'u':
			dst = pad(dst, floorMod(days+3, 7)+1, 1)
		case 'j':
			two(days-civilDays(y, 1, 1)+1, 3)
		case 'U': // weeks from the first Sunday
			two((days-civilDays(y, 1, 1)+7-floorMod(days+4, 7))/7, 2)
		case 'W': // weeks from the first Monday
			two((days-civilDays(y, 1, 1)+7-floorMod(days+3, 7))/7, 2)
		case 'G':
			iso, _ := isoWeek(days)
			dst = pad(dst, iso, 4)
		case 'V':
			_, week := isoWeek(days)
			two(week, 2)
		case 's':
			dst = pad(dst, floorDiv(ts, second), 1)
		case 'z':
			dst = append(dst, "+00"...)
		case 'Z':
			dst = append(dst, "UTC"...)
		case 'c', 'F', 'x', 'T', 'X', 'D', 'R':
			long := map[byte]string{'c': "%Y-%m-%d %H:%M:%S", 'F': "%Y-%m-%d", 'x': "%Y-%m-%d", 'T': "%H:%M:%S", 'X': "%H:%M:%S",
				'D': "%m/%d/%y", 'R': "%H:%M"}[format[i]]
			dst, _ = strftime(dst, ts, long)
		case '%':
			dst = append(dst, '%')
		default:
			return dst, rowError(0, "strftime: %%%c is unknown; use %%Y %%m %%d %%H %%M %%S %%f %%b %%a %%j and others", format[i])
		}
	}
	return dst, nil
}

// moment collects the parts of a time that a format names.
type moment struct {
	year, month, day       int64
	hour, minute, second   int64
	micros, offset, doy    int64
	pm, twelve, bc, hasDoy bool
	stamp                  int64 // of %s
	hasStamp               bool
	isoYear, isoWeek       int64
	isoDay                 int64
}

func newMoment() moment { return moment{year: 1970, month: 1, day: 1, isoDay: 1} }

// timestamp returns the moment in UTC if it exists.
func (t *moment) timestamp() (int64, bool) {
	if t.hasStamp {
		return t.stamp * second, true
	}
	y := t.year
	if t.bc {
		y = 1 - y
	}
	days, ok := dateOf(y, t.month, t.day)
	switch {
	case t.hasDoy:
		if days, ok = dateOf(y, 1, 1); ok {
			days += t.doy - 1
			ok = t.doy >= 1 && t.doy <= 366
		}
	case t.isoWeek > 0:
		if t.isoYear == 0 {
			t.isoYear = y
		}
		fourth := civilDays(t.isoYear, 1, 4)
		days = fourth - floorMod(fourth+3, 7) + (t.isoWeek-1)*7 + t.isoDay - 1
		ok = t.isoWeek <= 53
	}
	h := t.hour
	if t.twelve {
		if h < 1 || h > 12 {
			return 0, false
		}
		h %= 12
		if t.pm {
			h += 12
		}
	}
	if !ok || h > 24 || t.minute > 59 || t.second > 60 {
		return 0, false
	}
	return stampOf(days, (h*60+t.minute)*minute+t.second*second+t.micros-t.offset*second)
}

// strptime reads a text in a format of strftime. A zone is converted to UTC.
func strptime(text, format string) (int64, error) {
	t, rest := newMoment(), text
	bad := func() (int64, error) {
		return 0, rowError(0, "%s does not match the format %s", quote(text), quote(format))
	}
	digits := func(most int) (int64, bool) {
		x, after, n := number(rest, most)
		rest = after
		return x, n > 0
	}
	long := strings.NewReplacer("%F", "%Y-%m-%d", "%T", "%H:%M:%S", "%D", "%m/%d/%y", "%R", "%H:%M", "%c", "%Y-%m-%d %H:%M:%S",
		"%x", "%Y-%m-%d", "%X", "%H:%M:%S", "%-", "%")
	expanded := long.Replace(format)
	for i := 0; i < len(expanded); i++ {
		c := expanded[i]
		if c == ' ' {
			rest = strings.TrimLeft(rest, " ")
			continue
		}
		if c != '%' || i+1 == len(expanded) {
			if rest == "" || rest[0] != c {
				return bad()
			}
			rest = rest[1:]
			continue
		}
		i++
		ok := true
		var x int64
		switch expanded[i] {
		case 'Y':
			t.year, ok = digits(4)
		case 'y':
			if t.year, ok = digits(2); t.year < 69 {
				t.year += 100
			}
			t.year += 1900
		case 'm':
			t.month, ok = digits(2)
		case 'd', 'e':
			rest = strings.TrimLeft(rest, " ")
			t.day, ok = digits(2)
		case 'H':
			t.hour, ok = digits(2)
		case 'I':
			t.hour, ok = digits(2)
			t.twelve = true
		case 'M':
			t.minute, ok = digits(2)
		case 'S':
			t.second, ok = digits(2)
		case 'f', 'n', 'g':
			n := 0
			for n < len(rest) && n < 9 && rest[n]-'0' <= 9 {
				n++
			}
			frac, _, _ := vec.ParseDecimal("0."+rest[:n]+"0", 7, 6)
			t.micros, rest, ok = int64(frac.Lo), rest[n:], n > 0
		case 'j':
			t.doy, ok = digits(3)
			t.hasDoy = true
		case 'p':
			ok = isMeridian(rest)
			if ok {
				rest = strings.TrimLeft(rest, " ")
				t.pm, rest = rest[0]|0x20 == 'p', rest[2:]
				t.twelve = true
			}
		case 'b', 'B', 'h':
			t.month, rest = nameOf(rest, monthNames)
			ok = t.month > 0
		case 'a', 'A':
			x, rest = nameOf(rest, dayNames)
			ok = x > 0
		case 'u', 'w':
			t.isoDay, ok = digits(1)
			if t.isoDay == 0 {
				t.isoDay = 7
			}
		case 'G':
			t.isoYear, ok = digits(4)
		case 'V':
			t.isoWeek, ok = digits(2)
		case 's':
			t.stamp, ok = digits(12)
			t.hasStamp = true
		case 'z', 'Z':
			t.offset, rest, ok = zoneOffset(rest)
		case '%':
			ok = strings.HasPrefix(rest, "%")
			rest = strings.TrimPrefix(rest, "%")
		default:
			return 0, rowError(0, "strptime: %%%c is unknown; use %%Y %%m %%d %%H %%M %%S %%f %%b %%p %%z and others", expanded[i])
		}
		if !ok {
			return bad()
		}
	}
	ts, ok := t.timestamp()
	if !ok || strings.TrimSpace(rest) != "" {
		return bad()
	}
	return ts, nil
}
