package expr

import (
	"math"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// bindTemporal resolves arithmetic with dates, times and intervals. It returns nil if no operand is
// one of those.
//
//	date ± integer → date        date - date → integer, in days
//	date ± interval → timestamp  timestamp ± interval, timestamptz ± interval
//	date + time → timestamp      timestamp - timestamp → interval of days and time
//	time ± interval → time       time - time → interval
//	interval ± interval, interval * number, interval / number
func bindTemporal(op string, a, b *Expr, offset int) (*Expr, error) {
	temporal := func(e *Expr) bool { k := e.Type.Kind; return k >= vec.Date && k <= vec.Interval }
	if !temporal(a) && !temporal(b) {
		return nil, nil
	}
	a, b, err := temporalLiterals(op, a, b)
	if err != nil {
		return nil, err
	}
	x, y := a.Type.Kind, b.Type.Kind
	if op == "+" || op == "*" {
		// the date, timestamp or interval comes first
		if x == vec.Int || x == vec.Float || x == vec.Decimal || y != vec.Interval && x == vec.Interval && temporal(b) || x == vec.Time && y == vec.Date {
			a, b, x, y = b, a, y, x
		}
	}
	call := func(t vec.Kind, k kernel) (*Expr, error) {
		return newCall(op, []*Expr{a, b}, vec.Of(t), k, strict, 4, offset), nil
	}
	isStamp := func(k vec.Kind) bool { return k == vec.Timestamp || k == vec.TimestampTZ }
	sign := int64(1)
	if op == "-" {
		sign = -1
	}
	plusMinus := op == "+" || op == "-"
	switch {
	case plusMinus && x == vec.Date && y == vec.Int:
		return call(vec.Date, cast2(vec.Date, func(d, n int64) (int64, error) {
			r := d + sign*n
			if n < -1<<40 || n > 1<<40 || r < minDay || r > maxDay {
				return 0, rowError(0, "%s %s %d is out of range for date", appendDate(nil, d), op, n)
			}
			return r, nil
		}))
	case op == "-" && x == vec.Date && y == vec.Date:
		return call(vec.Int, cast2(vec.Int, func(d, e int64) (int64, error) { return d - e, nil }))
	case plusMinus && (x == vec.Date || isStamp(x)) && y == vec.Interval:
		t := x
		if x == vec.Date {
			t = vec.Timestamp
			if a, err = Coerce(a, vec.Of(t)); err != nil {
				return nil, err
			}
		}
		return call(t, cast2(t, func(ts int64, s vec.Span) (int64, error) {
			r, ok := addSpan(ts, s, sign)
			if !ok {
				return 0, rowError(0, "%s %s interval '%s' is out of range for timestamp", appendStamp(nil, ts, ""), op, appendSpan(nil, s))
			}
			return r, nil
		}))
	case op == "+" && x == vec.Date && y == vec.Time:
		return call(vec.Timestamp, cast2(vec.Timestamp, func(d, t int64) (int64, error) { return d*day + t, nil }))
	case op == "-" && (isStamp(x) || isStamp(y)) && (isStamp(x) || x == vec.Date) && (isStamp(y) || y == vec.Date):
		t, _ := Common(a.Type, b.Type)
		if a, err = Coerce(a, t); err != nil {
			return nil, err
		}
		if b, err = Coerce(b, t); err != nil {
			return nil, err
		}
		return call(vec.Interval, cast2(vec.Interval, func(p, q int64) (vec.Span, error) {
			return vec.Span{Days: int32((p - q) / day), Micros: (p - q) % day}, nil
		}))
	case plusMinus && x == vec.Time && y == vec.Interval:
		return call(vec.Time, cast2(vec.Time, func(t int64, s vec.Span) (int64, error) {
			return floorMod(t+sign*(s.Micros%day), day), nil
		}))
	case op == "-" && x == vec.Time && y == vec.Time:
		return call(vec.Interval, cast2(vec.Interval, func(p, q int64) (vec.Span, error) { return vec.Span{Micros: p - q}, nil }))
	case plusMinus && x == vec.Interval && y == vec.Interval:
		return call(vec.Interval, cast2(vec.Interval, func(s, u vec.Span) (vec.Span, error) {
			us, fits := vec.Int128Of(s.Micros).Add(vec.Mul64(u.Micros, sign))
			r, ok := spanOf(int64(s.Months)+sign*int64(u.Months), int64(s.Days)+sign*int64(u.Days), us)
			if !ok || !fits {
				return r, rowError(0, "%s", errSpan)
			}
			return r, nil
		}))
	case (op == "*" || op == "/") && x == vec.Interval && b.Type.IsNumber():
		if y == vec.Int && op == "*" {
			return call(vec.Interval, cast2(vec.Interval, func(s vec.Span, n int64) (vec.Span, error) {
				months, days := vec.Mul64(int64(s.Months), n), vec.Mul64(int64(s.Days), n)
				m, ok1 := months.Int64()
				d, ok2 := days.Int64()
				r, ok3 := spanOf(m, d, vec.Mul64(s.Micros, n))
				if !ok1 || !ok2 || !ok3 {
					return r, rowError(0, "%s", errSpan)
				}
				return r, nil
			}))
		}
		if b, err = Coerce(b, vec.Of(vec.Float)); err != nil {
			return nil, err
		}
		return call(vec.Interval, cast2(vec.Interval, func(s vec.Span, f float64) (vec.Span, error) {
			if op == "/" {
				if f == 0 {
					return s, divisionByZero(0)
				}
				return scaleSpan(s, func(x float64) float64 { return x / f })
			}
			return scaleSpan(s, func(x float64) float64 { return x * f })
		}))
	}
	return nil, errorAt(offset, "%s %s %s is no operation", a.Type, op, b.Type)
}

// temporalLiterals reads texts in quotes: an interval after + and *, else a value of the other
// side's type. NULL takes the type of the other side.
func temporalLiterals(op string, a, b *Expr) (x, y *Expr, err error) {
	read := func(e, other *Expr) (*Expr, error) {
		if !e.untyped && e.Type.Kind != vec.Null {
			return e, nil
		}
		if op == "+" || e.Type.Kind == vec.Null && op == "-" {
			return Coerce(e, vec.Of(vec.Interval))
		}
		if op != "-" {
			return Coerce(e, vec.Of(vec.Float))
		}
		same, err := Coerce(e, other.Type)
		if err != nil {
			if span, spanErr := Coerce(e, vec.Of(vec.Interval)); spanErr == nil {
				return span, nil
			}
		}
		return same, err
	}
	if x, err = read(a, b); err != nil {
		return nil, nil, err
	}
	y, err = read(b, a)
	return x, y, err
}

// cast2 returns a kernel of two values.
func cast2[A, B, R value](k vec.Kind, f func(A, B) (R, error)) kernel {
	_, kernel, _ := try2(k, f)(nil)
	return kernel
}

// addSpan adds sign times an interval: months first, with the day kept or moved to the end of a
// shorter month, then days, then time.
func addSpan(ts int64, s vec.Span, sign int64) (int64, bool) {
	days, micros := splitMicros(ts)
	if s.Months != 0 {
		y, m, d := civil(days)
		m += sign * int64(s.Months)
		y, m = y+floorDiv(m-1, 12), floorMod(m-1, 12)+1
		if y < minYear-1 || y > maxYear+1 {
			return 0, false
		}
		days = civilDays(y, m, min(d, monthDays(y, m)))
	}
	days += sign * int64(s.Days)
	us := s.Micros
	if us > math.MaxInt64/2 || us < math.MinInt64/2 {
		return 0, false
	}
	return stampOf(days, micros+sign*us)
}

// scaleSpan multiplies the parts of an interval. Fractions of months become days of a month with 30
// days, and fractions of days become time, as in PostgreSQL.
func scaleSpan(s vec.Span, f func(float64) float64) (vec.Span, error) {
	months := f(float64(s.Months))
	days := f(float64(s.Days))
	micros := f(float64(s.Micros))
	whole := math.Trunc(months)
	monthDays := roundMicro((months - whole) * 30)
	wholeDays := math.Trunc(days)
	seconds := (days - wholeDays + monthDays - math.Trunc(monthDays)) * 86400
	if seconds = roundMicro(seconds); math.Abs(seconds) >= 86400 {
		carry := math.Trunc(seconds / 86400)
		wholeDays += carry
		seconds -= carry * 86400
	}
	wholeDays += math.Trunc(monthDays)
	total := math.RoundToEven(micros + seconds*second)
	if !(math.Abs(whole) < 1<<31 && math.Abs(wholeDays) < 1<<31 && math.Abs(total) < 1<<63) {
		return s, rowError(0, "%s", errSpan)
	}
	return vec.Span{Months: int32(whole), Days: int32(wholeDays), Micros: int64(total)}, nil
}

// roundMicro rounds to six digits after the point.
func roundMicro(x float64) float64 { return math.RoundToEven(x*1e6) / 1e6 }
