package scan

import (
	"math"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// fits64 reports whether an integer of digits fits an int64.
func fits64(s string) bool {
	_, ok := parseInt(s)
	return ok
}

// parseInt reads an integer of 64 bits.
func parseInt(s string) (int64, bool) {
	neg, d := false, s
	if d != "" && (d[0] == '-' || d[0] == '+') {
		neg, d = d[0] == '-', d[1:]
	}
	if d == "" {
		return 0, false
	}
	if len(d) > 18 {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil
	}
	n := int64(0)
	for i := range len(d) {
		c := d[i] - '0'
		if c > 9 {
			return parseWhole(s)
		}
		n = n*10 + int64(c)
	}
	if neg {
		n = -n
	}
	return n, true
}

// parseWhole reads an integer that is spelled as another number, such as 5.0 or 1e3.
func parseWhole(s string) (int64, bool) {
	x, exact, ok := vec.ParseDecimal(s, 19, 0)
	n, fits := x.Int64()
	return n, exact && ok && fits
}

// parseDecimal reads a number times 10^scale. A number with other digits after the scale than zeros
// does not fit.
func parseDecimal(s string, scale int) (int64, bool) {
	neg, d := false, s
	if d != "" && (d[0] == '-' || d[0] == '+') {
		neg, d = d[0] == '-', d[1:]
	}
	if len(d) > 17 || d == "" {
		return slowDecimal(s, scale)
	}
	n, places := int64(0), -1
	for i := range len(d) {
		c := d[i] - '0'
		if c > 9 {
			if d[i] != '.' || places >= 0 || len(d) == 1 {
				return slowDecimal(s, scale)
			}
			places = len(d) - i - 1
			continue
		}
		n = n*10 + int64(c)
	}
	missing := scale - max(places, 0)
	if missing < 0 || missing+len(d) > 18 {
		return slowDecimal(s, scale)
	}
	if n *= tens[missing]; neg {
		n = -n
	}
	return n, true
}

func slowDecimal(s string, scale int) (int64, bool) {
	x, exact, ok := vec.ParseDecimal(s, 19, scale)
	n, fits := x.Int64()
	return n, exact && ok && fits
}

// tens are the powers of ten that fit an int64.
var tens = func() (t [19]int64) {
	t[0] = 1
	for i := 1; i < len(t); i++ {
		t[i] = t[i-1] * 10
	}
	return t
}()

// parseFloat reads a floating-point number. One too great is infinite, and does not fit.
func parseFloat(s string) (float64, bool) {
	if len(s) <= 15 && s != "" {
		// a mantissa below 2^53 and a power of ten up to 10^22 are exact, so one division rounds
		// once
		d, neg := s, false
		if d[0] == '-' {
			neg, d = true, d[1:]
		}
		n, places, plain := int64(0), -1, d != "" && d != "."
		for i := range len(d) {
			c := d[i] - '0'
			if c > 9 {
				if d[i] != '.' || places >= 0 {
					plain = false
					break
				}
				places = len(d) - i - 1
				continue
			}
			n = n*10 + int64(c)
		}
		if plain {
			f := float64(n)
			if places > 0 {
				f /= float64(tens[places])
			}
			if neg {
				f = -f
			}
			return f, true
		}
	}
	if strings.ContainsAny(s, "_xXpP") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && (!math.IsInf(f, 0) || strings.ContainsAny(s, "iI"))
}

// parseBool reads true or false, in any case.
func parseBool(s string) (v, ok bool) {
	switch len(s) {
	case 4:
		return true, strings.EqualFold(s, "true")
	case 5:
		return false, strings.EqualFold(s, "false")
	case 1:
		switch s[0] {
		case 't', 'T', '1':
			return true, true
		case 'f', 'F', '0':
			return false, true
		}
	}
	return false, false
}

// two reads two digits at i.
func two(s string, i int) (int, bool) {
	a, b := s[i]-'0', s[i+1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

// parseDate reads a date such as 2024-02-29, as days since 1970-01-01.
func parseDate(s string) (int64, bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	century, ok1 := two(s, 0)
	year, ok2 := two(s, 2)
	month, ok3 := two(s, 5)
	day, ok4 := two(s, 8)
	year += century * 100
	if !(ok1 && ok2 && ok3 && ok4) || !isDay(year, month, day) {
		return 0, false
	}
	return daysOf(year, month, day), true
}

// isDay reports whether the calendar has the day.
func isDay(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 || year < 1 {
		return false
	}
	if day <= 28 {
		return true
	}
	n := 31
	switch month {
	case 4, 6, 9, 11:
		n = 30
	case 2:
		if n = 28; year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			n = 29
		}
	}
	return day <= n
}

// daysOf returns the days from 1970-01-01 to a day of the Gregorian calendar. It counts years from
// March, so that the leap day is the last day.
func daysOf(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = (year - 399) / 400
	}
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return int64(era)*146097 + int64(ofEra*365+ofEra/4-ofEra/100+ofYear) - 719468
}

const (
	second = int64(1_000_000) // in microseconds
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// parseClock reads a time such as 13:45, 13:45:07 or 13:45:07.125 at the start of s, in
// microseconds. It returns the length of the time, or 0. Digits after the microseconds are dropped.
func parseClock(s string) (micros int64, n int) {
	if len(s) < 5 || s[2] != ':' {
		return 0, 0
	}
	h, ok1 := two(s, 0)
	m, ok2 := two(s, 3)
	if !ok1 || !ok2 || h > 24 || m > 59 {
		return 0, 0
	}
	micros, n = int64(h)*hour+int64(m)*minute, 5
	if len(s) >= 8 && s[5] == ':' {
		sec, ok := two(s, 6)
		if !ok || sec > 60 {
			return 0, 0
		}
		micros, n = micros+int64(sec)*second, 8
		if len(s) > 9 && (s[8] == '.' || s[8] == ',') && s[9]-'0' <= 9 {
			unit := second / 10
			for n = 9; n < len(s) && s[n]-'0' <= 9; n++ {
				micros += int64(s[n]-'0') * unit
				unit /= 10
			}
		}
	}
	if micros > day {
		return 0, 0
	}
	return micros, n
}

// parseTime reads a time of day, in microseconds.
func parseTime(s string) (int64, bool) {
	micros, n := parseClock(s)
	return micros, n > 0 && n == len(s) && micros < day
}

// parseTimestamp reads a date and a time such as 2024-02-29T13:45:07.125+02:00, in microseconds
// since 1970-01-01. zoned reports whether it has an offset; the result is in UTC then.
func parseTimestamp(s string) (micros int64, zoned, ok bool) {
	if len(s) < 10 {
		return 0, false, false
	}
	days, ok := parseDate(s[:10])
	if !ok {
		return 0, false, false
	}
	if micros = days * day; len(s) == 10 {
		return micros, false, true
	}
	if s[10] != 'T' && s[10] != ' ' && s[10] != 't' {
		return 0, false, false
	}
	clock, n := parseClock(s[11:])
	if n == 0 {
		return 0, false, false
	}
	micros += clock
	rest := s[11+n:]
	if rest == "" {
		return micros, false, true
	}
	offset, ok := parseOffset(rest)
	return micros - offset, true, ok
}

// parseOffset reads an offset from UTC, such as Z, +02, -0330 or " +02:00", in microseconds.
func parseOffset(s string) (int64, bool) {
	if s[0] == ' ' {
		s = s[1:]
	}
	switch {
	case s == "Z" || s == "z" || s == "UTC" || s == "GMT":
		return 0, true
	case len(s) < 3 || s[0] != '+' && s[0] != '-':
		return 0, false
	}
	h, ok := two(s, 1)
	m := 0
	switch rest := s[3:]; {
	case !ok || h > 18:
		return 0, false
	case rest == "":
	case len(rest) == 2:
		m, ok = two(rest, 0)
	case len(rest) == 3 && rest[0] == ':':
		m, ok = two(rest, 1)
	default:
		return 0, false
	}
	offset := int64(h)*hour + int64(m)*minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ok && m < 60
}
