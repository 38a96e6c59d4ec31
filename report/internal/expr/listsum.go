package expr

import (
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// bindListSum resolves list_sum and list_avg. NULL is left out; a list without values gives NULL.
// Floats are added in the order of the list.
func bindListSum(name string, args []*Expr, offset int) (*Expr, error) {
	if err := arity(name, args, 1, 1, offset); err != nil {
		return nil, err
	}
	x := args[0]
	if x.Type.Kind == vec.List && x.Type.Elem.Kind == vec.Null {
		var err error
		if x, err = Coerce(x, vec.ListOf(vec.Of(vec.Int))); err != nil {
			return nil, err
		}
	}
	if x.Type.Kind != vec.List || !x.Type.Elem.IsNumber() {
		return nil, errorAt(offset, "%s needs a list of numbers, not %s", name, x.Type)
	}
	elem := *x.Type.Elem
	average := strings.HasSuffix(name, "avg")
	t := vec.DecimalOf(vec.MaxPrecision, elem.Scale)
	if average || elem.Kind == vec.Float {
		t = vec.Of(vec.Float)
		var err error
		if x, err = Coerce(x, vec.ListOf(t)); err != nil {
			return nil, err
		}
	}
	k := func(args []*vec.Vec, n int) (*vec.Vec, error) {
		v := args[0]
		// values calls f for the elements of a row, and returns their number
		values := func(i int, f func(e int)) (count int) {
			from, to := span(v, i)
			for e := int(from); e < int(to); e++ {
				if !v.Elem.Null(e) {
					f(e)
					count++
				}
			}
			return count
		}
		if t.Kind == vec.Float {
			return each(t, args, n, func(i int) (float64, error) {
				sum := 0.0
				count := values(i, func(e int) { sum += v.Elem.Floats[e&maskOf(v.Elem)] })
				switch {
				case count == 0:
					return 0, errNull
				case average:
					sum /= float64(count)
				}
				return sum, nil
			})
		}
		return each(t, args, n, func(i int) (vec.Int128, error) {
			var sum vec.Int128
			fits := true
			count := values(i, func(e int) {
				var ok bool
				sum, ok = sum.Add(v.Elem.Int128(e))
				fits = fits && ok
			})
			switch {
			case count == 0:
				return sum, errNull
			case !fits || !isBelow(sum, vec.Pow10(vec.MaxPrecision)):
				return sum, rowError(0, "%s needs more than %d digits; cast the list to double[]", name, vec.MaxPrecision)
			}
			return sum, nil
		})
	}
	return newCall(name, []*Expr{x}, t, k, strict, 40, offset), nil
}

// maxRange is the most elements of range and generate_series.
const maxRange = 1 << 20

// rangeBinding returns the binding of range, without its end, or of generate_series, with it.
func rangeBinding(closed bool) binding {
	t := vec.ListOf(vec.Of(vec.Int))
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		out := vec.NewBuilder(t, n)
		nulls := nullsOf(args, n)
		for i := range n {
			if nulls != nil && nulls[i] {
				out.AppendNull()
				continue
			}
			at := func(a int) int64 { return args[a].Ints[i&maskOf(args[a])] }
			from, to, step := int64(0), at(0), int64(1)
			if len(args) > 1 {
				from, to = at(0), at(1)
			}
			if len(args) > 2 {
				step = at(2)
			}
			if step == 0 {
				return nil, rowError(i, "the step of a range must not be 0")
			}
			err := out.AppendList(func(elems *vec.Builder) error {
				for x := from; step > 0 && (x < to || closed && x == to) || step < 0 && (x > to || closed && x == to); {
					if elems.Len >= maxRange {
						return rowError(i, "a range of more than %d numbers is too long", maxRange)
					}
					elems.AppendInt(x)
					next := x + step
					if (next > x) != (step > 0) {
						break // past 64 bits
					}
					x = next
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		return out.Done(), nil
	})
}
