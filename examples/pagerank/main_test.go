package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestPageRank compares the ranks of a random graph, some of whose pages have no links, with those
// of a few lines of ordinary Go.
func TestPageRank(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	links, text := map[string]map[string]bool{}, strings.Builder{}
	for range 300 {
		from, to := fmt.Sprint("page", r.IntN(60)), fmt.Sprint("page", r.IntN(80)*r.IntN(2))
		for _, page := range []string{from, to} {
			if links[page] == nil {
				links[page] = map[string]bool{}
			}
		}
		links[from][to] = true
		fmt.Fprintln(&text, from, to)
	}
	rank := map[string]float64{}
	for page := range links {
		rank[page] = 1
	}
	const damping, steps = 0.85, 12
	for range steps {
		next, lost := map[string]float64{}, 0.0
		for page, to := range links {
			if len(to) == 0 {
				lost += rank[page]
			}
			for x := range to {
				next[x] += rank[page] / float64(len(to))
			}
		}
		for page := range links {
			next[page] = 1 - damping + damping*(next[page]+lost/float64(len(links)))
		}
		rank = next
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "links")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	target := mapreduce.Local{Slots: 2}
	end, err := ranks.Iterate(t.Context(), target, dir+"/work", steps, Params{[]string{file}, damping}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := best.Collect(t.Context(), target, Best{dir + "/work", end.Steps})
	if err != nil || len(rows) != 20 {
		t.Fatalf("%d pages, %v", len(rows), err)
	}
	for _, x := range rows {
		if math.Abs(x.Rank-rank[x.Name]) > 1e-9 {
			t.Errorf("%s has rank %v, want %v", x.Name, x.Rank, rank[x.Name])
		}
	}
	for i := 1; i < len(rows); i++ {
		if rows[i].Rank > rows[i-1].Rank {
			t.Errorf("page %d ranks above page %d", i, i-1)
		}
	}
	better := 0
	for _, x := range rank {
		if x > rows[19].Rank+1e-9 {
			better++
		}
	}
	if better > 19 {
		t.Errorf("%d pages rank above the last row", better)
	}
}
