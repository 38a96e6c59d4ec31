package scan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// A layout is a format of dates and times in the notation of strptime, such as %d.%m.%Y %H:%M:%S.
type layout struct{ steps []string }

// newLayout parses a format.
func newLayout(format string) (*layout, error) {
	l := &layout{}
	for rest := format; rest != ""; {
		switch {
		case rest[0] != '%':
			l.steps, rest = append(l.steps, rest[:1]), rest[1:]
			continue
		case len(rest) == 1 || !strings.ContainsRune("YymdHIMSfpzbBjeaAT%", rune(rest[1])):
			return nil, fmt.Errorf("the format %q has %q, which is not known; use %%Y %%y %%m %%d %%b %%B %%H %%I %%p %%M %%S %%f %%z", format, rest[:min(2, len(rest))])
		case rest[1] == 'T':
			rest = "%H:%M:%S" + rest[2:]
		default:
			l.steps, rest = append(l.steps, rest[:2]), rest[2:]
		}
	}
	return l, nil
}

var months = [...]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

// timestamp reads a text of the layout, in microseconds since 1970-01-01.
func (l *layout) timestamp(s string) (micros int64, zoned, ok bool) {
	year, month, dayOf, h, m, sec, frac, offset := 1970, 1, 1, 0, 0, 0, int64(0), int64(0)
	pm, half := false, false
	number := func(most int) int {
		n := 0
		for n < len(s) && n < most && s[n]-'0' <= 9 {
			n++
		}
		v, err := strconv.Atoi(s[:n])
		ok = ok && err == nil
		s = s[n:]
		return v
	}
	ok = true
	for _, step := range l.steps {
		if !ok {
			break
		}
		if len(step) == 1 || step == "%%" {
			ok = s != "" && s[0] == step[0]
			s = s[min(1, len(s)):]
			continue
		}
		switch step[1] {
		case 'Y':
			year = number(4)
		case 'y':
			if year = number(2); year < 69 {
				year += 100
			}
			year += 1900
		case 'm':
			month = number(2)
		case 'd', 'e':
			s = strings.TrimPrefix(s, " ")
			dayOf = number(2)
		case 'j':
			month, dayOf = 1, number(3)
		case 'H':
			h = number(2)
		case 'I':
			h, half = number(2), true
		case 'M':
			m = number(2)
		case 'S':
			sec = number(2)
		case 'f':
			n := len(s)
			frac = int64(number(6))
			if n -= len(s); n <= 6 {
				frac *= tens[6-n]
			}
		case 'p':
			ok = len(s) >= 2 && s[1]|0x20 == 'm' && (s[0]|0x20 == 'a' || s[0]|0x20 == 'p')
			if ok {
				pm, half, s = s[0]|0x20 == 'p', true, s[2:]
			}
		case 'b', 'B':
			s, month = cutMonth(s)
			ok = month > 0
		case 'a', 'A':
			s = strings.TrimLeft(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
		case 'z':
			n := strings.IndexAny(s, " ])")
			if n < 0 {
				n = len(s)
			}
			if ok = n > 0; ok {
				offset, ok = parseOffset(s[:n])
				s, zoned = s[n:], true
			}
		}
	}
	if half {
		ok = ok && h >= 1 && h <= 12
		if h %= 12; pm {
			h += 12
		}
	}
	if !ok || s != "" || !isDay(year, month, min(dayOf, 28)) || month != 1 && !isDay(year, month, dayOf) || dayOf > 366 || h > 24 || m > 59 || sec > 60 {
		return 0, false, false
	}
	clock := int64(h)*hour + int64(m)*minute + int64(sec)*second + frac
	return daysOf(year, month, dayOf)*day + clock - offset, zoned, true
}

// date reads a text of the layout, in days since 1970-01-01.
func (l *layout) date(s string) (int64, bool) {
	micros, _, ok := l.timestamp(s)
	days := micros / day
	if micros%day < 0 {
		days--
	}
	return days, ok
}

// cutMonth cuts the English name of a month, or its first three letters, from s.
func cutMonth(s string) (rest string, month int) {
	for i, name := range months {
		if len(s) < 3 || !strings.EqualFold(s[:3], name[:3]) {
			continue
		}
		n := 3
		if len(s) >= len(name) && strings.EqualFold(s[:len(name)], name) {
			n = len(name)
		}
		return s[n:], i + 1
	}
	return s, 0
}

// parseInterval reads an interval such as "1 day 02:03:04" or "3 months".
func parseInterval(s string) (span vec.Span, ok bool) {
	fields := strings.Fields(s)
	for i := 0; i < len(fields); i++ {
		if strings.Contains(fields[i], ":") {
			text, neg := strings.CutPrefix(fields[i], "-")
			if len(text) > 1 && text[1] == ':' {
				text = "0" + text
			}
			micros, n := parseClock(text)
			if n != len(text) || n == 0 {
				return span, false
			}
			if neg {
				micros = -micros
			}
			span.Micros += micros
			continue
		}
		n, fits := parseInt(fields[i])
		if !fits || n > 1<<30 || n < -1<<30 || i+1 == len(fields) {
			return span, false
		}
		i++
		switch strings.TrimSuffix(strings.ToLower(fields[i]), "s") {
		case "year":
			span.Months += int32(n * 12)
		case "month", "mon":
			span.Months += int32(n)
		case "week":
			span.Days += int32(n * 7)
		case "day":
			span.Days += int32(n)
		case "hour":
			span.Micros += n * hour
		case "minute", "min":
			span.Micros += n * minute
		case "second", "sec":
			span.Micros += n * second
		default:
			return span, false
		}
	}
	return span, len(fields) > 0
}
