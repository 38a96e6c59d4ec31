package layshafttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// failing are the parameters of a job with a function that fails. Each combination is a job.
type failing struct {
	Cause string // a key of causes
	Dir   string // has in.jsonl and in.csv
	Where string // embedded or cluster
}

const failingAt = 5 // number of the record at which functions fail

// angry is a text that cannot be read.
type angry struct{ Text string }

func (a *angry) UnmarshalText(b []byte) error {
	if a.Text = string(b); a.Text == fmt.Sprint(failingAt) {
		panic("angry text")
	}
	return nil
}

func (a angry) MarshalText() ([]byte, error) { return []byte(a.Text), nil }

type angryRow struct {
	ID angry `json:"id" csv:"id"`
}

// causes are plans that fail. skips is whether the record that fails can be set aside.
// missing is a map that nobody has made.
var missing map[string]int

var causes = map[string]struct {
	skips bool
	build func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64]
}{
	"panic before the first record": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Seq(func() iter.Seq[int64] { panic("boom") }))
	}},
	"panic between records": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Seq(func() iter.Seq[int64] {
			return func(yield func(int64) bool) {
				for i := int64(0); i < failingAt && yield(i); i++ {
				}
				panic("boom")
			}
		}))
	}},
	"source without positions": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(mapreduce.Read(p, bare{}), panicAt)
	}},
	"source ends its goroutine": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Seq(func() iter.Seq[int64] { runtime.Goexit(); return nil }))
	}},
	"error of the source": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, bare{errors.New("no more")})
	}},
	"panic of UnmarshalText in JSON": {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		return count(mapreduce.Read(p, jsonio.Rows[angryRow](filepath.Join(in.Dir, "in.jsonl"))))
	}},
	"panic of UnmarshalText in CSV": {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		return count(mapreduce.Read(p, csvio.Rows[angryRow](filepath.Join(in.Dir, "in.csv"))))
	}},
	"malformed record": {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		return count(mapreduce.Read(p, jsonio.Rows[struct{ Bad string }](filepath.Join(in.Dir, "in.jsonl"))))
	}},
	"panic of a map":  {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return mapreduce.Map(ten(p), panicAt) }},
	"Goexit of a map": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return mapreduce.Map(ten(p), exitAt) }},
	"error of a map": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(ten(p), failAt(nil))
	}},
	"Skip of a map": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(ten(p), failAt(mapreduce.Skip))
	}},
	"Fatal of a map": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(ten(p), failAt(mapreduce.Fatal))
	}},
	"panic of a key": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return grouped(ten(p), panicAt, passAll) }},
	"panic of a partition": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return grouped(ten(p), same, passAll, mapreduce.PartitionBy(func(k int64, n int) int { return int(panicAt(k)) % n }))
	}},
	"panic of a group":  {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return grouped(ten(p), same, panicAtKey) }},
	"Goexit of a group": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return grouped(ten(p), same, exitAtKey) }},
	"panic behind a group": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(grouped(ten(p), same, passAll), panicAt)
	}},
	"panic of Add":    {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return summed(ten(p), "add") }},
	"panic of Merge":  {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return summed(ten(p), "merge") }},
	"panic of Result": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return summed(ten(p), "result") }},
	"panic of a sort": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return mapreduce.SortBy(ten(p), panicAt) }},
	"panic of a small side": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		j := mapreduce.BroadcastJoin(ten(p), ten(p), same, panicAt, func(a int64, _ *int64) int64 { return a })
		return j
	}},
	"panic of a sink":  {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "panic") }},
	"Goexit of a sink": {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "exit") }},
	"error of a sink":  {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "error") }},
	"error of Close":   {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "close") }},
	"panic of Open":    {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "open") }},
	"panic of Close": {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		return writtenBadly(ten(p), in, "panic-close")
	}},
	"panic of Finish": {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		return writtenBadly(ten(p), in, "finish")
	}},
	"panic of Check":  {false, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] { return writtenBadly(ten(p), in, "check") }},
	"panic of Splits": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return mapreduce.Read(p, panicSplits{}) }},
	"panic of a generator": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Read(p, memio.Generate(10, panicAt))
	}},
	"panic of SortValues": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return grouped(ten(p), same, passAll, mapreduce.SortValues(panicAt))
	}},
	"panic of AppendBinary in a shuffle":    {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return shuffled(ten(p), "encode") }},
	"panic of UnmarshalBinary in a shuffle": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return shuffled(ten(p), "decode") }},
	"panic of MarshalText in a sink": {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		d := ten(p)
		rows := mapreduce.Map(d, func(i int64) moodyRow { return moodyRow{moody{"encode", i}} })
		rows.WriteTo(jsonio.Write[moodyRow](filepath.Join(in.Dir, in.Where+"moody")))
		return d
	}},
	"panic of MarshalText in a CSV sink": {true, func(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
		d := ten(p)
		rows := mapreduce.Map(d, func(i int64) moodyRow { return moodyRow{moody{"encode", i}} })
		rows.WriteTo(csvio.Write[moodyRow](filepath.Join(in.Dir, in.Where+"moodycsv")))
		return d
	}},
	"panic at the start of MapTask": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return tasked(ten(p), "start") }},
	"panic within MapTask":          {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return tasked(ten(p), "each") }},
	"panic at the end of MapTask":   {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return tasked(ten(p), "end") }},
	"panic of the load of a side": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.FlatMapSide(ten(p), ten(p), func(iter.Seq[int64]) (int, int64, error) { panic("boom") },
			func(_ context.Context, i int64, _ int, emit func(int64)) error { emit(i); return nil })
	}},
	"Goexit of the load of a side": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.FlatMapSide(ten(p), ten(p), func(iter.Seq[int64]) (int, int64, error) { runtime.Goexit(); return 0, 0, nil },
			func(_ context.Context, i int64, _ int, emit func(int64)) error { emit(i); return nil })
	}},
	"panic of a join key": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Join(ten(p), ten(p), same, panicAt, func(a, _ int64) int64 { return a })
	}},
	"panic of joined rows": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Join(ten(p), ten(p), same, same, func(a, _ int64) int64 { return panicAt(a) })
	}},
	"panic of a score": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] { return mapreduce.Top(ten(p), 3, panicAt) }},
	"nil map written": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(ten(p), func(i int64) int64 {
			if i == failingAt {
				missing["x"] = 1
			}
			return i
		})
	}},
	"panic with nil": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(ten(p), func(i int64) int64 {
			if i == failingAt {
				panic(nil)
			}
			return i
		})
	}},
	"error that panics": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(ten(p), func(_ context.Context, i int64) (int64, error) {
			if i == failingAt {
				return 0, angryError{}
			}
			return i, nil
		})
	}},
	"panic of an error that panics": {true, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(ten(p), func(i int64) int64 {
			if i == failingAt {
				panic(angryError{})
			}
			return i
		})
	}},
	"record without end": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.Map(ten(p), func(i int64) int64 {
			if i == failingAt {
				time.Sleep(10 * time.Minute) // has no context
			}
			return i
		}, mapreduce.Timeout(time.Second))
	}},
	"slow record": {false, func(p *mapreduce.Plan, _ failing) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(ten(p), func(ctx context.Context, i int64) (int64, error) {
			if i == failingAt {
				<-ctx.Done()
			}
			return i, ctx.Err()
		}, mapreduce.Timeout(time.Second))
	}},
}

func same(i int64) int64 { return i }

func panicAt(i int64) int64 {
	if i == failingAt {
		panic("boom")
	}
	return i
}

func exitAt(i int64) int64 {
	if i == failingAt {
		runtime.Goexit()
	}
	return i
}

func failAt(mark func(error) error) func(context.Context, int64) (int64, error) {
	return func(_ context.Context, i int64) (int64, error) {
		if i != failingAt {
			return i, nil
		}
		if err := errors.New("boom"); mark == nil {
			return 0, err
		} else {
			return 0, mark(err)
		}
	}
}

func passAll(k int64, all iter.Seq[int64]) int64 {
	for range all {
	}
	return k
}

func panicAtKey(k int64, _ iter.Seq[int64]) int64 { return panicAt(k) }
func exitAtKey(k int64, _ iter.Seq[int64]) int64  { return exitAt(k) }

func ten(p *mapreduce.Plan) mapreduce.Dataset[int64] {
	return mapreduce.Read(p, memio.Generate(10, same).Cut(2))
}

func count[T any](d mapreduce.Dataset[T]) mapreduce.Dataset[int64] {
	return mapreduce.Map(d, func(T) int64 { return 1 })
}

func grouped(d mapreduce.Dataset[int64], key func(int64) int64, f func(int64, iter.Seq[int64]) int64, opts ...mapreduce.GroupOption) mapreduce.Dataset[int64] {
	return mapreduce.GroupBy(d, key, f, opts...)
}

func summed(d mapreduce.Dataset[int64], where string) mapreduce.Dataset[int64] {
	fail := func(here string) {
		if here == where {
			panic("boom")
		}
	}
	sum := agg.Agg[int64, int64, int64]{
		Add: func(a *int64, i int64) {
			if *a += i; i == failingAt {
				fail("add")
			}
		},
		Merge:  func(a, b *int64) { *a += *b; fail("merge") },
		Result: func(a *int64) int64 { fail("result"); return *a },
	}
	return mapreduce.Map(mapreduce.AggregateBy(d, func(int64) int64 { return 0 }, sum), func(x mapreduce.KV[int64, int64]) int64 { return x.Value })
}

// moody is a number whose methods panic.
type moody struct {
	how string
	N   int64
}

type moodyRow struct {
	M moody `json:"m" csv:"m"`
}

func (m moody) MarshalText() ([]byte, error) {
	if m.how == "encode" && m.N == failingAt {
		panic("boom")
	}
	return fmt.Appendf(nil, "%s %d", m.how, m.N), nil
}

func (m moody) AppendBinary(b []byte) ([]byte, error) {
	text, err := m.MarshalText()
	return append(b, text...), err
}

func (m *moody) UnmarshalBinary(b []byte) error {
	_, err := fmt.Sscan(string(b), &m.how, &m.N)
	if m.how == "decode" && m.N == failingAt {
		panic("boom")
	}
	return err
}

func shuffled(d mapreduce.Dataset[int64], how string) mapreduce.Dataset[int64] {
	rows := mapreduce.Map(d, func(i int64) moodyRow { return moodyRow{moody{how, i}} })
	return mapreduce.Map(mapreduce.SortBy(rows, func(r moodyRow) int64 { return r.M.N }), func(r moodyRow) int64 { return r.M.N })
}

func tasked(d mapreduce.Dataset[int64], where string) mapreduce.Dataset[int64] {
	return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(int64)) (func(int64) error, func() error) {
		if where == "start" {
			panic("boom")
		}
		each := func(i int64) error {
			if where == "each" {
				panicAt(i)
			}
			emit(i)
			return nil
		}
		return each, func() error {
			if where == "end" {
				panic("boom")
			}
			return nil
		}
	})
}

// angryError is an error whose text cannot be had.
type angryError struct{}

func (angryError) Error() string { panic("angry error") }

type panicSplits struct{ bare }

func (panicSplits) Splits(context.Context, int64) ([]connector.Split, error) { panic("boom") }

func writtenBadly(d mapreduce.Dataset[int64], in failing, how string) mapreduce.Dataset[int64] {
	mapreduce.Map(d, func(i int64) string { return fmt.Sprint(i) }).WriteTo(badSink{textio.Write(filepath.Join(in.Dir, in.Where+how)), how})
	return d
}

// bare is a source that sets no position.
type bare struct{ err error }

func (bare) String() string { return "bare" }
func (bare) Splits(context.Context, int64) ([]connector.Split, error) {
	return []connector.Split{{Label: "all"}}, nil
}

func (s bare) Read(_ context.Context, _ connector.Split, r *connector.Reader[int64]) error {
	for i := range int64(10) {
		r.Emit(&i)
	}
	return s.err
}

// badSink is a sink that fails.
type badSink struct {
	connector.Sink[string]
	how string
}

func (s badSink) Check(ctx context.Context) error {
	if s.how == "check" {
		panic("boom")
	}
	return s.Sink.Check(ctx)
}

func (s badSink) Finish(ctx context.Context, job string, parts [][]byte) error {
	if s.how == "finish" {
		panic("boom")
	}
	return s.Sink.Finish(ctx, job, parts)
}

type badWriter struct {
	connector.Writer[string]
	how string
}

func (s badSink) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[string], error) {
	if s.how == "open" {
		panic("boom")
	}
	w, err := s.Sink.Open(ctx, t)
	return badWriter{w, s.how}, err
}

func (w badWriter) Write(s *string) error {
	if *s == fmt.Sprint(failingAt) {
		switch w.how {
		case "panic":
			panic("boom")
		case "exit":
			runtime.Goexit()
		case "error":
			return errors.New("boom")
		}
	}
	return w.Writer.Write(s)
}

func (w badWriter) Close() ([]byte, error) {
	switch w.how {
	case "panic-close":
		panic("boom")
	case "close":
		return nil, errors.New("boom")
	}
	return w.Writer.Close()
}

var (
	failingStrictly   = mapreduce.Define("failing", failingPlan)
	failingTolerantly = mapreduce.Define("failing-tolerantly", failingPlan, mapreduce.MaxBad(2))
)

func failingPlan(p *mapreduce.Plan, in failing) mapreduce.Dataset[int64] {
	return causes[in.Cause].build(p, in)
}

// TestEveryFailureEnds runs every cause of failure with and without MaxBad, inside the process and
// on a cluster. Each job ends, after few attempts. It ends well if MaxBad lets it set the record
// aside, and fails otherwise.
func TestEveryFailureEnds(t *testing.T) {
	dir := t.TempDir()
	var lines, cells strings.Builder
	cells.WriteString("id\n")
	for i := range 10 {
		fmt.Fprintf(&lines, "{\"id\":\"%d\"%s}\n", i, map[bool]string{true: `,"Bad":{}`}[i == failingAt])
		fmt.Fprintf(&cells, "%d\n", i)
	}
	for name, text := range map[string]string{"in.jsonl": lines.String(), "in.csv": cells.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(t *testing.T, where string, target func() mapreduce.Target) {
		defer time.Sleep(time.Hour) // until abandoned functions have ended
		for i, cause := range slices.Sorted(maps.Keys(causes)) {
			c := causes[cause]
			for _, tolerant := range []bool{false, true} {
				// With -short each cause runs once, embedded or on a cluster, with either MaxBad.
				if testing.Short() && (tolerant != (i/2%2 == 0) || (i%2 == 0) != (where == "cluster")) {
					continue
				}
				d := failingStrictly
				if tolerant {
					d = failingTolerantly
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errors.New("it never ends"))
				began := time.Now()
				_, err := d.Collect(ctx, target(), failing{cause, dir, where})
				endless := ctx.Err() != nil
				cancel()
				// a few attempts, each of at most a second and a second more
				endless = endless || strings.HasSuffix(cause, "without end") && time.Since(began) > 15*time.Second
				if good := tolerant && c.skips; endless || good != (err == nil) {
					t.Errorf("%s: %s, MaxBad %v: ended after %v with %v, want success %v", where, cause, tolerant, time.Since(began), err, good)
				}
			}
		}
	}
	t.Run("embedded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {

			run(t, "embedded", func() mapreduce.Target {
				return mapreduce.Local{Slots: 2, Workers: 2, Memory: 64 << 20, Reporting: mapreduce.Reporting{
					Quarantine: filepath.Join(dir, "quarantine.jsonl"), Err: io.Discard}}
			})
		})
	})
	t.Run("cluster", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := Start(t, 2)
			run(t, "cluster", func() mapreduce.Target { return c.Target() })
		})
	})
}
