package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// block never returns. Without cgo the runtime ends a process in which all goroutines wait and no
// timer runs.
func block() {
	for {
		time.Sleep(time.Hour)
	}
}

// The test binary is also the child: if TEST_CHILD is set, it selects a role instead of the tests.
func TestMain(m *testing.M) {
	switch mode, set := os.LookupEnv("TEST_CHILD"); {
	case !set:
		goleak.VerifyTestMain(m)
	case mode == "silent":
		block()
	case mode == "forgot":
		fmt.Fprintln(os.Stderr, "usage: program FILE")
		os.Exit(3)
	case mode == "worker":
		work()
	case mode == "intruder":
		intrude()
		fallthrough
	default:
		if err := child.Serve(os.Getenv(child.Env), programs); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// intrude connects to the worker without the token.
func intrude() {
	_, socket, _ := strings.Cut(os.Getenv(child.Env), "@")
	if c, err := net.Dial("unix", socket); err == nil {
		fmt.Fprint(c, strings.Repeat("x", 100))
	}
}

// work is a worker whose child loops endlessly. It prints the child's process ID.
func work() {
	r, err := New(Config{Dir: os.Getenv("TEST_DIR")})
	if err != nil {
		panic(err)
	}
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p, err := r.Program("j", 0, &job.Spec{ID: "j", Stages: make([]job.Stage, len(stages))}, path, []string{"TEST_CHILD=serve"})
	if err != nil {
		panic(err)
	}
	echo, out := newAttempt("echo", 0)
	if err := p.Stages[echo.Attempt.Task.Stage](context.Background(), echo); err != nil {
		panic(err)
	}
	loop, _ := newAttempt("loop", 0)
	go func() { panic(p.Stages[loop.Attempt.Task.Stage](context.Background(), loop)) }()
	for loop.Progress.Records.Load() == 0 {
		runtime.Gosched()
	}
	fmt.Println(out.blocks[0])
	block()
}

// programs has one stage for each tested behaviour of user code.
func programs(_ context.Context, spec *job.Spec, _ int) (*job.Program, error) {
	if spec.Name == "refused" {
		return nil, &job.Failure{Kind: job.Fatal, Message: "no such pipeline"}
	}
	p := &job.Program{Tolerates: spec.Name == "tolerant"}
	for _, s := range stages {
		p.Stages = append(p.Stages, s.run)
	}
	return p, nil
}

var stages = []struct {
	name string
	run  func(ctx context.Context, r *job.Run) error
}{
	{"echo", func(_ context.Context, r *job.Run) error {
		if r.Split != nil {
			return r.Output.Append(0, 0, 0, []byte(r.Split.Label), 1, nil)
		}
		return r.Output.Append(0, 0, 0, fmt.Append(nil, os.Getpid()), 1, nil)
	}},
	{"exit", func(context.Context, *job.Run) error { os.Exit(5); return nil }},
	{"write", func(_ context.Context, r *job.Run) error {
		fmt.Println("printed", r.Attempt)
		done := make(chan struct{})
		go func() { defer close(done); log.Printf("logged\nin two lines") }()
		<-done
		slog.Error("structured", "n", 1)
		return nil
	}},
	{"panic in a goroutine", func(_ context.Context, r *job.Run) error {
		r.Progress.Records.Add(42)
		time.Sleep(300 * time.Millisecond) // until the progress has reached the worker
		go func() { panic("boom") }()
		select {}
	}},
	// records dies at the record whose number is the split's label; 0 means after the last record.
	{"records", func(ctx context.Context, r *job.Run) error {
		deadly, _ := strconv.ParseInt(r.Split.Label, 10, 64)
		for n := int64(1); n <= 5; n++ {
			if r.Mark != nil {
				r.Mark(n, "a.txt", 10*n, 0)
			}
			if n == deadly {
				os.Exit(5)
			}
		}
		if r.Mark != nil {
			r.Mark(0, "", 0, 0)
		}
		if deadly == 0 {
			os.Exit(5)
		}
		return r.Output.Append(0, 0, 0, fmt.Append(nil, os.Getpid()), 1, nil)
	}},
	{"wait", func(ctx context.Context, r *job.Run) error {
		_ = r.Output.Append(0, 0, 0, []byte("waits"), 1, nil)
		r.Progress.Records.Add(1)
		<-ctx.Done()
		return context.Cause(ctx)
	}},
	{"loop", func(_ context.Context, r *job.Run) error {
		r.Progress.Records.Add(1)
		for {
			spin++
		}
	}},
	{"flood", func(context.Context, *job.Run) error {
		for i := range 50_000 {
			fmt.Println("line", i)
		}
		fmt.Fprintln(os.Stderr, "the last line")
		os.Exit(1)
		return nil
	}},
	{"memory", func(context.Context, *job.Run) error {
		kept = bytes.Repeat([]byte{1}, 20<<20)
		time.Sleep(5 * memoryEvery / 4)
		p, _ := os.FindProcess(os.Getpid())
		return p.Kill()
	}},
	{"offspring", func(_ context.Context, r *job.Run) error {
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return err
		}
		return r.Output.Append(0, 0, 0, fmt.Append(nil, cmd.Process.Pid), 1, nil)
	}},
	{"scratch", func(_ context.Context, r *job.Run) error {
		if _, err := r.Temp().Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		_ = os.WriteFile("litter", nil, 0o600)
		os.Exit(0)
		return nil
	}},
}

var (
	spin int
	kept []byte
)

// logged collects a log for inspection.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type memOutput struct {
	mu     sync.Mutex
	blocks []string
	wrote  chan struct{} // closed at the first block
}

func (o *memOutput) Append(_, _, _ int, block []byte, _ int, _ []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blocks = append(o.blocks, string(block)); len(o.blocks) == 1 {
		close(o.wrote)
	}
	return nil
}

// fixture is a runner and the job of the test.
type fixture struct {
	t   testing.TB
	r   *Runner
	dir string
	log *logged
}

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "runner"), log: new(logged)}
	cfg.Dir, cfg.Log = f.dir, slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if f.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(f.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", f.dir)
		}
	})
	return f
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func newAttempt(stage string, index int) (*job.Run, *memOutput) {
	out := &memOutput{wrote: make(chan struct{})}
	r := &job.Run{Attempt: job.Attempt{Job: "j", N: 1}, Tasks: 1, Output: out, Memory: 1 << 20, Counters: map[string]int64{}, Progress: new(job.Progress)}
	for i, s := range stages {
		if s.name == stage {
			r.Attempt.Task = job.Task{Stage: i, Index: index}
			return r, out
		}
	}
	panic(stage)
}

// run runs an attempt of one stage. Its task index is also its slot. mode is the child's
// TEST_CHILD.
func (f *fixture) run(ctx context.Context, mode string, r *job.Run) error {
	return f.runSpec(ctx, "j", mode, r)
}

func (f *fixture) runSpec(ctx context.Context, name, mode string, r *job.Run) error {
	f.t.Helper()
	spec := &job.Spec{ID: "j", Name: name, Stages: make([]job.Stage, len(stages))}
	p, err := f.r.Program("j", r.Attempt.Task.Index, spec, self(f.t), []string{"TEST_CHILD=" + mode})
	if err != nil {
		f.t.Fatal(err)
	}
	return p.Stages[r.Attempt.Task.Stage](ctx, r)
}

func failure(t testing.TB, err error, kind job.Kind, message string) *job.Failure {
	t.Helper()
	var f *job.Failure
	if !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Message, message) {
		t.Errorf("failure %v %v, want %v with %q", kindOf(f), err, kind, message)
		return &job.Failure{}
	}
	return f
}

// echo runs an attempt, which must succeed, and returns the child's process ID.
func (f *fixture) echo() string {
	f.t.Helper()
	r, out := newAttempt("echo", 0)
	if err := f.run(f.t.Context(), "serve", r); err != nil || len(out.blocks) != 1 {
		f.t.Fatalf("%q, %v", out.blocks, err)
	}
	return out.blocks[0]
}
