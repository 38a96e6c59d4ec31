// Command probe runs a pipeline under the control of files, so that tests can disturb a cluster
// at known moments. At points such as map-3 or reduce-7 it writes a line with its worker to
// DIR/ran/NAME. Then it executes the content of the file DIR/do/NAME, if there is one; see act.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	_ "github.com/layshaft/layshaft/mapreduce/inspect" // -profile
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// params are the parameters of a job.
type params struct {
	// Dir contains the directories ran and do.
	Dir string
	// Out is the directory of a sink; empty means none.
	Out string
	// Maps is the number of tasks of the first stage.
	Maps int
	// Each is the number of records per task.
	Each int
	// Size is the number of bytes per record.
	Size int
	// Keys is the number of groups.
	Keys int
	// Parts is the number of tasks of the grouping stage.
	Parts int
	// Pause is the least duration of each map task.
	Pause time.Duration
	// Tiers aggregates, which merges early, instead of grouping.
	Tiers bool
	// Noise makes incompressible records.
	Noise bool

	// Splits is the number of splits; zero means Maps.
	Splits int
	// Bad is the number of records that may be set aside.
	Bad int64
	// Without lists map tasks to omit: N,N.
	Without string
}

type item struct {
	Key  int64
	Text string
}

type line struct {
	Key, Count, Bytes, Sum int64
}

// note adds a record to l, independent of the order.
func (l *line) note(x *item) {
	l.Key = x.Key
	l.Count++
	l.Bytes += int64(len(x.Text))
	l.Sum += int64(crc32.ChecksumIEEE([]byte(x.Text)))
}

var job = mapreduce.Define("probe", func(p *mapreduce.Plan, in params) mapreduce.Dataset[line] {
	maps := mapreduce.Read(p, memio.Generate(int64(in.Maps), func(i int64) int64 { return i }).Cut(cmp.Or(in.Splits, in.Maps))).
		Filter(func(i int64) bool { return !slices.Contains(strings.Split(in.Without, ","), fmt.Sprint(i)) })
	made := mapreduce.NewCounter(p, "items")
	items := mapreduce.TryFlatMap(maps, func(ctx context.Context, i int64, emit func(item)) error {
		if err := in.act(ctx, fmt.Sprint("map-", i)); err != nil {
			return err
		}
		if err := pause(ctx, in.Pause); err != nil {
			return err
		}
		for j := range int64(in.Each) {
			n := i*int64(in.Each) + j
			emit(item{n * 7919 % int64(in.Keys), in.text(n)})
			made.Add(1)
		}
		return in.act(ctx, fmt.Sprint("mapped-", i))
	}, mapreduce.MaxBad(in.Bad))
	var lines mapreduce.Dataset[line]
	if in.Tiers {
		sums := mapreduce.AggregateBy(items, func(x item) int64 { return x.Key }, agg.Agg[item, line, line]{
			Add: func(l *line, x item) { l.note(&x) },
			Merge: func(a, b *line) {
				a.Key, a.Count, a.Bytes, a.Sum = b.Key, a.Count+b.Count, a.Bytes+b.Bytes, a.Sum+b.Sum
			},
			Result:    func(l *line) line { return *l },
			Unordered: true,
		}, mapreduce.Parallel(in.Parts))
		lines = mapreduce.TryMap(sums, func(ctx context.Context, kv mapreduce.KV[int64, line]) (line, error) {
			return kv.Value, in.act(ctx, fmt.Sprint("reduce-", kv.Key))
		})
	} else {
		lines = mapreduce.TryGroupBy(items, func(x item) int64 { return x.Key },
			func(ctx context.Context, key int64, values iter.Seq[item], emit func(line)) error {
				if err := in.act(ctx, fmt.Sprint("reduce-", key)); err != nil {
					return err
				}
				var l line
				for x := range values {
					l.note(&x)
				}
				emit(l)
				return nil
			}, mapreduce.Parallel(in.Parts))
	}
	if in.Out != "" {
		lines.WriteTo(textio.WriteAs(in.Out, func(dst []byte, l line) []byte { return fmt.Append(dst, l) }))
	}
	return lines
}, mapreduce.Retry(retries))

// text returns the content of record n.
func (in *params) text(n int64) string {
	if !in.Noise {
		return fmt.Sprintf("%0*d", in.Size, n)
	}
	r := rand.New(rand.NewPCG(uint64(n), 0))
	b := make([]byte, in.Size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// retries is more than the tests need.
const retries = 4

// act executes the content of DIR/do/NAME, if the file exists. hold waits until the file is
// removed or changed. exit, panic, spin, flood and fail break each time, or only the first time
// with a leading "once ".
func (in *params) act(ctx context.Context, name string) error {
	if err := in.ran(name); err != nil {
		return err
	}
	path := filepath.Join(in.Dir, "do", name)
	for {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		verb, once := strings.CutPrefix(string(bytes.TrimSpace(b)), "once ")
		if once {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		switch verb {
		case "exit":
			os.Exit(7)
		case "panic":
			panic("told to")
		case "spin":
			for spin := true; spin; spin = verb != "" {
			}
		case "fail":
			return errors.New("told to fail")
		case "flood":
			flood := bytes.Repeat([]byte("flood of words\n"), 1<<12)
			for range 1 << 10 { // 60 MB
				_, _ = os.Stderr.Write(flood)
			}
			return nil
		case "hold", "": // an empty file is still being written
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// ran records that the task reached a point, with its worker.
func (in *params) ran(name string) error {
	f, err := os.OpenFile(filepath.Join(in.Dir, "ran", name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getppid(), os.Getpid())
	return errors.Join(err, f.Close())
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	var in params
	flag.StringVar(&in.Dir, "dir", "", "`DIR` of ran and do")
	flag.StringVar(&in.Out, "out", "", "write the lines to `DIR`")
	flag.IntVar(&in.Maps, "maps", 6, "`NUMBER` of tasks of the first stage")
	flag.IntVar(&in.Each, "each", 100, "`RECORDS` of each of them")
	flag.IntVar(&in.Size, "size", 100, "`BYTES` of each record")
	flag.IntVar(&in.Keys, "keys", 12, "`NUMBER` of groups")
	flag.IntVar(&in.Parts, "parts", 4, "`NUMBER` of tasks of the last stage")
	flag.DurationVar(&in.Pause, "pause", 0, "`TIME` that each task of the first stage takes at least")
	flag.BoolVar(&in.Tiers, "tiers", false, "aggregate instead of grouping")
	flag.IntVar(&in.Splits, "splits", 0, "`NUMBER` of splits of the input, when not as many as -maps")
	flag.Int64Var(&in.Bad, "bad", 0, "`RECORDS` that may be set aside")
	flag.StringVar(&in.Without, "without", "", "`MAPS` that are left out: N,N")
	flag.BoolVar(&in.Noise, "noise", false, "records that cannot be compressed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends the process at once
	lines, err := job.Collect(ctx, target, in)
	if err != nil {
		log.Fatal("probe: ", err)
	}
	slices.SortFunc(lines, func(a, b line) int { return int(a.Key - b.Key) })
	for _, l := range lines {
		fmt.Println(l.Key, l.Count, l.Bytes, l.Sum)
	}
}
