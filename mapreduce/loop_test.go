package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/jobdir"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestLoopResumes ends a loop of runs in the middle of one, and starts it again: the runs before
// are not repeated, and the run that was ended continues. All runs have the same parameters, but
// use what the loop changes.
func TestLoopResumes(t *testing.T) {
	const runs, stopAt = 6, 3
	state := t.TempDir()
	var calls atomic.Int64
	loop := func(stop bool) (sums []int64, err error) {
		mapreduce.ForgetRuns()
		sum := int64(1)
		for k := range runs {
			ctx, cancel := context.WithCancel(t.Context())
			d := mapreduce.Define("loop", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
				d := mapreduce.TryMap(mapreduce.Read(p, upTo(8).Cut(8)), func(ctx context.Context, i int64) (int64, error) {
					if stop && k == stopAt && i == 5 {
						cancel()
						<-ctx.Done()
						return 0, ctx.Err()
					}
					calls.Add(1)
					return i * sum, nil
				})
				return mapreduce.GroupBy(d, func(int64) int64 { return 0 }, func(_ int64, all iter.Seq[int64]) (sum int64) {
					for i := range all {
						sum += i
					}
					return sum
				})
			})
			rows, err := d.Collect(ctx, mapreduce.Local{State: state, Slots: 1, Reporting: mapreduce.Reporting{Err: io.Discard}}, none{})
			cancel()
			if err != nil {
				return sums, err
			}
			sum = rows[0]%1000 + 1
			sums = append(sums, rows[0])
		}
		return sums, nil
	}
	if sums, err := loop(true); len(sums) != stopAt || !errors.Is(err, context.Canceled) {
		t.Fatal(sums, err)
	}
	before := calls.Swap(0)
	sums, err := loop(false)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(28)
	for k, sum := range sums {
		if sum != want {
			t.Errorf("run %d has sum %d, want %d", k, sum, want)
		}
		want = 28 * (want%1000 + 1)
	}
	if total := before + calls.Load(); total != runs*8 {
		t.Errorf("%d calls before the end and %d after it, want %d together", before, calls.Load(), runs*8)
	}
	if all, err := jobdir.List(state); err != nil || len(all) != runs {
		t.Errorf("state holds %+v, %v", all, err)
	}
}

// TestIdentity checks what makes a run another job than the run before in the same State.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "in.txt")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(input, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(input, at, at); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-time.Hour)
	run := func(args string) (string, string) {
		t.Helper()
		mapreduce.ForgetRuns()
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		limit := fs.Int("limit", 10, "")
		target := mapreduce.Flags(fs)
		var said bytes.Buffer
		target.Err = &said
		if err := fs.Parse(append([]string{"-state", filepath.Join(dir, "state")}, strings.Fields(args)...)); err != nil {
			t.Fatal(err)
		}
		d := mapreduce.Define("identity", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[string] {
			lines := mapreduce.Read(p, textio.Lines(input))
			return mapreduce.Map(lines, func(s string) string { return (s + os.Getenv("LOOP_TEST"))[:min(*limit, 20)] })
		}, mapreduce.Env("LOOP_TEST"))
		rows, err := d.Collect(t.Context(), target, none{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(rows, ","), said.String()
	}
	t.Setenv("LOOP_TEST", "env-1-----------------")
	write("abcdefghijklmnopqrst\n", then)
	for _, c := range []struct {
		args   string
		before func()
		want   string
		again  bool // the job of an earlier run
	}{
		{"", nil, "abcdefghij", false},
		{"-memory 128MiB -slots 1 -progress none", nil, "abcdefghij", true},
		{"-limit 12", nil, "abcdefghijkl", false},
		{"-limit 12 -slots 2", nil, "abcdefghijkl", true},
		{"", nil, "abcdefghij", true},
		{"", func() { write("ABCDEFGHIJKLMNOPQRST\n", then) }, "ABCDEFGHIJ", false},
		{"", func() { write("A\n", then) }, "Aenv-1----", false},
		{"", func() { t.Setenv("LOOP_TEST", "env-2-----------------") }, "Aenv-2----", false},
		{"", func() { t.Setenv("OTHER", "x") }, "Aenv-2----", true},
		{"x", nil, "Aenv-2----", false},
	} {
		if c.before != nil {
			c.before()
		}
		rows, said := run(c.args)
		if again := strings.Contains(said, "continues,"); rows != c.want || again != c.again {
			t.Errorf("%q: got %s, want %s; continues %v, want %v: %s", c.args, rows, c.want, again, c.again, said)
		}
	}
}
