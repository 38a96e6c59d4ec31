// Command pipelines runs the benchmark workloads as ordinary pipelines of the public API.
//
//	pipelines [FLAGS] w1 OUT FILES...             count words
//	pipelines [FLAGS] w2 OUT FILES...             catalogue report by category
//	pipelines [FLAGS] w3 OUT FILES...             sort lines
//	pipelines [FLAGS] w5 OUT OVERRIDES FILES...   join with price overrides, then report by brand
//
// The small works take the files that gen works writes:
//
//	chain OUT FILES...            8 shuffles of events in which nothing folds, then a sum
//	skewjoin OUT USERS FILES...   join of users and events, half of one user, then a sum by country
//	countdistinct OUT FILES...    exact number of different ids of events
//	repeats OUT FILES...          how many lines occur how often
//	w2-csv, w2-parquet OUT FILES...   w2 from other formats
package main

import (
	"context"
	"flag"
	"log"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// Params are the paths of one run: the output Out, the small side Overrides of a join, and the
// other files.
type Params struct {
	Out, Overrides string
	Files          []string
}

type count = mapreduce.KV[string, int64]

var w1 = mapreduce.Define("w1", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	words := mapreduce.Read(p, textio.Fields(in.Files...))
	mapreduce.CountBy(words, func(w string) string { return w }).
		WriteTo(textio.WriteAs(in.Out, func(dst []byte, c count) []byte {
			return strconv.AppendInt(append(append(dst, c.Key...), '\t'), c.Value, 10)
		}))
	return mapreduce.Nothing(p)
})

// Product is the part of a catalogue row for the report. Category and Brand are its groups. Price
// is in cents, Stock in pieces, Rating in tenths.
type Product struct {
	Category string `json:"category" parquet:"category"`
	Brand    string `json:"brand" parquet:"brand"`
	Price    int64  `json:"price" parquet:"price,decimal(2:12)" decimal:"2"`
	Stock    int64  `json:"stock" parquet:"stock"`
	Rating   int64  `json:"rating" parquet:"rating,decimal(1:3)" decimal:"1"`
}

type report struct {
	N, Value, Rating, Max int64
	Brands                agg.Set[string]
}

var byCategory = agg.Agg[Product, report, report]{
	Add: func(r *report, p Product) {
		r.N++
		r.Value += p.Price * p.Stock
		r.Rating += p.Rating
		r.Max = max(r.Max, p.Price)
		r.Brands.Add(p.Brand)
	},
	Merge: func(a, b *report) {
		a.N += b.N
		a.Value += b.Value
		a.Rating += b.Rating
		a.Max = max(a.Max, b.Max)
		a.Brands.Merge(&b.Brands)
	},
	Result: func(r *report) report { return *r },
	Size:   func(r *report) int { return r.Brands.Size() },
}

var w2 = mapreduce.Define("w2", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	writeReport(mapreduce.Read(p, jsonio.Rows[Product](in.Files...)), in)
	return mapreduce.Nothing(p)
})

func writeReport(products mapreduce.Dataset[Product], in Params) {
	mapreduce.AggregateBy(products, func(p Product) string { return p.Category }, byCategory).
		WriteTo(textio.WriteAs(in.Out, func(dst []byte, c mapreduce.KV[string, report]) []byte {
			r := &c.Value
			return columns(append(dst, c.Key...), r.N, r.Value, r.Rating, r.Max, int64(r.Brands.Len()))
		}))
}

func columns(dst []byte, values ...int64) []byte {
	for _, v := range values {
		dst = strconv.AppendInt(append(dst, '\t'), v, 10)
	}
	return dst
}

var w3 = mapreduce.Define("w3", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	mapreduce.Sort(mapreduce.Read(p, textio.Lines(in.Files...))).WriteTo(textio.Write(in.Out))
	return mapreduce.Nothing(p)
})

// Item is the part of a catalogue row for the join by SKU. Brand and Stock, in pieces, are passed
// on.
type Item struct {
	SKU   string `json:"sku"`
	Brand string `json:"brand"`
	Price int64  `json:"price" decimal:"2"` // cents
	Stock int64  `json:"stock"`
	Over  bool   `json:"-"` // the price was overridden
}

// Override is one row of the price-override file: a new Price in cents for the product with this
// SKU.
type Override struct {
	SKU   string `csv:"sku"`
	Price int64  `csv:"price" decimal:"2"`
}

type brandSum struct{ N, Value, Overridden int64 }

var byBrand = agg.Agg[Item, brandSum, brandSum]{
	Add: func(s *brandSum, i Item) {
		s.N++
		s.Value += i.Price * i.Stock
		if i.Over {
			s.Overridden++
		}
	},
	Merge:  func(a, b *brandSum) { a.N += b.N; a.Value += b.Value; a.Overridden += b.Overridden },
	Result: func(s *brandSum) brandSum { return *s },
}

var w5 = mapreduce.Define("w5", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	items := mapreduce.Read(p, jsonio.Rows[Item](in.Files...))
	overrides := mapreduce.Read(p, csvio.Rows[Override](in.Overrides))
	priced := mapreduce.BroadcastJoin(items, overrides,
		func(i Item) string { return i.SKU }, func(o Override) string { return o.SKU },
		func(i Item, o *Override) Item {
			if o != nil {
				i.Price, i.Over = o.Price, true
			}
			return i
		})
	mapreduce.AggregateBy(priced, func(i Item) string { return i.Brand }, byBrand).
		WriteTo(textio.WriteAs(in.Out, func(dst []byte, c mapreduce.KV[string, brandSum]) []byte {
			return columns(append(dst, c.Key...), c.Value.N, c.Value.Value, c.Value.Overridden)
		}))
	return mapreduce.Nothing(p)
})

var works = map[string]*mapreduce.Definition[Params, mapreduce.None]{
	"w1": w1, "w2": w2, "w3": w3, "w5": w5, "w2-csv": w2csv, "w2-parquet": w2parquet,
	"chain": chain, "skewjoin": skewJoin, "countdistinct": countDistinct, "repeats": repeats,
}

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	profile := flag.String("cpuprofile", "", "write a CPU profile to `FILE`")
	flag.Parse()
	if flag.NArg() < 3 {
		log.Fatal("pipelines: usage: pipelines [FLAGS] WORK OUT [OVERRIDES] FILES...")
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal("pipelines: ", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal("pipelines: ", err)
		}
		defer pprof.StopCPUProfile()
	}
	in := Params{Out: flag.Arg(1), Files: flag.Args()[2:]}
	work := works[flag.Arg(0)]
	if work == nil {
		log.Fatalf("pipelines: unknown work %q: %v", flag.Arg(0), slices.Sorted(maps.Keys(works)))
	}
	if work == w5 || work == skewJoin {
		in.Overrides, in.Files = in.Files[0], in.Files[1:]
	}
	if _, err := work.Collect(context.Background(), target, in); err != nil {
		pprof.StopCPUProfile()
		log.Fatalf("pipelines: %s: %v", flag.Arg(0), err)
	}
}
