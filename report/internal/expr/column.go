package expr

import "github.com/layshaft/layshaft/report/internal/vec"

// The values of a vector are read as vals[i&mask], where mask is 0 for a constant and -1 otherwise.

func maskOf(v *vec.Vec) int {
	if v.Const {
		return 0
	}
	return -1
}

func bools(v *vec.Vec) []bool     { return v.Bools }
func ints(v *vec.Vec) []int64     { return v.Ints }
func floats(v *vec.Vec) []float64 { return v.Floats }
func spans(v *vec.Vec) []vec.Span { return v.Spans }
func strs(v *vec.Vec) []string {
	if v.Strings == nil && v.Codes != nil {
		if v.Const {
			return []string{v.Dict[v.Codes[0]]}
		}
		return v.Flat().Strings
	}
	return v.Strings
}

// wides returns the values of a Decimal or Int as 128-bit integers.
func wides(v *vec.Vec) []vec.Int128 {
	if v.Wide != nil {
		return v.Wide
	}
	w := make([]vec.Int128, len(v.Ints))
	for i, x := range v.Ints {
		w[i] = vec.Int128Of(x)
	}
	return w
}

// value are the Go types of values.
type value interface {
	bool | int64 | float64 | string | vec.Span | vec.Int128
}

// values returns the slice of v with values of type T.
func values[T value](v *vec.Vec) []T {
	var zero T
	var s any
	switch any(zero).(type) {
	case bool:
		s = bools(v)
	case int64:
		s = ints(v)
	case float64:
		s = floats(v)
	case string:
		s = strs(v)
	case vec.Span:
		s = spans(v)
	case vec.Int128:
		s = wides(v)
	}
	return s.([]T)
}

// vecOf returns a vector of type t over values.
func vecOf[T value](t vec.Type, vals []T, nulls []bool) *vec.Vec {
	v := &vec.Vec{Type: t, Len: len(vals), Nulls: nulls}
	switch s := any(vals).(type) {
	case []bool:
		v.Bools = s
	case []int64:
		v.Ints = s
	case []float64:
		v.Floats = s
	case []string:
		v.Strings = s
	case []vec.Span:
		v.Spans = s
	case []vec.Int128:
		setWide(v, s)
	}
	return v
}

// setWide stores decimals, in 64 bits each if all of them fit.
func setWide(v *vec.Vec, s []vec.Int128) {
	for i, x := range s {
		if _, ok := x.Int64(); !ok && (v.Nulls == nil || !v.Nulls[i]) {
			v.Wide = s
			return
		}
	}
	v.Ints = make([]int64, len(s))
	for i, x := range s {
		v.Ints[i] = int64(x.Lo)
	}
}

// nullsOf returns which of n rows are NULL in any argument, nil for none. The result may belong to
// an argument. Constant arguments are not NULL.
func nullsOf(args []*vec.Vec, n int) []bool {
	var nulls []bool
	own := false
	for _, a := range args {
		if a.Nulls == nil || a.Const {
			continue
		}
		if nulls == nil {
			nulls = a.Nulls
			continue
		}
		if !own {
			nulls, own = append(make([]bool, 0, n), nulls...), true
		}
		for i, null := range a.Nulls {
			nulls[i] = nulls[i] || null
		}
	}
	return nulls
}

// errNull is returned by a function whose result is NULL.
var errNull = &Error{Message: "null"}

// failure handles an error of row i: errNull makes the row NULL, others are returned with the row.
func failure(err error, i, n int, nulls *[]bool, own *bool) error {
	if err == errNull {
		if !*own {
			*nulls, *own = append(make([]bool, 0, n), *nulls...), true
			*nulls = (*nulls)[:n]
		}
		(*nulls)[i] = true
		return nil
	}
	if x, ok := err.(*Error); ok {
		x.Row = i
		return x
	}
	return rowError(i, "%s", err)
}

// A binding is a type of results and the kernel for arguments.
type binding func(args []*Expr) (vec.Type, kernel, error)

// always returns a binding that does not depend on the arguments.
func always(t vec.Type, k kernel) binding {
	return func([]*Expr) (vec.Type, kernel, error) { return t, k, nil }
}

// of1 returns the binding of a function of one value that cannot fail.
func of1[A, R value](k vec.Kind, f func(A) R) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		out := make([]R, n)
		for i := range out {
			out[i] = f(a[i&am])
		}
		return vecOf(t, out, nullsOf(args, n)), nil
	})
}

// of2 returns the binding of a function of two values that cannot fail.
func of2[A, B, R value](k vec.Kind, f func(A, B) R) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		b, bm := values[B](args[1]), maskOf(args[1])
		out := make([]R, n)
		for i := range out {
			out[i] = f(a[i&am], b[i&bm])
		}
		return vecOf(t, out, nullsOf(args, n)), nil
	})
}

// each computes rows that are not NULL with f, which may fail or return errNull.
func each[R value](t vec.Type, args []*vec.Vec, n int, f func(i int) (R, error)) (*vec.Vec, error) {
	nulls, own := nullsOf(args, n), false
	out := make([]R, n)
	for i := range out {
		if nulls != nil && nulls[i] {
			continue
		}
		r, err := f(i)
		if err != nil {
			if err := failure(err, i, n, &nulls, &own); err != nil {
				return nil, err
			}
			continue
		}
		out[i] = r
	}
	return vecOf(t, out, nulls), nil
}

// try1 returns the binding of a function of one value that may fail.
func try1[A, R value](k vec.Kind, f func(A) (R, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		return each(t, args, n, func(i int) (R, error) { return f(a[i&am]) })
	})
}

// try2 returns the binding of a function of two values that may fail.
func try2[A, B, R value](k vec.Kind, f func(A, B) (R, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		b, bm := values[B](args[1]), maskOf(args[1])
		return each(t, args, n, func(i int) (R, error) { return f(a[i&am], b[i&bm]) })
	})
}

// try3 returns the binding of a function of three values that may fail.
func try3[A, B, C, R value](k vec.Kind, f func(A, B, C) (R, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		b, bm := values[B](args[1]), maskOf(args[1])
		c, cm := values[C](args[2]), maskOf(args[2])
		return each(t, args, n, func(i int) (R, error) { return f(a[i&am], b[i&bm], c[i&cm]) })
	})
}

// appendEach computes texts that are appended to one buffer, so a batch costs few allocations. f
// may fail or return errNull.
func appendEach(t vec.Type, args []*vec.Vec, n int, f func(dst []byte, i int) ([]byte, error)) (*vec.Vec, error) {
	nulls, own := nullsOf(args, n), false
	buf := make([]byte, 0, 16*n)
	ends := make([]int, n)
	for i := range ends {
		if nulls == nil || !nulls[i] {
			dst, err := f(buf, i)
			if err == nil {
				buf = dst
			} else if err := failure(err, i, n, &nulls, &own); err != nil {
				return nil, err
			}
			if len(buf) > maxText {
				return nil, rowError(i, "the texts of %d rows need more than %d bytes", i+1, maxText)
			}
		}
		ends[i] = len(buf)
	}
	all := string(buf)
	out := make([]string, n)
	start := 0
	for i, end := range ends {
		out[i] = all[start:end]
		start = end
	}
	return vecOf(t, out, nulls), nil
}

// maxText limits the texts of a batch, so that repeat cannot use all memory.
const maxText = 1 << 26

// append1 returns the binding of a function that makes a text of one value.
func append1[A value](k vec.Kind, f func(dst []byte, a A) ([]byte, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		return appendEach(t, args, n, func(dst []byte, i int) ([]byte, error) { return f(dst, a[i&am]) })
	})
}

// append2 returns the binding of a function that makes a text of two values.
func append2[A, B value](k vec.Kind, f func(dst []byte, a A, b B) ([]byte, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		b, bm := values[B](args[1]), maskOf(args[1])
		return appendEach(t, args, n, func(dst []byte, i int) ([]byte, error) { return f(dst, a[i&am], b[i&bm]) })
	})
}

// append3 returns the binding of a function that makes a text of three values.
func append3[A, B, C value](k vec.Kind, f func(dst []byte, a A, b B, c C) ([]byte, error)) binding {
	t := vec.Of(k)
	return always(t, func(args []*vec.Vec, n int) (*vec.Vec, error) {
		a, am := values[A](args[0]), maskOf(args[0])
		b, bm := values[B](args[1]), maskOf(args[1])
		c, cm := values[C](args[2]), maskOf(args[2])
		return appendEach(t, args, n, func(dst []byte, i int) ([]byte, error) {
			return f(dst, a[i&am], b[i&bm], c[i&cm])
		})
	})
}
