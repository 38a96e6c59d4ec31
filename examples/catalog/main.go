// Command catalog cleans, prices and de-duplicates a product catalogue, writes it again with
// statistics of each category, and prints a report on it. The pipeline is Go, the report is SQL.
// The catalogue is in files, or in PostgreSQL: then a search index follows its changes, see
// docs/catalogue.md.
//
//	go run ./examples/catalog -generate 100000    makes a catalogue of 100,000 product lines
//	go run ./examples/catalog                     reads it, writes the listings, prints a report
//	go run ./examples/catalog -serve :8090        builds an index of the listings and shows a search page
//
//	go run ./examples/catalog -database shop -generate 100000     fills an empty database
//	go run ./examples/catalog -database shop [-search URL]        every night: reads it, builds a new index
//	go run ./examples/catalog -database shop -follow -cluster HOST:PORT [-search URL]
//	                                                              all day: a worker for its changes
//	go run ./examples/catalog -database shop -serve :8090         shows a search page
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/inspect" // -report, -trace, -web, -profile
	"github.com/layshaft/layshaft/tasks"
)

const usage = `catalog reports on a product catalogue.

  catalog -generate N [-dir DIR]          make a catalogue of N product lines
  catalog [-dir DIR] [-out DIR]           read it, write the listings, print a report
  catalog -serve ADDR [-search URL]       build an index of the listings, show a search page

  catalog -database NAME -generate N      fill an empty database of PostgreSQL
  catalog -database NAME [-search URL]    every night: report, listings and a new index
  catalog -database NAME -follow -cluster HOST:PORT [-search URL]
                                          all day: update the document of each changed product
  catalog -database NAME -serve ADDR      show a search page, with the changes of the day

The environment variable LAYSHAFT_PG_NAME has the connection string of the database.

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
	server := flag.String("search", "", "write the documents to the search server at `URL`; with files, together with -serve")
	db := flag.String("database", "", "read the catalogue from the database `NAME`; LAYSHAFT_PG_NAME has its connection string")
	market := flag.String("market", "DE", "with -database: `MARKET` whose prices count, such as AT")
	changes := flag.Bool("follow", false, "with -database and -cluster: work for the function index, with one task per changed product")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ^C ends the program at once

	if *out == "" {
		*out = filepath.Join(*dir, "listings")
	}
	if target.Quarantine == "" {
		target.Quarantine = filepath.Join(*dir, "quarantine.jsonl")
	}
	in := Params{Products: productsDir(*dir), Prices: pricesFile(*dir), Out: *out, Rates: rates, Database: *db, Market: *market}
	index := IndexParams{Listings: *out, Out: filepath.Join(*dir, "index"), Server: *server}
	_, missing := os.Stat(in.Products)
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("argument %q: only flags are known; see catalog -h", flag.Arg(0))
	case *generate < 0:
		err = fmt.Errorf("-generate %d: use a number above zero", *generate)
	case value("detach") == "true":
		err = errors.New("-detach: the report reads what the job writes, so this program waits for it")
	case *top < 1:
		err = fmt.Errorf("-top %d: use a number above zero", *top)
	case *generate > 0 && *db != "":
		err = load(ctx, *db, *generate, *seed)
	case *generate > 0:
		_, err = Generate.Collect(ctx, target, GenerateParams{*generate, *seed, *dir})
	case *changes && *db == "":
		err = errors.New("-follow needs -database")
	case *changes:
		err = follow(ctx, coordinator(), *db, *market, *server)
	case *db == "" && missing != nil:
		err = fmt.Errorf("%w; make a catalogue with -generate 100000, or name its place with -dir", missing)
	case *address != "":
		err = show(ctx, target, *address, *db, index)
	case *db != "":
		err = nightly(ctx, os.Stdout, target, in, *top, index)
	default:
		err = run(ctx, os.Stdout, target, in, *top)
	}
	if err != nil {
		log.Fatal("catalog: ", err)
	}
}

// value returns the value of a flag of package mapreduce.
func value(name string) string { return flag.Lookup(name).Value.String() }

// coordinator returns the cluster of these flags, for tasks.
func coordinator() tasks.Cluster {
	return tasks.Cluster{Address: value("cluster"), TLS: tasks.TLSFiles{CA: value("tls-ca"), Cert: value("tls-cert"), Key: value("tls-key")}}
}

// show builds the embedded index, unless it is new, and serves the search page.
func show(ctx context.Context, target mapreduce.Target, address, database string, in IndexParams) error {
	if database == "" {
		if err := buildIndex(ctx, target, in); err != nil {
			return err
		}
		return serve(ctx, os.Stdout, address, in.Out, nil)
	}
	in.Server = "" // the nightly run fills the server
	if err := buildIndex(ctx, target, in); err != nil {
		return err
	}
	db := openDatabase(database, 2)
	defer db.close()
	return serve(ctx, os.Stdout, address, in.Out, documents{db}.renew)
}
