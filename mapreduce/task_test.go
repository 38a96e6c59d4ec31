package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Each task adds its own records; the sums of all tasks are added by a later operator.
func ExampleMapTask() {
	total := mapreduce.Define("total", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int64] {
		numbers := mapreduce.Read(p, memio.Of[int64](1, 2, 3, 4, 5, 6, 7, 8, 9).Cut(4))
		sums := mapreduce.MapTask(numbers, func(_ context.Context, _ mapreduce.Task, emit func(int64)) (func(int64) error, func() error) {
			sum := int64(0)
			return func(n int64) error { sum += n; return nil }, func() error { emit(sum); return nil }
		})
		return mapreduce.Aggregate(sums, agg.Sum(func(n int64) int64 { return n }))
	})
	fmt.Println(total.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [45] <nil>
}

// The side is read once in every process, and turned into the form that the function needs.
func ExampleFlatMapSide() {
	known := mapreduce.Define("known", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		words := mapreduce.Read(p, memio.Of("cat", "teh", "dog"))
		dictionary := mapreduce.Read(p, memio.Of("dog", "cat"))
		load := func(rows iter.Seq[string]) (set map[string]bool, bytes int64, err error) {
			set = map[string]bool{}
			for w := range rows {
				set[w] = true
				bytes += int64(len(w)) + 40
			}
			return set, bytes, nil
		}
		return mapreduce.FlatMapSide(words, dictionary, load, func(_ context.Context, w string, set map[string]bool, emit func(string)) error {
			if !set[w] {
				emit(w)
			}
			return nil
		})
	})
	fmt.Println(known.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [teh] <nil>
}

// Tasks emit bytes for each key, and the last step reads all bytes of a key.
func ExampleMergeTask() {
	initials := mapreduce.Define("initials", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		words := mapreduce.Read(p, memio.Of("ant", "bee", "cow", "asp", "cat").Cut(2))
		ones := mapreduce.Map(words, func(w string) mapreduce.KV[string, string] {
			return mapreduce.KV[string, string]{Key: w[:1], Value: "x"}
		})
		return mapreduce.MergeTask(ones, mapreduce.Merge[string]{
			Fold: func(dst []byte, values [][]byte) ([]byte, error) { return append(dst, bytes.Join(values, nil)...), nil },
			Start: func(_ context.Context, _ mapreduce.Task, emit func(string)) (func([]byte, [][]byte) error, func() error) {
				return func(key []byte, values [][]byte) error {
					emit(fmt.Sprintf("%s: %s", key, bytes.Join(values, nil)))
					return nil
				}, func() error { return nil }
			},
		}, mapreduce.Parallel(1))
	})
	fmt.Println(initials.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [a: xx b: x c: xx] <nil>
}

// TestMergeTask checks that every value of a key reaches its function once, and that errors of both
// functions end the job.
func TestMergeTask(t *testing.T) {
	var fail [2]error
	plan := func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		ones := mapreduce.Map(mapreduce.Read(p, upTo(10_000).Cut(20)), func(n int64) mapreduce.KV[string, string] {
			return mapreduce.KV[string, string]{Key: fmt.Sprint(n % 7), Value: "x"}
		})
		return mapreduce.MergeTask(ones, mapreduce.Merge[int64]{
			Fold: func(dst []byte, values [][]byte) ([]byte, error) { return append(dst, bytes.Join(values, nil)...), nil },
			Start: func(_ context.Context, _ mapreduce.Task, emit func(int64)) (func([]byte, [][]byte) error, func() error) {
				sum := int64(0)
				return func(_ []byte, values [][]byte) error {
					sum += int64(len(bytes.Join(values, nil)))
					return fail[0]
				}, func() error { emit(sum); return fail[1] }
			},
		})
	}
	sum := int64(0)
	for _, n := range run(t, mapreduce.Local{Workers: 3, Slots: 3}, plan) {
		sum += n
	}
	if sum != 10_000 {
		t.Errorf("%d values, want all 10,000", sum)
	}
	for i := range fail {
		fail = [2]error{}
		fail[i] = mapreduce.Fatal(fmt.Errorf("failure %d", i))
		checkError(t, start(t, t.Context(), mapreduce.Local{Slots: 3}, plan).Wait(), fmt.Sprint("failure ", i))
	}
}

// TestMapTask checks that ends run from the source to the output, once for each task, and that
// their errors end the job.
func TestMapTask(t *testing.T) {
	count := func(d mapreduce.Dataset[int64], fail error) mapreduce.Dataset[int64] {
		return mapreduce.MapTask(d, func(_ context.Context, task mapreduce.Task, emit func(int64)) (func(int64) error, func() error) {
			n := int64(0)
			if task.Memory <= 0 {
				panic("no memory")
			}
			return func(x int64) error { n += x; return nil }, func() error { emit(n); return fail }
		})
	}
	got := run(t, mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return count(count(mapreduce.Read(p, upTo(1000).Cut(5)), nil), nil)
	})
	sum := int64(0)
	for _, n := range got {
		sum += n
	}
	if len(got) != 5 || sum != 1000*999/2 {
		t.Errorf("got %v, want five numbers with the sum %d", got, 1000*999/2)
	}
	j := start(t, t.Context(), mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return count(mapreduce.Read(p, upTo(10)), mapreduce.Fatal(errors.New("no end")))
	})
	checkError(t, j.Wait(), "maptask", "no end")
}

// TestLargeSide checks that a side larger than half of the memory ends the job, and that an error
// of load is reported.
func TestLargeSide(t *testing.T) {
	with := func(n, size int64, fail error) error {
		j := start(t, t.Context(), mapreduce.Local{Slots: 2, Memory: 16 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			load := func(rows iter.Seq[int64]) (sum, bytes int64, err error) {
				for r := range rows {
					sum += r
				}
				return sum, size, fail
			}
			return mapreduce.FlatMapSide(mapreduce.Read(p, upTo(3)), mapreduce.Read(p, upTo(n).Cut(3)), load, func(_ context.Context, x, sum int64, emit func(int64)) error {
				emit(x + sum)
				return nil
			})
		})
		return j.Wait()
	}
	if err := with(60_000, 1, nil); err != nil {
		t.Error(err)
	}
	checkError(t, with(3_000_000, 1, nil), "flatmapside", "its records up to number", "half of the memory, 8.0 MiB")
	checkError(t, with(10, 9<<20, nil), "half of the memory, 8.0 MiB")
	checkError(t, with(10, 1, mapreduce.Fatal(errors.New("not sorted"))), "flatmapside", "not sorted")
}
