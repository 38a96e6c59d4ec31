// Package agg has aggregates: counts, sums, means, extremes, quantiles, sets, samples. They fold
// many records into one result, in parallel. mapreduce.AggregateBy folds the records of each key
// with one, mapreduce.Aggregate all records.
//
//	mean := agg.Mean(func(x Product) int64 { return x.Cents })
//	byBrand := mapreduce.AggregateBy(products, func(x Product) string { return x.Brand }, mean)
//
// Every aggregate is an ordinary [Agg] value, and can be tried without a pipeline: call Add, Merge
// and Result. [Where] and [Over] change which records an aggregate receives, and [MapResult]
// changes its result.
//
// # Several results at once
//
// [Compose2] to [Compose6] run ready aggregates side by side over the same records. A struct of
// your own is faster, because Add is then a single function. Its exported fields can be
// accumulators of this package, such as [Total], [MinMax], [Set] and [QuantileSketch].
//
// # Copies
//
// [Min], [Max], [MinBy], [MaxBy], [First], [Last], [TopK] and [CollectList] keep values of records.
// They copy the strings and slices of each value, so that a short string does not keep a large read
// buffer in memory. Memory behind pointers and maps is shared, not copied.
//
// # Missing functions
//
// An aggregate made with a nil function has no functions itself, and the operators of mapreduce
// refuse it when the plan is built; see [Agg.Complete].
package agg

// Agg is a mergeable aggregate: it folds values of T into an accumulator A, and turns A into a
// result R. An accumulator starts as A's zero value. The engine fills partial accumulators in
// parallel, encodes them, moves them and merges them. It may group them in any way but keeps their
// order, so Merge must be associative; it need not be commutative.
//
// A may be any type that can be encoded: numbers, strings, structs, slices, maps, pointers to
// those, or a type with the methods AppendBinary and UnmarshalBinary. A without pointers is the
// fastest.
type Agg[T, A, R any] struct {
	// Add folds v into a.
	Add func(a *A, v T)
	// Merge folds b into a. b is not used afterwards; a may take over its memory.
	Merge func(a, b *A)
	// Result turns a finished accumulator into the result. It may use a's memory.
	Result func(a *A) R
	// Size returns the bytes that a holds beyond its own fixed size, for the memory budget. Nil
	// means zero when A has no pointers, and the engine's estimate otherwise. The engine calls it
	// after every Add of a value, so it must be cheap.
	Size func(a *A) int
	// Unordered promises that Merge gives the same result in any order of calls. A cluster may then
	// merge the accumulators of one worker before they cross the network, and the accumulators of
	// one zone before they leave it. The aggregates of this package set it where it is true.
	Unordered bool
	// Commutes promises the same but for rounding, as in sums of floats. Records that were set
	// aside can then be merged with the results of the others. The last digit of a result may
	// differ from a run over all records.
	Commutes bool
	// Err is the reason why the aggregate cannot be used; nil if it can. Operators refuse a plan
	// with it. A function that makes aggregates of its own returns Agg{Err: err} for bad arguments.
	Err error
}

func (agg *Agg[T, A, R]) commutes() bool { return agg.Unordered || agg.Commutes }

// Complete reports whether Add, Merge and Result are set and Err is nil.
func (agg *Agg[T, A, R]) Complete() bool {
	return agg.Err == nil && agg.Add != nil && agg.Merge != nil && agg.Result != nil
}
