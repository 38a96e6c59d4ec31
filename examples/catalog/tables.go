package main

import (
	"iter"
	"strings"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// Rows of the tables in schema.sql, with the columns that a document needs.
type (
	productRow struct {
		ID         int64
		SKU        string
		Title      string
		BrandID    int32 `db:",omitempty"` // 0 for NULL
		CategoryID int32
		Rating     float64
		UpdatedAt  time.Time
		Brand      string `db:"-"` // its name, empty if there is none
		Category   string `db:"-"` // its path
	}
	brandRow struct {
		ID   int32
		Name string
	}
	categoryRow struct {
		ID   int32
		Path string // such as Home > Kitchen
	}
	priceRow struct {
		ProductID int64
		Price     Cents `decimal:"2"`
		Currency  string
	}
	stockRow struct {
		ProductID int64
		Quantity  int64 // in one store; below zero if too much was sold
	}
	attributeRow struct {
		ProductID   int64
		Name, Value string
	}
	imageRow struct {
		ProductID int64
		URL       string
	}
	medianRow struct {
		Category string // its path
		Median   Cents  `decimal:"2"` // of its prices
	}
)

// part is one row of a product, from one of the tables. Only the fields of that table are set; the
// others take a byte each in the shuffle.
type part struct {
	ID          int64       // of the product
	Product     *productRow // its own row
	Price       Cents       // in the market
	Currency    string
	Stock       int64 // in one store
	Attribute   bool  // it has one of many attributes: a name and a value
	Name, Value string
	Image       string // the address of the first one
}

// fromDatabase reads the tables on one snapshot and returns the products that are sold in a market.
// Brands and categories fit in memory. The rows of the other tables meet at their product in one
// shuffle, however many tables there are.
func fromDatabase(p *mapreduce.Plan, in Params) mapreduce.Dataset[Product] {
	branded := mapreduce.BroadcastJoin(table[productRow](p, in, "products"), table[brandRow](p, in, "brands"),
		func(x productRow) int32 { return x.BrandID }, func(b brandRow) int32 { return b.ID },
		func(x productRow, b *brandRow) productRow {
			if b != nil {
				x.Brand = b.Name
			}
			return x
		})
	placed := mapreduce.BroadcastJoin(branded, table[categoryRow](p, in, "SELECT id, category_path(id) AS path FROM categories"),
		func(x productRow) int32 { return x.CategoryID }, func(c categoryRow) int32 { return c.ID },
		func(x productRow, c *categoryRow) productRow {
			if c != nil {
				x.Category = c.Path
			}
			return x
		})
	prices := mapreduce.Read(p, pgio.Rows[priceRow](in.Database, "prices").Where("market = '"+strings.ReplaceAll(in.Market, "'", "''")+"'"))
	first := mapreduce.Read(p, pgio.Rows[imageRow](in.Database, "images").Where("position = 1"))
	parts := mapreduce.Union(
		mapreduce.Map(placed, func(x productRow) part { return part{ID: x.ID, Product: &x} }),
		mapreduce.Map(prices, func(x priceRow) part { return part{ID: x.ProductID, Price: x.Price, Currency: x.Currency} }),
		mapreduce.Map(table[stockRow](p, in, "stock"), func(x stockRow) part { return part{ID: x.ProductID, Stock: x.Quantity} }),
		mapreduce.Map(table[attributeRow](p, in, "attributes"), func(x attributeRow) part { return part{ID: x.ProductID, Attribute: true, Name: x.Name, Value: x.Value} }),
		mapreduce.Map(first, func(x imageRow) part { return part{ID: x.ProductID, Image: x.URL} }))
	return mapreduce.GroupBy(parts, func(x part) int64 { return x.ID }, assemble).
		Filter(func(x Product) bool { return x.Currency != "" }, mapreduce.Named("sold in the market"))
}

func table[T any](p *mapreduce.Plan, in Params, name string) mapreduce.Dataset[T] {
	return mapreduce.Read(p, pgio.Rows[T](in.Database, name))
}

// assemble returns a product from its rows. Without a price it has no currency.
func assemble(_ int64, parts iter.Seq[part]) (x Product) {
	for row := range parts {
		x.Stock += row.Stock
		switch {
		case row.Product != nil:
			r := row.Product
			x.ID, x.SKU, x.Title, x.Brand, x.Category, x.Rating, x.UpdatedAt = r.ID, r.SKU, r.Title, r.Brand, r.Category, r.Rating, r.UpdatedAt
		case row.Currency != "":
			x.Price, x.Currency = row.Price, row.Currency
		case row.Attribute:
			if x.Attributes == nil {
				x.Attributes = map[string]string{}
			}
			x.Attributes[row.Name] = row.Value
		case row.Image != "":
			x.Image = row.Image
		}
	}
	return x
}
