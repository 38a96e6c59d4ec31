// Command gen writes the benchmark data. The bytes depend on nothing but this program: the same
// seed gives the same files on every machine of one architecture (bench/data.sha256 lists them), so
// that figures taken apart can be compared.
//
//	gen text DIR [SCALE]      1 GiB of words in natural frequencies: DIR/part-NN.txt
//	gen catalog DIR [SCALE]   10 million products: DIR/jsonl/part-NN.jsonl, DIR/csv/part-NN.csv, DIR/overrides.csv
//	gen sort DIR [SCALE]      1 GiB of 100-byte records: DIR/part-NN.rec
//	gen works DIR [SCALE]     the inputs of the small works (works.go)
//
// SCALE divides all sizes.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"
)

const (
	seed  = 20240607
	parts = 16 // files of one data set
)

// stream returns random numbers for one file. Every file has its own stream, so files can be made
// in any order.
func stream(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

func main() {
	scale := 1
	if len(os.Args) == 4 {
		scale, _ = strconv.Atoi(os.Args[3])
	}
	sets := map[string]func(dir string, scale int) error{"text": text, "catalog": catalog, "sort": sortable, "works": works}
	if len(os.Args) < 3 || sets[os.Args[1]] == nil || scale < 1 {
		fmt.Fprintln(os.Stderr, "gen: usage: gen text|catalog|sort|works DIR [SCALE]")
		os.Exit(2)
	}
	if err := sets[os.Args[1]](os.Args[2], scale); err != nil {
		fmt.Fprintf(os.Stderr, "gen: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func text(dir string, scale int) error {
	words := newText()
	return eachPart(func(part int) error {
		return create(func(w ...io.Writer) error {
			return words.write(w[0], part, 64<<20/scale)
		}, fmt.Sprintf("%s/part-%02d.txt", dir, part))
	})
}

func catalog(dir string, scale int) error {
	rows := 10_000_000 / scale
	c := newCatalog()
	err := eachPart(func(part int) error {
		return create(func(w ...io.Writer) error {
			return c.write(w[0], w[1], part, part*rows/parts, (part+1)*rows/parts)
		}, fmt.Sprintf("%s/jsonl/part-%02d.jsonl", dir, part), fmt.Sprintf("%s/csv/part-%02d.csv", dir, part))
	})
	if err != nil {
		return err
	}
	return create(func(w ...io.Writer) error {
		return writeOverrides(w[0], rows, 100_000/scale)
	}, dir+"/overrides.csv")
}

func sortable(dir string, scale int) error {
	records := (1 << 30) / recordSize / scale
	return eachPart(func(part int) error {
		return create(func(w ...io.Writer) error {
			return writeRecords(w[0], part, records*part/parts, records*(part+1)/parts)
		}, fmt.Sprintf("%s/part-%02d.rec", dir, part))
	})
}

// eachPart calls write for every part, some at the same time.
func eachPart(write func(part int) error) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for part := range parts {
		g.Go(func() error { return write(part) })
	}
	return g.Wait()
}

// create creates files and their directories, and passes them to write.
func create(write func(w ...io.Writer) error, paths ...string) (err error) {
	var buffers []*bufio.Writer
	var writers []io.Writer
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() {
			if e := f.Close(); err == nil {
				err = e
			}
		}()
		b := bufio.NewWriterSize(f, 1<<20)
		buffers, writers = append(buffers, b), append(writers, b)
	}
	if err := write(writers...); err != nil {
		return err
	}
	for _, b := range buffers {
		if err := b.Flush(); err != nil {
			return err
		}
	}
	return nil
}
