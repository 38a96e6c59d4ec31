package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/tasks"
)

// Piece is a slice of the file at Path, from byte Start to before byte End. It begins and ends
// between words.
type Piece struct {
	Path       string
	Start, End int64
}

// Counts maps each word to its number of occurrences.
type Counts map[string]int64

// reduces is the number of tasks in the first tier of merging; each merges its own share of the
// words.
const reduces = 4

// count splits files, counts the words of each piece, merges the counts in four tasks, and merges
// their results in one. This process receives the results of each step and scatters them for the
// next step.
func count(ctx context.Context, c *tasks.Client, globs []string, size, top int) error {
	paths, err := expand(globs)
	if err != nil {
		return err
	}
	var pieces []Piece
	for _, path := range paths {
		some, err := tasks.Do[[]Piece](ctx, c, "scatter.split", File{path, int64(size)})
		if err != nil {
			return err
		}
		pieces = append(pieces, some...)
	}
	shares := make([][]Counts, reduces)
	for r := range tasks.Scatter[[]Counts](ctx, c, "scatter.map", pieces) {
		if r.Err != nil {
			return r.Err
		}
		for i, part := range r.Value {
			shares[i] = append(shares[i], part)
		}
	}
	var merged []Counts
	// finish this count before new ones
	for r := range tasks.Scatter[Counts](ctx, c, "scatter.reduce", shares, tasks.High) {
		if r.Err != nil {
			return r.Err
		}
		merged = append(merged, r.Value)
	}
	total, err := tasks.Do[Counts](ctx, c, "scatter.reduce", merged, tasks.High)
	words := slices.SortedFunc(maps.Keys(total), func(a, b string) int { return cmp.Or(cmp.Compare(total[b], total[a]), cmp.Compare(a, b)) })
	for _, word := range words[:min(top, len(words))] {
		fmt.Printf("%s\t%d\n", word, total[word])
	}
	return err
}

// expand returns the absolute paths of files.
func expand(globs []string) (paths []string, err error) {
	for _, g := range globs {
		found, err := filepath.Glob(g)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("no file matches %q; write a path or a glob", g)
		}
		for _, path := range found {
			if path, err = filepath.Abs(path); err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// File is a file, at Path, to split into pieces of about Size bytes.
type File struct {
	Path string
	Size int64
}

// split splits a file at white space.
func split(_ context.Context, in File) (pieces []Piece, err error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return nil, err // the task is retried, perhaps by another worker
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10) // a longer word is cut
	for start := int64(0); start < info.Size(); {
		end := min(start+max(in.Size, 1), info.Size())
		n, _ := f.ReadAt(buf, end) // n is smaller at the end of the file
		end += int64(max(strings.IndexAny(string(buf[:n]), " \t\r\n"), 0))
		pieces = append(pieces, Piece{in.Path, start, end})
		start = end
	}
	return pieces, nil
}

// countPiece counts the words of a piece. It returns one Counts for each merging task.
func countPiece(_ context.Context, p Piece) ([]Counts, error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text := make([]byte, p.End-p.Start)
	if _, err := f.ReadAt(text, p.Start); err != nil {
		return nil, err
	}
	parts := make([]Counts, reduces)
	for i := range parts {
		parts[i] = Counts{}
	}
	for word := range strings.FieldsSeq(string(text)) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(word)) // a hash accepts everything
		parts[h.Sum32()%reduces][word]++
	}
	return parts, nil
}

// merge adds counts, in both tiers.
func merge(_ context.Context, parts []Counts) (Counts, error) {
	sum := Counts{}
	for _, part := range parts {
		for word, n := range part {
			sum[word] += n
		}
	}
	return sum, nil
}
