package searchio_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/layshaft/layshaft/internal/searchtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/searchio"
)

type Doc struct {
	SKU     string `json:"sku"`
	Cents   int64  `json:"price" decimal:"2"`
	Changed int64  `json:"-"`
}

// Every run builds a new index behind the alias products, and keeps the former one.
func Example() {
	fake := &searchtest.Fake{} // in a program: an Elasticsearch or OpenSearch server
	search := httptest.NewServer(fake)
	defer search.Close()

	nightly := mapreduce.Define("nightly", func(p *mapreduce.Plan, url string) mapreduce.Dataset[mapreduce.None] {
		docs := mapreduce.Read(p, memio.Of(Doc{"A-1", 1234, 1}, Doc{"B-2", 99, 1}))
		docs.WriteTo(searchio.Write(searchio.Server{URL: url}, "products", func(d Doc) string { return d.SKU }).
			Rebuild(searchio.Rebuild{Body: `{"mappings": {"properties": {"price": {"type": "double"}}}}`, AtLeast: 0.9}))
		return mapreduce.Nothing(p)
	})
	for range 2 {
		if _, err := nightly.Collect(context.Background(), mapreduce.Local{}, search.URL); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(fake.Docs("products")["A-1"])
	for _, index := range fake.Indexes() {
		fmt.Println(index)
	}
	// Output:
	// {"sku":"A-1","price":12.34}
	// products-000001 [] refresh=<nil> replicas=1
	// products-000002 [products] refresh=<nil> replicas=1
}

// A task that follows changes writes one document. A late change does not replace a newer one.
func ExampleOpen() {
	fake := &searchtest.Fake{}
	fake.Create("products")
	search := httptest.NewServer(fake)
	defer search.Close()

	ctx := context.Background()
	index, err := searchio.Open[Doc](ctx, searchio.Server{URL: search.URL}, "products")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer index.Close()
	fmt.Println(index.Put(ctx, "A-1", 2, Doc{SKU: "A-1", Cents: 990}))
	fmt.Println(index.Put(ctx, "A-1", 1, Doc{SKU: "A-1", Cents: 1234})) // late
	fmt.Println(fake.Docs("products")["A-1"])
	// Output:
	// <nil>
	// <nil>
	// {"sku":"A-1","price":9.90}
}
