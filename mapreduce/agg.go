package mapreduce

// Agg is a mergeable aggregate: it folds values of T into an accumulator A and turns that into a result R.
// An accumulator starts as A's zero value. Partial accumulators are made in parallel, encoded, moved, and merged in any
// grouping but always in the same order, so Merge must be associative; it need not be commutative.
//
// A may be any type that can be encoded: numbers, strings, structs, slices, maps, pointers to those, or a type with
// the methods AppendBinary and UnmarshalBinary. A without pointers is the fastest.
type Agg[T, A, R any] struct {
	// Add folds v into a.
	Add func(a *A, v T)
	// Merge folds b into a. b is not used afterwards; a may take over its memory.
	Merge func(a, b *A)
	// Result turns a finished accumulator into the result. It may use a's memory.
	Result func(a *A) R
	// Size returns the bytes that a holds beyond its own fixed size, for the memory budget. Nil means zero when A has no
	// pointers, and the engine's estimate otherwise. It is called after every Add of a value, so it must be cheap.
	Size func(a *A) int
	// Unordered says that Merge gives the same whatever the order of its calls. Then a cluster may merge the accumulators that one
	// worker holds before they cross the network, and those of a zone before they leave it. Built-in aggregates say so where it is true.
	Unordered bool
}

// whole reports whether the aggregate has its functions. One of this package that was given a nil function has none.
func (agg *Agg[T, A, R]) whole() bool { return agg.Add != nil && agg.Merge != nil && agg.Result != nil }
