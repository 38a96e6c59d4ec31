package jsonio_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
)

// BenchmarkRows reads five of eleven fields of a file in the page cache, on one core.
func BenchmarkRows(b *testing.B) {
	type offer struct {
		Category string `json:"category"`
		Brand    string `json:"brand"`
		Price    int64  `json:"price" decimal:"2"`
		Stock    int64  `json:"stock"`
		Rating   int64  `json:"rating" decimal:"1"`
	}
	r := rand.New(rand.NewPCG(1, 0))
	word := func() string { return "abcdefghijklmnop"[:2+r.IntN(9)] }
	var text strings.Builder
	n := 0
	for ; text.Len() < 32<<20; n++ {
		fmt.Fprintf(&text, `{"id":%d,"sku":"SKU-%07X-%03d","title":"%s %s %s %s","brand":"%s%d","category":"%s/%s/%s","price":%d.%02d,"currency":"EUR","stock":%d,"rating":%d.%d,"attributes":{"%s":"%s","%s":"%s","%s":"%s"},"updated_at":"2024-07-04T01:55:31Z"}`+"\n",
			n, r.IntN(1<<28), n%1000, word(), word(), word(), word(), word(), r.IntN(97), word(), word(), word(), r.IntN(1<<(1+r.IntN(12))), r.IntN(100), r.IntN(500), 1+r.IntN(4), r.IntN(10),
			word(), word(), word(), word(), word(), word())
	}
	src := jsonio.Rows[offer](file(b, "c.jsonl", text.String()))
	splits, err := src.Splits(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	total := int64(0)
	for b.Loop() {
		for _, s := range splits {
			if err := src.Read(b.Context(), s, connector.NewReader(func(o *offer) { total += o.Stock }, nil)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/record")
}
