package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// The tests in this file start a job in a State directory, end it early, and continue it with other
// flags.

// stop, if set, is called for every sorted record.
var stop atomic.Pointer[func(ctx context.Context, word string) error]

// sortedWords is a total sort, followed by a function that can stop the job after some ranges.
var sortedWords = mapreduce.Define("sorted-words", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[string] {
	words := mapreduce.Read(p, memio.Generate(n, func(i int64) string {
		return strings.Repeat(string(rune('a'+i*7919%26)), 1+int(i%97)) + " " + string(rune('a'+i%26))
	}).Cut(4))
	return mapreduce.TryMap(mapreduce.Sort(words, mapreduce.Parallel(6)), func(ctx context.Context, w string) (string, error) {
		if f := stop.Load(); f != nil {
			return w, (*f)(ctx, w)
		}
		return w, nil
	})
})

// interrupt starts the sort, and ends it when four of six ranges are done or running and the others
// wait.
func interrupt(t *testing.T, target mapreduce.Target, n int64) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	errEnough := errors.New("enough")
	hold := func(ctx context.Context, w string) error {
		if w[0] < 't' {
			return nil
		}
		cancel(errEnough)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	stop.Store(&hold)
	defer stop.Store(nil)
	j, err := sortedWords.Start(ctx, target, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(); !errors.Is(err, errEnough) {
		t.Errorf("the first run ended with %v", err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestResumeWithOtherMemory changes the memory between two runs. Key ranges are chosen from the
// blocks of the sorted runs, so a repeated task must cut the same runs with any memory.
func TestResumeWithOtherMemory(t *testing.T) {
	n := int64(300_000)
	if testing.Short() {
		n = 100_000
	}
	want, err := sortedWords.Collect(t.Context(), mapreduce.Local{Slots: 2}, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []mapreduce.Local{
		{Slots: 2, Workers: 1, Memory: 16 << 20},
		{Slots: 5, Workers: 3, Memory: 1600 << 20},
	} {
		var said bytes.Buffer
		first := mapreduce.Local{State: t.TempDir(), Slots: 4, Workers: 2, Memory: 640 << 20, Reporting: mapreduce.Reporting{Err: &said}}
		interrupt(t, first, n)
		if err := os.RemoveAll(filepath.Join(first.State, "worker-2")); err != nil {
			t.Fatal(err)
		}
		again.State, again.Err = first.State, &said
		start := time.Now()
		got, err := sortedWords.Collect(t.Context(), again, n)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
		if !strings.Contains(said.String(), "continues") || !strings.Contains(said.String(), "160.0 MiB for each attempt") {
			t.Errorf("%+v: it says %q", again, said.String())
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v: it waits for outputs that nobody has", took)
		}
	}
}

// TestResumeAfterLeavingTheLoop checks that a run with State continues after a break out of its
// loop, including its sinks.
func TestResumeAfterLeavingTheLoop(t *testing.T) {
	dir := t.TempDir()
	d := mapreduce.Define("left", func(p *mapreduce.Plan, out string) mapreduce.Dataset[int64] {
		d := mapreduce.Read(p, upTo(100_000).Cut(8))
		mapreduce.Map(d, func(i int64) string { return strings.Repeat("x", int(i%10)) }).WriteTo(textio.Write(out))
		return mapreduce.SortBy(d, func(i int64) int64 { return -i })
	})
	target := mapreduce.Local{State: filepath.Join(dir, "state"), Slots: 2, Workers: 2, Reporting: mapreduce.Reporting{Err: &bytes.Buffer{}}}
	out := filepath.Join(dir, "out")
	for range 3 {
		for _, err := range d.Run(t.Context(), target, out) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	rows, err := d.Collect(t.Context(), target, out)
	if err != nil || len(rows) != 100_000 || rows[0] != 99_999 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	files, err := filepath.Glob(filepath.Join(out, "part-*"))
	size := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		size += len(b)
	}
	if err != nil || size != 100_000/10*(45+10) {
		t.Errorf("%d files hold %d bytes, %v", len(files), size, err)
	}
}
