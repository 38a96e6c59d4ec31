//go:build unix

package tracing_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/textio"
	"github.com/layshaft/layshaft/tracing"
)

// processorTime returns the processor time of this process so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkObserved compares the processor time of runs with the record of the job, its page and
// spans to runs without them, in turns. The metric on/off is the median ratio; the goal is 1.02 at
// most. The metric off/off, of equal runs, tells how far the machine can be trusted.
func BenchmarkObserved(b *testing.B) {
	dir := b.TempDir()
	r := rand.New(rand.NewPCG(1, 0))
	var words, rows strings.Builder
	for range 2_000_000 {
		n := r.IntN(1 << r.IntN(16))
		fmt.Fprintf(&words, "word%d of the line and word%d again\n", n, r.IntN(1000))
		fmt.Fprintf(&rows, "{\"brand\":\"brand%d\",\"price\":%d,\"note\":\"%d pieces in a box\"}\n", n, r.IntN(10_000), n)
	}
	texts, lines := filepath.Join(dir, "words.txt"), filepath.Join(dir, "rows.jsonl")
	for path, text := range map[string]string{texts: words.String(), lines: rows.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	type row struct {
		Brand string `json:"brand"`
		Price int64  `json:"price"`
	}
	count := mapreduce.Define("words", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		return mapreduce.CountBy(mapreduce.FlatMap(mapreduce.Read(p, textio.Lines(texts)), strings.FieldsSeq), func(w string) string { return w })
	})
	sum := mapreduce.Define("brands", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		prices := mapreduce.Map(mapreduce.Read(p, jsonio.Rows[row](lines)), func(x row) mapreduce.KV[string, int64] {
			return mapreduce.KV[string, int64]{Key: x.Brand, Value: x.Price}
		})
		return mapreduce.ReduceByKey(prices, func(a, b int64) int64 { return a + b })
	})
	observed := tracing.With(context.Background(), sdk.NewTracerProvider(sdk.WithSyncer(tracetest.NewNoopExporter())))
	for name, d := range map[string]*mapreduce.Definition[mapreduce.None, mapreduce.KV[string, int64]]{"words": count, "json": sum} {
		b.Run(name, func(b *testing.B) {
			run := func(ctx context.Context, report string) time.Duration {
				begin := processorTime(b)
				for _, err := range d.Run(ctx, mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Report: report}}, mapreduce.None{}) {
					if err != nil {
						b.Fatal(err)
					}
				}
				return processorTime(b) - begin
			}
			run(context.Background(), "") // warms up
			var ratios, noise []float64
			for b.Loop() {
				off := run(context.Background(), "")
				on := run(observed, filepath.Join(dir, "run.html"))
				again := run(context.Background(), "")
				ratios = append(ratios, 2*float64(on)/float64(off+again))
				noise = append(noise, float64(again)/float64(off))
			}
			slices.Sort(ratios)
			slices.Sort(noise)
			b.ReportMetric(ratios[len(ratios)/2], "on/off")
			b.ReportMetric(noise[len(noise)/2], "off/off")
		})
	}
}
