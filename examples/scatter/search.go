package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// Query searches the file at Path for lines with all Words.
type Query struct {
	Path  string
	Words []string
}

// Hit is a line of the file at Path: Line is its number, from 1, and Text its content.
type Hit struct {
	Path string
	Line int
	Text string
}

// search scatters a query over files, and prints the answers that arrive before the deadline.
func search(ctx context.Context, c *tasks.Client, words, globs []string, deadline time.Duration, top int) error {
	paths, err := expand(globs)
	if err != nil {
		return err
	}
	var queries []Query
	for _, path := range paths {
		queries = append(queries, Query{path, words})
	}
	var hits []Hit
	for r := range tasks.Scatter[[]Hit](ctx, c, "scatter.search", queries, tasks.Deadline(deadline), tasks.High) {
		if r.Err != nil {
			log.Printf("without %s: %v", queries[r.Index].Path, r.Err)
			continue
		}
		hits = append(hits, r.Value...)
	}
	slices.SortFunc(hits, func(a, b Hit) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line)) })
	for _, h := range hits[:min(top, len(hits))] {
		fmt.Printf("%s:%d\t%s\n", h.Path, h.Line, h.Text)
	}
	return nil
}

// index maps each word to its lines in a file. A worker keeps its indexes, so that the next query
// is fast.
type index struct {
	lines []string
	where map[string][]int
}

var indexes sync.Map // path -> func() (*index, error)

// searchFile returns the lines of a file with all words of the query.
func searchFile(_ context.Context, q Query) (hits []Hit, err error) {
	made, _ := indexes.LoadOrStore(q.Path, sync.OnceValues(func() (*index, error) { return makeIndex(q.Path) }))
	x, err := made.(func() (*index, error))()
	if err != nil {
		indexes.Delete(q.Path) // the next attempt may succeed
		return nil, err
	}
	common := map[int]int{} // line -> number of the words in it
	words := slices.Compact(slices.Sorted(slices.Values(q.Words)))
	for _, word := range words {
		for _, line := range x.where[strings.ToLower(word)] {
			common[line]++
			if common[line] == len(words) {
				hits = append(hits, Hit{q.Path, line + 1, x.lines[line]})
			}
		}
	}
	return hits, nil
}

func makeIndex(path string) (*index, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x := &index{lines: strings.Split(string(text), "\n"), where: map[string][]int{}}
	for i, line := range x.lines {
		for word := range strings.FieldsSeq(strings.ToLower(line)) {
			word = strings.Trim(word, ".,;:!?()\"'")
			if at := x.where[word]; len(at) == 0 || at[len(at)-1] != i {
				x.where[word] = append(at, i)
			}
		}
	}
	return x, nil
}
