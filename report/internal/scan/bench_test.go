package scan

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// product is what BenchmarkRead reads of a catalogue.
type product struct {
	Category string `json:"category"`
	Brand    string `json:"brand"`
	Price    int64  `json:"price" decimal:"2"`
	Stock    int64  `json:"stock"`
	Rating   int64  `json:"rating" decimal:"1"`
}

// catalogue returns a file of 32 MiB in a format, and its number of records.
func catalogue(b *testing.B, format string) (path string, n int) {
	r := rand.New(rand.NewPCG(1, 0))
	word := func() string { return "abcdefghijklmnop"[:2+r.IntN(9)] }
	line := `{"id":%d,"sku":"SKU-%07X-%03d","title":"%s %s %s %s","brand":"%s%d","category":"%s/%s/%s","price":%d.%02d,"currency":"EUR","stock":%d,"rating":%d.%d,"attributes":{"%s":"%s","%s":"%s","%s":"%s"},"updated_at":"2024-07-04T01:55:31Z"}` + "\n"
	var text strings.Builder
	if format == "csv" {
		line = "%d,SKU-%07X-%03d,%s %s %s %s,%s%d,%s/%s/%s,%d.%02d,EUR,%d,%d.%d,%s=%s;%s=%s;%s=%s,2024-07-04T01:55:31Z\n"
		text.WriteString("id,sku,title,brand,category,price,currency,stock,rating,attributes,updated_at\n")
	}
	for ; text.Len() < 32<<20; n++ {
		fmt.Fprintf(&text, line, n, r.IntN(1<<28), n%1000, word(), word(), word(), word(), word(), r.IntN(97), word(), word(), word(), r.IntN(1<<(1+r.IntN(12))), r.IntN(100), r.IntN(500), 1+r.IntN(4), r.IntN(10),
			word(), word(), word(), word(), word(), word())
	}
	return write(b, "c."+format, text.String()), n
}

// BenchmarkRead reads five of eleven fields of a file in the page cache, on one core, as batches
// and as structs of jsonio and csvio.
func BenchmarkRead(b *testing.B) {
	for _, format := range []string{"jsonl", "csv"} {
		path, n := catalogue(b, format)
		table := resolve(b, Request{Paths: []string{path}})
		var columns []vec.Field
		for _, name := range []string{"category", "brand", "price", "stock", "rating"} {
			for _, c := range table.Columns {
				if c.Name == name {
					columns = append(columns, c)
				}
			}
		}
		b.Run(format+"/batches", func(b *testing.B) {
			benchmark(b, table.Source(columns, nil), n, func(x *vec.Batch) (sum int64) {
				for _, v := range x.Cols[3].Ints {
					sum += v
				}
				return sum
			})
		})
		var typed connector.Source[product] = jsonio.Rows[product](path)
		if format == "csv" {
			typed = csvio.Rows[product](path)
		}
		b.Run(format+"/structs", func(b *testing.B) {
			benchmark(b, typed, n, func(p *product) int64 { return p.Stock })
		})
	}
}

func benchmark[T any](b *testing.B, src connector.Source[T], n int, add func(*T) int64) {
	splits, err := src.Splits(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	total := int64(0)
	for b.Loop() {
		for _, s := range splits {
			if err := src.Read(b.Context(), s, connector.NewReader(func(x *T) { total += add(x) }, nil)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/record")
}

// BenchmarkResolve infers the columns of a file.
func BenchmarkResolve(b *testing.B) {
	for _, format := range []string{"jsonl", "csv"} {
		path, _ := catalogue(b, format)
		b.Run(format, func(b *testing.B) {
			for b.Loop() {
				resolve(b, Request{Paths: []string{path}})
			}
		})
	}
}
