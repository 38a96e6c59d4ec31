// Command pagerank ranks the pages of a link graph. Input is text with one link per line: the page,
// white space, and the page that it links to.
//
//	go run ./examples/pagerank -work DIR 'LINKS-OR-GLOBS'...             prints the 20 best pages
//	go run ./examples/pagerank -work DIR -state STATE 'LINKS-OR-GLOBS'... continues after a kill
//
// A rank of 1 is the average. Each step is one job, and the ranks go from step to step in files
// below DIR, never through this process. The loop ends when a step changes the ranks little.
package main

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"log"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/loop"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// Params are the parameters of one run.
type Params struct {
	Files   []string // paths, directories or globs
	Damping float64  // share of visitors that follow a link
}

// Page is the state of one page.
type Page struct {
	Name  string   // as in the input
	Links []string // pages that it links to, each once
	Rank  float64  // 1 is the average
	Delta float64  // change of Rank in the last step
}

type link = mapreduce.KV[string, string]
type share = mapreduce.KV[string, float64]

// graph makes the pages from the links.
func graph(p *mapreduce.Plan, in Params) mapreduce.Dataset[Page] {
	links := mapreduce.FlatMapEmit(mapreduce.Read(p, textio.Lines(in.Files...)), func(line string, emit func(link)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' {
			return
		}
		for _, page := range f[:min(len(f), 2)] {
			emit(link{Key: page}) // a page without links is a page, too
		}
		if len(f) > 1 {
			emit(link{Key: f[0], Value: f[1]})
		}
	})
	return mapreduce.GroupBy(links, func(l link) string { return l.Key }, func(page string, all iter.Seq[link]) Page {
		x := Page{Name: page, Rank: 1}
		for l := range all {
			if l.Value != "" {
				x.Links = append(x.Links, l.Value)
			}
		}
		slices.Sort(x.Links)
		x.Links = slices.Compact(x.Links)
		return x
	})
}

// lost is the rank of pages without links, which all pages share, and the number of pages.
type lost struct {
	Rank  float64
	Pages int64
}

// step spreads the rank of each page over its links. It returns the largest change of a rank.
func step(_ *mapreduce.Plan, in Params, _ int, pages mapreduce.Dataset[Page]) (mapreduce.Dataset[Page], mapreduce.Dataset[float64]) {
	shares := mapreduce.FlatMapEmit(pages, func(x Page, emit func(share)) {
		for _, to := range x.Links {
			emit(share{Key: to, Value: x.Rank / float64(len(x.Links))})
		}
	})
	sums := mapreduce.AggregateBy(shares, func(s share) string { return s.Key }, agg.Sum(func(s share) float64 { return s.Value }))
	ends := mapreduce.Aggregate(pages, agg.Compose2(
		agg.Where(agg.Sum(func(x Page) float64 { return x.Rank }), func(x Page) bool { return len(x.Links) == 0 }),
		agg.Count[Page](),
		func(rank float64, pages int64) lost { return lost{rank, pages} }))
	joined := mapreduce.LeftJoin(pages, sums, func(x Page) string { return x.Name }, func(s share) string { return s.Key }, func(x Page, s *share) Page {
		x.Delta, x.Rank = -x.Rank, 0
		if s != nil {
			x.Rank = s.Value
		}
		return x
	})
	load := func(rows iter.Seq[lost]) (lost, int64, error) { return slices.Collect(rows)[0], 16, nil }
	next := mapreduce.FlatMapSide(joined, ends, load, func(_ context.Context, x Page, all lost, emit func(Page)) error {
		x.Rank = 1 - in.Damping + in.Damping*(x.Rank+all.Rank/float64(all.Pages))
		x.Delta += x.Rank
		emit(x)
		return nil
	})
	change := mapreduce.Aggregate(next, agg.Max(func(x Page) float64 { return math.Abs(x.Delta) }))
	return next, mapreduce.Map(change, func(m agg.Maybe[float64]) float64 { return m.Or(0) })
}

var ranks = loop.Define("pagerank", graph, step)

// Best names the state whose best pages are shown.
type Best struct {
	Work  string // directory of the loop
	Steps int    // that ran
}

var best = mapreduce.Define("pagerank-best", func(p *mapreduce.Plan, in Best) mapreduce.Dataset[Page] {
	return mapreduce.Top(mapreduce.Read(p, loop.State[Page](in.Work, in.Steps)), 20, func(x Page) float64 { return x.Rank })
})

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	work := flag.String("work", "", "keep the ranks of every step in `DIR`; on a cluster, s3:// or dataset://")
	change := flag.Float64("change", 0.001, "stop when no rank changes by more than `X`")
	flag.Parse()
	if flag.NArg() == 0 || *work == "" {
		log.Fatal("give -work DIR, and the files with links, such as 'links/*.txt'")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	end, err := ranks.Iterate(ctx, target, *work, 100, Params{flag.Args(), 0.85}, func(n int, largest []float64) bool {
		fmt.Fprintf(os.Stderr, "step %d: ranks change by up to %.4g\n", n+1, largest[0])
		return largest[0] <= *change
	})
	if err != nil {
		log.Fatal(err)
	} else if end.Steps == 0 { // explained
		return
	}
	for page, err := range best.Run(ctx, target, Best{*work, end.Steps}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f\t%s\n", page.Rank, page.Name)
	}
}
