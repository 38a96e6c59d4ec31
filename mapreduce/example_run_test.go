package mapreduce_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// Parameters are the only input of the function given to Define. They travel as JSON, so their
// fields are exported.
func ExampleDefine() {
	type Params struct {
		Brand string
		Max   int64
	}
	cheap := mapreduce.Define("cheap", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(
			Product{"drill", "Acme", 4900}, Product{"hammer", "Acme", 1250}, Product{"saw", "Bolt", 900}))
		wanted := products.Filter(func(x Product) bool { return x.Brand == in.Brand && x.Cents <= in.Max })
		return mapreduce.Map(wanted, func(x Product) string { return x.Name })
	})
	fmt.Println(cheap.Collect(context.Background(), nil, Params{Brand: "Acme", Max: 2000}))
	// Output: [hammer] <nil>
}

// Run streams: a row comes as soon as its task is done. A break out of the loop ends the job.
func ExampleDefinition_Run() {
	numbers := mapreduce.Define("numbers", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i }))
	})
	for i, err := range numbers.Run(context.Background(), mapreduce.Local{Slots: 2}, 100_000) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if i == 3 {
			break
		}
		fmt.Println(i)
	}
	// Output:
	// 0
	// 1
	// 2
}

func ExampleDefinition_Collect() {
	names := mapreduce.Define("names", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Read(p, memio.Of("drill", "hammer", "saw"))
	})
	rows, err := names.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Println(len(rows), err)
	// Output: 3 <nil>
}

// The rows of a pipeline can go to files instead of to the caller.
func ExampleDefinition_WriteTo() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	names := mapreduce.Define("names", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Read(p, memio.Of("drill", "hammer", "saw"))
	})
	file := filepath.Join(dir, "names.txt")
	err = names.WriteTo(context.Background(), mapreduce.Local{}, mapreduce.None{}, textio.WriteFile(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(file)
	fmt.Printf("%q %v\n", text, err)
	// Output: "drill\nhammer\nsaw\n" <nil>
}

// A pipeline may write any number of datasets, and may have no rows.
func ExampleDataset_WriteTo() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	split := mapreduce.Define("split", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[mapreduce.None] {
		products := mapreduce.Read(p, memio.Of(Product{"drill", "Acme", 4900}, Product{"nail", "Bolt", 2}))
		line := func(dst []byte, x Product) []byte { return append(dst, x.Name...) }
		products.WriteTo(textio.WriteFileAs(filepath.Join(dir, "all.txt"), line))
		products.Filter(func(x Product) bool { return x.Cents < 100 }).
			WriteTo(textio.WriteFileAs(filepath.Join(dir, "cheap.txt"), line))
		return mapreduce.Nothing(p)
	})
	if _, err := split.Collect(context.Background(), mapreduce.Local{}, dir); err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"all.txt", "cheap.txt"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		fmt.Printf("%s: %q %v\n", name, text, err)
	}
	// Output:
	// all.txt: "drill\nnail\n" <nil>
	// cheap.txt: "nail\n" <nil>
}

// Outputs are results beside the rows. The steps that they share run once.
func ExampleOutput() {
	catalog := mapreduce.Define("catalog", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int64] {
		products := mapreduce.Read(p, memio.Of(Product{"drill", "Acme", 4900}, Product{"free sticker", "Bolt", 0}, Product{"saw", "Core", 900}))
		mapreduce.Output(p, "without price", products.Filter(func(x Product) bool { return x.Cents == 0 }))
		return mapreduce.Aggregate(products, agg.Count[Product]())
	})

	job, err := catalog.Start(context.Background(), mapreduce.Local{}, mapreduce.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer job.Close()
	for n, err := range mapreduce.Rows[int64](job, "") {
		fmt.Println("products:", n, err)
	}
	for x, err := range mapreduce.Rows[Product](job, "without price") {
		fmt.Println("without price:", x.Name, err)
	}
	fmt.Println(job.Wait())
	// Output:
	// products: 3 <nil>
	// without price: free sticker <nil>
	// <nil>
}
