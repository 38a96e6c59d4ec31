package expr

import (
	"math"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// In returns e IN (list), or NOT IN. A list of constants is searched by its hash.
func In(e *Expr, list []*Expr, negated bool, offset int) (*Expr, error) {
	if len(list) == 0 {
		return nil, errorAt(offset, "IN needs a list with at least one value")
	}
	all, err := Unify(append([]*Expr{e}, list...), "IN")
	if err != nil {
		return nil, err
	}
	constant := true
	for _, x := range all[1:] {
		constant = constant && x.IsConst()
	}
	if !constant || len(list) == 1 {
		return inByComparison(e, list, negated, offset)
	}
	t := all[0].Type
	set := map[string]bool{}
	var key []byte
	null := t.Kind == vec.Null
	numbers := map[int64]bool{}
	texts := map[string]bool{}
	for i, x := range all[1:] {
		v, err := x.Eval(&vec.Batch{N: 1})
		if err != nil {
			return inByComparison(e, list, negated, offset)
		}
		if v.Null(0) {
			null = true
			continue
		}
		all[i+1] = Const(v, x.Offset)
		switch {
		case inIntegers(v):
			numbers[v.Ints[0]] = true
		case t.Kind == vec.Text:
			texts[v.String(0)] = true
		default:
			key = inKey(key[:0], v, 0)
			set[string(key)] = true
		}
	}
	low, dense := denseSet(numbers)
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v, m := args[0], maskOf(args[0])
		out := make([]bool, n)
		switch {
		case inIntegers(v) && dense != nil:
			for i := range out {
				at := uint64(v.Ints[i&m]) - uint64(low)
				out[i] = (at < uint64(len(dense)) && dense[at]) != negated
			}
		case inIntegers(v):
			for i := range out {
				out[i] = numbers[v.Ints[i&m]] != negated
			}
		case t.Kind == vec.Text:
			s := strs(v)
			for i := range out {
				out[i] = texts[s[i&m]] != negated
			}
		default:
			var key []byte
			for i := range out {
				if !v.Null(i) {
					key = inKey(key[:0], v, i)
					found := set[string(key)]
					if v.Wide != nil && !found {
						x, narrow := v.Int128(i).Int64()
						found = narrow && numbers[x]
					}
					out[i] = found != negated
				}
			}
		}
		nulls := nullsOf(args, n)
		if null {
			// x IN (1, NULL) is true or NULL
			own := append(make([]bool, 0, n), nulls...)[:n]
			for i := range own {
				own[i] = own[i] || out[i] == negated
			}
			nulls = own
		}
		return vecOf(vec.Of(vec.Bool), out, nulls), nil
	}
	x := &Expr{Type: vec.Of(vec.Bool), Op: OpIn, Args: all, Negated: negated, Offset: offset, cost: 10}
	x.kernel = k
	return x.finished(), nil
}

// denseSet returns the smallest number, and which numbers from it on are in the set, if they are
// near each other.
func denseSet(numbers map[int64]bool) (low int64, dense []bool) {
	if len(numbers) == 0 {
		return 0, nil
	}
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for x := range numbers {
		low, high = min(low, x), max(high, x)
	}
	if uint64(high)-uint64(low) >= 1<<12 {
		return 0, nil
	}
	dense = make([]bool, high-low+1)
	for x := range numbers {
		dense[x-low] = true
	}
	return low, dense
}

// inIntegers reports whether the set for v has integers.
func inIntegers(v *vec.Vec) bool {
	switch v.Type.Kind {
	case vec.Int, vec.Decimal, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		return v.Wide == nil
	}
	return false
}

// inKey appends a value so that equal values have equal keys.
func inKey(dst []byte, v *vec.Vec, i int) []byte {
	if v.Type.Kind == vec.Interval {
		x := spanLength(v.Spans[i&maskOf(v)])
		return vec.AppendDecimal(dst, x, 0)
	}
	return v.AppendKey(dst, i, vec.Order{})
}

// inByComparison returns IN as a chain of comparisons.
func inByComparison(e *Expr, list []*Expr, negated bool, offset int) (*Expr, error) {
	same := make([]*Expr, len(list))
	for i, x := range list {
		var err error
		if same[i], err = Call("=", []*Expr{e, x}, offset); err != nil {
			return nil, err
		}
	}
	any, err := Call("or", same, offset)
	if err != nil || !negated {
		return any, err
	}
	return Call("not", []*Expr{any}, offset)
}
