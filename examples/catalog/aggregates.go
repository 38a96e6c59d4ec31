package main

import "github.com/layshaft/layshaft/mapreduce/agg"

// categoryAcc is an accumulator for one category, made of ready accumulators. Its fields are
// exported, because it travels between tasks.
type categoryAcc struct {
	Products int64
	Revenue  Cents
	Brands   agg.Set[string]
	Prices   agg.QuantileSketch
}

// categoryAgg is written by hand. This is the fastest way: a single Add updates everything.
var categoryAgg = agg.Agg[Product, categoryAcc, CategoryStats]{
	Add: func(a *categoryAcc, x Product) {
		a.Products++
		a.Revenue += x.Revenue()
		a.Brands.Add(x.Brand)
		a.Prices.Add(float64(x.Price))
	},
	Merge: func(a, b *categoryAcc) {
		a.Products += b.Products
		a.Revenue += b.Revenue
		a.Brands.Merge(&b.Brands)
		a.Prices.Merge(&b.Prices)
	},
	Result: func(a *categoryAcc) CategoryStats {
		return CategoryStats{
			Products: a.Products,
			Brands:   int64(a.Brands.Len()),
			Revenue:  a.Revenue,
			Median:   Cents(a.Prices.Quantile(0.5)),
			P90:      Cents(a.Prices.Quantile(0.9)),
		}
	},
	Size: func(a *categoryAcc) int { return a.Brands.Size() + a.Prices.Size() },
}

// brandAgg composes ready aggregates. This is the shortest way.
var brandAgg = agg.Compose5(
	agg.Count[Product](),
	agg.CountDistinct(category),
	agg.Sum(Product.Revenue),
	agg.Quantiles(func(x Product) float64 { return float64(x.Price) }, 0.5, 0.9),
	agg.MaxBy(Product.Revenue),
	func(products, categories int64, revenue Cents, prices []float64, best agg.Maybe[Product]) BrandStats {
		return BrandStats{products, categories, revenue, Cents(prices[0]), Cents(prices[1]), best.Value.Title}
	},
)
