package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

func TestOptionsAreChecked(t *testing.T) {
	_, c := serve(t)
	ctx := within(t)
	do := func(function string, o ...tasks.Option) error {
		_, err := tasks.Do[int](ctx, c, function, 1, o...)
		return err
	}
	enqueue := func(function string, o ...tasks.Option) error {
		_, err := tasks.Enqueue(ctx, c, function, 1, o...)
		return err
	}
	scatter := func(function string, o ...tasks.Option) error {
		for r := range tasks.Scatter[int](ctx, c, function, []int{1}, o...) {
			return r.Err
		}
		return nil
	}
	tests := []struct {
		name string
		call func(string, ...tasks.Option) error
		fn   string
		opt  tasks.Option
		want string
	}{
		{"no function", do, "", nil, "name of a function"},
		{"long function", enqueue, strings.Repeat("f", 513), nil, "name of a function"},
		{"scatter to none", scatter, "", nil, "name of a function"},
		{"priority", do, "f", tasks.Priority(7), "priority 7"},
		{"attempts", do, "f", tasks.Attempts(-1), "Attempts -1"},
		{"backoff", do, "f", tasks.Backoff(time.Second, -1), "Backoff 1s, -1ns"},
		{"after", enqueue, "f", tasks.After(-time.Second), "After -1s"},
		{"keep", enqueue, "f", tasks.Keep(-1), "Keep"},
		{"soft", do, "f", tasks.SoftLimit(-1), "SoftLimit"},
		{"hard", do, "f", tasks.HardLimit(-1), "HardLimit"},
		{"lossy do", do, "f", tasks.Lossy(), "Lossy"},
		{"unique scatter", scatter, "f", tasks.Unique("k"), "Unique"},
		{"deadline of enqueue", enqueue, "f", tasks.Deadline(1), "Deadline"},
		{"then", do, "f", tasks.Then("", tasks.Low), `Then ""`},
		{"then with a deadline", do, "f", tasks.Then("g", tasks.Deadline(1)), `Then "g"`},
	}
	for _, tt := range tests {
		if err := tt.call(tt.fn, tt.opt); !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrInvalid that says %s", tt.name, err, tt.want)
		}
	}
	if _, err := tasks.EnqueueAll(ctx, c, "f", []int{1}, tasks.Unique("k")); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("EnqueueAll with Unique: %v", err)
	}
	if _, err := tasks.Do[int](ctx, c, "f", make(chan int)); err == nil || !strings.Contains(err.Error(), "input of f") {
		t.Errorf("a channel as input: %v", err)
	}
	if _, err := tasks.Attach[int](ctx, c, 12345); !errors.Is(err, tasks.ErrUnknown) {
		t.Errorf("Attach to nothing: %v, want ErrUnknown", err)
	}
	if _, err := c.Status(ctx, 12345); !errors.Is(err, tasks.ErrUnknown) {
		t.Errorf("Status of nothing: %v, want ErrUnknown", err)
	}
}

// A handler that fails twice gets three attempts; hooks and the caller are notified in order.
func TestRetriesAreAnnounced(t *testing.T) {
	s, c := serve(t)
	var mu sync.Mutex
	var heard []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprintf(format, args...))
	}
	work(t, s.Address, func(w *tasks.Worker) {
		w.Hooks.Retry = func(e tasks.Event) { note("retry hook %d: %v", e.Attempt, e.Err) }
		w.Hooks.Failed = func(e tasks.Event) { note("failed hook %d: %v", e.Attempt, e.Err) }
		w.Hooks.Warning = func(e tasks.Event) { note("warning hook: %s", e.Text) }
		w.Hooks.Done = func(e tasks.Event) { note("done hook %d", e.Attempt) }
		tasks.Handle(w, "flaky", func(ctx context.Context, n int) (string, error) {
			if at := tasks.Attempt(ctx); at < n {
				return "", fmt.Errorf("trouble %d", at)
			}
			return "at last", tasks.Warn(ctx, "it took %d", n)
		})
	})
	try := func(attempts int) (string, error) {
		return tasks.Do[string](within(t), c, "flaky", 3, tasks.Attempts(attempts), tasks.Backoff(time.Millisecond, 0), tasks.OnUpdate(func(u tasks.Update) {
			note("%s %d %s", u.Kind, u.N, u.Payload)
		}))
	}
	check := func(want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(heard, want) {
			t.Errorf("heard\n\t%s\nwant\n\t%s", strings.Join(heard, "\n\t"), strings.Join(want, "\n\t"))
		}
		heard = nil
	}
	if out, err := try(3); out != "at last" || err != nil {
		t.Errorf("with 3 attempts: %q, %v", out, err)
	}
	mu.Lock()
	order := slices.Clone(heard)
	mu.Unlock()
	slices.Sort(order) // the output of two processes
	heard = order
	check("done 0 at last", "done hook 3", "retry 2 trouble 1", "retry 3 trouble 2", "retry hook 1: trouble 1", "retry hook 2: trouble 2", "warning 0 it took 3",
		"warning hook: it took 3")
	_, err := try(2)
	var failed *tasks.Error
	if !errors.As(err, &failed) || failed.Message != "trouble 2" || !errors.Is(err, tasks.ErrFailed) || failed.ID == 0 {
		t.Errorf("with 2 attempts: %v", err)
	}
	slices.Sort(heard)
	check("failed 0 trouble 2", "failed hook 2: trouble 2", "retry 2 trouble 1", "retry hook 1: trouble 1")
}

func TestPanicsAndBadInputs(t *testing.T) {
	s, c := serve(t)
	var calls atomic.Int32
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "panics", func(context.Context, string) (int, error) { calls.Add(1); panic("at the disco") })
		tasks.Handle(w, "number", func(_ context.Context, n int) (chan int, error) { return nil, nil })
	})
	ctx := within(t)
	_, err := tasks.Do[int](ctx, c, "panics", "", tasks.Attempts(2), tasks.Backoff(1, 0))
	if err == nil || !strings.Contains(err.Error(), "panic: at the disco") || !strings.Contains(err.Error(), "calls_test.go") || calls.Load() != 2 {
		t.Errorf("%v after %d calls, want the panic and its stack after 2", err, calls.Load())
	}
	if _, err = tasks.Do[int](ctx, c, "number", "many"); err == nil || !strings.Contains(err.Error(), `"many" is not a int`) {
		t.Errorf("a bad input: %v", err)
	}
	if _, err = tasks.Do[int](ctx, c, "number", 1); err == nil || !strings.Contains(err.Error(), "result of number") {
		t.Errorf("a result without a form: %v", err)
	}
}

// Inputs and results of several megabytes work in both directions, with Do and Enqueue, in order
// beside small ones.
func TestLargePayloads(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "reverse", func(ctx context.Context, in []byte) ([]byte, error) {
			if err := tasks.Send(ctx, in); err != nil {
				return nil, err
			}
			out := bytes.Clone(in)
			slices.Reverse(out)
			return out, nil
		})
	})
	ctx := within(t)
	var inputs, want [][]byte
	for _, n := range []int{0, 1, 1 << 20, 1<<20 + 1, 100, 5<<20 + 17, 3} {
		in := bytes.Repeat([]byte("layshaft:"), n/9+1)[:n]
		inputs = append(inputs, in)
		out := bytes.Clone(in)
		slices.Reverse(out)
		want = append(want, out)
	}
	seen := 0
	sent := func(u tasks.Update) {
		if u.Kind == tasks.KindData && bytes.Equal(u.Payload, inputs[u.Index]) {
			seen++
		}
	}
	for r := range tasks.Scatter[[]byte](ctx, c, "reverse", inputs, tasks.OnUpdate(sent)) {
		if r.Err != nil || !bytes.Equal(r.Value, want[r.Index]) {
			t.Errorf("input %d of %d bytes: result of %d bytes, %v", r.Index, len(inputs[r.Index]), len(r.Value), r.Err)
		}
	}
	if seen != len(inputs) {
		t.Errorf("%d of %d partial results were the inputs", seen, len(inputs))
	}
	ids, err := tasks.EnqueueAll(ctx, c, "reverse", inputs)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if out, err := tasks.Attach[[]byte](ctx, c, id); err != nil || !bytes.Equal(out, want[i]) {
			t.Errorf("input %d of %d bytes in the background: result of %d bytes, %v", i, len(inputs[i]), len(out), err)
		}
	}
	if out, err := tasks.Do[[]byte](ctx, c, "reverse", inputs[5]); err != nil || !bytes.Equal(out, want[5]) {
		t.Errorf("Do: %d bytes, %v", len(out), err)
	}
}

// Results before the deadline are yielded; the other tasks are listed and stopped.
func TestScatterDeadline(t *testing.T) {
	s, c := serve(t)
	stopped := make(chan error, 10)
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 10
		tasks.Handle(w, "wait", func(ctx context.Context, forever bool) (string, error) {
			if !forever {
				return "quick", nil
			}
			<-ctx.Done()
			stopped <- context.Cause(ctx)
			return "", context.Cause(ctx)
		})
	})
	inputs := []bool{false, true, false, true, true}
	got := make([]string, len(inputs))
	for r := range tasks.Scatter[string](within(t), c, "wait", inputs, tasks.Deadline(300*time.Millisecond)) {
		if got[r.Index] = r.Value; errors.Is(r.Err, context.DeadlineExceeded) {
			got[r.Index] = "late"
		}
	}
	if want := []string{"quick", "late", "quick", "late", "late"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 3 {
		select {
		case err := <-stopped:
			if !errors.Is(err, tasks.ErrCancelled) {
				t.Errorf("a handler ended with %v, want ErrCancelled", err)
			}
		case <-time.After(patience):
			t.Fatal("a handler goes on though nobody waits")
		}
	}
}

func TestScatterMany(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "next", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	})
	inputs := make([]int, 40_000) // more than fit in the window
	for i := range inputs {
		inputs[i] = i
	}
	seen := make([]bool, len(inputs))
	for r := range tasks.Scatter[int](within(t), c, "next", inputs) {
		if r.Err != nil || r.Value != r.Index+1 || seen[r.Index] {
			t.Fatalf("%+v, seen %v", r, seen[r.Index])
		}
		seen[r.Index] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		t.Errorf("input %d has no result", i)
	}
	n := 0
	for range tasks.Scatter[int](within(t), c, "next", inputs) {
		if n++; n == 10 {
			break
		}
	}
	if out, err := tasks.Do[int](within(t), c, "next", 1); out != 2 || err != nil {
		t.Errorf("after a loop that was left: %d, %v", out, err)
	}
}

// Callers with the same unique key share one run, and the leave of one does not affect the others.
func TestUniqueIsShared(t *testing.T) {
	for name, own := range map[string][]tasks.Option{"shared stream": nil, "stream of its own": {tasks.OnUpdate(func(tasks.Update) {})}} {
		t.Run(name, func(t *testing.T) { uniqueIsShared(t, own) })
	}
}

// uniqueIsShared makes the first caller leave, which has more options.
func uniqueIsShared(t *testing.T, own []tasks.Option) {
	s, c := serve(t)
	var runs atomic.Int32
	begun, open := make(chan struct{}), make(chan struct{})
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(ctx context.Context, in string) (string, error) {
			if runs.Add(1) == 1 {
				close(begun)
			}
			select {
			case <-open:
				return in, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})
	})
	const callers = 5
	results := make(chan error, callers)
	call := func(ctx context.Context, opts ...tasks.Option) {
		out, err := tasks.Do[string](ctx, c, "slow", "one", append(opts, tasks.Unique("key"))...)
		if err == nil && out != "one" {
			err = fmt.Errorf("result %q", out)
		}
		results <- err
	}
	leaving, leave := context.WithCancel(within(t))
	go call(leaving, own...)
	<-begun
	for range callers - 1 {
		// on its own stream, which counts as another waiting client
		go call(within(t), tasks.OnUpdate(func(tasks.Update) {}))
	}
	if id, err := tasks.Enqueue(within(t), c, "slow", "one", tasks.Unique("key")); err != nil || id == 0 {
		t.Fatal(id, err)
	}
	wait := func(n int) {
		t.Helper()
		for {
			if st, err := c.StatusUnique(within(t), "slow", "key"); err != nil {
				t.Fatal(err)
			} else if st.Waiters == n {
				return
			}
		}
	}
	wait(callers)
	leave()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	wait(callers - 1)
	close(open)
	for range callers - 1 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if out, err := tasks.AttachUnique[string](within(t), c, "slow", "key", tasks.Deadline(time.Minute)); err != nil && !errors.Is(err, tasks.ErrUnknown) || err == nil && out != "one" {
		t.Errorf("AttachUnique: %q, %v", out, err)
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

func TestCancel(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	begun, stopped := make(chan tasks.ID, 1), make(chan error, 1)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "wait", func(ctx context.Context, _ string) (string, error) {
			begun <- tasks.TaskID(ctx)
			<-ctx.Done()
			stopped <- context.Cause(ctx)
			return "too late", nil
		})
	})
	running, err := tasks.Enqueue(ctx, c, "wait", "")
	if err != nil {
		t.Fatal(err)
	}
	if id := <-begun; id != running {
		t.Errorf("task %s runs, want %s", id, running)
	}
	waiting, err := tasks.Enqueue(ctx, c, "nobody does", "")
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := c.Cancel(ctx, running, waiting, 999); err != nil || len(ids) != 2 {
		t.Errorf("Cancel = %v, %v, want the two that there are", ids, err)
	}
	if err := <-stopped; !errors.Is(err, tasks.ErrCancelled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	for _, id := range []tasks.ID{running, waiting} {
		if _, err := tasks.Attach[string](ctx, c, id); !errors.Is(err, tasks.ErrCancelled) {
			t.Errorf("Attach = %v, want ErrCancelled", err)
		}
		if st, err := c.Status(ctx, id); err != nil || st.State != tasks.StateCancelled {
			t.Errorf("Status = %+v, %v", st, err)
		}
	}
	if ids, err := c.Retry(ctx, running); err != nil || len(ids) != 0 {
		t.Errorf("Retry of a cancelled task = %v, %v", ids, err)
	}
}

func TestLimits(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "gentle", func(ctx context.Context, _ string) (string, error) {
			select {
			case <-tasks.Hurry(ctx):
				return "what there is", nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})
		tasks.Handle(w, "deadline", func(ctx context.Context, _ string) (string, error) {
			if at, ok := ctx.Deadline(); ok {
				return time.Until(at).Round(time.Hour).String(), nil
			}
			return "none", nil
		})
		tasks.Handle(w, "stubborn", func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		})
		tasks.Handle(w, "bounded", func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}, tasks.HardLimit(20*time.Millisecond))
	})
	ctx := within(t)
	if out, err := tasks.Do[string](ctx, c, "gentle", "", tasks.SoftLimit(20*time.Millisecond)); out != "what there is" || err != nil {
		t.Errorf("soft limit: %q, %v", out, err)
	}
	for limit, want := range map[time.Duration]string{0: "none", 5 * time.Hour: "5h0m0s"} {
		if out, err := tasks.Do[string](ctx, c, "deadline", "", tasks.HardLimit(limit)); out != want || err != nil {
			t.Errorf("the deadline for a limit of %v: %q, %v", limit, out, err)
		}
	}
	_, err := tasks.Do[string](ctx, c, "stubborn", "", tasks.HardLimit(20*time.Millisecond), tasks.Attempts(2), tasks.Backoff(1, 0))
	if !errors.Is(err, tasks.ErrTimedOut) || !errors.Is(err, tasks.ErrFailed) {
		t.Errorf("hard limit: %v", err)
	}
	if _, err := tasks.Do[string](ctx, c, "bounded", "", tasks.Attempts(1)); !errors.Is(err, tasks.ErrTimedOut) {
		t.Errorf("hard limit of the worker: %v", err)
	}
}

// TestLostIsToldOnce: a coordinator away during several reconnects is reported as one lost attempt,
// when the next attempt begins.
func TestLostIsToldOnce(t *testing.T) {
	s, err := tasktest.Start("", "")
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.Address)
	begun := make(chan struct{}, 1)
	var again atomic.Bool
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "f", func(ctx context.Context, in string) (string, error) {
			if again.Load() {
				return in, nil
			}
			begun <- struct{}{}
			<-ctx.Done()
			return "", context.Cause(ctx)
		})
	})
	var lost atomic.Int64
	ended := make(chan error, 1)
	go func() {
		_, err := tasks.Do[string](within(t), c, "f", "one", tasks.OnUpdate(func(u tasks.Update) {
			if u.Kind == tasks.KindRetry {
				lost.Add(1)
			}
		}))
		ended <- err
	}()
	<-begun
	again.Store(true)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	away, err := net.Listen("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 { // by client and worker
		conn, err := away.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	away.Close()
	if s, err = tasktest.Start("", s.Address); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := lost.Load(); n != 1 {
		t.Errorf("told %d times that an attempt was lost, want once", n)
	}
}

// An input that is too large is refused alone.
func TestTooLargeInput(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	begun, open := make(chan struct{}), make(chan struct{})
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(context.Context, []byte) (string, error) { close(begun); <-open; return "slow", nil })
		tasks.Handle(w, "f", func(_ context.Context, in []byte) (string, error) { return string(in), nil })
	})
	large := make([]byte, 66<<20)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, tasks.ErrInvalid) || err == nil || !strings.Contains(err.Error(), "an input of 69206016 bytes is over the limit of 67108864") {
			t.Errorf("%s: %v, want ErrInvalid that says size and limit", what, err)
		}
	}
	other := make(chan error, 1)
	go func() {
		_, err := tasks.Do[string](ctx, c, "slow", "") // once: a second run would panic
		other <- err
	}()
	<-begun
	_, err := tasks.Do[string](ctx, c, "f", large)
	refused("Do", err)
	_, err = tasks.Do[string](ctx, c, "f", large, tasks.OnUpdate(func(tasks.Update) {}))
	refused("Do with OnUpdate", err)
	close(open)
	if err := <-other; err != nil {
		t.Errorf("the call beside it: %v", err)
	}
	inputs := [][]byte{[]byte("a"), large, []byte("b")}
	results := make([]tasks.Result[string], len(inputs))
	for r := range tasks.Scatter[string](ctx, c, "f", inputs) {
		results[r.Index] = r
	}
	refused("Scatter", results[1].Err)
	if results[0].Value != "a" || results[2].Value != "b" || results[0].Err != nil || results[2].Err != nil {
		t.Errorf("the inputs beside it: %+v, %+v", results[0], results[2])
	}
	ids, err := tasks.EnqueueAll(ctx, c, "f", append(inputs, large))
	refused("EnqueueAll", err)
	if len(ids) != 4 || ids[0] == 0 || ids[1] != 0 || ids[2] == 0 || ids[3] != 0 {
		t.Fatalf("EnqueueAll: %v", ids)
	}
	if out, err := tasks.Attach[string](ctx, c, ids[2]); out != "b" || err != nil {
		t.Errorf("EnqueueAll: the task after it: %q, %v", out, err)
	}
}

// A call ends with its caller, however the caller goes; a call that others wait for does not.
func TestCallerGone(t *testing.T) {
	s, c := serve(t)
	began, ended := make(chan string), make(chan string)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "hang", func(ctx context.Context, in string) (string, error) {
			began <- in
			<-ctx.Done()
			ended <- in
			return "", ctx.Err()
		})
	})
	for _, own := range [][]tasks.Option{nil, {tasks.OnUpdate(func(tasks.Update) {})}} {
		var callers [2]*tasks.Client
		for i := range callers {
			var err error
			if callers[i], err = tasks.Dial(tasks.Cluster{Address: s.Address}); err != nil {
				t.Fatal(err)
			}
		}
		first, second := callers[0], callers[1]
		gone := make(chan error, 3)
		do := func(c *tasks.Client, in string) {
			_, err := tasks.Do[string](within(t), c, "hang", in, append(own, tasks.Unique(in))...)
			gone <- err
		}
		go do(first, "one")
		<-began
		go do(first, "both")
		<-began
		go do(second, "both")
		for x := (tasks.Status{}); x.Waiters < 2; {
			var err error
			if x, err = c.StatusUnique(within(t), "hang", "both"); err != nil {
				t.Fatal(err)
			}
		}
		_ = first.Close()
		if in := <-ended; in != "one" {
			t.Errorf("the attempt of %q ended", in)
		}
		if x, err := c.StatusUnique(within(t), "hang", "both"); x.State != tasks.StateRunning {
			t.Errorf("a call with another caller: %+v, %v", x, err)
		}
		_ = second.Close()
		<-ended
		for range 3 {
			if err := <-gone; err == nil {
				t.Error("a call of a closed client succeeded")
			}
		}
		await(t, c, "the end", func(o tasks.Overview) bool { return o.Totals.Running+o.Totals.Waiting == 0 })
	}
}

// A submit that joins is reported, and starts a delayed task.
func TestJoined(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	joined := true
	id, err := tasks.Enqueue(ctx, c, "f", "first", tasks.Unique("k"), tasks.After(time.Hour), tasks.Low, tasks.Joined(&joined))
	if joined || err != nil {
		t.Fatalf("joined %v, %v", joined, err)
	}
	if again, err := tasks.Enqueue(ctx, c, "f", "second", tasks.Unique("k"), tasks.After(2*time.Hour), tasks.Joined(&joined)); again != id || !joined || err != nil {
		t.Errorf("task %s joined %v to %s, %v", again, joined, id, err)
	}
	if x, err := c.Status(ctx, id); x.Priority != tasks.Normal || time.Until(x.Due) > time.Hour+time.Minute || x.State != tasks.StateDelayed {
		t.Errorf("%+v, %v", x, err)
	}
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "f", func(_ context.Context, in string) (string, error) { return in, nil })
	})
	joined = false
	if out, err := tasks.Do[string](ctx, c, "f", "third", tasks.Unique("k"), tasks.Joined(&joined)); out != "first" || !joined || err != nil {
		t.Errorf("%q, joined %v, %v", out, joined, err)
	}
	late, err := tasks.Enqueue(ctx, c, "f", "late", tasks.After(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := c.RunNow(ctx, late, id, 99); len(ids) != 1 || ids[0] != late || err != nil {
		t.Errorf("started now: %v, %v", ids, err)
	}
	if out, err := tasks.Attach[string](ctx, c, late); out != "late" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}
