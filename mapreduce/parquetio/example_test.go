package parquetio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
)

// Only the columns of the struct are read.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Product struct {
		SKU   string  `parquet:"sku"`
		Brand string  `parquet:"brand"`
		Price float64 `parquet:"price"`
	}
	write := mapreduce.Define("write", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		return mapreduce.Read(p, memio.Of(Product{"A-1", "Acme", 12.5}, Product{"B-2", "Bolt", 0.75}))
	})
	err = write.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, parquetio.Write[Product](dir))
	if err != nil {
		fmt.Println(err)
		return
	}

	type Price struct {
		SKU   string  `parquet:"sku"`
		Price float64 `parquet:"price"`
	}
	read := mapreduce.Define("read", func(p *mapreduce.Plan, files string) mapreduce.Dataset[Price] {
		return mapreduce.Read(p, parquetio.Rows[Price](files))
	})
	fmt.Println(read.Collect(context.Background(), mapreduce.Local{}, filepath.Join(dir, "*.parquet")))
	// Output: [{A-1 12.5} {B-2 0.75}] <nil>
}

// Older files may lack a column of the struct.
func ExampleSource_AllowMissing() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Old struct {
		SKU string `parquet:"sku"`
	}
	write := mapreduce.Define("write", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Old] {
		return mapreduce.Read(p, memio.Of(Old{"A-1"}))
	})
	err = write.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, parquetio.Write[Old](dir).Snappy())
	if err != nil {
		fmt.Println(err)
		return
	}

	type New struct {
		SKU   string `parquet:"sku"`
		Stock int64  `parquet:"stock"`
	}
	read := mapreduce.Define("read", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[New] {
		return mapreduce.Read(p, parquetio.Rows[New](dir).AllowMissing("stock"))
	})
	fmt.Println(read.Collect(context.Background(), mapreduce.Local{}, dir))
	// Output: [{A-1 0}] <nil>
}
