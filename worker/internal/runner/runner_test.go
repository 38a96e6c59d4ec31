package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

func TestOneChild(t *testing.T) {
	f := newFixture(t, Config{})
	first := f.echo()
	if again := f.echo(); again != first {
		t.Errorf("processes %s and %s for one job", first, again)
	}
	if n, bytes := f.r.Memory(); n != 1 || runtime.GOOS == "linux" && bytes < 1<<20 {
		t.Errorf("%d children hold %d bytes, want one that holds a program", n, bytes)
	}
	f.r.End("j")
	if n, bytes := f.r.Memory(); n != 0 || bytes != 0 {
		t.Errorf("%d children hold %d bytes after the end", n, bytes)
	}
	f.r.End("j")
	if entries, _ := os.ReadDir(f.dir); len(entries) != 0 {
		t.Errorf("%v are left after the end", entries)
	}
	if next := f.echo(); next == first {
		t.Error("the child outlived its job")
	}
}

func TestDeaths(t *testing.T) {
	for _, tt := range []struct {
		stage           string
		message, detail string
	}{
		{"exit", "its process ended with exit status 5; user code must not call os.Exit", ""},
		{"panic in a goroutine", "its process ended with exit status 2: panic: boom", "runner.init"},
		{"flood", "exit status 1", "line 49999\nthe last line\n"},
		{"memory", "its process was killed from outside (killed)", ""},
		{"scratch", "exit status 0", ""},
	} {
		t.Run(tt.stage, func(t *testing.T) {
			f := newFixture(t, Config{})
			first := f.echo()
			r, _ := newAttempt(tt.stage, 0)
			r.Split = &job.Split{Label: "a.txt[0:100]"}
			got := failure(t, f.run(t.Context(), "serve", r), job.Transient, tt.message)
			if !strings.Contains(got.Detail, tt.detail) || !strings.HasPrefix(got.Record, "a.txt[0:100], after ") {
				t.Errorf("failure %+v", got)
			}
			if tt.stage == "panic in a goroutine" && !strings.Contains(got.Record, "42 records") {
				t.Errorf("record %q", got.Record)
			}
			if d := got.Death; d == nil || d.Exit == "" || d.Peak == 0 || d.CPU == 0 || d.Limit == 0 || d.Memory == "yes" ||
				tt.stage == "panic in a goroutine" && (d.Records != 42 || d.Memory != "no") {
				t.Errorf("death %+v", d)
			}
			if entries, _ := os.ReadDir(f.dir); len(entries) != 0 {
				t.Errorf("%v are left", entries)
			}
			if f.echo() == first {
				t.Error("a dead child answered")
			}
		})
	}
}

// TestRecordAtHand checks that an attempt with Isolated has a process of its own. When the process
// dies, the failure names the record, even before any progress was reported. The failure is of kind
// poison only if the plan tolerates bad records.
func TestRecordAtHand(t *testing.T) {
	for spec, kind := range map[string]job.Kind{"strict": job.Transient, "tolerant": job.Poison} {
		f := newFixture(t, Config{})
		run := func(alone bool, deadly int) (*memOutput, error) {
			r, out := newAttempt("records", 0)
			r.Split, r.Isolated = &job.Split{Label: fmt.Sprint(deadly)}, alone
			return out, f.runSpec(t.Context(), spec, "serve", r)
		}
		if got := failure(t, second(run(false, 3)), kind, "its process ended"); !got.Crashed || got.Number != 0 {
			t.Errorf("%s, not alone: %+v", spec, got)
		}
		innocent, out := newAttempt("wait", 1)
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- f.runSpec(ctx, spec, "serve", innocent) }()
		<-out.flushed(innocent)
		if got := failure(t, second(run(true, 3)), kind, "its process ended with exit status 5"); !got.Crashed || got.Number != 3 || got.Record != "a.txt at byte 30" {
			t.Errorf("%s, alone: %+v", spec, got)
		}
		if got := failure(t, second(run(true, 0)), job.Transient, "its process ended"); !got.Crashed || got.Number != 0 {
			t.Errorf("%s, after the last record: %+v", spec, got)
		}
		one, err := run(true, 9)
		two, err2 := run(true, 9)
		if err != nil || err2 != nil || one.blocks[0] == two.blocks[0] || one.blocks[0] == f.echo() {
			t.Errorf("%s: attempts that are alone share a process, or failed: %v, %v", spec, err, err2)
		}
		cancel()
		failure(t, <-done, job.Transient, "context canceled") // it survived the other processes
		if entries, _ := filepath.Glob(filepath.Join(f.dir, "*")); len(entries) > 1 {
			t.Errorf("%v are left, want the directory of one process", entries)
		}
	}
}

func second(_ *memOutput, err error) error { return err }

// If several attempts end with a process and the crash names its attempt, only that attempt is
// blamed.
func TestBlame(t *testing.T) {
	f := newFixture(t, Config{})
	for _, tt := range []struct {
		stage string
		kind  job.Kind
	}{{"panic in a goroutine", job.WorkerLost}, {"exit", job.Transient}} {
		innocent, out := newAttempt("wait", 1)
		done := make(chan error)
		go func() { done <- f.run(context.Background(), "serve", innocent) }()
		<-out.flushed(innocent)
		guilty, _ := newAttempt(tt.stage, 0)
		failure(t, f.run(t.Context(), "serve", guilty), job.Transient, "its process ended")
		failure(t, <-done, tt.kind, "its process ended")
	}
}

// flushed returns a channel, closed when the attempt has reported progress.
func (o *memOutput) flushed(r *job.Run) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		for r.Progress.Records.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
	}()
	return c
}

func TestEndlessLoop(t *testing.T) {
	f := newFixture(t, Config{Grace: 10 * time.Millisecond})
	innocent, out := newAttempt("wait", 1)
	done := make(chan error)
	go func() { done <- f.run(context.Background(), "serve", innocent) }()
	<-out.flushed(innocent)
	loop, lout := newAttempt("loop", 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-lout.flushed(loop)
		cancel(errors.New("timed out"))
	}()
	got := failure(t, f.run(ctx, "serve", loop), job.Transient, "ignored the end of its context")
	if !strings.Contains(got.Detail, "runner.init") {
		t.Errorf("no stack of the loop in\n%s", got.Detail)
	}
	failure(t, <-done, job.WorkerLost, "because of attempt "+loop.Attempt.String())
	f.echo()
}

func TestCancel(t *testing.T) {
	f := newFixture(t, Config{})
	first := f.echo()
	r, out := newAttempt("wait", 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-out.flushed(r)
		cancel(errors.New("asked to stop"))
	}()
	failure(t, f.run(ctx, "serve", r), job.Transient, "asked to stop") // the worker sets the final kind
	if f.echo() != first {
		t.Error("a cancelled attempt cost the process")
	}
}

func TestFlood(t *testing.T) {
	f := newFixture(t, Config{StderrLimit: 1000})
	r, _ := newAttempt("flood", 0)
	got := failure(t, f.run(t.Context(), "serve", r), job.Transient, "exit status 1")
	if !strings.HasPrefix(got.Detail, "line 0\nline 1\n") || !strings.HasSuffix(got.Detail, "the last line\n") || !strings.Contains(got.Detail, "bytes omitted") || len(got.Detail) > 2100 {
		t.Errorf("%d bytes of detail: %.200s", len(got.Detail), got.Detail)
	}
	if n := strings.Count(f.log.String(), "child output"); n > 20*linesPerSecond || !strings.Contains(f.log.String(), "too many lines") {
		t.Errorf("%d lines in the log", n)
	}
}

func TestNeverConnects(t *testing.T) {
	f := newFixture(t, Config{Connect: 100 * time.Millisecond})
	r, _ := newAttempt("echo", 0)
	failure(t, f.run(t.Context(), "silent", r), job.Transient, "did not connect to its worker in time (100ms): main must call mapreduce.Main()")

	f = newFixture(t, Config{})
	got := failure(t, f.run(t.Context(), "forgot", r), job.Fatal, "ended with exit status 3 before it connected to its worker: main must call mapreduce.Main()")
	if got.Detail != "usage: program FILE\n" {
		t.Errorf("detail %q", got.Detail)
	}

	f = newFixture(t, Config{})
	failure(t, f.runSpec(t.Context(), "refused", "serve", r), job.Fatal, "no such pipeline")

	f = newFixture(t, Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("asked to stop"))
	if err := f.run(ctx, "silent", r); err == nil || err.Error() != "asked to stop" {
		t.Errorf("%v, want the cause", err)
	}
}

// A process with access to the socket but without the token cannot act as the child.
func TestIntruder(t *testing.T) {
	f := newFixture(t, Config{})
	r, _ := newAttempt("echo", 0)
	if err := f.run(t.Context(), "intruder", r); err != nil {
		t.Error(err)
	}
}

func TestDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "program")
	if err := os.WriteFile(script, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "gone"): "no such file", script: "compiled program"} {
		f := newFixture(t, Config{})
		p, err := f.r.Program("j", 0, &job.Spec{Stages: make([]job.Stage, 1)}, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := newAttempt("echo", 0)
		failure(t, p.Stages[0](t.Context(), r), job.Transient, want)
	}
}

// Config.Dir may be relative, although children have another working directory. It may be too long
// for a socket's path.
func TestDirectories(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"relative", strings.Repeat("long", 40)} {
		r, err := New(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{t: t, r: r}
		f.echo()
		attempt, _ := newAttempt("scratch", 0)
		failure(t, f.run(t.Context(), "serve", attempt), job.Transient, "exit status 0") // the scratch directory was found
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Processes started by user code end with the child.
func TestOffspring(t *testing.T) {
	f := newFixture(t, Config{})
	r, out := newAttempt("offspring", 0)
	if err := f.run(t.Context(), "serve", r); err != nil {
		t.Fatal(err)
	}
	f.r.End("j")
	pid, err := strconv.Atoi(out.blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	dies(t, pid)
}

// A child dies with its worker, even when the worker is killed and the child is busy.
func TestWorkerKilled(t *testing.T) {
	cmd := exec.Command(self(t))
	cmd.Env = append(os.Environ(), "TEST_CHILD=worker", "TEST_DIR="+filepath.Join(t.TempDir(), "runner"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	dies(t, pid)
}

// dies waits for the end of a process.
func dies(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// alive reports whether a process is there and not a zombie.
func alive(pid int) bool {
	if p, err := os.FindProcess(pid); err != nil || p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil && runtime.GOOS != "linux" || err == nil && !bytes.Contains(b, []byte("zombie"))
}

func TestClose(t *testing.T) {
	f := newFixture(t, Config{})
	r, out := newAttempt("wait", 0)
	done := make(chan error)
	go func() { done <- f.run(context.Background(), "serve", r) }()
	<-out.flushed(r)
	if err := f.r.Close(); err != nil {
		t.Error(err)
	}
	failure(t, <-done, job.WorkerLost, "shutting down")
	if _, err := f.r.Program("j", 0, &job.Spec{}, "", nil); err == nil {
		t.Error("a closed runner takes jobs")
	}
}

func TestEndWhileRunning(t *testing.T) {
	f := newFixture(t, Config{})
	r, out := newAttempt("wait", 0)
	done := make(chan error)
	go func() { done <- f.run(context.Background(), "serve", r) }()
	<-out.flushed(r)
	f.r.End("j")
	failure(t, <-done, job.Cancelled, "the job has ended")
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no directory")
	}
	if _, err := New(Config{Dir: t.TempDir(), Grace: -1}); err == nil {
		t.Error("negative grace")
	}
}

// Children share nothing. Attempts of one child run in parallel.
func TestSideBySide(t *testing.T) {
	f := newFixture(t, Config{})
	var group sync.WaitGroup
	for slot := range 8 {
		group.Go(func() {
			for i := range 20 {
				r, out := newAttempt("echo", slot)
				r.Split = &job.Split{Label: fmt.Sprint(slot, i)}
				if err := f.run(t.Context(), "serve", r); err != nil || len(out.blocks) != 1 || out.blocks[0] != r.Split.Label {
					t.Errorf("slot %d: %q, %v", slot, out.blocks, err)
				}
			}
		})
	}
	group.Wait()
}

// The time from the start of a process to its first block, and its end.
func BenchmarkStart(b *testing.B) {
	f := newFixture(b, Config{})
	var first time.Duration
	for b.Loop() {
		began := time.Now()
		r, out := newAttempt("echo", 0)
		if err := f.run(b.Context(), "serve", r); err != nil {
			b.Fatal(err)
		}
		<-out.wrote
		first += time.Since(began)
		f.r.End("j")
	}
	b.ReportMetric(float64(first.Microseconds())/1e3/float64(b.N), "ms/first-block")
}

func kindOf(f *job.Failure) string {
	if f == nil {
		return "none"
	}
	return f.Kind.String()
}

// Lines of user code are passed on with their attempt. With several attempts at once, it is known
// for lines of packages log and slog.
func TestLines(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	f := newFixture(t, Config{Lines: func(id job.ID, l Line) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf("%s %s %s", id, strings.Join(l.Attempts, ","), l.Text))
	}})
	waiting, out := newAttempt("wait", 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.run(ctx, "serve", waiting) }()
	<-out.flushed(waiting)
	r, _ := newAttempt("write", 1)
	if err := f.run(t.Context(), "serve", r); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	r, _ = newAttempt("write", 0)
	if err := f.run(t.Context(), "serve", r); err != nil {
		t.Fatal(err)
	}
	f.r.End("j")
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(lines, "\n")
	self, other := r.Attempt.String(), waiting.Attempt.String()
	first := strings.Replace(self, "/0#", "/1#", 1)
	for _, want := range []string{"j " + other + "," + first + " printed " + first, "j " + self + " printed " + self, "j " + first + " in two lines", "j " + self + " in two lines"} {
		if !strings.Contains(all, want) {
			t.Errorf("no line %q in\n%s", want, all)
		}
	}
	if strings.Count(all, "structured n=1") != 2 || strings.Contains(all, "\x1e") || strings.Contains(f.log.String(), "\x1e") {
		t.Errorf("lines\n%s\nlog\n%s", all, f.log.String())
	}
	if !strings.Contains(f.log.String(), "attempt="+self) {
		t.Errorf("log\n%s", f.log.String())
	}
}

// An attempt that waits is idle, with its stacks; one that works without a record is not, also in
// the same process. The stacks of an attempt whose time is over are in its failure.
func TestIdle(t *testing.T) {
	f := newFixture(t, Config{Idle: 300 * time.Millisecond})
	waiting, wout := newAttempt("wait", 0)
	busy, bout := newAttempt("loop", 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.run(ctx, "serve", waiting) }()
	<-wout.flushed(waiting)
	looped := make(chan error, 1)
	go func() { looped <- f.run(t.Context(), "serve", busy) }()
	<-bout.flushed(busy)
	for waiting.Progress.Idle.Load() == 0 || waiting.Progress.Stacks.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if s := *waiting.Progress.Stacks.Load(); !strings.Contains(s, "runner.init") || strings.Contains(s, busy.Attempt.String()) {
		t.Errorf("stacks of the waiting attempt:\n%s", s)
	}
	if n := busy.Progress.Idle.Load(); n != 0 {
		t.Errorf("the busy attempt counts as idle for %v", time.Duration(n))
	}
	cancel(&job.Failure{Kind: job.Transient, Message: "its time is over"})
	got := failure(t, <-ended, job.Transient, "its time is over")
	if got.Death == nil || !strings.Contains(got.Death.Stacks, "runner.init") || got.Death.Idle == 0 {
		t.Errorf("death %+v", got.Death)
	}
	f.r.End("j") // kills it
	<-looped
}
