package attempt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// memOutput is an output in memory.
type memOutput struct {
	blocks            []string
	sealed, discarded bool
}

func (o *memOutput) Append(port, run, part int, block []byte, _ int, _ []byte) error {
	o.blocks = append(o.blocks, fmt.Sprintf("%d.%d.%d:%s", port, run, part, block))
	return nil
}

func (o *memOutput) Seal(_ context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error) {
	o.sealed = true
	return &job.Manifest{Counters: counters, Sink: sink}, nil
}

func (o *memOutput) Discard() { o.discarded = !o.sealed }

func config(t *testing.T, stage func(ctx context.Context, r *job.Run) error) (Config, *memOutput) {
	out := new(memOutput)
	return Config{
		Launch:  job.Launch{Attempt: job.Attempt{Job: "j", N: 1}},
		Stage:   job.Stage{Name: "s", Tasks: 1},
		Program: &job.Program{Stages: []func(context.Context, *job.Run) error{stage}},
		Output:  out, Dir: t.TempDir(), Memory: 1 << 20,
	}, out
}

func TestRun(t *testing.T) {
	cfg, out := config(t, func(_ context.Context, r *job.Run) error {
		r.Counters["lines"] = 3
		r.Sink = [][]byte{[]byte("part")}
		return r.Output.Append(0, 0, r.Tasks, []byte(r.Split.Label), 1, nil)
	})
	cfg.Launch.Split = &job.Split{Label: "a.txt"}
	m, busy, err := Run(t.Context(), cfg)
	if err != nil || m.Counters["lines"] != 3 || string(m.Sink[0]) != "part" {
		t.Errorf("manifest %+v, %v", m, err)
	}
	<-busy
	if len(out.blocks) != 1 || out.blocks[0] != "0.0.1:a.txt" || !out.sealed || out.discarded {
		t.Errorf("output %+v", out)
	}
}

func explode(depth int, m map[string]int) {
	if depth == 0 {
		m["x"] = 1 // nil
		return
	}
	explode(depth-1, m)
}

func TestFailures(t *testing.T) {
	lost := &job.Failure{Kind: job.InputLost, Message: "gone", Lost: []job.Attempt{{Job: "j", N: 7}}}
	for _, c := range []struct {
		name    string
		stage   func(context.Context, *job.Run) error
		kind    job.Kind
		message string
		detail  string
	}{
		{"error", func(context.Context, *job.Run) error { return errors.New("bad price") }, job.Transient, "bad price", ""},
		{"fatal", func(context.Context, *job.Run) error {
			return fmt.Errorf("a.csv: %w", &job.Failure{Kind: job.Fatal, Message: "no header"})
		}, job.Fatal, "a.csv: no header", ""},
		{"lost", func(context.Context, *job.Run) error { return fmt.Errorf("merge: %w", lost) }, job.InputLost, "merge: gone", ""},
		{"panic", func(context.Context, *job.Run) error { panic("kaboom") }, job.Transient, "panic: kaboom", "attempt_test.go"},
		{"panic of the runtime", func(context.Context, *job.Run) error { explode(2, nil); return nil }, job.Transient, "panic: assignment to entry in nil map", "attempt.explode("},
		{"panic with a failure", func(context.Context, *job.Run) error { panic(lost) }, job.InputLost, "gone", ""},
		{"goexit", func(context.Context, *job.Run) error { runtime.Goexit(); return nil }, job.Transient, "ended its goroutine", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, out := config(t, c.stage)
			_, busy, err := Run(t.Context(), cfg)
			<-busy
			var f *job.Failure
			if !errors.As(err, &f) {
				t.Fatalf("%v is no failure", err)
			}
			if f.Kind != c.kind || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("failure %v %q\n%s", f.Kind, f.Message, f.Detail)
			}
			if c.kind == job.InputLost && (len(f.Lost) != 1 || f.Lost[0].N != 7) {
				t.Errorf("lost %v, want attempt 7", f.Lost)
			}
			if c.detail != "" && (strings.Contains(f.Detail, "internal/call.") || strings.Contains(f.Detail, "runtime/") || strings.HasPrefix(f.Detail, "goroutine")) {
				t.Errorf("stack has frames that are not the user's:\n%s", f.Detail)
			}
			if out.sealed || !out.discarded {
				t.Error("output was not discarded")
			}
		})
	}
}

func TestWrongLaunch(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"stage":     func(c *Config) { c.Launch.Attempt.Task.Stage = 1 },
		"producers": func(c *Config) { c.Launch.Producers = make([][]job.Producer, 1) },
		"task": func(c *Config) {
			c.Launch.Attempt.Task.Index = 1
			c.Stage.Inputs = []job.Edge{{Mode: job.Range}}
			c.Launch.Producers = make([][]job.Producer, 1)
		},
		"mode": func(c *Config) { c.Stage.Inputs = []job.Edge{{Mode: 9}}; c.Launch.Producers = [][]job.Producer{{{}}} },
	} {
		cfg, _ := config(t, func(context.Context, *job.Run) error { return nil })
		change(&cfg)
		var f *job.Failure
		if _, _, err := Run(t.Context(), cfg); !errors.As(err, &f) || f.Kind != job.Fatal {
			t.Errorf("%s: %v, want a fatal failure", name, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, out := config(t, func(ctx context.Context, _ *job.Run) error { <-ctx.Done(); return ctx.Err() })
		cfg.Launch.Timeout = time.Hour
		start := time.Now()
		_, _, err := Run(t.Context(), cfg)
		var f *job.Failure
		if !errors.As(err, &f) || f.Kind != job.Transient || !strings.Contains(f.Message, "1h0m0s") || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !out.discarded {
			t.Error("output was not discarded")
		}
	})
}

func TestCancel(t *testing.T) {
	for _, cause := range []error{errors.New("asked to stop"), &job.Failure{Kind: job.WorkerLost, Message: "asked to stop"}} {
		cfg, _ := config(t, func(ctx context.Context, _ *job.Run) error { <-ctx.Done(); return nil })
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, _, err := Run(ctx, cfg)
		var f, w *job.Failure
		want := job.Cancelled
		if errors.As(cause, &w) {
			want = w.Kind
		}
		if !errors.As(err, &f) || f.Kind != want || f.Message != "asked to stop" {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// Code that ignores its context is abandoned, and its later actions have no effect.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var scratch job.Scratch
		cfg, out := config(t, func(_ context.Context, r *job.Run) error {
			scratch = r.Temp()
			if _, err := scratch.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			<-stuck
			return nil
		})
		cfg.Launch.Timeout = time.Minute
		cfg.Grace = 5 * time.Second
		start := time.Now()
		_, busy, err := Run(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "is abandoned and runs on") || time.Since(start) != 65*time.Second {
			t.Errorf("%v after %v, want it abandoned after 65s", err, time.Since(start))
		}
		select {
		case <-busy:
			t.Error("busy is closed while user code runs")
		default:
		}
		close(stuck)
		<-busy
		if out.sealed || !out.discarded {
			t.Error("the late output was not discarded")
		}
		if files, _ := os.ReadDir(cfg.Dir); len(files) != 0 {
			t.Errorf("%d scratch files are left", len(files))
		}
	})
}

func TestScratch(t *testing.T) {
	full := errors.New("disk full")
	var left string
	cfg, _ := config(t, func(_ context.Context, r *job.Run) error {
		a, b := r.Temp(), r.Temp()
		if _, err := a.Write([]byte("hello")); err != nil {
			return err
		}
		if _, err := a.Write([]byte(" world")); err != nil {
			return err
		}
		got := make([]byte, 5)
		if _, err := a.ReadAt(got, 6); err != nil || string(got) != "world" {
			t.Errorf("ReadAt: %q, %v", got, err)
		}
		if _, err := b.Write(make([]byte, 1000)); !errors.Is(err, full) {
			t.Errorf("Write past the reserve: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Write(nil); err == nil {
			t.Error("Write after Close succeeds")
		}
		c := r.Temp()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		files, _ := filepath.Glob(filepath.Join(left, "*"))
		if len(files) != 1 {
			t.Errorf("files %v, want that of a alone", files)
		}
		return nil
	})
	left, cfg.Progress = cfg.Dir, new(job.Progress)
	cfg.Check = func(need int64) error {
		if need > 100 {
			return full
		}
		return nil
	}
	if _, _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(cfg.Dir); len(files) != 0 {
		t.Errorf("%d scratch files are left", len(files))
	}
	if n := cfg.Progress.Spilled.Load(); n != 12 {
		t.Errorf("%d bytes counted as spilled, want 12", n)
	}
}
