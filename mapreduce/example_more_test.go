package mapreduce_test

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Records of either side without a match come with a nil other side.
func ExampleFullJoin() {
	diff := mapreduce.Define("diff", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		before := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		after := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 950}, Product{"file", "Bolt", 300}))
		name := func(x Product) string { return x.Name }
		return mapreduce.FullJoin(before, after, name, name, func(b, a *Product) string {
			switch {
			case b == nil:
				return "new: " + a.Name
			case a == nil:
				return "gone: " + b.Name
			}
			return fmt.Sprint(b.Name, ": ", a.Cents-b.Cents)
		}, mapreduce.Parallel(1))
	})
	fmt.Println(diff.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [gone: drill new: file saw: 50] <nil>
}

func ExampleSemiJoin() {
	ordered := mapreduce.Define("ordered", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{7, "saw", 2}, Order{8, "saw", 1}))
		return mapreduce.SemiJoin(products, orders, func(x Product) string { return x.Name }, func(o Order) string { return o.Product })
	})
	fmt.Println(ordered.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{saw Bolt 900}] <nil>
}

func ExampleAntiJoin() {
	unsold := mapreduce.Define("unsold", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{7, "saw", 2}, Order{8, "saw", 1}))
		return mapreduce.AntiJoin(products, orders, func(x Product) string { return x.Name }, func(o Order) string { return o.Product })
	})
	fmt.Println(unsold.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{drill Acme 4900}] <nil>
}

// The two dearest products of each brand.
func ExampleTopBy() {
	dearest := mapreduce.Define("dearest", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"nail", "Bolt", 2}, Product{"file", "Bolt", 300}, Product{"drill", "Acme", 4900}))
		return mapreduce.TopBy(products, func(x Product) string { return x.Brand }, 2, func(x Product) int64 { return x.Cents }, mapreduce.Parallel(1))
	})
	fmt.Println(dearest.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{drill Acme 4900} {saw Bolt 900} {file Bolt 300}] <nil>
}

func ExampleDistinctBy() {
	one := mapreduce.Define("one", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"nail", "Bolt", 2}, Product{"drill", "Acme", 4900}))
		return mapreduce.DistinctBy(products, func(x Product) string { return x.Brand }, mapreduce.Parallel(1))
	})
	fmt.Println(one.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{drill Acme 4900} {saw Bolt 900}] <nil>
}

func ExampleSampleBy() {
	some := mapreduce.Define("some", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[bool, int64]] {
		numbers := mapreduce.Read(p, memio.Generate(1000, func(i int64) int64 { return i }))
		small := func(i int64) bool { return i < 10 }
		return mapreduce.CountBy(mapreduce.SampleBy(numbers, small, 20, 1), small, mapreduce.Parallel(1))
	})
	fmt.Println(some.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{false 20} {true 10}] <nil>
}

func ExampleWithIndex() {
	numbered := mapreduce.Define("numbered", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[int64, string]] {
		return mapreduce.WithIndex(mapreduce.Read(p, memio.Of("zero", "one", "two").Cut(2)))
	})
	fmt.Println(numbered.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{0 zero} {1 one} {2 two}] <nil>
}

// A side with another length would end the job.
func ExampleZip() {
	pairs := mapreduce.Define("pairs", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		names := mapreduce.Read(p, memio.Of("saw", "drill", "file"))
		prices := mapreduce.Read(p, memio.Of(900, 4900, 300).Cut(3))
		return mapreduce.Zip(names, prices, func(name string, price int) string { return fmt.Sprint(name, "=", price) }, mapreduce.Parallel(1))
	})
	fmt.Println(pairs.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [saw=900 drill=4900 file=300] <nil>
}

// All rows come from one task, so that a sink writes one file. The order stays.
func ExampleRepartition() {
	one := mapreduce.Define("one-file", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Repartition(mapreduce.Read(p, memio.Of("a", "b", "c", "d").Cut(4)), 1)
	})
	fmt.Println(one.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [a b c d] <nil>
}

// One pass over the input, two outputs.
func ExampleBranch() {
	sorted := mapreduce.Define("branches", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		numbers := mapreduce.Read(p, memio.Of(5, 2, 8, 1))
		parts := mapreduce.Branch(numbers, 2, func(n int) int { return n % 2 })
		mapreduce.Output(p, "odd", parts[1])
		return parts[0]
	})
	job, err := sorted.Start(context.Background(), mapreduce.Local{}, mapreduce.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer job.Close()
	for _, output := range []string{"", "odd"} {
		for n, err := range mapreduce.Rows[int](job, output) {
			fmt.Println(output, n, err)
		}
	}
	// Output:
	//  2 <nil>
	//  8 <nil>
	// odd 5 <nil>
	// odd 1 <nil>
}

// Every product in every currency; ten currencies are more than enough.
func ExampleCross() {
	prices := mapreduce.Define("prices", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of("saw", "drill"))
		currencies := mapreduce.Read(p, memio.Of("EUR", "SEK"))
		return mapreduce.Cross(products, currencies, 10, func(product, currency string) string { return product + " in " + currency })
	})
	fmt.Println(prices.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [saw in EUR saw in SEK drill in EUR drill in SEK] <nil>
}
