package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// Params are the parameters of one run.
type Params struct {
	Products string             // path, directory or glob of the product files
	Prices   string             // the same for the price files
	Out      string             // directory for the listings
	Database string             // name of a database with the tables of schema.sql, instead of files
	Market   string             // whose prices count, with Database
	Rates    map[string]float64 // euros for one unit of each known currency
}

// rates are euros for one unit of each known currency.
var rates = map[string]float64{"EUR": 1, "USD": 0.86, "GBP": 1.15}

// medianLine is a category with the median of its prices.
type medianLine = mapreduce.KV[string, []float64]

// Catalog cleans a product catalogue and writes it again, as the listings in Params.Out.
var Catalog = mapreduce.Define("catalog", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	var products mapreduce.Dataset[Product]
	if in.Database == "" {
		products = fromFiles(p, in)
	} else {
		products = mapreduce.TryMap(fromDatabase(p, in), cleaner(p, in.Rates), mapreduce.Named("clean"))
	}

	// An aggregate: only partial sketches move.
	price := func(x Product) float64 { return float64(x.Price) }
	medians := mapreduce.AggregateBy(products, category, agg.Quantiles(price, 0.5), mapreduce.Named("medians"))

	// This join shuffles both sides. It holds the left side in memory key by key, so the left side
	// is the one with few records per key.
	listings := mapreduce.Join(medians, products, func(m medianLine) string { return m.Key }, category, listing)
	listings.WriteTo(jsonio.Write[Listing](in.Out))
	if in.Database != "" {
		rows := mapreduce.Map(medians, func(m medianLine) medianRow { return medianRow{m.Key, Cents(m.Value[0])} })
		rows.WriteTo(pgio.Write[medianRow](in.Database, "category_medians").Upsert("category"))
	}
	return mapreduce.Nothing(p)
}, mapreduce.MaxBadShare(0.02))

// fromFiles returns clean products, the latest line of each.
func fromFiles(p *mapreduce.Plan, in Params) mapreduce.Dataset[Product] {
	// Clean each record by itself, and set aside records that cannot be repaired.
	raw := mapreduce.Read(p, jsonio.Rows[Product](in.Products))
	clean := mapreduce.TryMap(raw, cleaner(p, in.Rates), mapreduce.Named("clean"))

	// The price file fits in memory, so this join does not move the products.
	overrides := mapreduce.Read(p, csvio.Rows[Override](in.Prices))
	priced := mapreduce.BroadcastJoin(clean, overrides, sku, func(o Override) string { return o.SKU }, withOverride)

	// A product may have more than one line. Equal products must meet: the first shuffle.
	return mapreduce.Values(mapreduce.ReduceByKey(mapreduce.KeyBy(priced, sku), newer, mapreduce.Named("latest")))
}

func sku(x Product) string      { return x.SKU }
func category(x Product) string { return x.Category }

// cleaner returns clean with counters. It sets bad products aside with Skip. Counters are exact: an
// attempt that failed and was repeated counts once.
func cleaner(p *mapreduce.Plan, rates map[string]float64) func(context.Context, Product) (Product, error) {
	unbranded := mapreduce.NewCounter(p, "brand was missing")
	oversold := mapreduce.NewCounter(p, "stock was negative")
	return func(_ context.Context, x Product) (Product, error) {
		if x.Brand == "" {
			unbranded.Add(1)
		}
		if x.Stock < 0 {
			oversold.Add(1)
		}
		x, err := clean(x, rates)
		if err != nil {
			err = mapreduce.Skip(err)
		}
		return x, err
	}
}

// clean repairs a product and converts its price to euros. An error means that it cannot be sold.
func clean(x Product, rates map[string]float64) (Product, error) {
	x.Title = strings.TrimSpace(x.Title)
	x.Currency = strings.ToUpper(x.Currency)
	if x.Brand == "" {
		x.Brand = "(none)"
	}
	x.Stock = max(0, x.Stock)
	rate, known := rates[x.Currency]
	switch {
	case !known:
		return x, fmt.Errorf("product %s: currency %q has no rate", x.SKU, x.Currency)
	case x.Price <= 0:
		return x, fmt.Errorf("product %s: price %v is not above zero", x.SKU, x.Price)
	}
	x.Price, x.Currency = Cents(math.Round(float64(x.Price)*rate)), "EUR"
	return x, nil
}

// withOverride returns x at its new price. o is nil if the price file does not contain the product.
func withOverride(x Product, o *Override) Product {
	if o != nil {
		x.Price = o.Price
	}
	return x
}

// newer returns the line with the latest update. Of equal lines it returns the first, because
// values meet in a fixed order.
func newer(a, b Product) Product {
	if b.UpdatedAt.After(a.UpdatedAt) {
		return b
	}
	return a
}

// listing combines a product with the median price of its category.
func listing(m medianLine, x Product) Listing {
	median := Cents(m.Value[0])
	level := float64(x.Price) / float64(max(1, median))
	return Listing{x, median, math.Round(level*1000) / 1000}
}
