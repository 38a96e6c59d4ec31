package textio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// A word count: Fields reads the words, and WriteFileAs writes one line per word.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	book := filepath.Join(dir, "book.txt")
	if err := os.WriteFile(book, []byte("the cat and the hat\nthe end\n"), 0o666); err != nil {
		fmt.Println(err)
		return
	}

	type Count = mapreduce.KV[string, int64]
	count := mapreduce.Define("word-count", func(p *mapreduce.Plan, book string) mapreduce.Dataset[Count] {
		words := mapreduce.Read(p, textio.Fields(book))
		counts := mapreduce.AggregateBy(words, func(w string) string { return w }, agg.Count[string]())
		return mapreduce.SortBy(counts, func(c Count) string { return c.Key })
	})
	out := filepath.Join(dir, "counts.txt")
	line := func(dst []byte, c Count) []byte {
		return strconv.AppendInt(append(append(dst, c.Key...), '\t'), c.Value, 10)
	}
	err = count.WriteTo(context.Background(), mapreduce.Local{}, book, textio.WriteFileAs(out, line))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(out)
	fmt.Print(string(text), err, "\n")
	// Output:
	// and	1
	// cat	1
	// end	1
	// hat	1
	// the	3
	// <nil>
}

// Lines come without their line ends.
func ExampleLines() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "server.log")
	if err := os.WriteFile(log, []byte("INFO start\nERROR disk full\n"), 0o666); err != nil {
		fmt.Println(err)
		return
	}

	failures := mapreduce.Define("failures", func(p *mapreduce.Plan, log string) mapreduce.Dataset[string] {
		lines := mapreduce.Read(p, textio.Lines(log))
		failed := lines.Filter(func(l string) bool { return strings.HasPrefix(l, "ERROR ") })
		return mapreduce.Map(failed, func(l string) string { return l[len("ERROR "):] })
	})
	fmt.Println(failures.Collect(context.Background(), mapreduce.Local{}, log))
	// Output: [disk full] <nil>
}

// find -print0 ends every path with a zero byte, because a path may contain line feeds.
func ExampleLineSource_Delimiter() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte("./a\x00./b\nc\x00"), 0o666); err != nil {
		fmt.Println(err)
		return
	}

	paths := mapreduce.Define("paths", func(p *mapreduce.Plan, list string) mapreduce.Dataset[string] {
		return mapreduce.Read(p, textio.Lines(list).Delimiter(0))
	})
	rows, err := paths.Collect(context.Background(), mapreduce.Local{}, list)
	fmt.Printf("%q %v\n", rows, err)
	// Output: ["./a" "./b\nc"] <nil>
}
