package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/loop"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

type cell struct {
	ID    int64
	Value float64
	Path  []int64
}

// calls counts the records that steps have read; crash, if set, is called with each.
var (
	calls atomic.Int64
	crash func(n int, id int64)
)

// halve halves the values of 40 cells in each step, and returns their sum.
var halve = loop.Define("halve", func(p *mapreduce.Plan, value float64) mapreduce.Dataset[cell] {
	return mapreduce.Map(mapreduce.Read(p, memio.Generate(40, func(i int64) int64 { return i }).Cut(4)), func(i int64) cell { return cell{ID: i, Value: value} })
}, func(p *mapreduce.Plan, _ float64, n int, state mapreduce.Dataset[cell]) (mapreduce.Dataset[cell], mapreduce.Dataset[float64]) {
	next := mapreduce.Map(state, func(c cell) cell {
		if crash != nil {
			crash(n, c.ID)
		}
		calls.Add(1)
		return cell{c.ID, c.Value / 2, append(c.Path[:len(c.Path):len(c.Path)], int64(n))}
	})
	return next, mapreduce.Aggregate(next, agg.Sum(func(c cell) float64 { return c.Value }))
})

func below(limit float64) func(int, []float64) bool {
	return func(_ int, rows []float64) bool { return rows[0] < limit }
}

// last reads the state after n steps.
func last(t *testing.T, dir string, n int) []cell {
	t.Helper()
	rows, err := mapreduce.Define("last", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[cell] {
		return mapreduce.SortBy(mapreduce.Read(p, loop.State[cell](dir, n)), func(c cell) int64 { return c.ID })
	}).Collect(t.Context(), mapreduce.Local{}, mapreduce.None{})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestIterate(t *testing.T) {
	dir := t.TempDir()
	end, err := halve.Iterate(t.Context(), mapreduce.Local{Slots: 2}, dir, 20, 8, below(11))
	if want := (loop.End{Steps: 5, Done: true}); err != nil || end != want { // 320, 160, 80, 40, 20, 10
		t.Fatalf("%+v, %v, want %+v", end, err, want)
	}
	rows := last(t, dir, end.Steps)
	if len(rows) != 40 || !reflect.DeepEqual(rows[7], cell{7, 0.25, []int64{0, 1, 2, 3, 4}}) {
		t.Errorf("%d cells: %+v", len(rows), rows)
	}
	end, err = halve.Iterate(t.Context(), mapreduce.Local{}, t.TempDir(), 3, 8, nil)
	if want := (loop.End{Steps: 3}); err != nil || end != want {
		t.Errorf("%+v, %v, want %+v", end, err, want)
	}
	end, err = halve.Iterate(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: io.Discard}}, t.TempDir(), 3, 8, below(1))
	if end.Steps != 0 || err != nil {
		t.Errorf("explained: %+v, %v", end, err)
	}
}

// TestKilledLoop kills the process of a loop in its third step. The next process repeats only that
// step, and continues.
func TestKilledLoop(t *testing.T) {
	const killAt = 2
	if dir := os.Getenv("LOOP_TEST_DIR"); dir != "" { // the process that is killed
		if os.Getenv("LOOP_TEST_KILL") != "" {
			crash = func(n int, id int64) {
				if n == killAt && id == 25 {
					fmt.Println("calls", calls.Load())
					os.Exit(3)
				}
			}
		}
		end, err := halve.Iterate(t.Context(), mapreduce.Local{Slots: 1, State: filepath.Join(dir, "state")}, filepath.Join(dir, "work"), 20, 8, below(11))
		fmt.Println("calls", calls.Load())
		fmt.Println("end", end, err)
		return
	}
	dir := t.TempDir()
	run := func(env ...string) (out string, count int64) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledLoop$")
		cmd.Env = append(os.Environ(), append(env, "LOOP_TEST_DIR="+dir)...)
		b, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
			t.Fatalf("%v\n%s", err, b)
		}
		_, after, _ := strings.Cut(string(b), "calls ")
		if _, err := fmt.Sscan(after, &count); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		return string(b), count
	}
	killed, before := run("LOOP_TEST_KILL=1")
	if strings.Contains(killed, "end") || before < 80 {
		t.Fatalf("it was not killed: %s", killed)
	}
	out, after := run()
	if !strings.Contains(out, "end {5 true} <nil>") {
		t.Fatal(out)
	}
	// so small a state is one task, which had read 25 records
	if total := before + after; before != killAt*40+25 || total != 5*40+25 {
		t.Errorf("%d calls before the kill and %d after it, want 105 and 120", before, after)
	}
	if rows := last(t, filepath.Join(dir, "work"), 5); len(rows) != 40 || rows[39].Value != 0.25 {
		t.Errorf("state %+v", rows)
	}
}

func TestRefused(t *testing.T) {
	type bad struct{ C chan int }
	state := loop.Define("bad", func(*mapreduce.Plan, int) mapreduce.Dataset[bad] { panic("called") },
		func(*mapreduce.Plan, int, int, mapreduce.Dataset[bad]) (mapreduce.Dataset[bad], mapreduce.Dataset[int]) {
			panic("called")
		})
	iterate := func(dir string, most int) error {
		_, err := halve.Iterate(context.Background(), mapreduce.Local{}, dir, most, 8, nil)
		return err
	}
	_, errState := state.Iterate(t.Context(), mapreduce.Local{}, "x", 1, 1, nil)
	_, errNil := loop.Define[int, int, int]("nil", nil, nil).Iterate(t.Context(), mapreduce.Local{}, "x", 1, 1, nil)
	for want, err := range map[string]error{
		"loop bad: its state: ":                 errState,
		"loop nil: it needs two functions":      errNil,
		"loop halve: the directory":             iterate("", 1),
		"loop halve: it cannot run 0 steps":     iterate("x", 0),
		"step 0: output directory /dev/null/x/": iterate("/dev/null/x", 1),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Newton's method for square roots, on a dataset of guesses.
func Example() {
	type guess struct{ Of, Root float64 }
	roots := loop.Define("roots", func(p *mapreduce.Plan, numbers []float64) mapreduce.Dataset[guess] {
		return mapreduce.Map(mapreduce.Read(p, memio.Slice(numbers)), func(x float64) guess { return guess{x, x} })
	}, func(_ *mapreduce.Plan, _ []float64, _ int, guesses mapreduce.Dataset[guess]) (mapreduce.Dataset[guess], mapreduce.Dataset[float64]) {
		better := mapreduce.Map(guesses, func(g guess) guess { return guess{g.Of, (g.Root + g.Of/g.Root) / 2} })
		errors := mapreduce.Map(better, func(g guess) float64 { return g.Root*g.Root - g.Of })
		return better, mapreduce.Top(errors, 1, func(e float64) float64 { return e })
	})
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	end, err := roots.Iterate(ctx, mapreduce.Local{}, dir, 100, []float64{2, 9, 100}, func(_ int, largest []float64) bool { return largest[0] < 1e-9 })
	fmt.Println(end.Done, err)
	show := mapreduce.Define("show", func(p *mapreduce.Plan, steps int) mapreduce.Dataset[string] {
		return mapreduce.Map(mapreduce.Read(p, loop.State[guess](dir, steps)), func(g guess) string { return fmt.Sprintf("%.4f", g.Root) })
	})
	fmt.Println(show.Collect(ctx, mapreduce.Local{}, end.Steps))
	// Output:
	// true <nil>
	// [1.4142 3.0000 10.0000] <nil>
}
