package pgio_test

import (
	"context"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

type Product struct {
	ID      int64
	SKU     string
	BrandID int32
	Price   int64     `decimal:"2"` // numeric(10,2) in hundredths, exactly
	Stock   *int32    // nil for NULL
	Tags    []string  // text[]
	Updated time.Time `db:"updated_at"`
}

type Worth struct {
	BrandID int32
	Value   int64 `decimal:"2"`
}

// LAYSHAFT_PG_SHOP has the connection string of the database.
func ExampleRows() {
	products := mapreduce.Define("products", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[Product] {
		return mapreduce.Read(p, pgio.Rows[Product]("shop", "products").Where("price > 10").Connections(4))
	})
	for product, err := range products.Run(context.Background(), mapreduce.Local{}, struct{}{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(product.SKU, product.Price)
	}
}

// The worth of each brand replaces the former one.
func ExampleWrite() {
	worth := mapreduce.Define("worth", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[mapreduce.None] {
		products := mapreduce.Read(p, pgio.Rows[Product]("shop", "products"))
		values := mapreduce.Map(products, func(x Product) mapreduce.KV[int32, int64] {
			v := mapreduce.KV[int32, int64]{Key: x.BrandID}
			if x.Stock != nil {
				v.Value = x.Price * int64(*x.Stock)
			}
			return v
		})
		sums := mapreduce.ReduceByKey(values, func(a, b int64) int64 { return a + b })
		mapreduce.Map(sums, func(s mapreduce.KV[int32, int64]) Worth { return Worth{s.Key, s.Value} }).
			WriteTo(pgio.Write[Worth]("shop", "worth").Upsert("brand_id"))
		return mapreduce.Nothing(p)
	})
	if _, err := worth.Collect(context.Background(), mapreduce.Local{}, struct{}{}); err != nil {
		fmt.Println(err)
	}
}
