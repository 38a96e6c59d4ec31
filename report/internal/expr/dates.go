package expr

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones must not depend on the machine's files

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Units of time in microseconds.
const (
	second = 1_000_000
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// Limits of years. The last one is the last that 64 bits of microseconds since 1970 can have.
const (
	minYear = -4713
	maxYear = 294246
)

var (
	minDay = civilDays(minYear, 11, 24)
	maxDay = civilDays(maxYear, 12, 31)
)

// civilDays returns the days since 1970-01-01 of a date of the Gregorian calendar. The year 0 is 1
// BC. Months beyond 1 to 12 move the year.
func civilDays(y, m, d int64) int64 {
	m--
	y += floorDiv(m, 12)
	m = floorMod(m, 12) + 1
	if m <= 2 {
		y--
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

// civil returns the date of a number of days since 1970-01-01.
func civil(days int64) (y, m, d int64) {
	z := days + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// monthDays returns the number of days of a month.
func monthDays(y, m int64) int64 { return civilDays(y, m+1, 1) - civilDays(y, m, 1) }

// dateOf returns the days of a date if it exists and is in range.
func dateOf(y, m, d int64) (days int64, ok bool) {
	if y < minYear || y > maxYear || m < 1 || m > 12 || d < 1 || d > monthDays(y, m) {
		return 0, false
	}
	return civilDays(y, m, d), true
}

// splitMicros returns the day and the time of day of a timestamp.
func splitMicros(ts int64) (days, micros int64) {
	days = floorDiv(ts, day)
	return days, ts - days*day
}

// stampOf returns a timestamp; ok is false if it is out of range.
func stampOf(days, micros int64) (ts int64, ok bool) {
	days += floorDiv(micros, day)
	if days < minDay || days > maxDay {
		return 0, false
	}
	return days*day + floorMod(micros, day), true
}

func pad(dst []byte, x int64, width int) []byte {
	var buf [20]byte
	s := strconv.AppendInt(buf[:0], x, 10)
	for n := len(s); n < width; n++ {
		dst = append(dst, '0')
	}
	return append(dst, s...)
}

// appendDate appends a date as 2024-01-31. Years before 1 have BC.
func appendDate(dst []byte, days int64) []byte {
	y, m, d := civil(days)
	bc := y <= 0
	if bc {
		y = 1 - y
	}
	dst = append(pad(dst, y, 4), '-')
	dst = append(pad(dst, m, 2), '-')
	dst = pad(dst, d, 2)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendTime appends a time of day as 04:05:06.789.
func appendTime(dst []byte, micros int64) []byte {
	dst = append(pad(dst, micros/hour, 2), ':')
	dst = append(pad(dst, micros%hour/minute, 2), ':')
	return appendSeconds(dst, micros%minute, 2)
}

// appendSeconds appends seconds with their fraction, if they have one.
func appendSeconds(dst []byte, micros int64, width int) []byte {
	dst = pad(dst, micros/second, width)
	if f := micros % second; f != 0 {
		dst = pad(append(dst, '.'), f, 6)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// appendStamp appends a timestamp and a suffix for its zone.
func appendStamp(dst []byte, ts int64, zone string) []byte {
	days, micros := splitMicros(ts)
	start := len(dst)
	dst = appendDate(dst, days)
	bc := false
	if n := len(dst); n-start > 3 && dst[n-1] == 'C' {
		dst, bc = dst[:n-3], true
	}
	dst = appendTime(append(dst, ' '), micros)
	dst = append(dst, zone...)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendSpan appends an interval as PostgreSQL does: 1 year 2 mons -3 days 04:05:06.
func appendSpan(dst []byte, s vec.Span) []byte {
	start := len(dst)
	sign := false // the last part was negative, so a positive one needs a sign
	unit := func(n int64, one, many string) {
		if n == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		if n > 0 && sign {
			dst = append(dst, '+')
		}
		sign = n < 0
		dst = append(strconv.AppendInt(dst, n, 10), ' ')
		if n == 1 {
			dst = append(dst, one...)
		} else {
			dst = append(dst, many...)
		}
	}
	unit(int64(s.Months/12), "year", "years")
	unit(int64(s.Months%12), "mon", "mons")
	unit(int64(s.Days), "day", "days")
	if s.Micros == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	micros := s.Micros
	switch {
	case micros < 0:
		dst = append(dst, '-')
	case sign:
		dst = append(dst, '+')
	}
	u := uint64(micros)
	if micros < 0 {
		u = -u
	}
	h, rest := u/hour, int64(u%hour)
	dst = append(pad(dst, int64(h), 2), ':')
	dst = append(pad(dst, rest/minute, 2), ':')
	return appendSeconds(dst, rest%minute, 2)
}

// spanLength returns the length of an interval with months of 30 days, in microseconds.
func spanLength(s vec.Span) vec.Int128 {
	total, _ := vec.Mul64(int64(s.Months)*30+int64(s.Days), day).Add(vec.Int128Of(s.Micros))
	return total
}

// spanOf returns an interval; ok is false if a part is out of range.
func spanOf(months, days int64, micros vec.Int128) (vec.Span, bool) {
	us, ok := micros.Int64()
	s := vec.Span{Months: int32(months), Days: int32(days), Micros: us}
	return s, ok && int64(s.Months) == months && int64(s.Days) == days
}

// errSpan is the error of an interval with parts that are too large.
var errSpan = "interval out of range: it has at most 178956970 years, 2147483647 days and 292277 years of hours"

func negate(s vec.Span) (vec.Span, error) {
	if s.Months == math.MinInt32 || s.Days == math.MinInt32 || s.Micros == math.MinInt64 {
		return s, rowError(0, "%s", errSpan)
	}
	return vec.Span{Months: -s.Months, Days: -s.Days, Micros: -s.Micros}, nil
}

// zones caches time zones by name.
var zones sync.Map

// zoneOf returns a time zone by its name, such as Europe/Berlin, UTC or +02:00.
func zoneOf(name string) (*time.Location, bool) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), true
	}
	name = strings.Clone(name) // it may be a text of a batch
	z, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		offset, rest, ok := zoneOffset(name)
		if !ok || rest != "" {
			return nil, false
		}
		z = time.FixedZone(name, int(offset))
	}
	zones.Store(name, z)
	return z, true
}

// toUTC returns the instant of a local time in a zone. A time that a clock change skips is moved
// forward by the change; of a time that occurs twice the second is taken, as in PostgreSQL.
func toUTC(ts int64, z *time.Location) int64 {
	offset := func(at int64) int64 {
		_, o := time.Unix(floorDiv(at, second), 0).In(z).Zone()
		return int64(o) * second
	}
	// the offsets before and after any change nearby
	before, after := offset(ts-day), offset(ts+day)
	if u := ts - after; offset(u) == after {
		return u
	}
	return ts - before
}

// fromUTC returns the local time of an instant in a zone.
func fromUTC(ts int64, z *time.Location) int64 {
	_, o := time.Unix(floorDiv(ts, second), 0).In(z).Zone()
	return ts + int64(o)*second
}
