package parquetio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

type product struct {
	ID         int64     `parquet:"id"`
	SKU        string    `parquet:"sku"`
	Title      string    `parquet:"title"`
	Brand      string    `parquet:"brand,dict"`
	Category   string    `parquet:"category,dict"`
	Price      float64   `parquet:"price"`
	Currency   string    `parquet:"currency,dict"`
	Stock      int64     `parquet:"stock"`
	Rating     float64   `parquet:"rating"`
	Attributes string    `parquet:"attributes"`
	Updated    time.Time `parquet:"updated_at,timestamp(millisecond)"`
}

type five struct {
	SKU      string  `parquet:"sku"`
	Brand    string  `parquet:"brand"`
	Category string  `parquet:"category"`
	Price    float64 `parquet:"price"`
	Stock    int64   `parquet:"stock"`
}

func catalogue() []product {
	rng := rand.New(rand.NewPCG(9, 9))
	list := make([]product, 200_000)
	for i := range list {
		list[i] = product{int64(i), fmt.Sprintf("SKU-%07X-%03d", rng.IntN(1<<28), i%1000), word(rng, 20) + " " + word(rng, 20), fmt.Sprint("Brand ", rng.IntN(500)),
			fmt.Sprint("A/B/", rng.IntN(300)), float64(rng.IntN(1e5)) / 100, "EUR", int64(rng.IntN(500)), float64(rng.IntN(50)) / 10,
			"colour=" + word(rng, 20) + ";size=" + word(rng, 20), time.UnixMilli(1.7e12 + rng.Int64N(1e10)).UTC()}
	}
	return list
}

// BenchmarkRead reads 5 of 11 columns, beside the library's own reader.
func BenchmarkRead(b *testing.B) {
	list := catalogue()
	dir := filepath.Join(b.TempDir(), "out")
	save(b, parquetio.Write[product](dir), list)
	path := filepath.Join(dir, "part-00000.parquet")
	perRow := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/row")
	}
	b.Run("5of11", func(b *testing.B) {
		s := parquetio.Rows[five](path)
		cut, err := s.Splits(context.Background(), 1<<40)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if err := s.Read(context.Background(), cut[0], connector.NewReader(func(*five) { n++ }, nil)); err != nil || n != len(list) {
				b.Fatal(n, err)
			}
		}
		perRow(b)
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			r := parquet.NewGenericReader[five](f)
			rows, n := make([]five, 512), 0
			for n < len(list) {
				k, err := r.Read(rows)
				if k == 0 {
					b.Fatal(err)
				}
				n += k
			}
			r.Close()
			f.Close()
		}
		perRow(b)
	})
}

func BenchmarkWrite(b *testing.B) {
	list := catalogue()
	for b.Loop() {
		save(b, parquetio.Write[product](filepath.Join(b.TempDir(), "out")), list)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/row")
}
