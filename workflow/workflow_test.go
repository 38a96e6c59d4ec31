package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/workflow"
)

// night is a workflow of five steps: two start at once, and total follows both.
//
//	left ─┐
//	      ├─ total ─┬─ mail
//	right ┘         └─ index
type night struct {
	mu    sync.Mutex
	calls []string
	keys  map[string]map[string]bool // by step
	last  map[string]int             // the results of the run before, by step that asked
	fails map[string]int             // how often a step is still to fail
	on    func(step string)          // called in each step
}

func (n *night) call(ctx context.Context, step string) error {
	n.mu.Lock()
	n.calls = append(n.calls, step)
	if n.keys[step] == nil {
		n.keys[step] = map[string]bool{}
	}
	n.keys[step][workflow.Key(ctx)] = true
	n.fails[step]--
	failed, on := n.fails[step] >= 0, n.on
	n.mu.Unlock()
	if on != nil {
		on(step)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed {
		return errors.New("out of paper")
	}
	return nil
}

func newNight() *night {
	return &night{keys: map[string]map[string]bool{}, fails: map[string]int{}, last: map[string]int{}}
}

func (n *night) define() *workflow.Definition[int] {
	return workflow.Define("night", func(w *workflow.Workflow, base int) {
		left := workflow.Step(w, "left", func(ctx context.Context) (int, error) { return base, n.call(ctx, "left") })
		right := workflow.Step(w, "right", func(ctx context.Context) ([]int, error) { return []int{base, 2}, n.call(ctx, "right") })
		total := workflow.Step(w, "total", func(ctx context.Context) (int, error) {
			if v, ok := left.Last(ctx); ok {
				n.last["left"] = v
			}
			sum := left.Value(ctx)
			for _, x := range right.Value(ctx) {
				sum += x
			}
			return sum, n.call(ctx, "total")
		}, workflow.After(left, right), workflow.Retry(3))
		workflow.Step(w, "mail", func(ctx context.Context) (string, error) {
			return fmt.Sprint(total.Value(ctx), left.Value(ctx)), n.call(ctx, "mail")
		}, workflow.After(total))
		workflow.Step(w, "index", func(ctx context.Context) (workflow.None, error) { return workflow.None{}, n.call(ctx, "index") }, workflow.After(total))
	})
}

// count returns how often each step was called since the last count.
func (n *night) count() string {
	counts := map[string]int{}
	for _, c := range n.calls {
		counts[c]++
	}
	n.calls = nil
	var out []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprint(k, counts[k]))
	}
	return strings.Join(out, " ")
}

// TestRun runs a workflow twice, with failures, and once with other parameters.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := newNight(), workflow.Config{Dir: t.TempDir()}
		d := n.define()
		n.fails["total"], n.fails["mail"] = 2, 1
		begun := time.Now()
		err := d.Run(t.Context(), c, 1)
		var failed *workflow.StepError
		if !errors.As(err, &failed) || failed.Step != "mail" || !strings.Contains(err.Error(), "workflow night: step mail: out of paper") {
			t.Fatalf("%v, want an error of mail", err)
		}
		if got, want := n.count(), "index1 left1 mail1 right1 total3"; got != want {
			t.Errorf("steps %s, want %s", got, want)
		}
		if took := time.Since(begun); took < time.Second || took > 10*time.Second {
			t.Errorf("two pauses took %v", took)
		}
		if err := d.Run(t.Context(), c, 1); err != nil || n.count() != "mail1" {
			t.Errorf("%v; only the failed step should run again", err)
		}
		if err := d.Run(t.Context(), c, 7); err != nil || n.count() != "index1 left1 mail1 right1 total1" || n.last["left"] != 1 {
			t.Errorf("other parameters: %v, last %v", err, n.last)
		}
		if err := d.Run(t.Context(), c, 1); err != nil || n.count() != "index1 left1 mail1 right1 total1" || n.last["left"] != 7 {
			t.Errorf("a new run: %v, last %v", err, n.last)
		}
		if len(n.keys["total"]) != 3 || len(n.keys["mail"]) != 3 {
			t.Errorf("keys %v, want one for each of three runs", n.keys)
		}
		if left, _ := filepath.Glob(c.Dir + "/night/runs/*"); len(left) != 0 {
			t.Errorf("left after the run: %v", left)
		}
	})
}

// TestCancelled ends a run in each step, and continues it.
func TestCancelled(t *testing.T) {
	for _, at := range []string{"left", "right", "total", "mail", "index"} {
		synctest.Test(t, func(t *testing.T) {
			n, c := newNight(), workflow.Config{Dir: t.TempDir(), Parallel: 1}
			d := n.define()
			stop := errors.New("the lights went out")
			ctx, cancel := context.WithCancelCause(t.Context())
			n.on = func(step string) {
				if step == at {
					cancel(stop)
				}
			}
			if err := d.Run(ctx, c, 1); !errors.Is(err, stop) {
				t.Errorf("%s: %v", at, err)
			}
			n.on = nil
			if err := d.Run(t.Context(), c, 1); err != nil {
				t.Errorf("%s: %v", at, err)
			}
			want := map[string]int{"left": 1, "right": 1, "total": 1, "mail": 1, "index": 1}
			want[at]++
			got := map[string]int{}
			for _, call := range n.calls {
				got[call]++
			}
			if !maps.Equal(got, want) {
				t.Errorf("cancelled in %s: calls %v, want %v", at, got, want)
			}
		})
	}
}

// TestKilledAtTheEnd starts a run after one whose process was killed after the last step, once
// before and once after its results became the last ones, and after one whose directory was half
// removed.
func TestKilledAtTheEnd(t *testing.T) {
	n, c := newNight(), workflow.Config{Dir: t.TempDir()}
	d := n.define()
	n.fails["mail"] = 1
	if err := d.Run(t.Context(), c, 1); err == nil {
		t.Fatal("no error")
	}
	runs, _ := filepath.Glob(c.Dir + "/night/runs/*")
	if len(runs) != 1 {
		t.Fatal(runs)
	}
	if err := os.MkdirAll(runs[0]+"/steps/mail", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := state.WriteFile(runs[0]+"/steps/mail/result", []byte("\"4 1\"\n")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.Dir+"/night/runs/0123.ended/x", 0o700); err != nil {
		t.Fatal(err)
	}
	complete := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(complete, os.DirFS(runs[0])); err != nil {
		t.Fatal(err)
	}
	n.count()
	if err := d.Run(t.Context(), c, 5); err != nil || n.last["left"] == 1 {
		t.Errorf("%v; the other run has not ended", err)
	}
	n.count()
	if err := d.Run(t.Context(), c, 1); err != nil || n.count() != "index1 left1 mail1 right1 total1" || n.last["left"] != 1 {
		t.Errorf("%v; the run of before ends, and a new one starts; last %v", err, n.last)
	}
	// The results are the last ones, and the directory of the run is still there.
	if err := os.CopyFS(runs[0], os.DirFS(complete)); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), c, 1); err != nil || n.count() != "index1 left1 mail1 right1 total1" || n.last["left"] != 1 {
		t.Errorf("%v; the run of before ends once more, and a new one starts; last %v", err, n.last)
	}
	if left, _ := filepath.Glob(c.Dir + "/night/runs/*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDamagedResult runs a step again whose result is damaged, and those after it.
func TestDamagedResult(t *testing.T) {
	n, c := newNight(), workflow.Config{Dir: t.TempDir()}
	d := n.define()
	n.fails["mail"] = 1
	if err := d.Run(t.Context(), c, 1); err == nil {
		t.Fatal("no error")
	}
	n.count()
	results, _ := filepath.Glob(c.Dir + "/night/runs/*/steps/total/*")
	if len(results) == 0 {
		t.Fatal("no result")
	}
	for _, path := range results {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Run(t.Context(), c, 1); err != nil || n.count() != "index1 mail1 total1" {
		t.Errorf("%v, %v", err, n.calls)
	}
}

// TestRefused checks the errors of wrong workflows, and of results that cannot be stored.
func TestRefused(t *testing.T) {
	ok := func(context.Context) (int, error) { return 1, nil }
	dir := t.TempDir()
	run := func(build func(w *workflow.Workflow, _ int)) error {
		return workflow.Define("w", build).Run(t.Context(), workflow.Config{Dir: dir}, 0)
	}
	var outside *workflow.Result[int]
	for want, err := range map[string]error{
		`workflow "a/b": its name must be of the form`: workflow.Define("a/b", func(*workflow.Workflow, int) {}).Run(t.Context(), workflow.Config{Dir: dir}, 0),
		`workflow w has no steps`:                      run(func(*workflow.Workflow, int) {}),
		`Config.Dir is empty`:                          workflow.Define("w", func(w *workflow.Workflow, _ int) { workflow.Step(w, "a", ok) }).Run(t.Context(), workflow.Config{}, 0),
		`step a: there are two steps of this name`:     run(func(w *workflow.Workflow, _ int) { workflow.Step(w, "a", ok); workflow.Step(w, "a", ok) }),
		`step "a b": the name must be`:                 run(func(w *workflow.Workflow, _ int) { workflow.Step(w, "a b", ok) }),
		`step b: its function is nil`:                  run(func(w *workflow.Workflow, _ int) { workflow.Step[int](w, "b", nil) }),
		`step c: Retry(0): a step needs`:               run(func(w *workflow.Workflow, _ int) { workflow.Step(w, "c", ok, workflow.Retry(0)) }),
		`step c: Timeout(-1ns)`:                        run(func(w *workflow.Workflow, _ int) { workflow.Step(w, "c", ok, workflow.Timeout(-1)) }),
		`step d: After names a step that does not`:     run(func(w *workflow.Workflow, _ int) { workflow.Step(w, "d", ok, workflow.After(outside)) }),
		`step e: its result *workflow_test.hidden is another one after JSON`: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "e", func(context.Context) (*hidden, error) { return &hidden{1}, nil })
		}),
		`step k: its function ended its goroutine`: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "k", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		}),
		`step l: [: syntax error in pattern`: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "l", func(ctx context.Context) (workflow.Files, error) {
				return workflow.WaitForFiles(ctx, mapreduce.Local{}, nil, "/tmp/[")
			})
		}),
		`step f: its result cannot be stored as JSON`: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "f", func(context.Context) (chan int, error) { return make(chan int), nil })
		}),
		`step h: panic: workflow: the result of step g is needed where it may not exist`: run(func(w *workflow.Workflow, _ int) {
			g := workflow.Step(w, "g", ok)
			workflow.Step(w, "h", func(ctx context.Context) (int, error) { return g.Value(ctx), nil })
		}),
		`step i: the attempt took longer than 1ns: `: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "i", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, workflow.Timeout(1))
		}),
		`another process runs this workflow`: run(func(w *workflow.Workflow, _ int) {
			workflow.Step(w, "j", func(context.Context) (int, error) {
				return 0, workflow.Define("w", func(w *workflow.Workflow, _ int) { workflow.Step(w, "a", ok) }).Run(t.Context(), workflow.Config{Dir: dir}, 1)
			})
		}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

type hidden struct{ n int }

// TestOtherType runs a step again whose result has another type in the new program, and takes names
// of other files.
func TestOtherType(t *testing.T) {
	c := workflow.Config{Dir: t.TempDir() + "/a[b"}
	fail := errors.New("not today")
	type before struct {
		Rows int
		Made time.Time
	}
	type after struct{ Count int }
	err := workflow.Define("w", func(w *workflow.Workflow, _ int) {
		a := workflow.Step(w, "a", func(context.Context) (before, error) { return before{7, time.Now()}, nil })
		b := workflow.Step(w, "a.copy", func(context.Context) (int, error) { return 2, nil })
		workflow.Step(w, "b", func(context.Context) (int, error) { return 0, fail }, workflow.After(a, b))
	}).Run(t.Context(), c, 0)
	if !errors.Is(err, fail) {
		t.Fatal(err)
	}
	calls, sum := 0, 0
	err = workflow.Define("w", func(w *workflow.Workflow, _ int) {
		a := workflow.Step(w, "a", func(context.Context) (after, error) { calls++; return after{40}, nil })
		b := workflow.Step(w, "a.copy", func(context.Context) (int, error) { calls += 100; return 0, nil })
		workflow.Step(w, "b", func(ctx context.Context) (int, error) { sum = a.Value(ctx).Count + b.Value(ctx); return sum, nil }, workflow.After(a, b))
	}).Run(t.Context(), c, 0)
	if err != nil || calls != 1 || sum != 42 {
		t.Errorf("%v, %d calls, sum %d", err, calls, sum)
	}
}

// TestWaitForFiles waits for a file that is still written, and for a change.
func TestWaitForFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders.csv")
		begun := time.Now()
		go func() {
			for _, text := range []string{"a", "ab", "abc"} {
				time.Sleep(4 * time.Second)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
		}()
		found, err := workflow.WaitForFiles(t.Context(), mapreduce.Local{}, nil, path)
		if err != nil || len(found) != 1 || found[0].Size != 3 || time.Since(begun) < 12*time.Second {
			t.Fatalf("%v, %v after %v", found, err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := workflow.WaitForFiles(ctx, mapreduce.Local{}, found, path); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: the files are those of before", err)
		}
		if err := os.WriteFile(path, []byte("abcd"), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := workflow.WaitForFiles(t.Context(), mapreduce.Local{}, found, path)
		if err != nil || len(again.Changed(found)) != 1 || again.Paths()[0] != path {
			t.Errorf("%v, %v", again, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := workflow.WaitForFiles(ctx, mapreduce.Local{}, nil, path+".gz"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "orders.csv.gz") {
			t.Errorf("%v; want a reason", err)
		}
	})
}

// TestDraw draws the steps of a run, one of which has failed.
func TestDraw(t *testing.T) {
	n, dir := newNight(), t.TempDir()
	d := n.define()
	n.fails["mail"] = 1
	if err := d.Run(t.Context(), workflow.Config{Dir: dir}, 1); err == nil {
		t.Fatal("no error")
	}
	for path, boxes := range map[string]int{"": 0, dir: 4} {
		svg, err := d.Draw(path, 1)
		if err != nil || strings.Count(string(svg), "<rect") != 5 || strings.Count(string(svg), `class="done"`) != boxes || strings.Count(string(svg), "marker-end") != 4 {
			t.Errorf("%v: %s", err, svg)
		}
	}
	if name := os.Getenv("WORKFLOW_PICTURE"); name != "" {
		svg, _ := d.Draw(dir, 1)
		if err := os.WriteFile(name, svg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDirectoryRefused checks the error for a directory that cannot be made.
func TestDirectoryRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := newNight().define().Run(t.Context(), workflow.Config{Dir: file}, 1)
	if want := "workflow night: the directory " + file + "/night for the results of steps cannot be made: not a directory; name one"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestLastRunIsOneFile checks that the results of the last run are replaced together.
func TestLastRunIsOneFile(t *testing.T) {
	n, c := newNight(), workflow.Config{Dir: t.TempDir()}
	d := n.define()
	if err := d.Run(t.Context(), c, 7); err != nil {
		t.Fatal(err)
	}
	text, err := state.ReadFile(c.Dir + "/night/last-run")
	var results map[string]any
	if err == nil {
		err = json.Unmarshal(text, &results)
	}
	if err != nil || len(results) != 5 {
		t.Errorf("%v: results of %d steps, want 5", err, len(results))
	}
}
