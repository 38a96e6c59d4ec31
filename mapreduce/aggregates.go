package mapreduce

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"sort"
	"unsafe"

	"github.com/layshaft/layshaft/mapreduce/internal/sketch"
)

// The aggregates in this file and its neighbours are ordinary Agg values. Two ways lead to several at once: Compose2 to
// Compose6 put ready ones together; a struct of one's own, with accumulators such as Total, MinMax or Set as exported
// fields, is faster, as Add is then one function instead of one per part.
//
// What they keep of a record (Min, MinBy, First, TopK, CollectList and their kin) they copy, strings and slices
// included, so that a short string does not keep the large buffer alive that it was read from. What hangs on pointers
// and maps is kept as it is.

// Number is any type with + and -, complex numbers aside.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// isFloat reports whether N rounds.
func isFloat[N Number]() bool { return N(1)/2 != 0 }

// Maybe is a value that may be missing, such as the minimum of no values.
type Maybe[T any] struct {
	Value T // the zero value when OK is false
	OK    bool
}

// Or returns the value, or instead when it is missing.
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

// Sum adds f of every record, as Total does.
func Sum[T any, N Number](f func(T) N) Agg[T, Total[N], N] {
	if f == nil {
		return Agg[T, Total[N], N]{} // without functions, which the operators refuse
	}
	return Agg[T, Total[N], N]{
		Unordered: !isFloat[N](),

		Add:    func(a *Total[N], v T) { a.Add(f(v)) },
		Merge:  func(a, b *Total[N]) { a.Merge(b) },
		Result: func(a *Total[N]) N { return a.Sum() },
	}
}

// Total is a running sum; its zero value is an empty one.
//
// Integers are exact and wrap around like + does when the sum leaves the range of N; let N be int64 for sums of small
// types. Floats are summed with twice the precision of N (106 bits for float64) and rounded once, at the end. So the
// order and grouping of values hardly ever show: of sums of a billion float64 values of one sign they change the last
// bit of one in a million at most, of more only where positive and negative values cancel. Where that must never
// happen, sum whole cents instead of dollars.
type Total[N Number] struct {
	Hi, Lo N // Hi is the sum, Lo what rounding took from it; Lo is zero for integers
}

// Add adds v.
func (t *Total[N]) Add(v N) {
	// Knuth's exact sum hi + lo == t.Hi + v. For integers lo is zero, even when hi wraps.
	hi := t.Hi + v
	z := hi - t.Hi
	lo := (t.Hi - (hi - z)) + (v - z)
	if lo != lo { // infinity and NaN round to nothing else
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

// Mean returns the arithmetic mean of f of every record, or NaN when there is none.
func Mean[T any, N Number](f func(T) N) Agg[T, Average, float64] {
	if f == nil {
		return Agg[T, Average, float64]{}
	}
	return Agg[T, Average, float64]{
		Add:    func(a *Average, v T) { a.Add(float64(f(v))) },
		Merge:  func(a, b *Average) { a.Merge(b) },
		Result: func(a *Average) float64 { return a.Mean() },
	}
}

// Average is a running mean; its zero value is one of no numbers.
type Average struct {
	Total Total[float64]
	N     int64
}

// Add counts x in.
func (a *Average) Add(x float64) {
	a.Total.Add(x)
	a.N++
}

// Merge counts the numbers of b in.
func (a *Average) Merge(b *Average) {
	a.Total.Merge(&b.Total)
	a.N += b.N
}

// Mean returns the mean, or NaN of no numbers.
func (a *Average) Mean() float64 {
	if a.N == 0 {
		return math.NaN()
	}
	return a.Total.Sum() / float64(a.N)
}

// Min returns the smallest f of all records. NaN is left out.
func Min[T any, V cmp.Ordered](f func(T) V) Agg[T, Maybe[V], Maybe[V]] {
	return aggBest(f, func(v, than V) bool { return v < than })
}

// Max returns the largest f of all records. NaN is left out.
func Max[T any, V cmp.Ordered](f func(T) V) Agg[T, Maybe[V], Maybe[V]] {
	return aggBest(f, func(v, than V) bool { return v > than })
}

func aggBest[T any, V cmp.Ordered](f func(T) V, better func(v, than V) bool) Agg[T, Maybe[V], Maybe[V]] {
	if f == nil {
		return Agg[T, Maybe[V], Maybe[V]]{}
	}
	return Agg[T, Maybe[V], Maybe[V]]{
		Unordered: true,

		Add: func(a *Maybe[V], r T) {
			if v := f(r); v == v && (!a.OK || better(v, a.Value)) {
				*a = Maybe[V]{aggKept(v), true}
			}
		},
		Merge: func(a, b *Maybe[V]) {
			if b.OK && (!a.OK || better(b.Value, a.Value)) {
				*a = *b
			}
		},
		Result: func(a *Maybe[V]) Maybe[V] { return *a },
		Size:   aggSize(func(a *Maybe[V]) *V { return &a.Value }),
	}
}

// MinMax keeps the smallest and the largest value; its zero value is empty.
type MinMax[V cmp.Ordered] struct {
	Min, Max V // zero values when OK is false
	OK       bool
}

// Add takes v into account, unless it is NaN.
func (m *MinMax[V]) Add(v V) {
	switch {
	case m.OK && v >= m.Min && v <= m.Max || v != v:
	case !m.OK:
		v = aggKept(v)
		*m = MinMax[V]{v, v, true}
	case v < m.Min:
		m.Min = aggKept(v)
	default:
		m.Max = aggKept(v)
	}
}

// Merge takes the values of b into account.
func (m *MinMax[V]) Merge(b *MinMax[V]) {
	if !m.OK {
		*m = *b
	} else if b.OK {
		m.Min, m.Max = min(m.Min, b.Min), max(m.Max, b.Max)
	}
}

// Histogram counts how many f of all records lie between bounds: the result has len(bounds)+1 counts. The first counts
// numbers below the smallest bound, count i those from bound i-1 up to but without bound i, the last those from the
// largest bound on. Bounds may be given in any order. NaN is left out.
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

// aggKept returns v with its strings and slices copied. It takes tens of nanoseconds and an allocation even when there
// are none, so it is for the few records that are kept.
//
//go:noinline
func aggKept[T any](v T) T {
	sketch.ClonerOf[T]().Clone(unsafe.Pointer(&v))
	return v
}

// aggHeld returns the bytes of the strings and slices of *v.
func aggHeld[T any](v *T) int {
	return sketch.ClonerOf[T]().Held(unsafe.Pointer(v))
}

// aggSize returns an Agg.Size for accumulators that keep one value of type V: nil when A has no pointers.
func aggSize[A, V any](value func(*A) *V) func(*A) int {
	if !sketch.HasPointers(reflect.TypeFor[A]()) {
		return nil
	}
	c := sketch.ClonerOf[V]()
	return func(a *A) int { return c.Held(unsafe.Pointer(value(a))) }
}
