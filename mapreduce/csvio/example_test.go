package csvio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A row becomes a struct. The header connects columns and fields, so their order does not matter.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "products.csv")
	err = os.WriteFile(file, []byte("price,sku,stock,updated_at\n"+
		"12.34,A-1,7,2026-03-01\n"+
		"0.99,\"B-2, large\",,2026-03-02\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	type Product struct {
		SKU     string
		Cents   int64     `csv:"price" decimal:"2"` // exact: 12.34 is read as 1234
		Stock   *int      // nil when the cell is empty
		Updated time.Time `csv:"updated_at" layout:"2006-01-02"`
	}
	inStock := mapreduce.Define("in-stock", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, csvio.Rows[Product](file))
		return products.Filter(func(x Product) bool { return x.Stock != nil })
	})
	for x, err := range inStock.Run(context.Background(), mapreduce.Local{}, file) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(x.SKU, x.Cents, *x.Stock, x.Updated.Format(time.DateOnly))
	}
	// Output: A-1 1234 7 2026-03-01
}

// A []string receives the plain cells. Columns selects them.
func ExampleSource_Columns() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "orders.csv")
	err = os.WriteFile(file, []byte("id;customer;total\n17;Ada;9,90\n18;Bob;1,20\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	totals := mapreduce.Define("totals", func(p *mapreduce.Plan, file string) mapreduce.Dataset[[]string] {
		return mapreduce.Read(p, csvio.Rows[[]string](file).Comma(';').Columns("total", "id"))
	})
	rows, err := totals.Collect(context.Background(), mapreduce.Local{}, file)
	fmt.Printf("%q %v\n", rows, err)
	// Output: [["9,90" "17"] ["1,20" "18"]] <nil>
}

// Log files often have tabs, no header and no quoting.
func ExampleTSV() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "access.tsv")
	err = os.WriteFile(file, []byte("GET\t/search?q=5\" pipe\t200\nPOST\t/order\t500\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	type Request struct {
		Method string
		Path   string
		Status int
	}
	failed := mapreduce.Define("failed", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Request] {
		requests := mapreduce.Read(p, csvio.TSV[Request](file).NoHeader("method", "path", "status").NoQuotes())
		return requests.Filter(func(r Request) bool { return r.Status >= 500 })
	})
	fmt.Println(failed.Collect(context.Background(), mapreduce.Local{}, file))
	// Output: [{POST /order 500}] <nil>
}

// The tags of the struct also control writing. A path that ends in .gz or .zst would be compressed.
func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Line struct {
		SKU   string `csv:"sku"`
		Cents int64  `csv:"price" decimal:"2"`
		Note  string `csv:"note"`
	}
	lines := mapreduce.Define("lines", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Line] {
		return mapreduce.Read(p, memio.Of(Line{"A-1", 1234, `5" pipe`}, Line{"B-2", 5, ""}))
	})
	file := filepath.Join(dir, "lines.csv")
	err = lines.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, csvio.WriteFile[Line](file).Comma(';'))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(file)
	fmt.Print(string(text), err, "\n")
	// Output:
	// sku;price;note
	// A-1;12.34;"5"" pipe"
	// B-2;0.05;
	// <nil>
}
