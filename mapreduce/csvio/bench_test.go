package csvio_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
)

// catalogue writes rows of 11 columns, about 200 bytes each, and returns the path and the number of
// rows. In form plain no cell is quoted, in quoted two are, as in a shop's catalogue.
func catalogue(b *testing.B, form string) (string, int) {
	path := filepath.Join(b.TempDir(), form+".csv")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	rng := rand.New(rand.NewPCG(9, 9))
	quote := ""
	if form == "quoted" {
		quote = `"`
	}
	fmt.Fprintln(w, "id,sku,title,brand,category,price,currency,stock,rating,attributes,updated_at")
	const rows = 200_000
	for i := range rows {
		fmt.Fprintf(w, "%d,SKU-%07X-%03d,%s%s%s,Brand & Co%d,Ahoyyl/Sxodgel/Oehacno%d,%d.%02d,EUR,%d,%d.%d,%scolour=fsaeemsm;size=ledsrv;material=%s;weight=eoselg%s,2024-07-%02dT01:55:31Z\n",
			i, rng.IntN(1<<28), i%1000, quote, random(rng, "abcdefghijklmnop    ", 20+rng.IntN(20)), quote, rng.IntN(50), rng.IntN(40), rng.IntN(500), rng.IntN(100),
			rng.IntN(500), rng.IntN(5), rng.IntN(10), quote, random(rng, "abcdefgh", 10+rng.IntN(20)), quote, 1+rng.IntN(28))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	f.Close()
	return path, rows
}

type five struct {
	SKU      string  `csv:"sku"`
	Brand    string  `csv:"brand"`
	Category string  `csv:"category"`
	Price    float64 `csv:"price"`
	Stock    int64   `csv:"stock"`
}

func benchmark[T any](b *testing.B, s connector.Source[T], rows int) {
	ctx := context.Background()
	splits, err := s.Splits(ctx, 1<<40)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	r := connector.NewReader(func(*T) { n++ }, nil)
	b.SetBytes(splits[0].Bytes)
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		if err := s.Read(ctx, splits[0], r); err != nil || n != rows {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

func BenchmarkRead(b *testing.B) {
	for _, form := range []string{"plain", "quoted"} {
		path, n := catalogue(b, form)
		b.Run(form+"/5of11", func(b *testing.B) { benchmark(b, csvio.Rows[five](path), n) })
		b.Run(form+"/strings", func(b *testing.B) { benchmark(b, csvio.Rows[[]string](path), n) })
		b.Run(form+"/encoding-csv/5of11", func(b *testing.B) {
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
				r.ReuseRecord = true
				r.Read()
				var x five
				for range n {
					row, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					x = five{SKU: row[1], Brand: row[3], Category: row[4]}
					x.Price, _ = strconv.ParseFloat(row[5], 64)
					x.Stock, _ = strconv.ParseInt(row[7], 10, 64)
				}
				_ = x
				f.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
		})
	}
}

// BenchmarkSplits measures the search for places to cut.
func BenchmarkSplits(b *testing.B) {
	for _, form := range []string{"plain", "quoted"} {
		path, _ := catalogue(b, form)
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(form, func(b *testing.B) {
			b.SetBytes(info.Size())
			for b.Loop() {
				if _, err := csvio.Rows[five](path).Splits(context.Background(), 8<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	path, _ := catalogue(b, "quoted")
	list := rows(b, csvio.Rows[five](path), 1<<40)
	b.Run("5", func(b *testing.B) {
		for b.Loop() {
			save(b, csvio.WriteFile[five](filepath.Join(b.TempDir(), "out.csv")), list)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/row")
	})
}
