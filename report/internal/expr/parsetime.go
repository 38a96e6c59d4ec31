package expr

import (
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// monthNames and dayNames are in English: reports do not depend on the language of the machine.
var (
	monthNames = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
		"November", "December"}
	dayNames = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// number cuts a number of at least one digit and at most max from s.
func number(s string, limit int) (x int64, rest string, digits int) {
	for digits < len(s) && digits < limit && s[digits]-'0' <= 9 {
		x = x*10 + int64(s[digits]-'0')
		digits++
	}
	return x, s[digits:], digits
}

// nameOf cuts a name from s, or its first three letters, and returns its number from 1, or 0.
func nameOf(s string, names []string) (int64, string) {
	n := 0
	for n < len(s) && (s[n]|0x20) >= 'a' && (s[n]|0x20) <= 'z' {
		n++
	}
	for i, name := range names {
		if n >= 3 && (strings.EqualFold(s[:n], name) || n <= 4 && strings.EqualFold(s[:min(n, 3)], name[:3]) && len(name) >= n && strings.EqualFold(s[:n], name[:n])) {
			return int64(i + 1), s[n:]
		}
	}
	return 0, s
}

// cutDate cuts a date from the start of s: 2024-01-31, 2024/1/31, 20240131, Jan 31, 2024,
// 31 January 2024, 2024-Jan-31. BC may follow at the end of the text, which the caller cuts.
func cutDate(s string) (y, m, d int64, rest string, ok bool) {
	if month, after := nameOf(s, monthNames); month > 0 { // Jan 31, 2024
		after = strings.TrimLeft(after, " .-")
		d, after, n := number(after, 2)
		if n == 0 {
			return 0, 0, 0, s, false
		}
		y, after, n := number(strings.TrimLeft(after, " ,-"), 6)
		return y, month, d, after, n >= 4
	}
	first, after, n := number(s, 6)
	if n == 0 {
		return 0, 0, 0, s, false
	}
	if len(after) > 0 && after[0]-'0' <= 9 {
		first, after, n = number(s, 8)
		return first / 10000, first / 100 % 100, first % 100, after, n == 8
	}
	if n <= 2 { // 31 January 2024
		month, next := nameOf(strings.TrimLeft(after, " -"), monthNames)
		if month == 0 {
			return 0, 0, 0, s, false
		}
		y, next, n := number(strings.TrimLeft(next, " ,-"), 6)
		return y, month, first, next, n >= 4
	}
	if after == "" || after[0] != '-' && after[0] != '/' && after[0] != '.' {
		return 0, 0, 0, s, false
	}
	sep := after[0]
	m, after, n = number(after[1:], 2)
	if n == 0 && sep == '-' {
		if m, after = nameOf(after, monthNames); m > 0 {
			n = 1
		}
	}
	if n == 0 || after == "" || after[0] != sep {
		return 0, 0, 0, s, false
	}
	d, after, n = number(after[1:], 2)
	return first, m, d, after, n > 0
}

// cutTime cuts a time of day: 4:05, 04:05:06.789, 040506, with AM or PM.
func cutTime(s string) (micros int64, rest string, ok bool) {
	h, after, n := number(s, 6)
	var m, sec int64
	switch {
	case n == 6 || n == 4:
		if n == 4 {
			h *= 100
		}
		h, m, sec = h/10000, h/100%100, h%100
	case n == 0 || n > 2:
		return 0, s, false
	case after != "" && after[0] == ':':
		if m, after, n = number(after[1:], 2); n == 0 {
			return 0, s, false
		}
		if after != "" && after[0] == ':' {
			if sec, after, n = number(after[1:], 2); n == 0 {
				return 0, s, false
			}
		}
	case !isMeridian(after):
		return 0, s, false
	}
	micros = (h*60+m)*minute + sec*second
	if len(after) > 1 && after[0] == '.' && after[1]-'0' <= 9 {
		digits := 1
		for digits < len(after) && after[digits]-'0' <= 9 {
			digits++
		}
		x, _, _ := vec.ParseDecimal("0"+after[:digits], 7, 6)
		micros += int64(x.Lo)
		after = after[digits:]
	}
	if isMeridian(after) {
		t := strings.TrimLeft(after, " ")
		pm := t[0]|0x20 == 'p'
		if h < 1 || h > 12 {
			return 0, s, false
		}
		if h == 12 {
			micros -= 12 * hour
		}
		if pm {
			micros += 12 * hour
		}
		after = t[2:]
	}
	return micros, after, h <= 24 && m < 60 && sec <= 60 && micros <= day
}

// isMeridian reports whether s begins with AM or PM.
func isMeridian(s string) bool {
	s = strings.TrimLeft(s, " ")
	return len(s) >= 2 && (s[0]|0x20 == 'a' || s[0]|0x20 == 'p') && s[1]|0x20 == 'm' && (len(s) == 2 || s[2]|0x20 < 'a' || s[2]|0x20 > 'z')
}

// zoneOffset cuts a fixed offset: Z, UTC, +02, +0230, -05:30, in seconds east of UTC.
func zoneOffset(s string) (seconds int64, rest string, ok bool) {
	for _, utc := range []string{"UTC", "GMT", "Z"} {
		if len(s) >= len(utc) && strings.EqualFold(s[:len(utc)], utc) {
			return 0, s[len(utc):], true
		}
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, s, false
	}
	h, after, n := number(s[1:], 2)
	if n == 0 {
		return 0, s, false
	}
	var m, sec int64
	if digits := strings.TrimPrefix(after, ":"); digits != "" && digits[0]-'0' <= 9 {
		if m, after, n = number(digits, 2); n < 2 {
			return 0, s, false
		}
		if strings.HasPrefix(after, ":") {
			if sec, after, n = number(after[1:], 2); n < 2 {
				return 0, s, false
			}
		}
	}
	seconds = h*3600 + m*60 + sec
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, after, h <= 15 && m < 60 && sec < 60
}

// cutBC cuts BC or AD from the end of a date.
func cutBC(s string) (string, bool) {
	if n := len(s); n > 3 && s[n-3] == ' ' {
		switch strings.ToUpper(s[n-2:]) {
		case "BC":
			return strings.TrimRight(s[:n-3], " "), true
		case "AD":
			return strings.TrimRight(s[:n-3], " "), false
		}
	}
	return s, false
}

// parseDate reads a date. A time of day after it is dropped.
func parseDate(s string) (int64, bool) {
	ts, _, ok := parseStamp(s)
	return floorDiv(ts, day), ok
}

// parseStamp reads a date and a time of day, which may be missing. offset is the part of the local
// time that its zone is ahead of UTC, in microseconds.
func parseStamp(s string) (local, offset int64, ok bool) {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, "epoch") {
		return 0, 0, true
	}
	s, bc := cutBC(s)
	y, m, d, rest, ok := cutDate(s)
	if !ok || y == 0 {
		return 0, 0, false
	}
	if bc {
		y = 1 - y
	}
	days, ok := dateOf(y, m, d)
	if !ok {
		return 0, 0, false
	}
	var micros int64
	if len(rest) > 1 && (rest[0] == 'T' || rest[0] == 't' || rest[0] == ' ') {
		if micros, rest, ok = cutTime(strings.TrimLeft(rest[1:], " ")); !ok {
			return 0, 0, false
		}
	}
	if local, ok = stampOf(days, micros); !ok {
		return 0, 0, false
	}
	if rest = strings.TrimLeft(rest, " "); rest == "" {
		return local, 0, true
	}
	if seconds, after, ok := zoneOffset(rest); ok && after == "" {
		return local, seconds * second, true
	}
	z, ok := zoneOf(rest)
	if !ok {
		return 0, 0, false
	}
	return local, local - toUTC(local, z), true
}

// parseTime reads a time of day.
func parseTime(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	micros, rest, ok := cutTime(s)
	if ok && strings.TrimSpace(rest) == "" {
		return micros, true
	}
	// a timestamp has a time of day too
	ts, _, ok := parseStamp(s)
	if !ok || !strings.Contains(s, ":") {
		return 0, false
	}
	_, micros = splitMicros(ts)
	return micros, true
}

// unitNames are the units of intervals, of date_trunc and of extract.
var unitNames = map[string]string{
	"us": "microsecond", "usec": "microsecond", "usecs": "microsecond", "microsecond": "microsecond", "microseconds": "microsecond",
	"ms": "millisecond", "msec": "millisecond", "msecs": "millisecond", "millisecond": "millisecond", "milliseconds": "millisecond",
	"s": "second", "sec": "second", "secs": "second", "second": "second", "seconds": "second",
	"m": "minute", "min": "minute", "mins": "minute", "minute": "minute", "minutes": "minute",
	"h": "hour", "hr": "hour", "hrs": "hour", "hour": "hour", "hours": "hour",
	"d": "day", "day": "day", "days": "day", "w": "week", "week": "week", "weeks": "week",
	"mon": "month", "mons": "month", "month": "month", "months": "month", "quarter": "quarter", "quarters": "quarter",
	"y": "year", "yr": "year", "yrs": "year", "year": "year", "years": "year",
	"decade": "decade", "decades": "decade", "century": "century", "centuries": "century",
	"millennium": "millennium", "millennia": "millennium", "millenniums": "millennium", "dec": "decade", "c": "century", "mil": "millennium",
}

// unitSpans are the lengths of units.
var unitSpans = map[string]vec.Span{
	"microsecond": {Micros: 1}, "millisecond": {Micros: 1000}, "second": {Micros: second}, "minute": {Micros: minute},
	"hour": {Micros: hour}, "day": {Days: 1}, "week": {Days: 7}, "month": {Months: 1}, "quarter": {Months: 3},
	"year": {Months: 12}, "decade": {Months: 120}, "century": {Months: 1200}, "millennium": {Months: 12000},
}

// spanSum adds up the parts of an interval. Fractions of months become days, and fractions of days
// microseconds, as in PostgreSQL.
type spanSum struct {
	months, days int64
	micros       vec.Int128
}

// add adds a decimal number of a unit. It reports whether the text is a number in range.
func (s *spanSum) add(text, unit string) bool {
	x, _, ok := vec.ParseDecimal(text, 24, 9)
	if !ok {
		return false
	}
	giga := vec.Pow10(9)
	u := unitSpans[unit]
	whole := func(x vec.Int128, per int64) (n int64, fraction vec.Int128, ok bool) {
		x, ok1 := x.Mul(vec.Int128Of(per))
		q, r := x.QuoRem(giga)
		n, ok2 := q.Int64()
		return n, r, ok1 && ok2 && n < 1<<40 && n > -1<<40
	}
	switch {
	case u.Months != 0:
		n, fraction, ok := whole(x, int64(u.Months))
		if !ok {
			return false
		}
		s.months += n
		days, rest, _ := whole(fraction, 30)
		s.days += days
		us, _ := rest.Mul(vec.Int128Of(day))
		s.micros, ok = s.micros.Add(us.RoundQuo(giga))
		return ok
	case u.Days != 0:
		n, fraction, ok := whole(x, int64(u.Days))
		if !ok {
			return false
		}
		s.days += n
		us, _ := fraction.Mul(vec.Int128Of(day))
		s.micros, ok = s.micros.Add(us.RoundQuo(giga))
		return ok
	}
	us, ok1 := x.Mul(vec.Int128Of(u.Micros))
	if !ok1 {
		return false
	}
	s.micros, ok = s.micros.Add(us.RoundQuo(giga))
	return ok
}

func (s *spanSum) span() (vec.Span, bool) { return spanOf(s.months, s.days, s.micros) }

// parseSpan reads an interval: 1 year 2 mons 3 days 04:05:06, 1-2, P1Y2M3DT4H, 3 days ago.
func parseSpan(text string) (vec.Span, bool) {
	s := strings.TrimSpace(text)
	if s == "" {
		return vec.Span{}, false
	}
	if s[0] == 'P' || s[0] == 'p' {
		return parseISOSpan(s[1:])
	}
	var sum spanSum
	ago := false
	if n := len(s); n > 4 && strings.EqualFold(s[n-4:], " ago") {
		ago, s = true, s[:n-4]
	}
	s = strings.TrimPrefix(s, "@ ")
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ,") {
		n := 0
		if s[0] == '-' || s[0] == '+' {
			n = 1
		}
		for n < len(s) && (s[n]-'0' <= 9 || s[n] == '.') {
			n++
		}
		num, after := s[:n], s[n:]
		switch {
		case after != "" && after[0] == ':': // 04:05:06
			micros, rest, ok := cutHours(strings.TrimLeft(s, "+-"))
			if !ok {
				return vec.Span{}, false
			}
			if s[0] == '-' {
				micros = -micros
			}
			sum.micros, _ = sum.micros.Add(vec.Int128Of(micros))
			s = rest
			continue
		case after != "" && after[0] == '-' && num != "": // years-months
			months, rest, digits := number(after[1:], 2)
			years, err := strconv.ParseInt(num, 10, 32)
			if err != nil || digits == 0 || months > 11 {
				return vec.Span{}, false
			}
			if num[0] == '-' {
				months = -months
			}
			sum.months += years*12 + months
			s = rest
			continue
		}
		word := strings.TrimLeft(after, " ")
		n = 0
		for n < len(word) && (word[n]|0x20) >= 'a' && (word[n]|0x20) <= 'z' {
			n++
		}
		unit := "second"
		if n > 0 {
			unit = unitNames[strings.ToLower(word[:n])]
		} else if strings.Contains(word, ":") {
			unit = "day" // 3 04:05:06
		} else if word != "" {
			return vec.Span{}, false
		}
		if unit == "" || !sum.add(num, unit) {
			return vec.Span{}, false
		}
		s = word[n:]
	}
	span, ok := sum.span()
	if ok && ago {
		neg, err := negate(span)
		return neg, err == nil
	}
	return span, ok
}

// cutHours cuts hours, minutes and seconds. The hours may exceed a day.
func cutHours(s string) (micros int64, rest string, ok bool) {
	h, after, n := number(s, 9)
	if n == 0 || after == "" || after[0] != ':' {
		return 0, s, false
	}
	micros, rest, ok = cutTime("00" + after)
	return micros + h*hour, rest, ok
}

// parseISOSpan reads an interval of ISO 8601 after its P.
func parseISOSpan(s string) (vec.Span, bool) {
	var sum spanSum
	inTime := false
	if s == "" {
		return vec.Span{}, false
	}
	for s != "" {
		if s[0] == 'T' || s[0] == 't' {
			inTime, s = true, s[1:]
			continue
		}
		n := 0
		for n < len(s) && (s[n]-'0' <= 9 || s[n] == '.' || s[n] == '-' || s[n] == '+') {
			n++
		}
		if n == 0 || n == len(s) {
			return vec.Span{}, false
		}
		units := map[byte]string{'Y': "year", 'M': "month", 'W': "week", 'D': "day"}
		if inTime {
			units = map[byte]string{'H': "hour", 'M': "minute", 'S': "second"}
		}
		unit := units[s[n]&^0x20]
		if unit == "" || !sum.add(s[:n], unit) {
			return vec.Span{}, false
		}
		s = s[n+1:]
	}
	return sum.span()
}
