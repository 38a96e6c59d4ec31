// Command documents builds a new index of made-up documents on a search server.
package main

import (
	"context"
	"flag"
	"log"
	"strconv"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/searchio"
)

type doc struct {
	SKU   string `json:"sku"`
	Price int64  `json:"price"`
}

// params are the parameters of the job.
type params struct {
	URL string
	N   int64
}

var job = mapreduce.Define("documents", func(p *mapreduce.Plan, in params) mapreduce.Dataset[mapreduce.None] {
	docs := mapreduce.Read(p, memio.Generate(in.N, func(i int64) doc { return doc{"A-" + strconv.FormatInt(i, 10), i} }).Cut(12))
	docs.WriteTo(searchio.Write(searchio.Server{URL: in.URL, InFlight: 4}, "products", func(d doc) string { return d.SKU }).
		Batch(100, 1<<20).Rebuild(searchio.Rebuild{}))
	return mapreduce.Nothing(p)
})

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	var in params
	flag.StringVar(&in.URL, "url", "", "`ADDRESS` of the search server")
	flag.Int64Var(&in.N, "n", 1000, "`NUMBER` of documents")
	flag.Parse()
	if _, err := job.Collect(context.Background(), target, in); err != nil {
		log.Fatal("documents: ", err)
	}
}
