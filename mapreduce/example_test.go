package mapreduce_test

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Records of the examples. Fields may be exported or not, and no type is registered.
type (
	Product struct {
		Name  string
		Brand string
		Cents int64
	}
	Order struct {
		ID      int
		Product string
		Units   int64
	}
)

// A pipeline is a function that describes steps. It runs inside the program, without any other
// service.
func Example() {
	revenue := mapreduce.Define("revenue", func(p *mapreduce.Plan, minCents int64) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		products := mapreduce.Read(p, memio.Of(
			Product{"drill", "Acme", 4900},
			Product{"nail", "Bolt", 2},
			Product{"hammer", "Acme", 1250},
			Product{"ladder", "Core", 7000},
		)).Filter(func(x Product) bool { return x.Cents >= minCents })

		byBrand := mapreduce.AggregateBy(products,
			func(x Product) string { return x.Brand },
			agg.Sum(func(x Product) int64 { return x.Cents }))

		return mapreduce.SortBy(byBrand,
			func(r mapreduce.KV[string, int64]) int64 { return r.Value },
			mapreduce.Descending())
	})

	for r, err := range revenue.Run(context.Background(), mapreduce.Local{}, 100) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// Core 7000
	// Acme 6150
}
