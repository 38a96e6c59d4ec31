package mapreduce_test

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
)

// TestPoisonValue checks that a panic of an aggregate counts against the record that caused it,
// even if the table is large.
func TestPoisonValue(t *testing.T) {
	const n, bad = 40_000, 30_007
	path := filepath.Join(t.TempDir(), "bad.jsonl")
	sum := agg.Agg[int64, int64, int64]{
		Add: func(a *int64, v int64) {
			if v == bad {
				panic("no sum for it")
			}
			*a += v
		},
		Merge:  func(a, b *int64) { *a += *b },
		Result: func(a *int64) int64 { return *a },
	}
	j := start(t, t.Context(), mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Quarantine: path}}, func(p *mapreduce.Plan) mapreduce.Dataset[kv[int64, int64]] {
		return mapreduce.AggregateBy(mapreduce.Read(p, upTo(n).Cut(1)), func(i int64) int64 { return i }, sum)
	}, mapreduce.MaxBad(3))
	if err := j.Wait(); err != nil {
		t.Fatal(err)
	}
	if q := quarantined(t, path); len(q) != 1 || q[0].Record != fmt.Sprint(bad) || q[0].Error != "panic: no sum for it" {
		t.Errorf("quarantine holds %+v", q)
	}
}

// TestManyPoisonRecords checks that MaxBad decides, and not the number of attempts that found the
// records.
func TestManyPoisonRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.jsonl")
	poison := []int64{3, 4, 50, 51, 99, 700, 701}
	run := func(max int64) error {
		return start(t, t.Context(), mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Quarantine: path}}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.Map(mapreduce.Read(p, upTo(1000).Cut(1)), func(i int64) int64 {
				if slices.Contains(poison, i) {
					panic(fmt.Sprint("cannot digest ", i))
				}
				return i
			})
		}, mapreduce.MaxBad(max)).Wait()
	}
	if err := run(7); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, q := range quarantined(t, path) {
		got = append(got, q.Line-1)
	}
	if !slices.Equal(got, poison) {
		t.Errorf("set aside %v, want %v", got, poison)
	}
	checkError(t, run(6), "cannot digest 701", "MaxBad is 6")
}

// TestLostOutputs removes outputs while they are read: exactly these are made again.
func TestLostOutputs(t *testing.T) {
	const n = 300_000
	state := t.TempDir()
	var calls atomic.Int64
	var said bytes.Buffer
	var removed atomic.Bool
	rows := run(t, mapreduce.Local{State: state, Slots: 3, Workers: 3, Reporting: mapreduce.Reporting{Err: &said}}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		d := mapreduce.Map(mapreduce.Read(p, upTo(n).Cut(6)), func(i int64) int64 { calls.Add(1); return i })
		return mapreduce.GroupBy(d, func(i int64) int64 { return i % 9973 }, func(k int64, values iter.Seq[int64]) int64 {
			if removed.CompareAndSwap(false, true) {
				lost, err := filepath.Glob(filepath.Join(state, "*", "worker-2", "jobs", "*", "0-*.seg"))
				if err != nil || len(lost) == 0 {
					t.Errorf("no outputs of worker 2 (%v)", err)
				}
				for _, f := range lost {
					if err := os.Remove(f); err != nil {
						t.Error(err)
					}
				}
			}
			sum := int64(0)
			for v := range values {
				sum += v
			}
			return sum
		}, mapreduce.Parallel(12))
	})
	sum := int64(0)
	for _, r := range rows {
		sum += r
	}
	if len(rows) != 9973 || sum != n*(n-1)/2 {
		t.Errorf("%d rows of sum %d, want 9973 of %d", len(rows), sum, n*(n-1)/2)
	}
	if c := calls.Load(); c <= n || c >= 2*n {
		t.Errorf("%d records were mapped, want more than %d and far less than all of them again", c, n)
	}
}
