package expr

import (
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// A date compares with a constant timestamp as its midnight does, in either order.
func TestDateWithTimestamp(t *testing.T) {
	dates := vec.NewBuilder(vec.Of(vec.Date), 0)
	for d := int64(-3); d <= 3; d++ {
		dates.AppendInt(d)
	}
	dates.AppendNull()
	batch := &vec.Batch{N: dates.Len, Cols: []*vec.Vec{dates.Done()}}
	for _, kind := range []vec.Kind{vec.Timestamp, vec.TimestampTZ} {
		for _, at := range []int64{0, 1, -1, day, day - 1, -day, -day - 1, 2*day + 5, 9 * day} {
			v := vec.New(vec.Of(kind), 1)
			v.Const, v.Ints[0] = true, at
			for _, op := range []string{"=", "<>", "<", "<=", ">", ">=", "is distinct from"} {
				for _, args := range [][]*Expr{{Column(0, vec.Of(vec.Date), "d", 0), Const(v, 0)}, {Const(v, 0), Column(0, vec.Of(vec.Date), "d", 0)}} {
					e, err := Call(op, args, 0)
					if err != nil {
						t.Fatal(err)
					}
					got, err := e.Eval(batch)
					if err != nil {
						t.Fatal(err)
					}
					for i := range batch.N - 1 {
						cmp := 0
						switch d := dates.Ints[i] * day; {
						case d < at:
							cmp = -1
						case d > at:
							cmp = 1
						}
						if args[0].Op == OpConst {
							cmp = -cmp
						}
						want := map[string]bool{"=": cmp == 0, "<>": cmp != 0, "<": cmp < 0, "<=": cmp <= 0, ">": cmp > 0, ">=": cmp >= 0, "is distinct from": cmp != 0}[op]
						if got.Null(i) || got.Bools[i] != want {
							t.Errorf("day %d %s %d µs of %s, constant first: %v: %v, want %v", dates.Ints[i], op, at, vec.Of(kind), args[0].Op == OpConst, got.Bools[i], want)
						}
					}
					if null := got.Null(batch.N - 1); null != (op != "is distinct from") {
						t.Errorf("%s with NULL: NULL is %v", op, null)
					}
				}
			}
		}
	}
}
