package agg

import (
	"slices"

	"github.com/layshaft/layshaft/internal/sketch"
)

// Set is an exact set of keys. K is a string, number or bool, or a struct or array of these types;
// other types make Add panic. Negative zero equals zero, and NaN equals NaN. The zero value is an
// empty set. Its methods:
//
//	Add(k K)            puts k in the set; it copies k, strings included
//	Has(k K) bool       reports whether k is in the set
//	Len() int           returns the number of keys
//	All() iter.Seq[K]   yields the keys in a fixed order: strings and numbers ascending
//	Merge(b *Set[K])    adds all keys of b, in linear time, and leaves b empty
//	Size() int          returns the bytes held, in constant time
//
// AppendBinary and UnmarshalBinary encode and decode it; the bytes do not depend on the order in
// which keys were added. A string of up to 15 bytes takes 21 to 43 bytes of memory, a longer string
// its length on top; a number takes 11 to 21 bytes.
type Set[K comparable] = sketch.Set[K]

// ApproxSet counts distinct keys without keeping them; K is as for Set. Up to 768 keys the count is
// exact, unless two keys have the same 64-bit hash. Above 768 keys the set takes 16 KiB and the
// standard error of the count is 0.81 %: 99.7 % of all counts are within 2.5 %. The zero value is
// empty. Its methods are Add, Len, Merge and Size, as in Set; Len returns the estimate.
type ApproxSet[K comparable] = sketch.ApproxSet[K]

// QuantileSketch summarises numbers and estimates any quantile of them. Up to 64 numbers it is
// exact. With more numbers, a quantile is off by at most 0.79 % of its true value. The sketch takes
// 512 bytes for each power of two that the numbers fall into: prices from 1 to 10,000 take 7 KiB.
// The zero value is empty. Its methods:
//
//	Add(x float64)                 counts x, unless it is NaN
//	Quantile(p float64) float64    returns the smallest x such that at least the share p of all numbers is x or less
//	Len() int                      returns how many numbers were added
//	Merge(b *QuantileSketch)       counts all numbers of b and leaves b empty
//	Size() int                     returns the bytes held, in constant time
//
// AppendBinary and UnmarshalBinary encode and decode it; the bytes do not depend on the order in
// which numbers were added.
type QuantileSketch = sketch.Quantiles

// CountDistinct counts the different values of f over all records, exactly. It keeps each value
// once; see Set for the types that K can be.
func CountDistinct[T any, K comparable](f func(T) K) Agg[T, Set[K], int64] {
	if f == nil {
		return Agg[T, Set[K], int64]{}
	}
	return Agg[T, Set[K], int64]{
		Unordered: true,

		Add:    func(a *Set[K], v T) { a.Add(f(v)) },
		Merge:  func(a, b *Set[K]) { a.Merge(b) },
		Result: func(a *Set[K]) int64 { return int64(a.Len()) },
		Size:   func(a *Set[K]) int { return a.Size() },
	}
}

// CountDistinctApprox counts the different values of f over all records: exactly up to 768, above
// that with a standard error of 0.81 %, in 16 KiB per group; see ApproxSet.
func CountDistinctApprox[T any, K comparable](f func(T) K) Agg[T, ApproxSet[K], int64] {
	if f == nil {
		return Agg[T, ApproxSet[K], int64]{}
	}
	return Agg[T, ApproxSet[K], int64]{
		Unordered: true,

		Add:    func(a *ApproxSet[K], v T) { a.Add(f(v)) },
		Merge:  func(a, b *ApproxSet[K]) { a.Merge(b) },
		Result: func(a *ApproxSet[K]) int64 { return int64(a.Len()) },
		Size:   func(a *ApproxSet[K]) int { return a.Size() },
	}
}

// Quantiles returns one quantile of f over all records for each of ps, such as 0.5 for the median.
// Quantiles of up to 64 records are exact; quantiles of more are within 0.79 % of the true value;
// see QuantileSketch. Quantiles of no records are NaN.
func Quantiles[T any](f func(T) float64, ps ...float64) Agg[T, QuantileSketch, []float64] {
	if f == nil {
		return Agg[T, QuantileSketch, []float64]{}
	}
	ps = slices.Clone(ps)
	return Agg[T, QuantileSketch, []float64]{
		Unordered: true,

		Add:   func(a *QuantileSketch, v T) { a.Add(f(v)) },
		Merge: func(a, b *QuantileSketch) { a.Merge(b) },
		Result: func(a *QuantileSketch) []float64 {
			qs := make([]float64, len(ps))
			for i, p := range ps {
				qs[i] = a.Quantile(p)
			}
			return qs
		},
		Size: func(a *QuantileSketch) int { return a.Size() },
	}
}
