// Command probe contains pipelines for tests. One waits for an interrupt, one sorts more data
// than fits in memory, one reads JSON rows, and one gives a different result each time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// tasks is the number of tasks of the job wait.
const tasks = 12

type waitParams struct {
	Dir, Out string
	Limit    time.Duration
}

// gate is a job of twelve tasks. From the fifth on, each writes the file reached-INDEX in Dir and
// waits for the file open. With a Limit each has one attempt, of that time.
var gate = mapreduce.Define("wait", func(p *mapreduce.Plan, in waitParams) mapreduce.Dataset[int64] {
	var opts []mapreduce.Option
	if in.Limit > 0 {
		opts = append(opts, mapreduce.Timeout(in.Limit), mapreduce.Retry(1))
	}
	numbers := mapreduce.Read(p, memio.Generate(tasks, func(i int64) int64 { return i }).Cut(tasks))
	passed := mapreduce.TryMap(numbers, func(ctx context.Context, i int64) (int64, error) {
		if i < 4 {
			return i, nil
		}
		if err := os.WriteFile(filepath.Join(in.Dir, fmt.Sprint("reached-", i)), nil, 0o600); err != nil {
			return 0, err
		}
		for {
			if _, err := os.Stat(filepath.Join(in.Dir, "open")); !errors.Is(err, fs.ErrNotExist) {
				return i, err
			}
			select {
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}, opts...)
	if in.Out != "" {
		passed.WriteTo(textio.WriteAs(in.Out, func(dst []byte, i int64) []byte { return fmt.Append(dst, i) }))
	}
	return passed
})

// lineSize is the number of bytes of a line of the job sort.
const lineSize = 100

// sorted generates lines of random letters and sorts them.
var sorted = mapreduce.Define("sort", func(p *mapreduce.Plan, bytes int64) mapreduce.Dataset[string] {
	lines := mapreduce.Read(p, memio.Generate(bytes/lineSize, func(i int64) string {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		line := make([]byte, lineSize)
		for j := range line {
			line[j] = 'a' + byte(r.Uint32()%26)
		}
		return string(line)
	}).Cut(int(max(1, bytes/(8<<20)))))
	return mapreduce.Sort(lines)
})

// item is a row of the job rows.
type item struct {
	Name  string  `json:"name"`
	Price float64 `json:"price"`
}

// rows sums prices. It allows no bad records.
var rows = mapreduce.Define("rows", func(p *mapreduce.Plan, glob string) mapreduce.Dataset[float64] {
	return mapreduce.Aggregate(mapreduce.Read(p, jsonio.Rows[item](glob)), agg.Sum(func(x item) float64 { return x.Price }))
})

// unsteady violates the rule that results depend on the input alone.
var unsteady = mapreduce.Define("unsteady", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int64] {
	return mapreduce.Map(mapreduce.Read(p, memio.Of("a", "b")), func(string) int64 { return rand.Int64() }, mapreduce.Named("draw"))
})

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	dir := flag.String("dir", ".", "`DIR` of the files of job wait")
	out := flag.String("out", "", "`DIR` for the output of job wait")
	limit := flag.Duration("limit", 0, "`TIME` of each attempt of job wait, of which there is then one; 0 means no limit")
	bytes := flag.Int64("bytes", 1<<20, "`BYTES` to sort")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch job := flag.Arg(0); job {
	case "wait":
		var all []int64
		all, err = gate.Collect(ctx, target, waitParams{*dir, *out, *limit})
		fmt.Println(len(all))
	case "sort":
		err = check(ctx, target, *bytes)
	case "rows":
		var sum []float64
		sum, err = rows.Collect(ctx, target, flag.Arg(1))
		fmt.Println(sum)
	case "unsteady":
		_, err = unsteady.Collect(ctx, target, mapreduce.None{})
	default:
		err = fmt.Errorf("job %q: use wait, sort, rows or unsteady", job)
	}
	if err != nil {
		log.Fatal("probe: ", err)
	}
}

// check sorts, and prints the number of lines and a checksum independent of their order.
func check(ctx context.Context, target mapreduce.Target, bytes int64) error {
	var n, sum int64
	last := ""
	for line, err := range sorted.Run(ctx, target, bytes) {
		if err != nil {
			return err
		}
		if line < last {
			return fmt.Errorf("line %d, %s, comes after %s", n, line, last)
		}
		n++
		sum += int64(crc32.ChecksumIEEE([]byte(line)))
		last = strings.Clone(line)
	}
	fmt.Println(n, sum)
	return nil
}
