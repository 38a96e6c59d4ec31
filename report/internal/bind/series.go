package bind

import (
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// maxSeries is the most rows of range().
const maxSeries = 1_000_000

// series binds range(from, to, step) and generate_series, which includes its end: of integers, or
// of dates and timestamps with an interval as the step.
func (b *binder) series(t *sql.TableFunc) (Node, error) {
	const hint = "write range(10), range(1, 10, 2) or range(DATE '2024-01-01', DATE '2024-02-01', INTERVAL 1 DAY)"
	s := &scope{b: b, clause: t.Call.Name, calls: &calls{}}
	var args []*expr.Expr
	for _, a := range t.Call.Args {
		x, err := s.expr(a.X)
		if err != nil {
			return nil, err
		}
		if x, err = expr.Fold(x); err != nil {
			return nil, err
		}
		if x.Op != expr.OpConst || x.Value.Null(0) {
			return nil, errAt(a, hint, "%s needs constants", t.Call.Name)
		}
		args = append(args, x)
	}
	if len(args) == 1 {
		args = append([]*expr.Expr{expr.Int(0, t.Offset)}, args...)
	}
	if len(args) == 2 {
		args = append(args, expr.Int(1, t.Offset))
	}
	if len(args) != 3 {
		return nil, errAt(t, hint, "%s has %d arguments, want 1 to 3", t.Call.Name, len(args))
	}
	var values []*expr.Expr
	ok := false
	ofTime := isTime(args[0].Type) && isTime(args[1].Type) && args[2].Type.Kind == vec.Interval
	switch {
	case ofTime:
		for i, x := range args[:2] {
			if x.Type.Kind != vec.Date {
				continue
			}
			stamp, err := expr.Cast(x, vec.Of(vec.Timestamp), false, x.Offset)
			if err == nil {
				args[i], err = expr.Fold(stamp)
			}
			if err != nil {
				return nil, err
			}
		}
		values, ok = timeSeries(args[0], args[1], args[2], t.Call.Name == "generate_series")
	case args[0].Type.Kind == vec.Int && args[1].Type.Kind == vec.Int && args[2].Type.Kind == vec.Int:
		values, ok = intSeries(args[0].Value.Ints[0], args[1].Value.Ints[0], args[2].Value.Ints[0], t.Call.Name == "generate_series", t.Offset)
	default:
		return nil, errAt(t, hint, "%s needs integers, or two times and an interval", t.Call.Name)
	}
	if !ok {
		return nil, errAt(t, hint, "%s needs a step other than 0 and makes at most %d rows", t.Call.Name, maxSeries)
	}
	typ := vec.Of(vec.Int)
	if ofTime {
		typ = args[0].Type
	}
	n := &Values{Cols: []Column{{Table: t.Call.Name, Name: t.Call.Name, Type: typ}}}
	for _, v := range values {
		n.Rows = append(n.Rows, []*expr.Expr{v})
	}
	if t.Alias != nil && len(t.Alias.Columns) == 0 {
		n.Cols[0].Name = t.Alias.Name.Name
	}
	return rename(n, t.Alias, t.Call.Name)
}

func isTime(t vec.Type) bool {
	return t.Kind == vec.Date || t.Kind == vec.Timestamp || t.Kind == vec.TimestampTZ
}

// isWithin reports whether a value of a series is before its end.
func isWithin(x, end int64, down, closed bool) bool {
	return x < end && !down || x > end && down || x == end && closed
}

// intSeries returns a series of integers; ok is false if it has too many.
func intSeries(x, end, step int64, closed bool, offset int) (values []*expr.Expr, ok bool) {
	if step == 0 {
		return nil, false
	}
	for isWithin(x, end, step < 0, closed) {
		if len(values) >= maxSeries {
			return nil, false
		}
		values = append(values, expr.Int(x, offset))
		next := x + step
		if (next < x) != (step < 0) { // beyond 64 bits
			break
		}
		x = next
	}
	return values, true
}

// timeSeries returns a series of times; ok is false if it has too many.
func timeSeries(x, end, step *expr.Expr, closed bool) (values []*expr.Expr, ok bool) {
	down := false
	for first := true; ; first = false {
		next, err := expr.Call("+", []*expr.Expr{x, step}, x.Offset)
		if err != nil || next.Op != expr.OpConst {
			next = nil // out of range
		}
		if first && next != nil {
			if down = next.Value.Ints[0] < x.Value.Ints[0]; next.Value.Ints[0] == x.Value.Ints[0] {
				return nil, false
			}
		}
		if !isWithin(x.Value.Ints[0], end.Value.Ints[0], down, closed) {
			return values, true
		}
		if values = append(values, x); next == nil || len(values) > maxSeries {
			return values, len(values) <= maxSeries
		}
		x = next
	}
}
