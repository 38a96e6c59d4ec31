package agg_test

import (
	"fmt"
	"math"

	"github.com/layshaft/layshaft/mapreduce/agg"
)

type sale struct {
	Brand, Shop string
	Price       float64
	Units       int64
}

var sales = []sale{
	{"Acme", "north", 10, 3},
	{"Bolt", "north", 25, 1},
	{"Acme", "south", 12, 5},
	{"Core", "south", 8, 2},
	{"Bolt", "east", 25, 4},
}

// An aggregate works without a pipeline: fold records into accumulators, merge these, and get the
// result.
func ExampleAgg_byHand() {
	mean := agg.Mean(func(s sale) float64 { return s.Price })
	var a, b agg.Average
	for _, s := range sales[:3] {
		mean.Add(&a, s)
	}
	for _, s := range sales[3:] {
		mean.Add(&b, s)
	}
	mean.Merge(&a, &b)
	fmt.Println(mean.Result(&a))
	// Output: 16
}

// Aggregates compose: here a count, a sum, and a sum of some of the records.
func ExampleCompose3_byHand() {
	type line struct {
		Sales, Units, Dear int64
	}
	units := agg.Sum(func(s sale) int64 { return s.Units })
	report := agg.Compose3(
		agg.Count[sale](),
		units,
		agg.Where(units, func(s sale) bool { return s.Price > 20 }),
		func(n, units, dear int64) line { return line{n, units, dear} },
	)
	var a agg.Acc3[int64, agg.Total[int64], agg.Total[int64]]
	for _, s := range sales {
		report.Add(&a, s)
	}
	fmt.Printf("%+v\n", report.Result(&a))
	// Output: {Sales:5 Units:15 Dear:5}
}

// Your own aggregate is the fastest way to several results: one Add, and a struct of ready
// accumulators.
func ExampleSet_inAccumulator() {
	type acc struct {
		Revenue agg.Total[float64]
		Brands  agg.Set[string]
		Prices  agg.QuantileSketch
	}
	report := agg.Agg[sale, acc, string]{
		Add: func(a *acc, s sale) {
			a.Revenue.Add(s.Price * float64(s.Units))
			a.Brands.Add(s.Brand)
			a.Prices.Add(s.Price)
		},
		Merge: func(a, b *acc) {
			a.Revenue.Merge(&b.Revenue)
			a.Brands.Merge(&b.Brands)
			a.Prices.Merge(&b.Prices)
		},
		Result: func(a *acc) string {
			return fmt.Sprintf("%.2f from %d brands, median price %.0f", a.Revenue.Sum(), a.Brands.Len(), a.Prices.Quantile(0.5))
		},
		Size: func(a *acc) int { return a.Brands.Size() + a.Prices.Size() },
	}
	var a acc
	for _, s := range sales {
		report.Add(&a, s)
	}
	fmt.Println(report.Result(&a))
	for brand := range a.Brands.All() {
		fmt.Println(brand)
	}
	// Output:
	// 231.00 from 3 brands, median price 12
	// Acme
	// Bolt
	// Core
}

func ExampleTopK_byHand() {
	top := agg.TopK(2, func(s sale) float64 { return s.Price })
	var a agg.TopN[sale, float64]
	for _, s := range sales {
		top.Add(&a, s)
	}
	for _, s := range top.Result(&a) {
		fmt.Println(s.Brand, s.Shop, s.Price) // of equal prices the first sale comes first
	}
	// Output:
	// Bolt north 25
	// Bolt east 25
}

func ExampleMaxBy_byHand() {
	most := agg.MaxBy(func(s sale) int64 { return s.Units })
	var a, nothing agg.Best[sale, int64]
	for _, s := range sales {
		most.Add(&a, s)
	}
	fmt.Println(most.Result(&a).Value.Shop, most.Result(&nothing).OK)
	// Output: south false
}

func ExampleQuantiles_byHand() {
	latency := agg.Quantiles(func(ms float64) float64 { return ms }, 0.5, 0.99, 1)
	var a agg.QuantileSketch
	for ms := 1.0; ms <= 100_000; ms++ {
		latency.Add(&a, ms)
	}
	for i, exact := range []float64{50_000, 99_000, 100_000} {
		off := math.Abs(latency.Result(&a)[i]-exact) / exact
		fmt.Println(off < 0.0079)
	}
	fmt.Println(a.Size()/1024, "KiB")
	// Output:
	// true
	// true
	// true
	// 8 KiB
}

func ExampleCountDistinctApprox_byHand() {
	visitors := agg.CountDistinctApprox(func(id int) int { return id })
	var a agg.ApproxSet[int]
	for id := range 1_000_000 {
		visitors.Add(&a, id%50_000)
	}
	off := float64(visitors.Result(&a))/50_000 - 1
	fmt.Println(math.Abs(off) < 0.025, a.Size()/1024, "KiB")
	// Output: true 16 KiB
}

func ExampleHistogram_byHand() {
	prices := agg.Histogram(func(s sale) float64 { return s.Price }, 10, 20)
	var a []int64
	for _, s := range sales {
		prices.Add(&a, s)
	}
	fmt.Println(prices.Result(&a))
	// Output: [1 2 2]
}

// Over turns an aggregate of values into an aggregate of records; MapResult changes its result.
func ExampleOver_byHand() {
	shops := agg.Over(agg.CountDistinct(func(shop string) string { return shop }), func(s sale) string { return s.Shop })
	many := agg.MapResult(shops, func(n int64) bool { return n > 2 })
	var a agg.Set[string]
	for _, s := range sales {
		many.Add(&a, s)
	}
	fmt.Println(many.Result(&a))
	// Output: true
}
