// Command brands adds up the stock of a product catalogue by brand.
//
//	go run ./examples/brands docs/sample/products.csv
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
)

// Product has the columns of the file that the pipeline needs.
type Product struct {
	Brand string
	Price int64 `decimal:"2"` // 19.90 is read as 1990
	Stock int64
}

type Line struct{ Products, Value int64 }

type Params struct {
	Files    []string
	MinPrice int64
}

var brands = mapreduce.Define("brands", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.KV[string, Line]] {
	products := mapreduce.Read(p, csvio.Rows[Product](in.Files...)).
		Filter(func(x Product) bool { return x.Price >= in.MinPrice })
	byBrand := mapreduce.AggregateBy(products, func(x Product) string { return x.Brand },
		agg.Compose2(
			agg.Count[Product](),
			agg.Sum(func(x Product) int64 { return x.Price * x.Stock }),
			func(n, value int64) Line { return Line{n, value} }))
	return mapreduce.Top(byBrand, 10, func(r mapreduce.KV[string, Line]) float64 { return float64(r.Value.Value) })
})

func main() {
	mapreduce.Main()                            // first: workers start this program, too
	target := mapreduce.Flags(flag.CommandLine) // -state, -memory, -explain, -cluster, ...
	flag.Parse()
	for row, err := range brands.Run(context.Background(), target, Params{Files: flag.Args(), MinPrice: 500}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-6s %8.2f  products: %d\n", row.Key, float64(row.Value.Value)/100, row.Value.Products)
	}
}
