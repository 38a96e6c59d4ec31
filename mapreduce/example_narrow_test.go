package mapreduce_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

func ExampleRead() {
	numbers := mapreduce.Define("numbers", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		return mapreduce.Read(p, memio.Of(3, 1, 2))
	})
	fmt.Println(numbers.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [3 1 2] <nil>
}

func ExampleMap() {
	labels := mapreduce.Define("labels", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"drill", "Acme", 4900}, Product{"saw", "Bolt", 900}))
		return mapreduce.Map(products, func(x Product) string { return x.Brand + " " + x.Name })
	})
	fmt.Println(labels.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [Acme drill Bolt saw] <nil>
}

// The error of a failed function contains the operator, its place in the source code, and the place
// of the record in the input.
func ExampleTryMap() {
	prices := mapreduce.Define("prices", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[float64] {
		texts := mapreduce.Read(p, memio.Of("4.50", "12", "0.99"))
		return mapreduce.TryMap(texts, func(_ context.Context, s string) (float64, error) {
			return strconv.ParseFloat(s, 64)
		})
	})
	fmt.Println(prices.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [4.5 12 0.99] <nil>
}

func ExampleDataset_Filter() {
	errors := mapreduce.Define("errors", func(p *mapreduce.Plan, level string) mapreduce.Dataset[string] {
		lines := mapreduce.Read(p, memio.Of("INFO started", "ERROR disk full", "INFO stopped"))
		return lines.Filter(func(l string) bool { return strings.HasPrefix(l, level) })
	})
	fmt.Println(errors.Collect(context.Background(), mapreduce.Local{}, "ERROR"))
	// Output: [ERROR disk full] <nil>
}

func ExampleDataset_TryFilter() {
	cheap := mapreduce.Define("cheap", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		texts := mapreduce.Read(p, memio.Of("4.50", "12", "0.99"))
		return texts.TryFilter(func(_ context.Context, s string) (bool, error) {
			price, err := strconv.ParseFloat(s, 64)
			return price < 5, err
		})
	})
	fmt.Println(cheap.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [4.50 0.99] <nil>
}

func ExampleFlatMap() {
	words := mapreduce.Define("words", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		lines := mapreduce.Read(p, memio.Of("to be", "or not to be"))
		return mapreduce.FlatMap(lines, strings.FieldsSeq)
	})
	fmt.Println(words.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [to be or not to be] <nil>
}

func ExampleFlatMapEmit() {
	units := mapreduce.Define("units", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}, Order{2, "drill", 0}, Order{3, "nail", 1}))
		return mapreduce.FlatMapEmit(orders, func(o Order, emit func(string)) {
			for range o.Units {
				emit(o.Product)
			}
		})
	})
	fmt.Println(units.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [saw saw nail] <nil>
}

func ExampleTryFlatMap() {
	codes := mapreduce.Define("codes", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		lines := mapreduce.Read(p, memio.Of("200 200", "404", ""))
		return mapreduce.TryFlatMap(lines, func(_ context.Context, line string, emit func(int)) error {
			for f := range strings.FieldsSeq(line) {
				code, err := strconv.Atoi(f)
				if err != nil {
					return err
				}
				emit(code)
			}
			return nil
		})
	})
	fmt.Println(codes.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [200 200 404] <nil>
}

func ExampleKeyBy() {
	byBrand := mapreduce.Define("by-brand", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, Product]] {
		products := mapreduce.Read(p, memio.Of(Product{"drill", "Acme", 4900}, Product{"saw", "Bolt", 900}))
		return mapreduce.KeyBy(products, func(x Product) string { return x.Brand })
	})
	rows, err := byBrand.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Println(rows[1].Key, rows[1].Value.Name, err)
	// Output: Bolt saw <nil>
}

func ExampleValues() {
	values := mapreduce.Define("values", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		return mapreduce.Values(mapreduce.Read(p, memio.Of(
			mapreduce.KV[string, int]{Key: "drill", Value: 12},
			mapreduce.KV[string, int]{Key: "saw", Value: 7})))
	})
	fmt.Println(values.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [12 7] <nil>
}

func ExampleUnion() {
	all := mapreduce.Define("all", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		shop := mapreduce.Read(p, memio.Of("drill", "saw"))
		web := mapreduce.Read(p, memio.Of("ladder", "saw"))
		return mapreduce.Union(shop, web)
	})
	fmt.Println(all.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [drill saw ladder saw] <nil>
}
