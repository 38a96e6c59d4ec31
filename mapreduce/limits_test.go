package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// The tests in this file check limits: no input, large records, many keys, odd types, and user code
// that keeps its arguments.

// TestPartitionByMayKeepKeys checks that the keys passed to a partition function do not change
// later.
func TestPartitionByMayKeepKeys(t *testing.T) {
	const n = 60_000
	name := func(i int64) string { return fmt.Sprintf("a key that is longer than a slot %d", i*7919%n) }
	for op, build := range map[string]func(d mapreduce.Dataset[int64], part mapreduce.ShuffleOption) mapreduce.Dataset[string]{
		"CountBy": func(d mapreduce.Dataset[int64], part mapreduce.ShuffleOption) mapreduce.Dataset[string] {
			return mapreduce.Map(mapreduce.CountBy(d, name, part, mapreduce.Parallel(3)), func(r kv[string, int64]) string { return r.Key })
		},
		"GroupBy": func(d mapreduce.Dataset[int64], part mapreduce.ShuffleOption) mapreduce.Dataset[string] {
			return mapreduce.GroupBy(d, name, func(k string, _ iter.Seq[int64]) string { return k }, part, mapreduce.Parallel(3))
		},
		"SortValues": func(d mapreduce.Dataset[int64], part mapreduce.ShuffleOption) mapreduce.Dataset[string] {
			return mapreduce.GroupBy(d, name, func(k string, _ iter.Seq[int64]) string { return k }, part, mapreduce.Parallel(3),
				mapreduce.SortValues(func(i int64) int64 { return -i }))
		},
	} {
		t.Run(op, func(t *testing.T) {
			var kept []string
			rows := run(t, mapreduce.Local{Slots: 1, Memory: 8 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
				d := mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i }).Cut(2))
				return build(d, mapreduce.PartitionBy(func(k string, n int) int {
					kept = append(kept, k) // there is one slot
					return len(k) % n
				}))
			})
			if len(rows) != n {
				t.Errorf("%d rows, want %d", len(rows), n)
			}
			slices.Sort(kept)
			kept = slices.Compact(kept)
			slices.Sort(rows)
			if !slices.Equal(kept, rows) {
				t.Errorf("the %d keys that were kept are not the %d of the result", len(kept), len(rows))
			}
		})
	}
}

// TestNoInput gives every operator datasets without a record, and without a source.
func TestNoInput(t *testing.T) {
	id := func(i int64) int64 { return i }
	for name, read := range map[string]func(p *mapreduce.Plan) mapreduce.Dataset[int64]{
		"no records": func(p *mapreduce.Plan) mapreduce.Dataset[int64] { return mapreduce.Read(p, memio.Of[int64]()) },
		"no source": func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Map(mapreduce.Nothing(p), func(mapreduce.None) int64 { return 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			rows := run(t, mapreduce.Local{Slots: 2, Workers: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
				d, some := read(p), mapreduce.Read(p, upTo(3))
				text := func(d mapreduce.Dataset[int64], op string) mapreduce.Dataset[string] {
					return mapreduce.Map(d, func(i int64) string { return fmt.Sprint(op, " ", i) })
				}
				return mapreduce.Union(
					text(mapreduce.Aggregate(d, agg.Count[int64]()), "Aggregate"),
					text(mapreduce.Values(mapreduce.CountBy(d, id)), "CountBy"),
					text(mapreduce.Sort(d), "Sort"),
					text(mapreduce.SortBy(d, id, mapreduce.Descending()), "SortBy"),
					text(mapreduce.Top(d, 3, id), "Top"),
					text(mapreduce.Distinct(d), "Distinct"),
					text(mapreduce.GroupBy(d, id, func(k int64, _ iter.Seq[int64]) int64 { return k }), "GroupBy"),
					text(mapreduce.Join(d, some, id, id, func(l, r int64) int64 { return l }), "Join"),
					text(mapreduce.Join(some, d, id, id, func(l, r int64) int64 { return l }), "Join"),
					text(mapreduce.LeftJoin(some, d, id, id, func(l int64, r *int64) int64 { return l }), "LeftJoin"),
					text(mapreduce.BroadcastJoin(some, read(p), id, id, func(l int64, r *int64) int64 { return l }), "BroadcastJoin"),
					text(mapreduce.BroadcastJoin(read(p), some, id, id, func(l int64, r *int64) int64 { return l }), "BroadcastJoin"),
				)
			})
			want := []string{"Aggregate 0", "BroadcastJoin 0", "BroadcastJoin 1", "BroadcastJoin 2", "LeftJoin 0", "LeftJoin 1", "LeftJoin 2"}
			sameSet(t, rows, want)
		})
	}
}

// TestLargeRecords moves records of more than 16 MiB through every kind of stage. A record that
// does not fit must lead to an error that names it.
func TestLargeRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("copies gigabytes; run without -short")
	}
	type doc struct {
		Name string
		Body []byte
	}
	target := mapreduce.Local{Slots: 1, Memory: 8 << 20}
	read := func(p *mapreduce.Plan, size int) mapreduce.Dataset[doc] {
		return mapreduce.Read(p, memio.Generate(3, func(i int64) doc {
			return doc{fmt.Sprint("doc ", i), bytes.Repeat([]byte{byte(i)}, size>>(8*(i%2)))}
		}).Cut(1))
	}
	name := func(d doc) string { return d.Name }
	ops := map[string]func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc]{
		"rows": func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc] { return d },
		"GroupBy": func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc] {
			return mapreduce.GroupBy(d, name, func(_ string, values iter.Seq[doc]) (last doc) {
				for v := range values {
					last = v
				}
				return last
			})
		},
		"AggregateBy": func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc] {
			return mapreduce.Values(mapreduce.ReduceByKey(mapreduce.KeyBy(d, name), func(a, _ doc) doc { return a }))
		},
		"Join": func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc] {
			return mapreduce.Join(d, d, name, name, func(l, _ doc) doc { return l })
		},
		"SortBy and BroadcastJoin": func(d mapreduce.Dataset[doc]) mapreduce.Dataset[doc] {
			return mapreduce.BroadcastJoin(mapreduce.SortBy(d, name), d, name, name, func(_ doc, r *doc) doc { return *r })
		},
	}
	for op, build := range ops {
		t.Run(op, func(t *testing.T) {
			const size = 17 << 20
			target := target
			if op == "SortBy and BroadcastJoin" {
				target.Memory = 5 * size // the small side counts
			}
			rows := run(t, target, func(p *mapreduce.Plan) mapreduce.Dataset[doc] { return build(read(p, size)) })
			slices.SortFunc(rows, func(a, b doc) int { return strings.Compare(a.Name, b.Name) })
			for i, r := range rows {
				if r.Name != fmt.Sprint("doc ", i) || len(r.Body) != size>>(8*(i%2)) || r.Body[len(r.Body)-1] != byte(i) {
					t.Errorf("row %d: %s of %d bytes", i, r.Name, len(r.Body))
				}
			}
			if len(rows) != 3 {
				t.Errorf("%d rows, want 3", len(rows))
			}
			if op != "rows" {
				return
			}
			j := start(t, t.Context(), target, func(p *mapreduce.Plan) mapreduce.Dataset[doc] { return build(read(p, record.MaxFrame)) })
			checkError(t, j.Wait(), fmt.Sprintf("record of %d", record.MaxFrame>>20<<20/1000000), "at most 671")
		})
	}
}

// TestSortWithEmptyKeys sorts blocks that begin with an empty key.
func TestSortWithEmptyKeys(t *testing.T) {
	const n = 60_000
	word := func(i int64) string {
		if i%1000 == 7 {
			return ""
		}
		return fmt.Sprint("word ", i*7919%n)
	}
	rows := run(t, mapreduce.Local{Slots: 2, Memory: 16 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
		return mapreduce.Sort(mapreduce.Read(p, memio.Generate(n, word).Cut(3)), mapreduce.Parallel(5))
	})
	var want []string
	for i := range int64(n) {
		want = append(want, word(i))
	}
	slices.Sort(want)
	same(t, rows, want)
}

// TestJobMemory checks that the tables, sorted records and runs of a job stay within its memory,
// for any number of operators in one attempt.
func TestJobMemory(t *testing.T) {
	const memory = 24 << 20
	target := mapreduce.Local{Slots: 2, Memory: memory}
	key := func(i int64) int64 { return i * 7919 % 100_003 }
	spill.Trim()
	before, _ := spill.Used()
	j := start(t, t.Context(), target, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		d := mapreduce.Read(p, upTo(400_000).Cut(4))
		longKey := func(i int64) string { return fmt.Sprintf("a key that is longer than a slot %d", key(i)) }
		counts := mapreduce.Values(mapreduce.CountBy(d, key))
		long := mapreduce.Values(mapreduce.CountBy(d, longKey))
		sorted := mapreduce.SortBy(d, key)
		joined := mapreduce.Join(sorted, mapreduce.SortBy(d, key, mapreduce.Descending()), key, key, func(l, r int64) int64 { return l })
		return mapreduce.Aggregate(mapreduce.Union(counts, long, joined), agg.Count[int64]())
	})
	var most int64
	ended := make(chan error, 1)
	go func() { ended <- j.Wait() }()
	look := time.NewTicker(100 * time.Microsecond)
	defer look.Stop()
	for running := true; running; {
		now, _ := spill.Used()
		most = max(most, now)
		select {
		case <-look.C:
		case err := <-ended:
			if running = false; err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("regions took %d of %d KiB", (most-before)>>10, memory>>10)
	if most-before > memory {
		t.Errorf("regions took %d KiB, the memory is %d", (most-before)>>10, memory>>10)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if now, _ := spill.Used(); now > before {
		t.Errorf("%d KiB are not given back", (now-before)>>10)
	}
}

func TestManyPartitions(t *testing.T) {
	parts := 65_000
	if testing.Short() {
		parts = 1000
	}
	rows := run(t, mapreduce.Local{Slots: 2, Workers: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		d := mapreduce.Read(p, upTo(100_000).Cut(2))
		return mapreduce.Aggregate(mapreduce.GroupBy(d, func(i int64) int64 { return i / 2 }, func(k int64, values iter.Seq[int64]) int64 {
			n := int64(0)
			for range values {
				n++
			}
			return n
		}, mapreduce.Parallel(parts)), agg.Sum(func(n int64) int64 { return n }))
	})
	same(t, rows, []int64{100_000})
}

// TestOddKeys groups by types of odd shapes.
func TestOddKeys(t *testing.T) {
	checkKeys(t, func(i int64) struct{} { return struct{}{} })
	checkKeys(t, func(i int64) [0]string { return [0]string{} })
	checkKeys(t, func(i int64) [2]bool { return [2]bool{i%2 == 0, i%3 == 0} })
	checkKeys(t, func(i int64) [1]string { return [1]string{fmt.Sprint(i % 7)} })
	checkKeys(t, func(i int64) struct{ _, B int8 } { return struct{ _, B int8 }{B: int8(i)} })
	type nested struct {
		A [2]struct {
			S string
			F float32
		}
		E struct{}
		B string
	}
	checkKeys(t, func(i int64) (n nested) {
		n.A[i%2].S = strings.Repeat("\x00", int(i%3))
		n.A[1].F = float32(i % 5)
		n.B = strings.Repeat("\x00", int(i%4))
		return n
	})
}

func checkKeys[K comparable](t *testing.T, key func(int64) K) {
	t.Helper()
	const n = 3000
	want := map[K]int64{}
	for i := range int64(n) {
		want[key(i)]++
	}
	rows := run(t, mapreduce.Local{Slots: 2, Workers: 2, Memory: 16 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[kv[K, int64]] {
		d := mapreduce.Read(p, upTo(n).Cut(3))
		counts := mapreduce.CountBy(d, key, mapreduce.Parallel(3))
		sums := mapreduce.GroupBy(d, key, func(k K, values iter.Seq[int64]) kv[K, int64] {
			r := kv[K, int64]{Key: k}
			for range values {
				r.Value++
			}
			return r
		}, mapreduce.Parallel(2), mapreduce.SortValues(key))
		pairs := mapreduce.Join(counts, sums, func(r kv[K, int64]) K { return r.Key }, func(r kv[K, int64]) K { return r.Key }, func(l, r kv[K, int64]) kv[K, int64] {
			if l.Value != r.Value {
				t.Errorf("%v: CountBy finds %d, GroupBy %d", l.Key, l.Value, r.Value)
			}
			return l
		})
		return mapreduce.SortBy(mapreduce.Union(pairs, mapreduce.Map(mapreduce.Distinct(mapreduce.Map(d, key)), func(k K) kv[K, int64] { return kv[K, int64]{Key: k} })),
			func(r kv[K, int64]) K { return r.Key })
	})
	if len(rows) != 2*len(want) {
		t.Errorf("%T: %d rows, want %d", *new(K), len(rows), 2*len(want))
	}
	for _, r := range rows {
		if w := want[r.Key]; r.Value != 0 && r.Value != w {
			t.Errorf("%#v: %d, want %d", r.Key, r.Value, w)
		}
	}
}

// TestPanicInSmallSide checks that each panic of a key function of a small side is reported as
// such.
func TestPanicInSmallSide(t *testing.T) {
	var calls atomic.Int64
	j := start(t, t.Context(), mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		id := func(i int64) int64 { return i }
		return mapreduce.BroadcastJoin(mapreduce.Read(p, upTo(1000).Cut(4)), mapreduce.Read(p, upTo(10)), id, func(i int64) int64 {
			if i == 7 && calls.Add(1) <= 2 {
				explode(i)
			}
			return i
		}, func(l int64, r *int64) int64 { return l })
	})
	if err := j.Wait(); err != nil {
		t.Error(err)
	}
	calls.Store(-1 << 40)
	j = start(t, t.Context(), mapreduce.Local{Slots: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		id := func(i int64) int64 { return i }
		return mapreduce.BroadcastJoin(mapreduce.Read(p, upTo(1000).Cut(4)), mapreduce.Read(p, upTo(10)), id, explode, func(l int64, r *int64) int64 { return l })
	})
	checkError(t, j.Wait(), "panic: no price for product 7")
}

// TestLargeSmallSide checks that a job ends with an error if its small side takes more than half of
// the memory, and if two small sides do so together.
func TestLargeSmallSide(t *testing.T) {
	join := func(n int64, times int) error {
		j := start(t, t.Context(), mapreduce.Local{Slots: 2, Memory: 16 << 20}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			id := func(i int64) int64 { return i }
			d := mapreduce.Read(p, upTo(100).Cut(4))
			for range times {
				d = mapreduce.BroadcastJoin(d, mapreduce.Read(p, upTo(n).Cut(3)), id, id, func(l int64, _ *int64) int64 { return l })
			}
			return d
		})
		return j.Wait()
	}
	if err := join(60_000, 1); err != nil {
		t.Error(err)
	}
	checkError(t, join(1_000_000, 1), "broadcastjoin", "small side: its records up to number", "half of the memory, 8.0 MiB", "Join or LeftJoin")
	checkError(t, join(60_000, 4), "small sides of broadcast joins in one stage take", "half of the memory, 8.0 MiB")
}

// TestTwoJobsAtOnce runs one definition several times at once.
func TestTwoJobsAtOnce(t *testing.T) {
	d := mapreduce.Define("twice", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[kv[int64, int64]] {
		c := mapreduce.NewCounter(p, "records")
		return mapreduce.SortBy(mapreduce.CountBy(mapreduce.Map(mapreduce.Read(p, upTo(n).Cut(5)), func(i int64) int64 { c.Add(1); return i % 20_000 }),
			func(i int64) int64 { return i }), func(r kv[int64, int64]) int64 { return r.Key })
	})
	results := make(chan error)
	for i := range int64(4) {
		go func() {
			n := 100_000 + 20_000*(i%2)
			rows, err := d.Collect(context.Background(), mapreduce.Local{Slots: 2, Workers: 2, Memory: 16 << 20}, n)
			for j, r := range rows {
				if r.Key != int64(j) || r.Value != n/20_000 {
					err = errors.Join(err, fmt.Errorf("run %d: row %d is %v", i, j, r))
					break
				}
			}
			if len(rows) != 20_000 {
				err = errors.Join(err, fmt.Errorf("run %d: %d rows", i, len(rows)))
			}
			results <- err
		}()
	}
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
