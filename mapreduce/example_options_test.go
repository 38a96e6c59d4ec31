package mapreduce_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Counters are exact: failed and superseded attempts do not count.
func ExampleNewCounter() {
	clean := mapreduce.Define("clean", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		unpriced := mapreduce.NewCounter(p, "without price")
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"sticker", "Bolt", 0}))
		return products.Filter(func(x Product) bool {
			if x.Cents == 0 {
				unpriced.Add(1)
				return false
			}
			return true
		})
	})
	job, err := clean.Start(context.Background(), mapreduce.Local{}, mapreduce.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer job.Close()
	fmt.Println(job.Wait(), job.Counters()["without price"])
	// Output: <nil> 1
}

// Skip sets a record aside, as long as MaxBad allows. The quarantine file lists the records and the
// reasons.
func ExampleSkip() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	prices := mapreduce.Define("prices", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[float64] {
		texts := mapreduce.Read(p, memio.Of("4.50", "on request", "0.99"))
		return mapreduce.TryMap(texts, func(_ context.Context, s string) (float64, error) {
			price, err := strconv.ParseFloat(s, 64)
			return price, mapreduce.Skip(err)
		})
	}, mapreduce.MaxBad(10))

	target := mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "quarantine.jsonl")}}
	fmt.Println(prices.Collect(context.Background(), target, mapreduce.None{}))
	// Output: [4.5 0.99] <nil>
}

// Without MaxBad the first bad record ends the job.
func ExampleMaxBad() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	negative := errors.New("negative")
	for _, allowed := range []int64{2, 1} {
		even := mapreduce.Define("even", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
			numbers := mapreduce.Read(p, memio.Of(-1, 4, -2))
			return numbers.TryFilter(func(_ context.Context, n int) (bool, error) {
				if n < 0 {
					return false, mapreduce.Skip(negative)
				}
				return true, nil
			})
		}, mapreduce.MaxBad(allowed))
		rows, err := even.Collect(context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "bad")}}, mapreduce.None{})
		fmt.Println(rows, err != nil)
	}
	// Output:
	// [4] false
	// [] true
}

// At most one record in four may be bad.
func ExampleMaxBadShare() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	prices := mapreduce.Define("prices", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		texts := mapreduce.Read(p, memio.Of("450", "on request", "99", "1200"))
		return mapreduce.TryMap(texts, func(_ context.Context, s string) (int, error) {
			cents, err := strconv.Atoi(s)
			return cents, mapreduce.Skip(err)
		})
	}, mapreduce.MaxBadShare(0.25))
	fmt.Println(prices.Collect(context.Background(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "bad")}}, mapreduce.None{}))
	// Output: [450 99 1200] <nil>
}

// Fatal ends the job at once. After any other error, the attempt is repeated.
func ExampleFatal() {
	denied := errors.New("the shop does not know this key")
	load := mapreduce.Define("load", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.TryMap(mapreduce.Read(p, memio.Of("4711")), func(context.Context, string) (string, error) {
			return "", mapreduce.Fatal(denied)
		}, mapreduce.Named("ask the shop"))
	})
	_, err := load.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Println(err != nil)
	// Output: true
}

// Each year gets its own partition, in order.
func ExamplePartitionBy() {
	perYear := mapreduce.Define("per-year", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[int, int64]] {
		years := mapreduce.Read(p, memio.Of(2026, 2024, 2026, 2025))
		return mapreduce.CountBy(years, func(y int) int { return y },
			mapreduce.Parallel(3),
			mapreduce.PartitionBy(func(year, n int) int { return (year - 2024) % n }))
	})
	fmt.Println(perYear.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{2024 1} {2025 1} {2026 2}] <nil>
}

// With one partition, all keys are sorted.
func ExampleParallel() {
	letters := mapreduce.Define("letters", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		return mapreduce.CountBy(mapreduce.Read(p, memio.Of("b", "c", "a", "b")), func(s string) string { return s },
			mapreduce.Parallel(1))
	})
	fmt.Println(letters.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{a 1} {b 2} {c 1}] <nil>
}

// Names appear in plans, progress and errors.
func ExampleNamed() {
	half := mapreduce.Define("half", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		numbers := mapreduce.Read(p, memio.Of(4, 10), mapreduce.Named("numbers"))
		return mapreduce.Map(numbers, func(n int) int { return n / 2 }, mapreduce.Named("halve"))
	})
	fmt.Println(half.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [2 5] <nil>
}

// An option given to Define applies to all operators.
func ExampleRetry() {
	careful := mapreduce.Define("careful", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		pages := mapreduce.Read(p, memio.Of("/drill", "/saw"))
		return mapreduce.TryMap(pages, func(_ context.Context, path string) (string, error) {
			return "shop" + path, nil // here a call to a shop that is sometimes unavailable
		}, mapreduce.Retry(10))
	}, mapreduce.Retry(2))
	fmt.Println(careful.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [shop/drill shop/saw] <nil>
}

// An attempt that takes too long is cancelled through ctx, and repeated.
func ExampleTimeout() {
	stuck := mapreduce.Define("stuck", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.TryMap(mapreduce.Read(p, memio.Of("/drill")), func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done() // a call that never returns
			return "", context.Cause(ctx)
		}, mapreduce.Timeout(time.Millisecond), mapreduce.Retry(1))
	})
	_, err := stuck.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Println(err != nil)
	// Output: true
}

// At most eight attempts hold a connection at the same time: in this run, or over all jobs and
// tasks of a cluster.
func ExampleNeeds() {
	stored := mapreduce.Define("stored", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.TryMap(mapreduce.Read(p, memio.Of("drill", "saw")), func(_ context.Context, name string) (string, error) {
			return name + " stored", nil // here a write to a database
		}, mapreduce.Needs("pg", 1))
	})
	fmt.Println(stored.Collect(context.Background(), mapreduce.Local{Budgets: map[string]int{"pg": 8}}, mapreduce.None{}))
	// Output: [drill stored saw stored] <nil>
}
