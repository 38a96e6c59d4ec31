package expr

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// unitOf returns a unit by any of its names.
func unitOf(name string, allowed map[string]bool) (string, error) {
	u := unitNames[strings.ToLower(strings.TrimSpace(name))]
	if u != "" && (allowed == nil || allowed[u]) {
		return u, nil
	}
	names := slices.Sorted(maps.Keys(unitSpans))
	if near := spelling.Nearest(name, names); near != "" {
		return "", rowError(0, "%s is no unit of time; did you mean %s?", quote(name), near)
	}
	return "", rowError(0, "%s is no unit of time; units are %s", quote(name), strings.Join(names, ", "))
}

// truncate returns the beginning of the unit that contains a timestamp.
func truncate(unit string, ts int64) int64 {
	switch unit {
	case "microsecond":
		return ts
	case "millisecond":
		return floorDiv(ts, 1000) * 1000
	case "second":
		return floorDiv(ts, second) * second
	case "minute":
		return floorDiv(ts, minute) * minute
	case "hour":
		return floorDiv(ts, hour) * hour
	case "day":
		return floorDiv(ts, day) * day
	case "week":
		days := floorDiv(ts, day)
		return (days - floorMod(days+3, 7)) * day // 1970-01-01 was a Thursday
	}
	y, m, _ := civil(floorDiv(ts, day))
	switch unit {
	case "month":
	case "quarter":
		m -= (m - 1) % 3
	default:
		m = 1
		switch unit {
		case "decade":
			y = floorDiv(y, 10) * 10
		case "century": // the years 1 to 100 are the first century, and there is no year 0
			y = floorDiv(y-1, 100)*100 + 1
		case "millennium":
			y = floorDiv(y-1, 1000)*1000 + 1
		}
	}
	return max(civilDays(y, m, 1), minDay) * day
}

func truncateSpan(unit string, s vec.Span) (vec.Span, error) {
	months := func(n int32) vec.Span { return vec.Span{Months: s.Months / n * n} }
	switch unit {
	case "week":
		return s, rowError(0, "an interval has no weeks, because months have none; use day")
	case "month":
		return months(1), nil
	case "quarter":
		return months(3), nil
	case "year":
		return months(12), nil
	case "decade":
		return months(120), nil
	case "century":
		return months(1200), nil
	case "millennium":
		return months(12000), nil
	case "day":
		s.Micros = 0
		return s, nil
	}
	n := unitSpans[unit].Micros
	s.Micros = s.Micros / n * n
	return s, nil
}

// withUnit returns the binding of a function whose first argument is a unit. A constant unit is
// looked up once, and its function is made once.
func withUnit[A, R value](k vec.Kind, allowed map[string]bool, f func(unit string) func(A) (R, error)) binding {
	t := vec.Of(k)
	return func(args []*Expr) (vec.Type, kernel, error) {
		if args[0].Op == OpConst && !args[0].isNull() {
			unit, err := unitOf(args[0].Value.String(0), allowed)
			if err != nil {
				err.(*Error).Offset, err.(*Error).Row = args[0].Offset, -1
				return t, nil, err
			}
			one := f(unit)
			return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
				a, m := values[A](args[1]), maskOf(args[1])
				return each(t, args, n, func(i int) (R, error) { return one(a[i&m]) })
			}, nil
		}
		return t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
			a, m := values[A](args[1]), maskOf(args[1])
			return each(t, args, n, func(i int) (R, error) {
				unit, err := unitOf(args[0].String(i), allowed)
				if err != nil {
					var zero R
					return zero, err
				}
				return f(unit)(a[i&m])
			})
		}, nil
	}
}

// fieldNames are the names of fields for extract that are not units.
var fieldNames = map[string]string{
	"dow": "dow", "dayofweek": "dow", "weekday": "dow", "isodow": "isodow", "doy": "doy", "dayofyear": "doy", "epoch": "epoch",
	"isoyear": "isoyear", "julian": "julian", "timezone": "timezone", "timezone_hour": "timezone", "timezone_minute": "timezone",
	"dayofmonth": "day", "weekofyear": "week", "yearweek": "yearweek", "era": "era", "day": "day", "epoch_ms": "epoch_ms",
	"epoch_us": "epoch_us", "epoch_ns": "epoch_ns",
}

func fieldOf(name string) (string, error) {
	low := strings.ToLower(strings.TrimSpace(name))
	if f := fieldNames[low]; f != "" {
		return f, nil
	}
	if u := unitNames[low]; u != "" {
		return u, nil
	}
	names := append(slices.Collect(maps.Keys(unitSpans)), slices.Collect(maps.Keys(fieldNames))...)
	if near := spelling.Nearest(name, names); near != "" {
		return "", rowError(0, "%s is no field of a time; did you mean %s?", quote(name), near)
	}
	return "", rowError(0, "%s is no field of a time; fields are year, quarter, month, week, day, hour, minute, second, dow, doy, "+
		"isodow, isoyear, epoch and others", quote(name))
}

// isoWeek returns the year and the week of ISO 8601.
func isoWeek(days int64) (year, week int64) {
	thursday := days - floorMod(days+3, 7) + 3
	year, _, _ = civil(thursday)
	return year, (thursday-civilDays(year, 1, 1))/7 + 1
}

// datePart returns a field of a timestamp. Fractional fields are in microseconds.
func datePart(field string, ts int64) int64 {
	days, micros := splitMicros(ts)
	switch field {
	case "hour":
		return micros / hour
	case "minute":
		return micros % hour / minute
	case "second", "millisecond", "microsecond":
		return micros % minute
	case "epoch", "epoch_us":
		return ts
	case "epoch_ms":
		return floorDiv(ts, 1000)
	case "epoch_ns":
		return ts * 1000
	case "dow":
		return floorMod(days+4, 7)
	case "isodow":
		return floorMod(days+3, 7) + 1
	case "isoyear":
		y, _ := isoWeek(days)
		return bcYear(y)
	case "week":
		_, w := isoWeek(days)
		return w
	case "yearweek":
		y, w := isoWeek(days)
		return y*100 + w
	case "timezone":
		return 0
	case "julian":
		return days + 2440588
	}
	y, m, d := civil(days)
	switch field {
	case "year":
		return bcYear(y)
	case "era":
		return int64(b2i(y > 0))
	case "quarter":
		return (m + 2) / 3
	case "month":
		return m
	case "day":
		return d
	case "doy":
		return days - civilDays(y, 1, 1) + 1
	case "decade":
		return floorDiv(y, 10)
	case "century":
		return ordinal(y, 100)
	}
	return ordinal(y, 1000)
}

// bcYear returns a year without a year 0: the year before 1 is -1.
func bcYear(y int64) int64 {
	if y <= 0 {
		return y - 1
	}
	return y
}

// ordinal returns the number of the century or millennium of a year.
func ordinal(y, length int64) int64 {
	if y > 0 {
		return (y + length - 1) / length
	}
	return -((length - 1 - (y - 1)) / length)
}

// spanPart returns a field of an interval.
func spanPart(field string, s vec.Span) (vec.Int128, error) {
	years := int64(s.Months / 12)
	switch field {
	case "hour":
		return vec.Int128Of(s.Micros / hour), nil
	case "minute":
		return vec.Int128Of(s.Micros % hour / minute), nil
	case "second", "millisecond", "microsecond":
		return vec.Int128Of(s.Micros % minute), nil
	case "day":
		return vec.Int128Of(int64(s.Days)), nil
	case "month":
		return vec.Int128Of(int64(s.Months % 12)), nil
	case "quarter":
		return vec.Int128Of(int64(s.Months%12/3 + 1)), nil
	case "year":
		return vec.Int128Of(years), nil
	case "decade":
		return vec.Int128Of(years / 10), nil
	case "century":
		return vec.Int128Of(years / 100), nil
	case "millennium":
		return vec.Int128Of(years / 1000), nil
	case "epoch":
		// a year has 365.25 days, and a month 30
		days := vec.Mul64(years*36525/100*100+years*36525%100, day/100)
		rest := vec.Mul64(int64(s.Months%12)*30+int64(s.Days), day)
		total, _ := days.Add(rest)
		total, _ = total.Add(vec.Int128Of(s.Micros))
		return total, nil
	}
	return vec.Int128{}, rowError(0, "an interval has no field %s", field)
}

// timeFields are the fields that a time of day has.
var timeFields = []string{"hour", "minute", "second", "millisecond", "microsecond", "epoch"}

// extractType returns the type of a field, and the scale of the microseconds in it.
func extractType(field string) vec.Type {
	switch field {
	case "second":
		return vec.DecimalOf(8, 6)
	case "millisecond":
		return vec.DecimalOf(8, 3)
	case "epoch":
		return vec.DecimalOf(20, 6)
	}
	return vec.Of(vec.Int)
}

// bindExtract resolves extract(field, x) and date_part(field, x).
//
// As in PostgreSQL, seconds, milliseconds and epoch have a fraction; DuckDB drops it for seconds.
func bindExtract(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 2, 2, offset); err != nil {
		return nil, err
	}
	if args[0].Op != OpConst || args[0].Type.Kind != vec.Text {
		return nil, errorAt(args[0].Offset, "%s needs the name of a field, as in %s('year', x)", name, name)
	}
	field, err := fieldOf(args[0].Value.String(0))
	if err != nil {
		err.(*Error).Offset, err.(*Error).Row = args[0].Offset, -1
		return nil, err
	}
	return extractField(name, field, args, offset)
}

// extractField returns the field of the last argument.
func extractField(name, field string, args []*Expr, offset int) (*Expr, error) {
	x := args[len(args)-1]
	if x.untyped || x.Type.Kind == vec.Null {
		var err error
		if x, err = Coerce(x, vec.Of(vec.Timestamp)); err != nil {
			return nil, err
		}
	}
	t := extractType(field)
	var k kernel
	last := func(args []*vec.Vec) *vec.Vec { return args[len(args)-1] }
	stamps := func(per int64) kernel {
		return func(args []*vec.Vec, n int) (*vec.Vec, error) {
			a, m := last(args).Ints, maskOf(last(args))
			out := make([]int64, n)
			for i := range out {
				out[i] = datePart(field, a[i&m]*per)
			}
			return vecOf(t, out, nullsOf(args, n)), nil
		}
	}
	switch x.Type.Kind {
	case vec.Date:
		k = stamps(day)
	case vec.Timestamp, vec.TimestampTZ:
		k = stamps(1)
	case vec.Time:
		if slices.Contains(timeFields, field) {
			k = stamps(1)
			break
		}
		return nil, errorAt(offset, "a time has no field %s; its fields are %s", field, strings.Join(timeFields, ", "))
	case vec.Interval:
		if _, err := spanPart(field, vec.Span{}); err != nil {
			return nil, errorAt(offset, "%s", err)
		}
		k = func(args []*vec.Vec, n int) (*vec.Vec, error) {
			a, m := last(args).Spans, maskOf(last(args))
			wide, err := each(vec.HugeInt, args, n, func(i int) (vec.Int128, error) { return spanPart(field, a[i&m]) })
			if err != nil {
				return nil, err
			}
			w := *wide
			if w.Type = t; t.Kind == vec.Int && w.Wide != nil {
				return nil, rowError(0, "%s of an interval is out of range", field)
			}
			return &w, nil
		}
	default:
		return nil, errorAt(offset, "%s needs a date, a time, a timestamp or an interval, not %s; cast it, as in x::timestamp", name, x.Type)
	}
	all := append(slices.Clone(args[:len(args)-1]), x)
	if len(all) == 2 {
		var err error
		if all[0], err = Coerce(all[0], vec.Of(vec.Text)); err != nil {
			return nil, err
		}
	}
	e := newCall(name, all, t, k, strict, 10, offset)
	return e, nil
}

// bindField resolves functions that are named like a field: year(x), dayofweek(x). second(x) and
// millisecond(x) drop the fraction, as in DuckDB, where the functions come from.
func bindField(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, 1, offset); err != nil {
		return nil, err
	}
	field, err := fieldOf(name)
	if err != nil {
		return nil, err
	}
	if name == "epoch_ms" && args[0].Type.Kind == vec.Int {
		return Call("make_timestamp_ms", args, offset)
	}
	e, err := extractField(name, field, args, offset)
	if err != nil {
		return nil, err
	}
	switch name {
	case "epoch":
		return Cast(e, vec.Of(vec.Float), false, offset)
	case "second", "millisecond":
		if e, err = Call("trunc", []*Expr{e}, offset); err != nil {
			return nil, err
		}
		return Cast(e, vec.Of(vec.Int), false, offset)
	}
	return e, nil
}

// dateDiff counts the boundaries of units between two timestamps, as DuckDB's date_diff does.
func dateDiff(unit string, a, b int64) int64 {
	months := func(ts int64) int64 { y, m, _ := civil(floorDiv(ts, day)); return y*12 + m - 1 }
	per := int64(unitSpans[unit].Months)
	switch {
	case per != 0:
		return floorDiv(months(b), per) - floorDiv(months(a), per)
	case unit == "week": // whole weeks
		return (floorDiv(b, day) - floorDiv(a, day)) / 7
	case unit == "day":
		return floorDiv(b, day) - floorDiv(a, day)
	}
	us := unitSpans[unit].Micros
	return floorDiv(b, us) - floorDiv(a, us)
}

// dateSub counts the whole units between two timestamps.
func dateSub(unit string, a, b int64) int64 {
	if a > b {
		return -dateSub(unit, b, a)
	}
	u := unitSpans[unit]
	if u.Months == 0 {
		return (b - a) / (int64(u.Days)*day + u.Micros)
	}
	y1, m1, _ := civil(floorDiv(a, day))
	y2, m2, _ := civil(floorDiv(b, day))
	months := (y2-y1)*12 + m2 - m1
	if end, ok := addSpan(a, vec.Span{Months: int32(months)}, 1); ok && end > b {
		months--
	}
	return months / int64(u.Months)
}

// age returns the interval between two timestamps in years, months, days and time.
func age(a, b int64) vec.Span {
	sign := int64(1)
	if a < b {
		a, b, sign = b, a, -1
	}
	ad, at := splitMicros(a)
	bd, bt := splitMicros(b)
	y1, m1, d1 := civil(ad)
	y2, m2, d2 := civil(bd)
	months, days, micros := (y1-y2)*12+m1-m2, d1-d2, at-bt
	if micros < 0 {
		micros += day
		days--
	}
	if days < 0 {
		days += monthDays(y2, m2) // of the earlier date, as in PostgreSQL
		months--
	}
	return vec.Span{Months: int32(sign * months), Days: int32(sign * days), Micros: sign * micros}
}

// bucket returns the beginning of the bucket of a width that contains a timestamp.
func bucket(width vec.Span, ts, origin int64) (int64, error) {
	us := int64(width.Days)*day + width.Micros
	switch {
	case width.Months != 0 && us != 0:
		return 0, rowError(0, "the width '%s' mixes months with days or time; use one of them", appendSpan(nil, width))
	case width.Months > 0:
		y, m, _ := civil(floorDiv(ts, day))
		oy, om, _ := civil(floorDiv(origin, day))
		n := floorDiv((y-oy)*12+m-om, int64(width.Months)) * int64(width.Months)
		r, ok := addSpan(origin, vec.Span{Months: int32(n)}, 1)
		if ok && r > ts {
			r, ok = addSpan(origin, vec.Span{Months: int32(n) - width.Months}, 1)
		}
		if !ok {
			return 0, rowError(0, "the bucket of %s is out of range", appendStamp(nil, ts, ""))
		}
		return r, nil
	case us > 0 && us < math.MaxInt64/4:
		return origin + floorDiv(ts-origin, us)*us, nil
	}
	return 0, rowError(0, "the width '%s' of a bucket must be positive", appendSpan(nil, width))
}
