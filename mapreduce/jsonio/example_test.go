package jsonio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A line becomes a struct. Members without a field are skipped, and missing members are zero.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "products.jsonl")
	err = os.WriteFile(file, []byte(`{"sku":"A-1","price":12.34,"tags":["new"],"stock":7}`+"\n"+
		`{"sku":"B-2","price":0.99}`+"\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	type Product struct {
		SKU   string `json:"sku"`
		Cents int64  `json:"price" decimal:"2"` // exact: 12.34 is read as 1234
		Stock int    `json:"stock"`
	}
	products := mapreduce.Define("products", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Product] {
		return mapreduce.Read(p, jsonio.Rows[Product](file))
	})
	fmt.Println(products.Collect(context.Background(), mapreduce.Local{}, file))
	// Output: [{A-1 1234 7} {B-2 99 0}] <nil>
}

// A json.RawMessage is the unparsed line. It can be decoded later, or written as it is.
func ExampleRows_raw() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "events.jsonl")
	err = os.WriteFile(file, []byte(`{"kind":"order","id":17}`+"\n"+`{"kind":"visit"}`+"\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	orders := mapreduce.Define("orders", func(p *mapreduce.Plan, file string) mapreduce.Dataset[string] {
		events := mapreduce.Read(p, jsonio.Rows[json.RawMessage](file))
		lines := mapreduce.TryMap(events, func(_ context.Context, line json.RawMessage) (string, error) {
			var event struct{ Kind string }
			if err := json.Unmarshal(line, &event); err != nil || event.Kind != "order" {
				return "", err
			}
			return string(line), nil
		})
		return lines.Filter(func(line string) bool { return line != "" })
	})
	fmt.Println(orders.Collect(context.Background(), mapreduce.Local{}, file))
	// Output: [{"kind":"order","id":17}] <nil>
}

// MaxBad allows malformed lines. They are written to the quarantine file.
func ExampleRows_malformed() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "products.jsonl")
	err = os.WriteFile(file, []byte(`{"sku":"A-1"}`+"\n"+`{"sku":17}`+"\n"), 0o666)
	if err != nil {
		fmt.Println(err)
		return
	}

	type Product struct {
		SKU string `json:"sku"`
	}
	products := mapreduce.Define("products", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Product] {
		return mapreduce.Read(p, jsonio.Rows[Product](file))
	}, mapreduce.MaxBad(1))
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "quarantine.jsonl")}}
	fmt.Println(products.Collect(context.Background(), target, file))

	data, err := os.ReadFile(target.Quarantine)
	if err != nil {
		fmt.Println(err)
		return
	}
	var bad mapreduce.Quarantined
	err = json.Unmarshal(data, &bad)
	fmt.Println(bad.Line, bad.Record, err)
	// Output:
	// [{A-1}] <nil>
	// 2 {"sku":17} <nil>
}

// Every task writes one file. The manifest lists them when the output is complete.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	type Line struct {
		SKU   string `json:"sku"`
		Cents int64  `json:"price" decimal:"2"`
	}
	lines := mapreduce.Define("lines", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Line] {
		return mapreduce.Read(p, memio.Of(Line{"A-1", 1234}, Line{"B-2", 5}).Cut(2))
	})
	out := filepath.Join(dir, "lines")
	err = lines.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, jsonio.Write[Line](out))
	if err != nil {
		fmt.Println(err)
		return
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	text, err := os.ReadFile(filepath.Join(out, "part-00000.jsonl"))
	fmt.Print(string(text), err, "\n")
	// Output:
	// manifest.json
	// part-00000.jsonl
	// part-00001.jsonl
	// {"sku":"A-1","price":12.34}
	// <nil>
}
