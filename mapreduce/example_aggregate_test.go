package mapreduce_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Results come sorted by key within each partition. With one partition, all of them are sorted.
func ExampleAggregateBy() {
	prices := mapreduce.Define("prices", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, float64]] {
		products := mapreduce.Read(p, memio.Of(
			Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}, Product{"hammer", "Acme", 1300}))
		return mapreduce.AggregateBy(products,
			func(x Product) string { return x.Brand },
			agg.Mean(func(x Product) int64 { return x.Cents }),
			mapreduce.Parallel(1))
	})
	fmt.Println(prices.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{Acme 3100} {Bolt 900}] <nil>
}

func ExampleAggregate() {
	total := mapreduce.Define("total", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int64] {
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}, Order{2, "drill", 1}, Order{3, "saw", 4}))
		return mapreduce.Aggregate(orders, agg.Sum(func(o Order) int64 { return o.Units }))
	})
	fmt.Println(total.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [7] <nil>
}

func ExampleReduceByKey() {
	longest := mapreduce.Define("longest", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, string]] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}, Product{"hammer", "Acme", 1300}))
		names := mapreduce.Map(products, func(x Product) mapreduce.KV[string, string] {
			return mapreduce.KV[string, string]{Key: x.Brand, Value: x.Name}
		})
		return mapreduce.ReduceByKey(names, func(a, b string) string {
			if len(b) > len(a) {
				return b
			}
			return a
		}, mapreduce.Parallel(1))
	})
	fmt.Println(longest.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{Acme hammer} {Bolt saw}] <nil>
}

func ExampleCountBy() {
	levels := mapreduce.Define("levels", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		lines := mapreduce.Read(p, memio.Of("INFO started", "ERROR disk full", "INFO stopped"))
		return mapreduce.CountBy(lines, func(l string) string {
			level, _, _ := strings.Cut(l, " ")
			return level
		}, mapreduce.Parallel(1))
	})
	fmt.Println(levels.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{ERROR 1} {INFO 2}] <nil>
}

func ExampleDistinct() {
	brands := mapreduce.Define("brands", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Distinct(mapreduce.Read(p, memio.Of("Bolt", "Acme", "Bolt", "Bolt")), mapreduce.Parallel(1))
	})
	fmt.Println(brands.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [Acme Bolt] <nil>
}

func ExampleTop() {
	dearest := mapreduce.Define("dearest", func(p *mapreduce.Plan, n int) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(
			Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}, Product{"hammer", "Acme", 1300}, Product{"ladder", "Core", 7000}))
		return mapreduce.Top(products, n, func(x Product) float64 { return float64(x.Cents) })
	})
	for x, err := range dearest.Run(context.Background(), mapreduce.Local{}, 2) {
		fmt.Println(x.Name, x.Cents, err)
	}
	// Output:
	// ladder 7000 <nil>
	// drill 4900 <nil>
}

// The same seed draws the same records from the same input.
func ExampleSample() {
	some := mapreduce.Define("some", func(p *mapreduce.Plan, n int) mapreduce.Dataset[int64] {
		ids := mapreduce.Read(p, memio.Generate(1000, func(i int64) int64 { return i }).Cut(4))
		return mapreduce.Sample(ids, n, 42)
	})
	first, err := some.Collect(context.Background(), mapreduce.Local{Slots: 1}, 5)
	fmt.Println(len(first), err)
	again, err := some.Collect(context.Background(), mapreduce.Local{Slots: 3}, 5)
	fmt.Println(fmt.Sprint(again) == fmt.Sprint(first), err)
	// Output:
	// 5 <nil>
	// true <nil>
}
