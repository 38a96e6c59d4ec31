package exec

import (
	"math"

	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// shift is a sum of x + c that is computed from the sum and the count of x. A report with many sums
// of one column and various constants then adds the column once.
type shift struct {
	x *expr.Expr
	c int64
	// base is the number of the aggregate whose state sums x.
	base int
}

// shiftsOf returns the shifts of aggregates, nil for the other ones.
func shiftsOf(aggs []*bind.Agg) []*shift {
	all := make([]*shift, len(aggs))
	first := map[string]int{}
	count := map[string]int{}
	for i, a := range aggs {
		if a.Func.Name != "sum" || a.Func.Distinct || a.Filter != nil || len(a.Args) != 1 || a.Args[0].Type.Kind != vec.Int {
			continue
		}
		x, c := splitConst(a.Args[0])
		if x.IsConst() {
			continue
		}
		key := x.Key()
		if count[key]++; count[key] == 1 {
			first[key] = i
		}
		all[i] = &shift{x: x, c: c, base: first[key]}
	}
	for i, s := range all {
		if s != nil && count[s.x.Key()] == 1 {
			all[i] = nil
		}
	}
	return all
}

// splitConst returns x and c for the integers x + c, c + x and x - c; otherwise the expression and
// 0.
func splitConst(e *expr.Expr) (x *expr.Expr, c int64) {
	if e.Op != expr.OpCall || len(e.Args) != 2 || e.Name != "+" && e.Name != "-" {
		return e, 0
	}
	x, k := e.Args[0], e.Args[1]
	if e.Name == "+" && x.Op == expr.OpConst {
		x, k = k, x
	}
	if k.Op != expr.OpConst || k.Type.Kind != vec.Int || k.Value.Null(0) || x.Type.Kind != vec.Int || k.Value.Ints[0] == math.MinInt64 {
		return e, 0
	}
	if e.Name == "-" {
		return x, -k.Value.Ints[0]
	}
	return x, k.Value.Ints[0]
}

// shiftedArgument evaluates x for all shifts with base i. Where x + c overflows, it returns the
// error of that addition.
func (f *fold) shiftedArgument(i int, b *vec.Batch) (*vec.Vec, error) {
	v, err := eval(f.shifts[i].x, b)
	if err != nil {
		return nil, err
	}
	least, most := limits(v, b.N)
	for k, s := range f.shifts {
		if s != nil && s.base == i && (s.c > 0 && most > math.MaxInt64-s.c || s.c < 0 && least < math.MinInt64-s.c) {
			if _, err := eval(f.n.Aggs[k].Args[0], b); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// limits returns the least and the greatest integer of n rows, or zeros if there is none.
func limits(v *vec.Vec, n int) (least, most int64) {
	if v.Const {
		n = min(n, 1)
	}
	found := false
	for i := range n {
		if v.Null(i) {
			continue
		}
		x := v.Ints[i]
		if !found {
			least, most, found = x, x, true
		}
		least, most = min(least, x), max(most, x)
	}
	return least, most
}
