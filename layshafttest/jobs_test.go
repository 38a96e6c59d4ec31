package layshafttest

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// numbers selects the numbers to add up, and the time for each. Jobs of different numbers are
// different jobs.
type numbers struct {
	N, Splits, Groups int
	Map               time.Duration // that each number takes
	Reduce            time.Duration // that each group takes
	Size              int           // bytes that travel beside each number
}

type sum = mapreduce.KV[int, int64]

type padded struct {
	N    int64
	Text string
}

func (in numbers) source(p *mapreduce.Plan) mapreduce.Dataset[padded] {
	odd := mapreduce.NewCounter(p, "odd")
	ds := mapreduce.Read(p, memio.Generate(int64(in.N), func(i int64) int64 { return i }).Cut(in.Splits))
	return mapreduce.Map(ds, func(i int64) padded {
		time.Sleep(in.Map)
		odd.Add(i % 2)
		text := make([]byte, in.Size)
		for k := range text {
			text[k] = byte(i*int64(k+1)*2654435761>>7) | 1
		}
		return padded{i, string(text)}
	})
}

func (in numbers) key(x padded) int { return int(x.N) % in.Groups }

// sums adds the numbers from 0 to N-1 up, by their remainder: partial sums are merged early.
var sums = mapreduce.Define("sums", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
	return mapreduce.AggregateBy(in.source(p), in.key, agg.Sum(func(x padded) int64 { return x.N }))
})

// groups does the same in slow reduces.
var groups = mapreduce.Define("groups", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
	return mapreduce.GroupBy(in.source(p), in.key, func(k int, all iter.Seq[padded]) sum {
		time.Sleep(in.Reduce)
		s := sum{Key: k}
		for x := range all {
			s.Value += x.N + int64(len(x.Text)-in.Size)
		}
		return s
	}, mapreduce.Parallel(in.Groups), mapreduce.PartitionBy(func(k, n int) int { return k % n }))
})

// lookUps does the same behind a join with the keys, in two parts, so that the tasks that read the
// numbers look the keys up.
var lookUps = mapreduce.Define("look-ups", func(p *mapreduce.Plan, in numbers) mapreduce.Dataset[sum] {
	keys := mapreduce.Map(mapreduce.Read(p, memio.Generate(int64(in.Groups), func(i int64) int64 { return i }).Cut(2)), func(i int64) int {
		time.Sleep(in.Reduce)
		return int(i)
	})
	pairs := mapreduce.Join(keys, in.source(p), func(k int) int { return k }, in.key, func(k int, x padded) sum { return sum{Key: k, Value: x.N} })
	return mapreduce.AggregateBy(pairs, func(x sum) int { return x.Key }, agg.Sum(func(x sum) int64 { return x.Value }))
})

// result is how a job ended.
type result struct {
	rows []sum
	odd  int64
	err  error
}

// begin runs a job in the background.
func begin(t *testing.T, c *Cluster, d *mapreduce.Definition[numbers, sum], in numbers) (id string, wait func() *result) {
	t.Helper()
	return beginAt(t, c.Target(), d, in)
}

// beginAt runs a job at a target in the background.
func beginAt(t *testing.T, target mapreduce.Cluster, d *mapreduce.Definition[numbers, sum], in numbers) (id string, wait func() *result) {
	t.Helper()
	j, err := d.Start(t.Context(), target, in)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *result, 1)
	go func() {
		r := &result{}
		for row, err := range mapreduce.Rows[sum](j, "") {
			if r.err = err; err == nil {
				r.rows = append(r.rows, row)
			}
		}
		if err := j.Wait(); err != nil {
			r.err = err
		}
		r.odd = j.Counters()["odd"]
		if err := j.Close(); r.err == nil {
			r.err = err
		}
		done <- r
	}()
	return j.ID(), func() *result { return <-done }
}

// check fails the test unless the result is right.
func (in numbers) check(t *testing.T, r *result) {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	want := make([]sum, in.Groups)
	for i := range in.N {
		want[i%in.Groups].Key = i % in.Groups
		want[i%in.Groups].Value += int64(i)
	}
	slices.SortFunc(r.rows, func(a, b sum) int { return a.Key - b.Key })
	if !slices.Equal(r.rows, want) || r.odd != int64(in.N/2) {
		t.Errorf("got %v with %d odd numbers, want %v with %d", r.rows, r.odd, want, in.N/2)
	}
}

// work runs a job.
func work(t *testing.T, c *Cluster, d *mapreduce.Definition[numbers, sum], in numbers) {
	t.Helper()
	_, wait := begin(t, c, d, in)
	in.check(t, wait())
}

// stage returns the attempts at the tasks of a stage.
func (c *Cluster) stage(n int) []Attempt {
	prefix := strconv.Itoa(n) + "/"
	return slices.DeleteFunc(c.Attempts(""), func(a Attempt) bool { return a.Task[:len(prefix)] != prefix })
}

func TestJob(t *testing.T) {
	for _, d := range []*mapreduce.Definition[numbers, sum]{sums, groups} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			c := Start(t, 3)
			work(t, c, d, numbers{N: 1000, Splits: 6, Groups: 10, Map: 10 * time.Millisecond})
			for _, a := range c.Attempts("") {
				if a.Number < 1 || a.Err != nil || a.Ended.IsZero() {
					t.Errorf("attempt %+v", a)
				}
			}
			if n := len(c.Attempts("0/0")); n != 1 {
				t.Errorf("%d attempts at 0/0, want 1", n)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A job that runs a second time gives its result again.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 2)
		for range 3 {
			work(t, c, sums, numbers{N: 100, Splits: 4, Groups: 3})
		}
	})
}

// Files of the test's own machine and of datasets are read and written through the workers.
func TestFiles(t *testing.T) {
	type line struct {
		Name  string
		Units int64
	}
	type params struct{ In, Out string }
	totals := mapreduce.Define("totals", func(p *mapreduce.Plan, in params) mapreduce.Dataset[mapreduce.None] {
		lines := mapreduce.Read(p, csvio.Rows[line](in.In))
		sums := mapreduce.AggregateBy(lines, func(l line) string { return l.Name }, agg.Sum(func(l line) int64 { return l.Units }))
		mapreduce.Map(sums, func(kv mapreduce.KV[string, int64]) line { return line{kv.Key, kv.Value} }).WriteTo(csvio.WriteFile[line](in.Out))
		return mapreduce.Nothing(p)
	})
	dir := t.TempDir()
	for i := range 3 {
		at := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%d.csv", i)), []byte("Name,Units\nsaw,1\nnail,40\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []params{
		{filepath.Join(dir, "*", "*.csv"), filepath.Join(dir, "out.csv")},
		{"dataset://orders/*.csv", filepath.Join(dir, "out2.csv")},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := Start(t, 3, Dataset("orders", func(worker int) string { return filepath.Join(dir, strconv.Itoa(worker)) }))
			j, err := totals.Start(t.Context(), c.Target(), p)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if err := j.Wait(); err != nil {
				t.Fatal(err)
			}
			if _, err := totals.Start(t.Context(), c.Target(), params{p.In, "dataset://orders/out.csv"}); err == nil || !strings.Contains(err.Error(), "start the worker with -dataset orders="+dir) {
				t.Errorf("a job writes to a read-only dataset: %v", err)
			}
		})
		b, err := os.ReadFile(p.Out)
		if got := string(b); err != nil || got != "Name,Units\nnail,120\nsaw,3\n" && got != "Name,Units\nsaw,3\nnail,120\n" {
			t.Errorf("%s: got %q, %v", p.In, b, err)
		}
	}
}

// The ID of a job depends on its input and not on the holders of the input: the same command finds
// its job again when workers have been started again, under other names, and when other replicas
// are there.
func TestInputIsNotItsPlace(t *testing.T) {
	dir := t.TempDir()
	for worker, names := range []string{"abcd", "cdef", "abef"} { // two replicas of each file
		for _, name := range names {
			at := filepath.Join(dir, strconv.Itoa(worker))
			path := filepath.Join(at, string(name)+".txt")
			err := os.MkdirAll(at, 0o755)
			if err == nil {
				err = os.WriteFile(path, []byte("one\ntwo\n"), 0o644)
			}
			if err == nil {
				err = os.Chtimes(path, time.Unix(0, 0), time.Unix(1000, 0))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := mapreduce.Define("lines", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
		return mapreduce.Read(p, textio.Lines(in))
	})
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Dataset("small", func(worker int) string { return filepath.Join(dir, strconv.Itoa(worker)) }))
		id := func() string {
			j, err := lines.Start(t.Context(), c.Target(), "dataset://small/*.txt")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.Wait(), j.Close()); err != nil {
				t.Fatal(err)
			}
			return j.ID()
		}
		first := id()
		c.Worker(1).Kill()
		c.WaitFor("the worker to be gone", func() bool { return len(c.Coordinator().Workers()) == 2 })
		if second := id(); second != first {
			t.Errorf("without a holder job %s is %s", first, second)
		}
		c.Worker(1).Restart()
		c.WaitFor("the worker to be back", func() bool { return len(c.Coordinator().Workers()) == 3 })
		if third := id(); third != first {
			t.Errorf("with a holder of another name job %s is %s", first, third)
		}
	})
}
