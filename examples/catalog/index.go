package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/indexio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/searchio"
)

// Document is what customers search: a listing without what they do not see. The tags index are for
// the embedded index, the mapping below for a search server. ID, SKU, Title, Brand, Category,
// Price, PriceLevel, Stock, Rating, Attributes and Image are copies.
type Document struct {
	ID         int64             `json:"id"`
	SKU        string            `json:"sku"`
	Title      string            `json:"title" index:"text"`
	Brand      string            `json:"brand" index:"keyword"`
	Category   string            `json:"category" index:"keyword"`
	Price      Cents             `json:"price" decimal:"2" index:"number"`
	PriceLevel float64           `json:"price_level"`
	Stock      int64             `json:"stock"`
	Rating     float64           `json:"rating" index:"number"`
	Attributes map[string]string `json:"attributes,omitempty" index:"text"`
	Image      string            `json:"image,omitempty"`
	Changed    int64             `json:"changed"` // in microseconds; the version
}

// mapping creates the index of a search server. It remembers the versions of deleted documents for
// an hour, so that a late event does not bring one back.
const mapping = `{"settings": {"index": {"gc_deletes": "1h"}}, "mappings": {"dynamic": "strict", "properties": {
	"id": {"type": "long"}, "image": {"type": "keyword", "index": false}, "sku": {"type": "keyword"}, "title": {"type": "text"}, "brand": {"type": "keyword"}, "category": {"type": "keyword"},
	"price": {"type": "double"}, "price_level": {"type": "float"}, "stock": {"type": "long"},
	"rating": {"type": "float"}, "attributes": {"type": "object", "dynamic": true}, "changed": {"type": "long"}}}}`

// alias names the present index of a search server.
const alias = "products"

// IndexParams are the parameters of Index.
type IndexParams struct {
	Listings string // directory of the listings
	Out      string // directory for the embedded index; empty for none
	Server   string // address of a search server, for the alias products; empty for none
}

// Index makes documents from the listings and writes them to an embedded index, a search server, or
// both. The server gets at most four requests at a time, from all workers together.
var Index = mapreduce.Define("catalog-index", func(p *mapreduce.Plan, in IndexParams) mapreduce.Dataset[mapreduce.None] {
	docs := mapreduce.Map(mapreduce.Read(p, jsonio.Rows[Listing](in.Listings)), document)
	if in.Out != "" {
		docs.WriteTo(indexio.Write(in.Out, docID))
	}
	if in.Server != "" {
		docs.WriteTo(searchio.Write(searchio.Server{URL: in.Server}, alias, docID).
			Version(func(d Document) int64 { return d.Changed }).
			Rebuild(searchio.Rebuild{Body: mapping, AtLeast: 0.5}))
	}
	return mapreduce.Nothing(p)
})

func document(l Listing) Document {
	return Document{l.ID, l.SKU, l.Title, l.Brand, l.Category, l.Price, l.PriceLevel, l.Stock, l.Rating, l.Attributes, l.Image, l.UpdatedAt.UnixMicro()}
}

func docID(d Document) string { return strconv.FormatInt(d.ID, 10) }

// buildIndex writes the embedded index if it is missing or older than the listings. A search server
// always gets a new one.
func buildIndex(ctx context.Context, target mapreduce.Target, in IndexParams) error {
	made, err := os.Stat(filepath.Join(in.Listings, "manifest.json"))
	if err != nil {
		return errors.New("there are no listings in " + in.Listings + "; run catalog without -serve first")
	}
	index, err := os.Stat(filepath.Join(in.Out, "manifest.json"))
	if in.Server == "" && err == nil && index.ModTime().After(made.ModTime()) {
		return nil
	}
	_, err = Index.Collect(ctx, target, in)
	return err
}
