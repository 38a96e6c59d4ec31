package mapreduce

import (
	"cmp"
	"fmt"
	"math/rand/v2"

	"github.com/layshaft/layshaft/mapreduce/agg"
)

// TopBy keeps the n records of each key with the highest score, highest first. Each task moves at
// most n records of a key. Of records with equal scores the first ones count. A record whose score
// is NaN is left out.
func TopBy[T, K any, S cmp.Ordered](d Dataset[T], key func(T) K, n int, score func(T) S, opts ...ShuffleOption) Dataset[T] {
	top := newNode[KV[K, []T]](planOf(d.n), "TopBy", opts, d.n)
	top.needs("key", key)
	top.needs("score", score)
	top.refuseCount(n)
	return flat(aggregateBy(top, key, agg.TopK(n, score)), "TopBy")
}

// refuseCount refuses a negative number of records.
func (n *node) refuseCount(count int) {
	if count < 0 {
		n.refuse(fmt.Errorf("it cannot keep %d records; use 0 or more", count))
	}
}

// flat drops the keys of lists.
func flat[K, T any](d Dataset[KV[K, []T]], op string) Dataset[T] {
	rows := FlatMapEmit(d, func(kv KV[K, []T], emit func(T)) {
		for _, t := range kv.Value {
			emit(t)
		}
	})
	rows.n.op = op
	return rows
}

// DistinctBy keeps the first record of each key, in the order of the input. To choose another
// record, use window.First and window.Last, or AggregateBy with agg.MinBy, agg.MaxBy or agg.Last.
func DistinctBy[T, K any](d Dataset[T], key func(T) K, opts ...ShuffleOption) Dataset[T] {
	n := newNode[KV[K, agg.Maybe[T]]](planOf(d.n), "DistinctBy", opts, d.n)
	n.needs("key", key)
	rows := Map(aggregateBy(n, key, agg.First[T]()), func(kv KV[K, agg.Maybe[T]]) T { return kv.Value.Value })
	rows.n.op = "DistinctBy"
	return rows
}

// drawn is a record with its place in a random order.
type drawn[T any] struct {
	Rank  float64
	Value T
}

func rankOf[T any](x drawn[T]) float64 { return x.Rank }

// draw gives every record a random rank, which depends on seed, the task and the place in it.
func draw[T any](n *node, seed uint64) Dataset[drawn[T]] {
	n.fuse = func(e *env, next any) any {
		push, r := next.(func(*drawn[T])), new(drawn[T])
		// A union makes several copies of this function in one attempt. With a generator for each,
		// their records would come into the sample together.
		if e.random == nil {
			e.random = map[*node]*rand.Rand{}
		}
		random := e.random[n]
		if random == nil {
			a := e.run.Attempt.Task
			random = rand.New(rand.NewPCG(seed, uint64(a.Stage)<<32|uint64(a.Index)))
			e.random[n] = random
		}
		return func(t *T) {
			r.Rank, r.Value = random.Float64(), *t
			push(r)
		}
	}
	return Dataset[drawn[T]]{n}
}

// Sample keeps n random records; every set of n records is equally likely. The choice depends only
// on seed and on the splits of the input.
func Sample[T any](d Dataset[T], n int, seed uint64, opts ...Option) Dataset[T] {
	ranked := newNode[drawn[T]](planOf(d.n), "Sample", opts, d.n)
	ranked.refuseCount(n)
	return Map(Top(draw[T](ranked, seed), max(n, 0), rankOf[T]), func(x drawn[T]) T { return x.Value })
}

// SampleBy keeps n random records of each key, like Sample of each group.
func SampleBy[T, K any](d Dataset[T], key func(T) K, n int, seed uint64, opts ...ShuffleOption) Dataset[T] {
	ranked := newNode[drawn[T]](planOf(d.n), "SampleBy", []Option(nil), d.n)
	ranked.needs("key", key)
	ranked.refuseCount(n)
	top := newNode[KV[K, []drawn[T]]](planOf(d.n), "SampleBy", opts, draw[T](ranked, seed).n)
	best := aggregateBy(top, func(x drawn[T]) K { return key(x.Value) }, agg.TopK(max(n, 0), rankOf[T]))
	rows := Map(flat(best, "SampleBy"), func(x drawn[T]) T { return x.Value })
	rows.n.op = "SampleBy"
	return rows
}
