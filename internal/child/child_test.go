package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/layshaft/layshaft/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type stageFunc = func(ctx context.Context, r *job.Run) error

// pair connects a worker's end to a child in this process that runs one stage.
func pair(t testing.TB, stages ...stageFunc) *Conn {
	t.Helper()
	return pairOf(t, func(context.Context, *job.Spec, int) (*job.Program, error) { return &job.Program{Stages: stages}, nil })
}

func pairOf(t testing.TB, build Build) *Conn {
	t.Helper()
	c, done := dial(t, build)
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	if err := c.Load(t.Context(), &job.Spec{ID: "j", Name: "j"}); err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t testing.TB, build Build) (*Conn, <-chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() { done <- Serve(Address("token", path), build) }()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 5); true {
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != "token" {
			t.Fatalf("token %q, %v", got, err)
		}
	}
	c, err := NewConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	return c, done
}

// memRun is a run in memory.
type memRun struct {
	blocks [][]byte
	err    error // after the blocks, instead of io.EOF
	closed bool
	reads  int
	size   int64
}

func (r *memRun) Next() ([]byte, error) {
	if r.reads == len(r.blocks) {
		if r.err != nil {
			return nil, r.err
		}
		return nil, io.EOF
	}
	r.reads++
	return r.blocks[r.reads-1], nil
}
func (r *memRun) Records() int64 { return int64(len(r.blocks)) }
func (r *memRun) Bytes() int64   { return r.size }
func (r *memRun) Close() error   { r.closed = true; return nil }

// memOutput is an output in memory.
type memOutput struct {
	blocks []string
	firsts [][]byte
	fail   error // of the second block
}

func (o *memOutput) Append(port, run, part int, block []byte, records int, first []byte) error {
	if o.fail != nil && len(o.blocks) > 0 {
		return o.fail
	}
	o.blocks = append(o.blocks, fmt.Sprintf("%d.%d.%d:%d:%s", port, run, part, records, block))
	o.firsts = append(o.firsts, first)
	return nil
}

func newRun() (*job.Run, *memOutput) {
	out := new(memOutput)
	return &job.Run{Attempt: job.Attempt{Job: "j", N: 1}, Tasks: 1, Output: out, Memory: 64 << 20, Counters: map[string]int64{}, Progress: new(job.Progress)}, out
}

func run(t testing.TB, c *Conn, r *job.Run) error {
	return c.Run(t.Context(), Call{Run: r, Scratch: t.TempDir(), Grace: time.Minute, Stuck: func() { t.Error("stuck") }})
}

func TestRun(t *testing.T) {
	var got job.Run
	c := pair(t, nil, func(_ context.Context, r *job.Run) error {
		got = *r
		r.Counters["lines"], r.Counters["b\xff"] = 3, 1
		r.Sink = [][]byte{[]byte("part"), nil}
		r.Progress.Records.Add(7)
		for i := range 3 {
			if err := r.Output.Append(0, i, 4, []byte("block"), i, nil); err != nil {
				return err
			}
		}
		if err := r.Output.Append(1, 0, 0, bytes.Repeat([]byte("x"), 3*batch), 9, nil); err != nil {
			return err
		}
		return r.Output.Append(2, 0, 0, []byte("last"), 1, []byte{})
	})
	r, out := newRun()
	r.Attempt = job.Attempt{Job: "j", Task: job.Task{Stage: 1, Index: 5}, N: 2}
	r.Tasks, r.Split = 9, &job.Split{Label: "a.txt", Data: []byte{0xff}}
	r.Inputs = [][]job.RunReader{{}, {&memRun{size: 10}, &memRun{size: 11}}}
	if err := run(t, c, r); err != nil {
		t.Fatal(err)
	}
	if got.Attempt != r.Attempt || got.Tasks != 9 || !reflect.DeepEqual(got.Split, r.Split) || got.Memory != r.Memory || len(got.Inputs) != 2 || len(got.Inputs[1]) != 2 || got.Inputs[1][1].Bytes() != 11 {
		t.Errorf("the child saw %+v", got)
	}
	if r.Counters["lines"] != 3 || r.Counters["b\uFFFD"] != 1 || string(r.Sink[0]) != "part" || len(r.Sink) != 2 || r.Progress.Records.Load() != 7 {
		t.Errorf("the worker saw %+v", r)
	}
	want := []string{"0.0.4:0:block", "0.1.4:1:block", "0.2.4:2:block", "1.0.0:9:" + strings.Repeat("x", 3*batch), "2.0.0:1:last"}
	if !reflect.DeepEqual(out.blocks, want) {
		t.Errorf("output of %d blocks", len(out.blocks))
	}
	if out.firsts[0] != nil || out.firsts[4] == nil {
		t.Errorf("first keys %q: none and an empty one are not the same", out.firsts)
	}
}

// Every block arrives, in order, whatever the memory; and blocks stay as they are while others come.
func TestInputs(t *testing.T) {
	for _, memory := range []int64{0, 1, 1 << 20, 64 << 20} {
		c := pair(t, func(_ context.Context, r *job.Run) error {
			var kept, want [][]byte
			for i := 0; ; i++ {
				ended := 0
				for n, in := range r.Inputs[0] {
					b, err := in.Next()
					if err == io.EOF {
						ended++
						continue
					}
					if err != nil {
						return err
					}
					kept, want = append(kept, b), append(want, blockOf(n, i))
				}
				if ended == len(r.Inputs[0]) {
					break
				}
			}
			if !reflect.DeepEqual(kept, want) {
				return errors.New("blocks differ")
			}
			r.Counters["blocks"] = int64(len(kept))
			return r.Inputs[0][0].Close()
		})
		r, _ := newRun()
		r.Memory = memory
		r.Inputs = make([][]job.RunReader, 1)
		total := 0
		for n := range 5 {
			m := &memRun{}
			for i := range 20 * n {
				m.blocks = append(m.blocks, blockOf(n, i))
				total++
			}
			r.Inputs[0] = append(r.Inputs[0], m)
		}
		if err := run(t, c, r); err != nil || r.Counters["blocks"] != int64(total) {
			t.Errorf("memory %d: %d of %d blocks, %v", memory, r.Counters["blocks"], total, err)
		}
	}
}

func blockOf(run, i int) []byte {
	return bytes.Repeat([]byte{byte(run), byte(i)}, 1+(run*7919+i*104729)%60000)
}

func TestPart(t *testing.T) {
	c := pair(t, func(_ context.Context, r *job.Run) error {
		var old []job.RunReader
		for part := range 3 {
			runs, err := r.OpenPartition(part)
			if err != nil {
				return err
			}
			for _, in := range runs {
				b, err := in.Next()
				if err != nil {
					return err
				}
				if err := r.Output.Append(0, 0, part, b, 1, nil); err != nil {
					return err
				}
			}
			if old != nil {
				if _, err := old[0].Next(); err == nil {
					return errors.New("a run of the partition before can still be read")
				}
			}
			old = runs
		}
		var f *job.Failure
		if _, err := r.OpenPartition(3); !errors.As(err, &f) || f.Kind != job.InputLost || len(f.Lost) != 1 {
			return fmt.Errorf("%w, want the lost input", err)
		}
		return nil
	})
	r, out := newRun()
	r.Memory = 1 // nothing is read ahead
	r.Inputs = [][]job.RunReader{{&memRun{}}}
	r.Sinks = [][][]byte{{[]byte("a"), nil}, {[]byte("b")}}
	r.OpenPartition = func(part int) ([]job.RunReader, error) {
		if part == 3 {
			return nil, &job.Failure{Kind: job.InputLost, Message: "gone", Lost: []job.Attempt{{N: 3}}}
		}
		block := []byte{byte('a' + part)}
		return []job.RunReader{&memRun{blocks: [][]byte{block, block}}, &memRun{blocks: [][]byte{block}}}, nil
	}
	if err := run(t, c, r); err != nil {
		t.Error(err)
	}
	if want := []string{"0.0.0:1:a", "0.0.0:1:a", "0.0.1:1:b", "0.0.1:1:b", "0.0.2:1:c", "0.0.2:1:c"}; !reflect.DeepEqual(out.blocks, want) {
		t.Errorf("%q", out.blocks)
	}
}

func TestSinks(t *testing.T) {
	want := [][][]byte{{[]byte("a"), []byte("b")}, {[]byte("c")}, nil}
	c := pair(t, func(_ context.Context, r *job.Run) error {
		if !reflect.DeepEqual(r.Sinks, want) || r.OpenPartition != nil {
			return fmt.Errorf("%q", r.Sinks)
		}
		return nil
	})
	r, _ := newRun()
	r.Sinks = want
	if err := run(t, c, r); err != nil {
		t.Error(err)
	}
}

// Reading ahead is bounded to the requested batch and one more.
func TestReadAhead(t *testing.T) {
	for _, tt := range []struct {
		memory int64
		most   int
	}{{64 << 20, 8}, {256 << 10, 1}, {1, 1}} {
		m := &memRun{}
		for range 100 {
			m.blocks = append(m.blocks, make([]byte, 64<<10))
		}
		c := pair(t, func(_ context.Context, r *job.Run) error {
			if _, err := r.Inputs[0][0].Next(); err != nil {
				return err
			}
			_, err := r.Temp().Write([]byte("x")) // a question that is answered behind all before it
			return err
		})
		r, _ := newRun()
		r.Memory, r.Inputs = tt.memory, [][]job.RunReader{{m}}
		if err := run(t, c, r); err != nil || m.reads > tt.most {
			t.Errorf("memory %d: %d blocks were read for one, want at most %d; %v", tt.memory, m.reads, tt.most, err)
		}
	}
}

func TestInputErrors(t *testing.T) {
	lost := &job.Failure{Kind: job.InputLost, Message: "gone", Lost: []job.Attempt{{Job: "j", Task: job.Task{Stage: 1, Index: 2}, N: 7}}}
	for _, tt := range []struct {
		err  error
		want *job.Failure
	}{
		{lost, &job.Failure{Kind: job.InputLost, Message: "merge: gone", Lost: lost.Lost}},
		{fmt.Errorf("run 3: %w", lost), &job.Failure{Kind: job.InputLost, Message: "merge: run 3: gone", Lost: lost.Lost}},
		{errors.New("too many open files"), &job.Failure{Kind: job.Transient, Message: "merge: too many open files"}},
	} {
		c := pair(t, func(_ context.Context, r *job.Run) error {
			for {
				if _, err := r.Inputs[0][0].Next(); err != nil {
					return fmt.Errorf("merge: %w", err)
				}
			}
		})
		r, _ := newRun()
		r.Inputs = [][]job.RunReader{{&memRun{blocks: [][]byte{{1}, {2}}, err: tt.err}}}
		if err := run(t, c, r); !reflect.DeepEqual(err, error(tt.want)) {
			t.Errorf("%#v, want %#v", err, tt.want)
		}
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
	poison := &job.Failure{Kind: job.Poison, Message: "panic: no", Detail: "stack", Record: "a.txt:7"}
	for name, tt := range map[string]struct {
		stage           stageFunc
		kind            job.Kind
		message, detail string
	}{
		"error":                {func(context.Context, *job.Run) error { return errors.New("bad price") }, job.Transient, "bad price", ""},
		"poison":               {func(context.Context, *job.Run) error { return poison }, job.Poison, "panic: no", "stack"},
		"wrapped":              {func(context.Context, *job.Run) error { return fmt.Errorf("map: %w", poison) }, job.Poison, "map: a.txt:7: panic: no", "stack"},
		"panic":                {func(context.Context, *job.Run) error { panic("kaboom") }, job.Transient, "panic: kaboom", "child_test.go"},
		"panic of the runtime": {func(context.Context, *job.Run) error { explode(2, nil); return nil }, job.Transient, "panic: assignment to entry in nil map", "child.explode("},
		"panic with a failure": {func(context.Context, *job.Run) error { panic(poison) }, job.Poison, "panic: no", "stack"},
		"goexit":               {func(context.Context, *job.Run) error { runtime.Goexit(); return nil }, job.Transient, "ended its goroutine", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := pair(t, tt.stage)
			r, _ := newRun()
			var f *job.Failure
			if err := run(t, c, r); !errors.As(err, &f) {
				t.Fatalf("%v is no failure", err)
			}
			if f.Kind != tt.kind || !strings.Contains(f.Message, tt.message) || !strings.Contains(f.Detail, tt.detail) || f.Kind == job.Poison && f.Record != "a.txt:7" {
				t.Errorf("failure %+v", f)
			}
			if tt.detail == "child_test.go" && (strings.Contains(f.Detail, "internal/call.") || strings.Contains(f.Detail, "runtime/") || strings.HasPrefix(f.Detail, "goroutine")) {
				t.Errorf("stack has frames that are not the user's:\n%s", f.Detail)
			}
			// The slot takes the next attempt.
			if err := run(t, c, r); !errors.As(err, &f) || f.Kind != tt.kind {
				t.Errorf("second attempt: %v", err)
			}
		})
	}
}

// An error of the output ends the attempt and comes back as it is.
func TestOutputError(t *testing.T) {
	full := errors.New("disk full")
	var cause error
	c := pair(t, func(ctx context.Context, r *job.Run) error {
		for ctx.Err() == nil {
			if err := r.Output.Append(0, 0, 0, make([]byte, 64<<10), 1, nil); err != nil {
				return err
			}
		}
		cause = context.Cause(ctx)
		return cause
	})
	r, out := newRun()
	out.fail = full
	if err := run(t, c, r); err != full {
		t.Errorf("%v, want the output's own error", err)
	}
	if cause == nil || cause.Error() != "disk full" {
		t.Errorf("the child received %v", cause)
	}
}

func TestCancel(t *testing.T) {
	began := make(chan struct{})
	c := pair(t, func(ctx context.Context, r *job.Run) error {
		close(began)
		_, err := r.Inputs[0][0].Next() // never comes
		return err
	})
	r, _ := newRun()
	never := make(blockedRun)
	r.Inputs = [][]job.RunReader{{never}}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-began
		cancel(&job.Failure{Kind: job.WorkerLost, Message: "worker is shutting down"})
		time.AfterFunc(10*time.Millisecond, func() { close(never) })
	}()
	err := c.Run(ctx, Call{Run: r, Grace: time.Minute, Stuck: func() { t.Error("stuck") }})
	var f *job.Failure
	if !errors.As(err, &f) || f.Kind != job.WorkerLost || f.Message != "worker is shutting down" {
		t.Errorf("%v, want the cause", err)
	}
}

// blockedRun has no block until it is closed.
type blockedRun chan struct{}

func (r blockedRun) Next() ([]byte, error) { <-r; return nil, io.EOF }
func (r blockedRun) Records() int64        { return 0 }
func (r blockedRun) Bytes() int64          { return 0 }
func (r blockedRun) Close() error          { return nil }

func TestStuck(t *testing.T) {
	release := make(chan struct{})
	c := pair(t, func(context.Context, *job.Run) error { <-release; return nil })
	r, _ := newRun()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stuck atomic.Bool
	if err := c.Run(ctx, Call{Run: r, Grace: time.Millisecond, Stuck: func() { stuck.Store(true); close(release) }}); err != nil || !stuck.Load() {
		t.Errorf("stuck %v, %v", stuck.Load(), err)
	}
}

func TestScratch(t *testing.T) {
	var asked atomic.Int64
	full := errors.New("disk full")
	dir := t.TempDir()
	c := pair(t, func(_ context.Context, r *job.Run) error {
		a, b := r.Temp(), r.Temp()
		for _, s := range []string{"hello", " world"} {
			if _, err := a.Write([]byte(s)); err != nil {
				return err
			}
		}
		got := make([]byte, 5)
		if _, err := a.ReadAt(got, 6); err != nil || string(got) != "world" {
			return fmt.Errorf("ReadAt: %q, %w", got, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			return fmt.Errorf("%d scratch files", len(files))
		}
		_, err := b.Write(make([]byte, 2*scratchAllowance))
		return err
	})
	r, _ := newRun()
	err := c.Run(t.Context(), Call{Run: r, Scratch: dir, Grace: time.Minute, Check: func(need int64) error {
		asked.Add(1)
		if need > 2*scratchAllowance {
			return full
		}
		return nil
	}})
	if err == nil || err.Error() != "disk full" || asked.Load() != 2 {
		t.Errorf("asked %d times, %v; want a refusal at the second", asked.Load(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%d scratch files are left", len(files))
	}
	if n := r.Progress.Spilled.Load(); n != 11 {
		t.Errorf("%d bytes spilled, want 11", n)
	}
}

func TestProgress(t *testing.T) {
	seen := make(chan struct{})
	c := pair(t, func(_ context.Context, r *job.Run) error {
		r.Progress.Bytes.Add(42)
		<-seen
		return nil
	})
	r, _ := newRun()
	go func() {
		for r.Progress.Bytes.Load() != 42 {
			runtime.Gosched()
		}
		close(seen)
	}()
	if err := run(t, c, r); err != nil {
		t.Error(err)
	}
}

// TestSetAside checks that records of a failed attempt reach the worker, if it keeps them.
func TestSetAside(t *testing.T) {
	c := pair(t, func(_ context.Context, r *job.Run) error {
		if r.SetAside != nil {
			r.SetAside([]byte("one"))
			r.SetAside([]byte("two"))
		}
		return errors.New("boom")
	})
	var got []string
	for range 2 {
		r, _ := newRun()
		if got == nil {
			r.SetAside = func(line []byte) { got = append(got, string(line)) }
		}
		if err := c.Run(t.Context(), Call{Run: r}); err == nil || err.Error() != "boom" {
			t.Errorf("error %v", err)
		}
	}
	if !reflect.DeepEqual(got, []string{"one", "two"}) {
		t.Errorf("set aside: %q", got)
	}
}

func TestSlots(t *testing.T) {
	var built atomic.Int64
	c := pairOf(t, func(context.Context, *job.Spec, int) (*job.Program, error) {
		built.Add(1)
		return &job.Program{Stages: []stageFunc{func(context.Context, *job.Run) error { return nil }}}, nil
	})
	for _, slot := range []int{0, 1, 1, 5, 0} {
		r, _ := newRun()
		if err := c.Run(t.Context(), Call{Run: r, Slot: slot}); err != nil {
			t.Error(err)
		}
	}
	if n := built.Load(); n != 3 {
		t.Errorf("%d programs for 3 slots", n)
	}
	r, _ := newRun()
	r.Attempt.Task.Stage = 1
	var f *job.Failure
	if err := run(t, c, r); !errors.As(err, &f) || f.Kind != job.Fatal {
		t.Errorf("stage that is not there: %v", err)
	}
}

func TestLoadRefused(t *testing.T) {
	for _, build := range []Build{
		func(context.Context, *job.Spec, int) (*job.Program, error) {
			return nil, &job.Failure{Kind: job.Fatal, Message: "no such plan"}
		},
		func(context.Context, *job.Spec, int) (*job.Program, error) { panic("no such plan") },
	} {
		c, done := dial(t, build)
		var f *job.Failure
		if err := c.Load(t.Context(), &job.Spec{Stages: []job.Stage{{Splits: make([]job.Split, 3)}}}); !errors.As(err, &f) || !strings.Contains(f.Message, "no such plan") {
			t.Errorf("Load: %v", err)
		}
		if err := errors.Join(c.Close(), <-done); err != nil {
			t.Error(err)
		}
	}
}

// A connection that ends takes the attempt with it.
func TestGone(t *testing.T) {
	c, done := dial(t, func(context.Context, *job.Spec, int) (*job.Program, error) {
		return &job.Program{Stages: []stageFunc{func(ctx context.Context, _ *job.Run) error { <-ctx.Done(); return nil }}}, nil
	})
	if err := c.Load(t.Context(), &job.Spec{}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
	r, _ := newRun()
	if err := run(t, c, r); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
