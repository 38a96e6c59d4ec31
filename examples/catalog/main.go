// Command catalog cleans, prices and de-duplicates a product catalogue, writes it again with
// statistics of each category, and prints a report on it. The pipeline is Go, the report is SQL.
//
//	go run ./examples/catalog -generate 100000    makes a catalogue of 100,000 product lines
//	go run ./examples/catalog                     reads it, writes the listings, prints a report
//	go run ./examples/catalog -serve :8090        builds an index of the listings and shows a search page
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/layshaft/layshaft/mapreduce"
)

const usage = `catalog reports on a product catalogue.

  catalog -generate N [-dir DIR]          make a catalogue of N product lines
  catalog [-dir DIR] [-out DIR]           read it, write the listings, print a report
  catalog -serve ADDR [-search URL]       build an index of the listings, show a search page

`

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	target := mapreduce.Flags(flag.CommandLine)
	dir := flag.String("dir", filepath.Join(os.TempDir(), "layshaft-catalog"), "read the catalogue from `DIR`, or make it there")
	out := flag.String("out", "", "write the listings to `DIR` (default listings in -dir)")
	top := flag.Int("top", 10, "length of the top lists")
	generate := flag.Int64("generate", 0, "make a catalogue of `N` lines in -dir instead of reading one")
	seed := flag.Uint64("seed", 1, "seed for -generate; another seed makes another catalogue")
	address := flag.String("serve", "", "build an index of the listings and show a search page at `ADDR`, such as 127.0.0.1:8090")
	server := flag.String("search", "", "with -serve, write the documents to the search server at `URL` too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ^C ends the program at once

	switch {
	case flag.NArg() > 0:
		log.Fatalf("catalog: argument %q: only flags are known; see catalog -h", flag.Arg(0))
	case *generate < 0:
		log.Fatalf("catalog: -generate %d: use a number above zero", *generate)
	case *top < 1:
		log.Fatalf("catalog: -top %d: use a number above zero", *top)
	case *generate > 0:
		if _, err := Generate.Collect(ctx, target, GenerateParams{*generate, *seed, *dir}); err != nil {
			log.Fatal("catalog: ", err)
		}
		return
	}
	if _, err := os.Stat(productsDir(*dir)); err != nil {
		log.Fatalf("catalog: %v; make a catalogue with -generate 100000, or name its place with -dir", err)
	}
	if *out == "" {
		*out = filepath.Join(*dir, "listings")
	}
	if *address != "" {
		in := IndexParams{*out, filepath.Join(*dir, "index"), *server}
		err := buildIndex(ctx, target, in)
		if err == nil {
			err = serve(ctx, os.Stdout, *address, in.Out)
		}
		if err != nil {
			log.Fatal("catalog: ", err)
		}
		return
	}
	if target.Quarantine == "" {
		target.Quarantine = filepath.Join(*dir, "quarantine.jsonl")
	}
	err := run(ctx, os.Stdout, target, Params{
		Products: productsDir(*dir),
		Prices:   pricesFile(*dir),
		Out:      *out,
		Rates:    map[string]float64{"EUR": 1, "USD": 0.86, "GBP": 1.15},
	}, *top)
	if err != nil {
		log.Fatal("catalog: ", err)
	}
}

// run runs the pipeline, and prints the report on its listings.
func run(ctx context.Context, w io.Writer, target mapreduce.Target, in Params, top int) error {
	job, err := Catalog.Start(ctx, target, in)
	if errors.Is(err, mapreduce.ErrExplained) {
		return nil
	}
	if err != nil {
		return err
	}
	defer job.Close()
	if err := job.Wait(); err != nil {
		return err
	}
	if err := printReport(ctx, w, target, in.Out, top); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "listings in %s\n", in.Out)
	return err
}
