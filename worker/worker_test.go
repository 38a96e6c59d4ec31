package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// reported is what a Reporter received.
type reported struct {
	worker  string
	attempt job.Attempt
	m       *job.Manifest
	f       *job.Failure
}

type reports chan reported

func (r reports) Done(worker string, m *job.Manifest) { r <- reported{worker, m.Attempt, m, nil} }
func (r reports) Failed(worker string, a job.Attempt, f job.Failure) {
	r <- reported{worker, a, nil, &f}
}

type stage = func(ctx context.Context, r *job.Run) error

// numbers writes 1000 numbers to each of two partitions in blocks of 10, with size bytes of noise
// each.
func numbers(size int) stage {
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	return func(_ context.Context, r *job.Run) error {
		for part := range 2 {
			for i := range 100 {
				var b []byte
				for range 10 {
					b = binary.LittleEndian.AppendUint64(b, uint64(r.Attempt.Task.Index+i))
				}
				b = append(b, noise...)
				if err := r.Output.Append(0, 0, part, b, 10, nil); err != nil {
					return err
				}
				r.Progress.Records.Add(10)
				r.Counters["numbers"] += 10
			}
		}
		return nil
	}
}

// sum adds up all numbers of its input into the counter "sum".
func sum(_ context.Context, r *job.Run) error {
	for _, run := range r.Inputs[0] {
		for {
			b, err := run.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			for i := range 10 {
				r.Counters["sum"] += int64(binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
	}
	return r.Output.Append(0, 0, 0, fmt.Appendf(nil, "%d", r.Counters["sum"]), 1, nil)
}

// config returns a worker of two slots with jobs of any ID that have two tasks of each stage.
func config(dir string, stages ...stage) (Config, reports) {
	received := make(reports, 100)
	return Config{
		Name: "w1", Dir: dir, Slots: 2, Memory: 1 << 20, Reserve: -1,
		Spec: func(id job.ID) (*job.Spec, error) {
			spec := &job.Spec{ID: id}
			for i := range stages {
				s := job.Stage{Name: fmt.Sprint("stage ", i), Tasks: 2}
				if i > 0 {
					s.Inputs = []job.Edge{{From: i - 1}}
				}
				spec.Stages = append(spec.Stages, s)
			}
			return spec, nil
		},
		Program:  func(job.ID, int) (*job.Program, error) { return &job.Program{Stages: stages}, nil },
		Reporter: received,
	}, received
}

// start runs a worker until the test ends or stop is called.
func start(t *testing.T, cfg Config) (w *Worker, stop func()) {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, w.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return w, stop
}

func launch(stage, index, n int, producers ...job.Producer) job.Launch {
	l := job.Launch{Attempt: job.Attempt{Job: "j", Task: job.Task{Stage: stage, Index: index}, N: n}}
	if stage > 0 {
		l.Producers = [][]job.Producer{producers}
	}
	return l
}

func done(t *testing.T, received reports) reported {
	t.Helper()
	r := <-received
	if r.f != nil {
		t.Fatalf("%s failed: %v\n%s", r.attempt, r.f, r.f.Detail)
	}
	return r
}

func failed(t *testing.T, received reports, kind job.Kind) reported {
	t.Helper()
	r := <-received
	if r.f == nil || r.f.Kind != kind {
		t.Fatalf("%s: %+v, want a failure of kind %v", r.attempt, r.f, kind)
	}
	return r
}

// Two workers in one process: the second reads what the first made.
func TestTwoWorkers(t *testing.T) {
	workers := make(map[string]*Worker)
	var received [2]reports
	for i := range received {
		cfg, h := config(t.TempDir(), numbers(i*10000), sum)
		cfg.Name = fmt.Sprint("w", i)
		cfg.Peer = func(name string) Outputs {
			if w := workers[name]; w != nil {
				return w.Outputs()
			}
			return nil
		}
		received[i] = h
		workers[cfg.Name], _ = start(t, cfg)
	}
	var producers []job.Producer
	for i := range 2 {
		workers[fmt.Sprint("w", i)].Launch(launch(0, i, 1))
		r := done(t, received[i])
		if r.m.Counters["numbers"] != 2000 || r.worker != fmt.Sprint("w", i) {
			t.Errorf("report %+v, counters %v", r, r.m.Counters)
		}
		producers = append(producers, job.Producer{Attempt: r.attempt, Worker: r.worker})
	}
	w := workers["w0"]
	w.Launch(launch(1, 1, 1, producers...))
	want := int64(10*(99*100/2) + 10*(99*100/2+100))
	r := done(t, received[0])
	if r.m.Counters["sum"] != want {
		t.Errorf("sum = %d, want %d", r.m.Counters["sum"], want)
	}
	for _, w := range workers { // gathering works from each of them
		runs, err := w.Open(job.Producer{Attempt: r.attempt, Worker: "w0"}, 0)
		if err != nil || len(runs) != 1 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		if b, err := runs[0].Next(); err != nil || string(b) != fmt.Sprint(want) {
			t.Errorf("gathered %q, %v; want %d", b, err, want)
		}
		_ = runs[0].Close()
	}

	producers[0].Worker = "w9"
	w.Launch(launch(1, 0, 1, producers...))
	if f := failed(t, received[0], job.InputLost); len(f.f.Lost) != 1 || f.f.Lost[0] != producers[0].Attempt {
		t.Errorf("lost %v, want %v", f.f.Lost, producers[0].Attempt)
	}
	producers[0].Worker = "w0"
	w.Drop(producers[0].Attempt)
	w.Launch(launch(1, 0, 2, producers...))
	for r := range received[0] { // the drop is not waited for
		if r.f != nil {
			if r.f.Kind != job.InputLost || r.f.Lost[0] != producers[0].Attempt {
				t.Errorf("failure %+v", r.f)
			}
			break
		}
		if r.attempt.N > 100 {
			t.Fatal("output is still there")
		}
		w.Launch(launch(1, 0, r.attempt.N+1, producers...))
	}
}

func TestCorruptBlock(t *testing.T) {
	dir := t.TempDir()
	cfg, received := config(dir, numbers(10000), sum)
	w, _ := start(t, cfg)
	w.Launch(launch(0, 0, 1))
	m := done(t, received).m
	e := m.Extents[1]
	f, err := os.OpenFile(filepath.Join(dir, "jobs", "j", m.Segment), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1, 2, 3, 4}, e.Offset+e.Bytes/2); err != nil {
		t.Fatal(err)
	}
	for index := range 2 {
		w.Launch(launch(1, index, 1, job.Producer{Attempt: m.Attempt, Worker: "w1"}))
		if index == 0 {
			done(t, received)
		} else if f := failed(t, received, job.InputLost).f; len(f.Lost) != 1 || f.Lost[0] != m.Attempt {
			t.Errorf("lost %v, want %v", f.Lost, m.Attempt)
		}
	}
}

func TestPanicLeavesTheWorkerAlive(t *testing.T) {
	cfg, received := config(t.TempDir(), func(_ context.Context, r *job.Run) error {
		if r.Attempt.N == 1 {
			panic(fmt.Sprint("bad luck on ", r.Attempt))
		}
		return nil
	})
	w, _ := start(t, cfg)
	w.Launch(launch(0, 1, 1))
	if f := failed(t, received, job.Transient).f; f.Message != "panic: bad luck on 0/1#1" || !strings.Contains(f.Detail, "worker_test.go") {
		t.Errorf("failure %q\n%s", f.Message, f.Detail)
	}
	w.Launch(launch(0, 1, 2))
	done(t, received)
	if held := w.SealedAttempts("j"); len(held) != 1 || held[0].N != 2 {
		t.Errorf("held %v, want 0/1#2", held)
	}
}

func TestBadLaunches(t *testing.T) {
	cfg, received := config(t.TempDir(), numbers(0))
	cfg.Spec = func(id job.ID) (*job.Spec, error) {
		if id == "unknown" {
			return nil, errors.New("never received of it")
		}
		return &job.Spec{Stages: make([]job.Stage, 2)}, nil
	}
	cfg.Program = func(id job.ID, _ int) (*job.Program, error) {
		if id == "broken" {
			return nil, &job.Failure{Kind: job.Fatal, Message: "does not compile"}
		}
		if id == "panics" {
			panic("cannot be built")
		}
		return &job.Program{}, nil
	}
	w, _ := start(t, cfg)
	for _, c := range []struct {
		id    job.ID
		stage int
		kind  job.Kind
		want  string
	}{
		{"unknown", 0, job.Transient, "never received of it"},
		{"broken", 0, job.Fatal, "does not compile"},
		{"panics", 0, job.Transient, "cannot be built"},
		{"j", 0, job.Fatal, "no stage 0"},
		{"j", 5, job.Fatal, "no stage 5"},
		{"../j", 1, job.Transient, "job ID"},
	} {
		w.Launch(job.Launch{Attempt: job.Attempt{Job: c.id, Task: job.Task{Stage: c.stage}, N: 1}})
		if f := failed(t, received, c.kind).f; !strings.Contains(f.Message, c.want) {
			t.Errorf("job %q stage %d: %v, want %q", c.id, c.stage, f, c.want)
		}
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	cfg, received := config(dir, numbers(10000), sum)
	w, stop := start(t, cfg)
	w.Launch(launch(0, 0, 1))
	first := done(t, received)
	stop()
	// What a killed process leaves behind.
	for _, path := range []string{"jobs/j/0-1-1.seg", "scratch/spill-7"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte("rest"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w, _ = start(t, cfg)
	if held := w.SealedAttempts("j"); len(held) != 1 || held[0] != first.attempt {
		t.Fatalf("held %v, want %v", held, first.attempt)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "0-1-1.seg")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "scratch")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	w.Launch(launch(0, 0, 1)) // a coordinator that does not know of it
	if again := done(t, received); again.m.Sum != first.m.Sum || again.m.Counters["numbers"] != 2000 {
		t.Errorf("re-reported manifest %+v, want %+v", again.m, first.m)
	}
	w.Launch(launch(1, 0, 1, job.Producer{Attempt: first.attempt, Worker: "w1"}))
	if r := done(t, received); r.m.Counters["sum"] != 10*99*100/2 {
		t.Errorf("sum after restart = %d", r.m.Counters["sum"])
	}
}

func TestOneWorkerPerDirectory(t *testing.T) {
	cfg, _ := config(t.TempDir(), numbers(0))
	start(t, cfg)
	if w, err := New(cfg); err == nil {
		_ = w.Close()
		t.Error("a second worker opened the same directory")
	}
}

func TestConfig(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Name = "" },
		func(c *Config) { c.Dir = "" },
		func(c *Config) { c.Program = nil },
		func(c *Config) { c.Slots = -1 },
	} {
		cfg, _ := config(t.TempDir(), numbers(0))
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) succeeds", cfg)
		}
	}
}

// wait is a stage that ends when its context does, or release is closed.
func wait(release <-chan struct{}) stage {
	return func(ctx context.Context, r *job.Run) error {
		r.Progress.Bytes.Add(5)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-release:
			return nil
		}
	}
}

func TestCancelAndProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, received := config(t.TempDir(), wait(nil))
		w, stop := start(t, cfg)
		defer stop()
		for i := range 3 {
			w.Launch(launch(0, i, 1))
			w.Launch(launch(0, i, 1)) // twice is once
		}
		synctest.Wait()
		p := w.Progress()
		if len(p) != 3 || p[0].Bytes != 5 || p[0].Since.IsZero() || !p[2].Since.IsZero() || p[2].Attempt.Task.Index != 2 {
			t.Errorf("progress %+v, want two running and one waiting", p)
		}
		for _, i := range []int{2, 0, 1, 7} {
			w.Cancel(launch(0, i, 1).Attempt)
			if i < 7 {
				if r := failed(t, received, job.Cancelled); r.attempt.Task.Index != i {
					t.Errorf("%s was reported, want task %d", r.attempt, i)
				}
			}
		}
		synctest.Wait()
		if p := w.Progress(); len(p) != 0 || len(received) != 0 {
			t.Errorf("progress %+v and %d reports are left", p, len(received))
		}
	})
}

// TestTimeoutAndAbandonedCode checks that code that ignores its context does not keep its slot.
func TestTimeoutAndAbandonedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg, received := config(t.TempDir(), func(_ context.Context, r *job.Run) error {
			if r.Attempt.N == 1 {
				<-release // does not look at its context
			}
			return nil
		})
		cfg.Slots = 1
		w, stop := start(t, cfg)
		defer stop()
		l := launch(0, 0, 1)
		l.Timeout = time.Minute
		begin := time.Now()
		w.Launch(l)
		if f := failed(t, received, job.Transient).f; !strings.Contains(f.Message, "1m0s") || time.Since(begin) != 70*time.Second {
			t.Errorf("failure %v after %v", f, time.Since(begin))
		}
		w.Launch(launch(0, 0, 2))
		if r := done(t, received); r.attempt.N != 2 {
			t.Errorf("%s was reported, want attempt 2", r.attempt)
		}
		close(release)
		synctest.Wait()
		if held := w.SealedAttempts("j"); len(held) != 1 || held[0].N != 2 {
			t.Errorf("held %v, want attempt 2 alone", held)
		}
	})
}

func TestDrain(t *testing.T) {
	for _, drain := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			cfg, received := config(t.TempDir(), wait(release), wait(nil))
			cfg.Drain = drain
			w, stop := start(t, cfg)
			w.Launch(launch(0, 0, 1))
			w.Launch(launch(1, 0, 1))
			w.Launch(launch(1, 1, 1)) // waits for a slot
			w.Launch(launch(0, 1, 1)) // waits for a slot
			synctest.Wait()
			time.AfterFunc(30*time.Second, func() { close(release) })
			begin := time.Now()
			stop()
			if time.Since(begin) != drain {
				t.Errorf("stopped after %v, want %v", time.Since(begin), drain)
			}
			time.Sleep(time.Minute)
			close(received)
			good, bad := 0, 0
			for r := range received {
				if r.m != nil {
					good++
				} else if r.f.Kind == job.WorkerLost || r.f.Kind == job.Fatal { // stage 1 has no producers
					bad++
				} else {
					t.Errorf("%s: %+v", r.attempt, r.f)
				}
			}
			if want := int(min(drain, 1)); good != want || good+bad != 4 {
				t.Errorf("%d done and %d lost, want %d of 4 done", good, bad, want)
			}
			w.Launch(launch(0, 0, 9)) // is not received any more, and must not hang
		})
	}
}

func TestDropJob(t *testing.T) {
	dir := t.TempDir()
	built := 0
	cfg, received := config(dir, numbers(10000), wait(nil))
	stages := cfg.Program
	cfg.Slots = 1
	cfg.Program = func(id job.ID, slot int) (*job.Program, error) {
		built++
		return stages(id, slot)
	}
	w, _ := start(t, cfg)
	for round := range 2 {
		w.Launch(launch(0, 0, 1))
		m := done(t, received).m
		p := job.Producer{Attempt: m.Attempt, Worker: "w1"}
		w.Launch(launch(1, 0, 1, p, p))
		w.Launch(launch(1, 1, 1, p, p))
		if err := w.DropJob("j"); err != nil {
			t.Fatal(err)
		}
		failed(t, received, job.Cancelled)
		failed(t, received, job.Cancelled)
		if built != round+1 {
			t.Errorf("the program was built %d times, want once per job and slot", built)
		}
		if _, err := w.Manifest(p); err == nil || len(w.SealedAttempts("j")) > 0 {
			t.Errorf("output is still held (%v)", err)
		}
		if files, _ := os.ReadDir(filepath.Join(dir, "jobs")); len(files) > 0 {
			t.Errorf("files are left: %v", files)
		}
	}
}

func TestRunAgain(t *testing.T) {
	shift := int64(0)
	cfg, received := config(t.TempDir(), numbers(100), func(ctx context.Context, r *job.Run) error {
		r.Counters["sum"] = shift
		return sum(ctx, r)
	})
	w, _ := start(t, cfg)
	w.Launch(launch(0, 0, 1))
	m := done(t, received).m
	l := launch(1, 0, 1, job.Producer{Attempt: m.Attempt, Worker: "w1"})
	w.Launch(l)
	want := done(t, received).m
	for _, shift = range []int64{0, 1} {
		got, err := w.RunAgain(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if same := got.Sum == want.Sum; same != (shift == 0) || got.Counters["sum"] != want.Counters["sum"]+shift {
			t.Errorf("shift %d: sum %x, want it to equal %x: %v", shift, got.Sum, want.Sum, shift == 0)
		}
	}
	if held := w.SealedAttempts("j"); len(held) != 2 {
		t.Errorf("held %v, want the two outputs that were launched", held)
	}
	l.Attempt.Task.Stage = 9
	if _, err := w.RunAgain(t.Context(), l); err == nil {
		t.Error("RunAgain of stage 9 succeeds")
	}
}

func TestManyAttempts(t *testing.T) {
	cfg, received := config(t.TempDir(), numbers(10), sum)
	cfg.Slots = 8
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	w, _ := start(t, cfg)
	var producers []job.Producer
	for i := range 100 {
		w.Launch(launch(0, i, 1))
	}
	for range 100 {
		producers = append(producers, job.Producer{Attempt: done(t, received).attempt, Worker: "w1"})
	}
	slices.SortFunc(producers, func(a, b job.Producer) int { return a.Attempt.Task.Index - b.Attempt.Task.Index })
	w.Launch(launch(1, 1, 1, producers...))
	if r := done(t, received); r.m.Counters["sum"] != 100*10*99*100/2+1000*99*100/2 {
		t.Errorf("sum = %d", r.m.Counters["sum"])
	}
}
