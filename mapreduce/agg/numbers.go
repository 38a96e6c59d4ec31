package agg

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"sort"
	"unsafe"

	"github.com/layshaft/layshaft/internal/sketch"
)

// Number is any type of integers or floats.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// isFloat reports whether N rounds.
func isFloat[N Number]() bool { return N(1)/2 != 0 }

// Maybe is a value that may be missing, such as the minimum of no values.
type Maybe[T any] struct {
	Value T    // the zero value when OK is false
	OK    bool // whether there is a value
}

// Or returns the value, or instead when there is none.
func (m Maybe[T]) Or(instead T) T {
	if m.OK {
		return m.Value
	}
	return instead
}

// Count counts records.
func Count[T any]() Agg[T, int64, int64] {
	return Agg[T, int64, int64]{
		Unordered: true,

		Add:    func(a *int64, _ T) { *a++ },
		Merge:  func(a, b *int64) { *a += *b },
		Result: func(a *int64) int64 { return *a },
	}
}

// Sum adds f of every record with a Total. Its result does not depend on the order of records when
// N is an integer type.
func Sum[T any, N Number](f func(T) N) Agg[T, Total[N], N] {
	if f == nil {
		return Agg[T, Total[N], N]{} // without functions, which the operators refuse
	}
	return Agg[T, Total[N], N]{
		Unordered: !isFloat[N](),
		Commutes:  true,

		Add:    func(a *Total[N], v T) { a.Add(f(v)) },
		Merge:  func(a, b *Total[N]) { a.Merge(b) },
		Result: func(a *Total[N]) N { return a.Sum() },
	}
}

// Total is a running sum; its zero value is an empty sum.
//
// Integer sums are exact, and wrap around like + does when they leave the range of N; use int64 to
// sum smaller types. Float sums have twice the precision of N (106 bits for float64) and are
// rounded once, at the end. So the order and grouping of values hardly ever show. In sums of a
// billion float64 values of one sign, order changes the last bit of at most one sum in a million;
// it changes more sums only where positive and negative values cancel. To rule that out, sum whole
// cents instead of dollars.
type Total[N Number] struct {
	Hi, Lo N // Hi is the rounded sum, Lo its rounding error; Lo is zero for integers
}

// Add adds v.
func (t *Total[N]) Add(v N) {
	// Knuth's exact sum hi + lo == t.Hi + v. For integers lo is zero, even when hi wraps.
	hi := t.Hi + v
	z := hi - t.Hi
	lo := (t.Hi - (hi - z)) + (v - z)
	if lo != lo { // infinity and NaN have no rounding error
		t.Hi, t.Lo = hi, 0
		return
	}
	lo += t.Lo
	t.Hi = hi + lo
	t.Lo = lo - (t.Hi - hi)
}

// Merge adds the sum b.
func (t *Total[N]) Merge(b *Total[N]) {
	t.Add(b.Hi)
	t.Add(b.Lo)
}

// Sum returns the sum.
func (t *Total[N]) Sum() N { return t.Hi }

// Mean returns the arithmetic mean of f of every record, or NaN when there are no records.
func Mean[T any, N Number](f func(T) N) Agg[T, Average, float64] {
	if f == nil {
		return Agg[T, Average, float64]{}
	}
	return Agg[T, Average, float64]{
		Commutes: true,

		Add:    func(a *Average, v T) { a.Add(float64(f(v))) },
		Merge:  func(a, b *Average) { a.Merge(b) },
		Result: func(a *Average) float64 { return a.Mean() },
	}
}

// Average is a running mean; its zero value is a mean of no numbers.
type Average struct {
	Total Total[float64] // the sum of the numbers
	N     int64          // how many numbers were added
}

// Add adds x to the mean.
func (a *Average) Add(x float64) {
	a.Total.Add(x)
	a.N++
}

// Merge adds the numbers of b.
func (a *Average) Merge(b *Average) {
	a.Total.Merge(&b.Total)
	a.N += b.N
}

// Mean returns the mean, or NaN when there are no numbers.
func (a *Average) Mean() float64 {
	if a.N == 0 {
		return math.NaN()
	}
	return a.Total.Sum() / float64(a.N)
}

// Min returns the smallest f of all records, and ignores NaN.
func Min[T any, V cmp.Ordered](f func(T) V) Agg[T, Maybe[V], Maybe[V]] {
	return bestOf(f, func(v, than V) bool { return v < than })
}

// Max returns the largest f of all records, and ignores NaN.
func Max[T any, V cmp.Ordered](f func(T) V) Agg[T, Maybe[V], Maybe[V]] {
	return bestOf(f, func(v, than V) bool { return v > than })
}

func bestOf[T any, V cmp.Ordered](f func(T) V, better func(v, than V) bool) Agg[T, Maybe[V], Maybe[V]] {
	if f == nil {
		return Agg[T, Maybe[V], Maybe[V]]{}
	}
	return Agg[T, Maybe[V], Maybe[V]]{
		Unordered: true,

		Add: func(a *Maybe[V], r T) {
			if v := f(r); v == v && (!a.OK || better(v, a.Value)) {
				*a = Maybe[V]{cloneOf(v), true}
			}
		},
		Merge: func(a, b *Maybe[V]) {
			if b.OK && (!a.OK || better(b.Value, a.Value)) {
				*a = *b
			}
		},
		Result: func(a *Maybe[V]) Maybe[V] { return *a },
		Size:   sizeOfOne(func(a *Maybe[V]) *V { return &a.Value }),
	}
}

// MinMax keeps the smallest and the largest value; its zero value is empty.
type MinMax[V cmp.Ordered] struct {
	Min, Max V    // zero values when OK is false
	OK       bool // whether any value was added
}

// Add compares v with the values kept so far, unless v is NaN.
func (m *MinMax[V]) Add(v V) {
	switch {
	case m.OK && v >= m.Min && v <= m.Max || v != v:
	case !m.OK:
		v = cloneOf(v)
		*m = MinMax[V]{v, v, true}
	case v < m.Min:
		m.Min = cloneOf(v)
	default:
		m.Max = cloneOf(v)
	}
}

// Merge compares the values of b with the values kept so far.
func (m *MinMax[V]) Merge(b *MinMax[V]) {
	if !m.OK {
		*m = *b
	} else if b.OK {
		m.Min, m.Max = min(m.Min, b.Min), max(m.Max, b.Max)
	}
}

// Histogram counts how many f of all records lie between bounds. The result has len(bounds)+1
// counts. The first counts numbers below the smallest bound, and the last counts numbers at or
// above the largest. Count i in between counts numbers x with bounds[i-1] <= x < bounds[i]. Bounds
// may come in any order; Histogram sorts them. It ignores NaN.
func Histogram[T any](f func(T) float64, bounds ...float64) Agg[T, []int64, []int64] {
	if f == nil {
		return Agg[T, []int64, []int64]{}
	}
	bounds = slices.Sorted(slices.Values(bounds))
	grow := func(a *[]int64, n int) {
		if len(*a) < n {
			*a = append(*a, make([]int64, n-len(*a))...)
		}
	}
	return Agg[T, []int64, []int64]{
		Unordered: true,

		Add: func(a *[]int64, v T) {
			x := f(v)
			if x != x {
				return
			}
			grow(a, len(bounds)+1)
			(*a)[sort.Search(len(bounds), func(i int) bool { return bounds[i] > x })]++
		},
		Merge: func(a, b *[]int64) {
			grow(a, len(*b))
			for i, n := range *b {
				(*a)[i] += n
			}
		},
		Result: func(a *[]int64) []int64 { grow(a, len(bounds)+1); return *a },
		Size:   func(a *[]int64) int { return 8 * cap(*a) },
	}
}

// cloneOf returns v with its strings and slices copied. It takes tens of nanoseconds and an
// allocation even when v has no strings or slices, so it is for the few records that an aggregate
// keeps.
//
//go:noinline
func cloneOf[T any](v T) T {
	sketch.ClonerOf[T]().Clone(unsafe.Pointer(&v))
	return v
}

// heldBytes returns the bytes of the strings and slices of *v.
func heldBytes[T any](v *T) int {
	return sketch.ClonerOf[T]().Size(unsafe.Pointer(v))
}

// sizeOfOne returns an Agg.Size for accumulators that keep one value of type V. It is nil when A
// has no pointers.
func sizeOfOne[A, V any](value func(*A) *V) func(*A) int {
	if !sketch.HasPointers(reflect.TypeFor[A]()) {
		return nil
	}
	c := sketch.ClonerOf[V]()
	return func(a *A) int { return c.Size(unsafe.Pointer(value(a))) }
}
