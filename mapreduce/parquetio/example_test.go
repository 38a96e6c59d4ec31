package parquetio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
	"github.com/layshaft/layshaft/mapreduce/source"
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

// A folder for each month, with files of about 128 MiB. Other programs read such folders, too, and
// skip the months that they do not need.
func ExampleSink_Folder() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Sale struct {
		Month string `parquet:"-"` // it is in the name of the folder
		Shop  string `parquet:"shop"`
		Cents int64  `parquet:"cents"`
	}
	sales := mapreduce.Define("sales", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Sale] {
		return mapreduce.Read(p, memio.Of(Sale{"2026-10", "Oslo", 700}, Sale{"2026-11", "Rome", 250}, Sale{"2026-11", "Oslo", 90}))
	})
	byMonth := parquetio.Write[Sale](dir).Folder("month", func(s Sale) string { return s.Month }).FileSize(128 << 20)
	if err := sales.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, byMonth); err != nil {
		fmt.Println(err)
		return
	}

	november := mapreduce.Define("november", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Sale] {
		return mapreduce.Read(p, source.Folders(parquetio.Rows[Sale](filepath.Join(dir, "month=2026-11")), func(folders map[string]string, s *Sale) error {
			s.Month = folders["month"]
			return nil
		}))
	})
	fmt.Println(november.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{2026-11 Rome 250} {2026-11 Oslo 90}] <nil>
}
