package expr

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// timeNames are the names of functions for the time of the statement.
var timeNames = map[string]vec.Kind{
	"now": vec.TimestampTZ, "current_timestamp": vec.TimestampTZ, "transaction_timestamp": vec.TimestampTZ,
	"statement_timestamp": vec.TimestampTZ, "get_current_timestamp": vec.TimestampTZ,
	"localtimestamp": vec.Timestamp, "current_localtimestamp": vec.Timestamp,
	"current_date": vec.Date, "today": vec.Date,
	"current_time": vec.Time, "localtime": vec.Time, "get_current_time": vec.Time, "current_localtime": vec.Time,
}

// StatementTime returns the value of a function for the time at which a statement began, such as
// now() and current_date; ok is false for other names. The time zone of reports is UTC.
func StatementTime(name string, now time.Time, offset int) (e *Expr, ok bool) {
	k, ok := timeNames[name]
	if !ok {
		return nil, false
	}
	us := now.UnixMicro()
	switch k {
	case vec.Date:
		us = floorDiv(us, day)
	case vec.Time:
		us = floorMod(us, day)
	}
	return Const(&vec.Vec{Type: vec.Of(k), Len: 1, Const: true, Ints: []int64{us}}, offset), true
}

// stampKinds are the types of timestamps and how functions name them.
var stampKinds = []struct {
	kind vec.Kind
	name string
}{{vec.Timestamp, "timestamp"}, {vec.TimestampTZ, "timestamptz"}}

// outOfRange returns the error of a function whose date or timestamp is out of range.
func outOfRange(what string) error {
	return rowError(0, "%s: the date does not exist or is out of range (4713 BC to %d)", what, maxYear)
}

func dateFunctions() []function {
	fs := []function{
		def("date_trunc datetrunc", "text interval", withUnit(vec.Interval, nil, func(unit string) func(vec.Span) (vec.Span, error) {
			return func(s vec.Span) (vec.Span, error) { return truncateSpan(unit, s) }
		})),
		def("make_date", "int int int", try3(vec.Date, func(y, m, d int64) (int64, error) {
			if y < 0 {
				y++
			}
			if days, ok := dateOf(y, m, d); ok {
				return days, nil
			}
			return 0, outOfRange("make_date")
		})),
		def("make_time", "int int double", try3(vec.Time, timeOfDay)),
		def("make_timestamp", "int int int int int double", always(vec.Of(vec.Timestamp), makeTimestamp)),
		def("make_timestamp", "int", stampFrom(vec.Timestamp, 1)),
		def("make_timestamp_ms", "int", stampFrom(vec.Timestamp, 1000)),
		def("to_timestamp", "double", try1(vec.TimestampTZ, func(x float64) (int64, error) {
			us := math.RoundToEven(x * 1e6)
			if !(math.Abs(us) < 1<<62) {
				return 0, outOfRange("to_timestamp")
			}
			if ts, ok := stampOf(0, int64(us)); ok {
				return ts, nil
			}
			return 0, outOfRange("to_timestamp")
		})),
		def("dayname", "timestamp", of1(vec.Text, func(ts int64) string { return dayNames[datePart("dow", ts)] })),
		def("monthname", "timestamp", of1(vec.Text, func(ts int64) string { return monthNames[datePart("month", ts)-1] })),
		def("last_day", "timestamp", of1(vec.Date, func(ts int64) int64 {
			y, m, _ := civil(floorDiv(ts, day))
			return civilDays(y, m+1, 1) - 1
		})),
		def("isfinite", "timestamp", of1(vec.Bool, func(int64) bool { return true })),
		def("isfinite", "double", of1(vec.Bool, func(x float64) bool { return x-x == 0 })),
		def("timezone", "text timestamp", tryZone(vec.TimestampTZ, toUTC)),
		def("timezone", "text timestamptz", tryZone(vec.Timestamp, fromUTC)),
		def("justify_hours", "interval", try1(vec.Interval, func(s vec.Span) (vec.Span, error) {
			return justify(int64(s.Months), int64(s.Days)+s.Micros/day, s.Micros%day)
		})),
		def("justify_days", "interval", try1(vec.Interval, func(s vec.Span) (vec.Span, error) {
			return justify(int64(s.Months)+int64(s.Days/30), int64(s.Days%30), s.Micros)
		})),
		def("strptime", "text text", zoned(strptime)),
		def("try_strptime", "text text", zoned(func(s, f string) (int64, error) {
			ts, err := strptime(s, f)
			if err != nil {
				return 0, errNull
			}
			return ts, nil
		})),
		def("strftime", "timestamp text", append2(vec.Text, strftime)),
		def("strftime", "text timestamp", append2(vec.Text, func(dst []byte, f string, ts int64) ([]byte, error) {
			return strftime(dst, ts, f)
		})),
		def("to_date", "text text", try2(vec.Date, func(s, f string) (int64, error) {
			ts, err := parsePattern(s, f)
			return floorDiv(ts, day), err
		})),
		def("to_timestamp", "text text", try2(vec.TimestampTZ, parsePattern)),
	}
	for unit, span := range unitSpans {
		name := "to_" + unit + "s"
		switch unit {
		case "century":
			name = "to_centuries"
		case "millennium":
			name = "to_millennia"
		}
		fs = append(fs, def(name, "int", try1(vec.Interval, func(n int64) (vec.Span, error) {
			m, ok1 := vec.Mul64(int64(span.Months), n).Int64()
			d, ok2 := vec.Mul64(int64(span.Days), n).Int64()
			s, ok3 := spanOf(m, d, vec.Mul64(span.Micros, n))
			if !ok1 || !ok2 || !ok3 {
				return s, rowError(0, "%s(%d): %s", name, n, errSpan)
			}
			return s, nil
		})))
		fs = append(fs, def(name, "double", try1(vec.Interval, func(x float64) (vec.Span, error) {
			return scaleSpan(span, func(part float64) float64 { return part * x })
		})))
	}
	for _, stamp := range stampKinds {
		k, name := stamp.kind, stamp.name
		fs = append(fs,
			def("date_trunc datetrunc", "text "+name, withUnit(k, nil, func(unit string) func(int64) (int64, error) {
				return func(ts int64) (int64, error) { return truncate(unit, ts), nil }
			})),
			def("age", name+" "+name, of2(vec.Interval, age)),
			def("date_add", name+" interval", try2(k, func(ts int64, s vec.Span) (int64, error) {
				r, ok := addSpan(ts, s, 1)
				if !ok {
					return 0, outOfRange("date_add")
				}
				return r, nil
			})),
			def("date_diff datediff", "text "+name+" "+name, always(vec.Of(vec.Int), betweenKernel(dateDiff))),
			def("date_sub datesub", "text "+name+" "+name, always(vec.Of(vec.Int), betweenKernel(dateSub))),
			def("date_bin", "interval "+name+" "+name, try3(k, bucket)),
			def("time_bucket", "interval "+name+" "+name, try3(k, bucket)),
			def("time_bucket", "interval "+name, try2(k, func(width vec.Span, ts int64) (int64, error) {
				origin := civilDays(2000, 1, 3) * day // a Monday
				if width.Months != 0 {
					origin = civilDays(2000, 1, 1) * day
				}
				return bucket(width, ts, origin)
			})),
		)
	}
	fs = append(fs, def("date_trunc", "text timestamptz text", always(vec.Of(vec.TimestampTZ), truncateInZone)))
	slices.SortFunc(fs, func(a, b function) int { return compareText(a.names+a.sig, b.names+b.sig) })
	return fs
}

// zoned returns the binding of strptime: a timestamptz if a constant format has a zone.
func zoned(f func(s, format string) (int64, error)) binding {
	return func(args []*Expr) (vec.Type, kernel, error) {
		k := vec.Timestamp
		if args[1].Op == OpConst && !args[1].isNull() {
			if format := strings.ToLower(args[1].Value.String(0)); strings.Contains(format, "%z") {
				k = vec.TimestampTZ
			}
		}
		return try2(k, f)(args)
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func timeOfDay(h, m int64, s float64) (int64, error) {
	us := math.RoundToEven(s * 1e6)
	if h < 0 || h > 24 || m < 0 || m > 59 || !(us >= 0 && us <= 60e6) || h*hour+m*minute+int64(us) > day {
		return 0, rowError(0, "%d:%d:%v is no time of day", h, m, s)
	}
	return h*hour + m*minute + int64(us), nil
}

func makeTimestamp(args []*vec.Vec, n int) (*vec.Vec, error) {
	at := func(a, i int) int64 { return args[a].Ints[i&maskOf(args[a])] }
	return each(vec.Of(vec.Timestamp), args, n, func(i int) (int64, error) {
		days, ok := dateOf(at(0, i), at(1, i), at(2, i))
		if !ok {
			return 0, outOfRange("make_timestamp")
		}
		us, err := timeOfDay(at(3, i), at(4, i), args[5].Floats[i&maskOf(args[5])])
		return days*day + us, err
	})
}

// stampFrom returns the binding for a timestamp of a number of units since 1970.
func stampFrom(k vec.Kind, unit int64) binding {
	return try1(k, func(x int64) (int64, error) {
		us, ok := vec.Mul64(x, unit).Int64()
		if !ok {
			return 0, outOfRange("make_timestamp")
		}
		ts, ok := stampOf(0, us)
		if !ok {
			return 0, outOfRange("make_timestamp")
		}
		return ts, nil
	})
}

// tryZone returns the binding of a conversion between local time and instants.
func tryZone(k vec.Kind, convert func(ts int64, z *time.Location) int64) binding {
	return try2(k, func(name string, ts int64) (int64, error) {
		z, ok := zoneOf(name)
		if !ok {
			return 0, rowError(0, "%s is no time zone; write a name such as Europe/Berlin, or an offset such as +02:00", quote(name))
		}
		return convert(ts, z), nil
	})
}

func justify(months, days, micros int64) (vec.Span, error) {
	if days > 0 && micros < 0 {
		days, micros = days-1, micros+day
	} else if days < 0 && micros > 0 {
		days, micros = days+1, micros-day
	}
	if months > 0 && days < 0 {
		months, days = months-1, days+30
	} else if months < 0 && days > 0 {
		months, days = months+1, days-30
	}
	s, ok := spanOf(months, days, vec.Int128Of(micros))
	if !ok {
		return s, rowError(0, "%s", errSpan)
	}
	return s, nil
}

// betweenKernel returns the kernel of a function of a unit and two timestamps.
func betweenKernel(f func(unit string, a, b int64) int64) kernel {
	return func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := args[1].Ints, maskOf(args[1])
		b, bm := args[2].Ints, maskOf(args[2])
		name, unit := "", ""
		return each(vec.Of(vec.Int), args, n, func(i int) (int64, error) {
			if s := args[0].String(i); unit == "" || s != name {
				u, err := unitOf(s, nil)
				if err != nil {
					return 0, err
				}
				name, unit = s, u
			}
			return f(unit, a[i&am], b[i&bm]), nil
		})
	}
}

// truncateInZone is date_trunc with a zone: the beginning of the local day, for example.
func truncateInZone(args []*vec.Vec, n int) (*vec.Vec, error) {
	a, m := args[1].Ints, maskOf(args[1])
	return each(vec.Of(vec.TimestampTZ), args, n, func(i int) (int64, error) {
		unit, err := unitOf(args[0].String(i), nil)
		if err != nil {
			return 0, err
		}
		z, ok := zoneOf(args[2].String(i))
		if !ok {
			return 0, rowError(0, "%s is no time zone; write a name such as Europe/Berlin, or an offset such as +02:00", quote(args[2].String(i)))
		}
		return toUTC(truncate(unit, fromUTC(a[i&m], z)), z), nil
	})
}
