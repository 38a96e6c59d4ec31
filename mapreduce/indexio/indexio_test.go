package indexio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/indexio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type product struct {
	SKU   string            `json:"sku"`
	Title string            `json:"title" index:"text"`
	Brand string            `json:"brand" index:"keyword"`
	Tags  []string          `json:"tags" index:"keyword"`
	Attr  map[string]string `json:"attr" index:"text"`
	Cents int64             `json:"price" decimal:"2" index:"number"`
}

func sku(p product) string { return p.SKU }

func generate(i int64) product {
	return product{
		SKU: fmt.Sprintf("A-%04d", i), Title: []string{"Garden hose", "Garden chair", "Kettle, steel"}[i%3] + fmt.Sprint(" no ", i),
		Brand: []string{"Acme", "Bolt & Söhne"}[i%2], Tags: []string{"t" + fmt.Sprint(i%5), "all"}, Attr: map[string]string{"color": []string{"red", "blue"}[i/50%2]}, Cents: i * 10,
	}
}

func build[T any](t testing.TB, dir string, source connector.Source[T], id func(T) string, target mapreduce.Local) error {
	def := mapreduce.Define("index", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		mapreduce.Read(p, source).WriteTo(indexio.Write(dir, id))
		return mapreduce.Nothing(p)
	})
	_, err := def.Collect(t.Context(), target, dir)
	return err
}

// Each query finds what a scan of the records finds, over several shards, some of them empty.
func TestSearch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in[d]ex")
	if err := build(t, dir, memio.Generate(300, generate).Cut(5), sku, mapreduce.Local{Slots: 3}); err != nil {
		t.Fatal(err)
	}
	x, err := indexio.Open[product](dir)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ten, twenty := 1000.0, 2000.0
	for _, c := range []struct {
		name  string
		q     indexio.Query
		match func(p product) bool
	}{
		{"all", indexio.Query{}, func(product) bool { return true }},
		{"words in any order and case", indexio.Query{Text: "HOSE garden"}, func(p product) bool { return strings.Contains(p.Title, "Garden hose") }},
		{"signs beside words", indexio.Query{Text: "hose & garden"}, func(p product) bool { return strings.Contains(p.Title, "Garden hose") }},
		{"frequent words", indexio.Query{Text: "no garden"}, func(p product) bool { return strings.Contains(p.Title, "Garden") }},
		{"the beginning of a word", indexio.Query{Text: "garden ho"}, func(p product) bool { return strings.Contains(p.Title, "Garden hose") }},
		{"a word of a keyword", indexio.Query{Text: "söhne"}, func(p product) bool { return p.Brand == "Bolt & Söhne" }},
		{"a value of a map", indexio.Query{Text: "blue kettle"}, func(p product) bool { return p.Attr["color"] == "blue" && strings.Contains(p.Title, "Kettle") }},
		{"nothing", indexio.Query{Text: "moon"}, func(product) bool { return false }},
		{"signs only", indexio.Query{Text: `+-&&"(*`}, func(product) bool { return false }},
		{"a term", indexio.Query{Terms: map[string][]string{"brand": {"Bolt & Söhne"}}}, func(p product) bool { return p.Brand == "Bolt & Söhne" }},
		{"one of two terms, and another", indexio.Query{Terms: map[string][]string{"brand": {"Acme"}, "tags": {"t1", "t2"}}}, func(p product) bool { return p.Brand == "Acme" && (p.Tags[0] == "t1" || p.Tags[0] == "t2") }},
		{"a range", indexio.Query{Text: "kettle", Ranges: map[string]indexio.Range{"price": {&ten, &twenty}}}, func(p product) bool {
			return strings.Contains(p.Title, "Kettle") && p.Cents >= 1000 && p.Cents < 2000
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []product
			brands := map[string]int{}
			for i := int64(299); i >= 0; i-- {
				if p := generate(i); c.match(p) {
					want = append(want, p)
					brands[p.Brand]++
				}
			}
			c.q.Sort, c.q.Size, c.q.Facets = "-price", 400, []indexio.Facet{{Field: "brand"}, {Field: "price", Ranges: map[string]indexio.Range{"low": {nil, &ten}, "high": {&ten, nil}}}}
			got, err := x.Search(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			if int(got.Total) != len(want) || !reflect.DeepEqual(got.Docs, want) {
				t.Errorf("%d found, %d returned, want %d", got.Total, len(got.Docs), len(want))
			}
			prices := 0
			for _, f := range got.Facets["price"] {
				prices += f.N
			}
			for _, f := range got.Facets["brand"] {
				if brands[f.Value] != f.N {
					t.Errorf("brand %s: %d, want %d", f.Value, f.N, brands[f.Value])
				}
				delete(brands, f.Value)
			}
			if len(brands) > 0 || prices != len(want) {
				t.Errorf("not counted: brands %v; %d prices of %d", brands, prices, len(want))
			}
			c.q.From, c.q.Size = 3, 2
			if got, err = x.Search(t.Context(), c.q); err != nil || len(want) > 5 && !reflect.DeepEqual(got.Docs, want[3:5]) {
				t.Errorf("the page from 3 is %+v, %v", got.Docs, err)
			}
		})
	}
}

// Queries and records that cannot work are errors that name the field.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if err := build(t, filepath.Join(dir, "i"), memio.Generate(3, generate), sku, mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	x, err := indexio.Open[product](filepath.Join(dir, "i"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for want, q := range map[string]indexio.Query{
		`no field "title" with the tag index:"keyword"`: {Terms: map[string][]string{"title": {"x"}}},
		`no field "brand" with the tag index:"number"`:  {Ranges: map[string]indexio.Range{"brand": {}}},
		`no field "moon" with the tag index:"number"`:   {Sort: "-moon"},
		`no field "moon" with the tag index:"keyword"`:  {Facets: []indexio.Facet{{Field: "moon"}}},
		"pages end at 10000":                            {From: 9999, Size: 10},
	} {
		if _, err := x.Search(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	type bad struct {
		ID    string
		Price float64 `index:"text"`
	}
	err = build(t, filepath.Join(dir, "bad"), memio.Of(bad{}), func(b bad) string { return b.ID }, mapreduce.Local{})
	if err == nil || !strings.Contains(err.Error(), `bad.Price: tag index:"text" does not fit its type float64`) {
		t.Error(err)
	}
	type empty struct{ ID string }
	err = build(t, filepath.Join(dir, "bad"), memio.Of(empty{}), func(e empty) string { return e.ID }, mapreduce.Local{})
	if err == nil || !strings.Contains(err.Error(), "has no field with a tag") {
		t.Error(err)
	}
	if _, err := indexio.Open[product](filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "write it by indexio.Write") {
		t.Error(err)
	}
}

// A job without records writes an index in which nothing is found. Damage is an error with the file.
func TestEmptyAndDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "i")
	if err := build(t, dir, memio.Of[product](), sku, mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	x, err := indexio.Open[product](dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.Search(t.Context(), indexio.Query{})
	if err != nil || got.Total != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := build(t, dir, memio.Generate(3, generate).Cut(1), sku, mapreduce.Local{}); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, "part-00000.bleve")
	if err := os.Truncate(part, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := indexio.Open[product](dir); err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("a truncated shard: %v", err)
	}
}

// The speed of writing an index with two slots, in documents per second.
func BenchmarkWrite(b *testing.B) {
	const n = 50_000
	for b.Loop() {
		if err := build(b, b.TempDir(), memio.Generate(n, generate).Cut(8), sku, mapreduce.Local{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
}

// An index in a directory, searched by words, with the number of products of each brand.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Product struct {
		SKU   string  `json:"sku"`
		Title string  `json:"title" index:"text"`
		Brand string  `json:"brand" index:"keyword"`
		Price float64 `json:"price" index:"number"`
	}
	def := mapreduce.Define("index", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		products := mapreduce.Read(p, memio.Of(
			Product{"A-1", "Garden hose, 20 m", "Acme", 29.9},
			Product{"A-2", "Garden chair", "Bolt", 49},
			Product{"A-3", "Kettle", "Acme", 19.5}))
		products.WriteTo(indexio.Write(dir, func(p Product) string { return p.SKU }))
		return mapreduce.Nothing(p)
	})
	ctx := context.Background()
	if _, err := def.Collect(ctx, mapreduce.Local{}, dir); err != nil {
		fmt.Println(err)
		return
	}
	index, err := indexio.Open[Product](dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer index.Close()
	found, err := index.Search(ctx, indexio.Query{Text: "garden", Sort: "price", Facets: []indexio.Facet{{Field: "brand"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(found.Total, found.Docs, found.Facets)
	// Output: 2 [{A-1 Garden hose, 20 m Acme 29.9} {A-2 Garden chair Bolt 49}] map[brand:[{Acme 1} {Bolt 1}]]
}
