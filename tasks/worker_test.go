package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

func TestWorkerIsChecked(t *testing.T) {
	f := func(context.Context, int) (int, error) { return 0, nil }
	tests := []struct {
		want    string
		prepare func(w *tasks.Worker)
	}{
		{"no function", func(*tasks.Worker) {}},
		{"two handlers", func(w *tasks.Worker) { tasks.Handle(w, "f", f); tasks.Handle(w, "f", f) }},
		{"no handler", func(w *tasks.Worker) { tasks.Handle[int, int](w, "f", nil) }},
		{"name of a function", func(w *tasks.Worker) { tasks.Handle(w, "", f) }},
		{"Concurrency -1", func(w *tasks.Worker) { tasks.Handle(w, "f", f); w.Concurrency = -1 }},
		{"Reserved 3", func(w *tasks.Worker) { tasks.Handle(w, "f", f); w.Concurrency, w.Reserved = 2, 3 }},
		{"MaxTasks -1", func(w *tasks.Worker) { tasks.Handle(w, "f", f); w.MaxTasks = -1 }},
	}
	for _, tt := range tests {
		w := tasks.NewWorker(tasks.Cluster{Address: "127.0.0.1:1"})
		tt.prepare(w)
		if err := w.Run(within(t)); !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want ErrInvalid that says %s", err, tt.want)
		}
	}
}

// A worker with MaxTasks ends after exactly this number of tasks. With restarts by a supervisor, no
// task is lost.
func TestMaxTasks(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	var runs atomic.Int32
	const inputs = 50
	ids, err := tasks.EnqueueAll(ctx, c, "count", make([]int, inputs))
	if err != nil {
		t.Fatal(err)
	}
	for life := range 10 {
		w := tasks.NewWorker(tasks.Cluster{Address: s.Address})
		w.Concurrency, w.MaxTasks = 3, 5
		tasks.Handle(w, "count", func(context.Context, int) (int, error) { return int(runs.Add(1)), nil })
		if err := w.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := int(runs.Load()), 5*(life+1); got != want {
			t.Fatalf("%d tasks after %d lives, want %d", got, life+1, want)
		}
	}
	for _, id := range ids {
		if st, err := c.Status(ctx, id); err != nil || st.State != tasks.StateDone || st.Attempts != 1 {
			t.Errorf("task %s: %+v, %v, want done at the first attempt", id, st, err)
		}
	}
}

func TestIdleExit(t *testing.T) {
	s, c := serve(t)
	w := tasks.NewWorker(tasks.Cluster{Address: s.Address})
	w.IdleExit = 50 * time.Millisecond
	idle := make(chan bool, 100)
	w.Idle = func(ctx context.Context) {
		idle <- true
		<-ctx.Done()
		idle <- false
	}
	tasks.Handle(w, "f", func(context.Context, int) (int, error) { return 1, nil })
	ended := make(chan error, 1)
	go func() { ended <- w.Run(within(t)) }()
	for range 3 {
		if _, err := tasks.Do[int](within(t), c, "f", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(idle)
	want := true
	for on := range idle {
		if on != want {
			t.Error("Idle was called twice at once")
		}
		want = !want
	}
	await(t, c, "the worker to be gone", func(o tasks.Overview) bool { return o.Functions[0].Workers == 0 })
}

// A worker that is stopped finishes its running tasks.
func TestDrain(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	begun, open := make(chan struct{}), make(chan struct{})
	stop := work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(ctx context.Context, in string) (string, error) {
			close(begun)
			<-open
			return in, ctx.Err()
		})
	})
	id, err := tasks.Enqueue(ctx, c, "slow", "kept", tasks.Attempts(1))
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for {
		workers, err := c.Workers(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(workers) == 1 && workers[0].Slots == 0 {
			break
		}
	}
	close(open)
	<-stopped
	if out, err := tasks.Attach[string](ctx, c, id); out != "kept" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// A worker with tasks that do not end in time returns them to the queue.
func TestDrainEnds(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	begun := make(chan struct{}, 1)
	hang := func(w *tasks.Worker) {
		w.Drain = -1
		tasks.Handle(w, "slow", func(ctx context.Context, in string) (string, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return "", context.Cause(ctx)
		})
	}
	stop := work(t, s.Address, hang)
	id, err := tasks.Enqueue(ctx, c, "slow", "moves on", tasks.Backoff(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(_ context.Context, in string) (string, error) { return in, nil })
	})
	if out, err := tasks.Attach[string](ctx, c, id); out != "moves on" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// Workers and clients survive a restart of the coordinator: queued tasks are still there, a running
// task continues, and Do submits its task again.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s, err := tasktest.Start(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.Address)
	ctx := within(t)
	begun, open := make(chan string, 10), make(chan struct{})
	var runs atomic.Int32
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(ctx context.Context, in string) (string, error) {
			runs.Add(1)
			begun <- in
			<-open
			return in + " done", nil
		})
	})
	id, err := tasks.Enqueue(ctx, c, "slow", "queued")
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	called := make(chan string, 1)
	go func() {
		out, err := tasks.Do[string](ctx, c, "slow", "called")
		called <- fmt.Sprint(out, err)
	}()
	<-begun
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s, err = tasktest.Start(dir, s.Address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if in := <-begun; in != "called" {
		t.Errorf("%q runs a second time", in)
	}
	close(open)
	if out, err := tasks.Attach[string](ctx, c, id); out != "queued done" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if out := <-called; out != "called done<nil>" {
		t.Errorf("Do: %s", out)
	}
	if n := runs.Load(); n != 3 {
		t.Errorf("%d runs, want 3: one of the queued task, two of the call", n)
	}
}

func TestNobodyThere(t *testing.T) {
	c, err := tasks.Dial(tasks.Cluster{Address: "127.0.0.1:1", Connect: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := tasks.Do[int](within(t), c, "f", 1); !errors.Is(err, tasks.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Do: %v, want ErrUnavailable with the address", err)
	}
	n := 0
	for r := range tasks.Scatter[int](within(t), c, "f", []int{1, 2}) {
		if n++; !errors.Is(r.Err, tasks.ErrUnavailable) {
			t.Errorf("Scatter: %v", r.Err)
		}
	}
	if n != 2 {
		t.Errorf("%d results, want one for each input", n)
	}
	if _, err := tasks.Dial(tasks.Cluster{TLS: tasks.TLSFiles{CA: "nowhere.pem", Cert: "nowhere.pem", Key: "nowhere.pem"}}); err == nil {
		t.Error("certificates that are not there are no error")
	}
}

// All attempts at a task have one idempotency key, also after a restart. Tasks of a copied data
// directory have other keys, though they get the same IDs.
func TestIdempotencyKey(t *testing.T) {
	dir, twin := t.TempDir(), t.TempDir()
	ctx := within(t)
	start := func(dir string) (c *tasks.Client, stop func()) {
		s, err := tasktest.Start(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		leave := work(t, s.Address, func(w *tasks.Worker) {
			tasks.Handle(w, "key", func(ctx context.Context, fail bool) (string, error) {
				if fail && tasks.Attempt(ctx) == 1 {
					return "", tasks.Fatal(errors.New(tasks.IdempotencyKey(ctx)))
				}
				return tasks.IdempotencyKey(ctx), nil
			})
		})
		c = dial(t, s.Address)
		return c, func() {
			leave()
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	}
	key := func(c *tasks.Client, id tasks.ID) string {
		out, err := tasks.Attach[string](ctx, c, id)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first, stop := start(dir)
	early, err := tasks.Enqueue(ctx, first, "key", true)
	if err != nil {
		t.Fatal(err)
	}
	var failed *tasks.Error
	if _, err := tasks.Attach[string](ctx, first, early); !errors.As(err, &failed) || len(failed.Message) > 64 {
		t.Fatal(err)
	}
	stop()
	if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var keys, early2 []string
	var ids []tasks.ID
	for _, d := range []string{dir, twin} {
		c, stop := start(d)
		defer stop()
		if again, err := c.Retry(ctx, early); len(again) != 1 || err != nil {
			t.Fatal(again, err)
		}
		early2 = append(early2, key(c, early))
		id, err := tasks.Enqueue(ctx, c, "key", false)
		if err != nil {
			t.Fatal(err)
		}
		keys, ids = append(keys, key(c, id)), append(ids, id)
	}
	if early2[0] != failed.Message || early2[1] != failed.Message {
		t.Errorf("attempts at a task have the keys %q, %q", failed.Message, early2)
	}
	if ids[0] != ids[1] || keys[0] == keys[1] {
		t.Errorf("tasks %v of a directory and its copy have the keys %q", ids, keys)
	}
}

// A handler that ends its goroutine fails its attempt and does not affect the worker.
func TestHandlerEndsGoroutine(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 2
		tasks.Handle(w, "f", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
		tasks.HandleBatch(w, "batch", func(context.Context, []int) ([]int, error) { runtime.Goexit(); return nil, nil })
		tasks.Handle(w, "g", func(_ context.Context, n int) (int, error) { return n, nil })
	})
	for range 3 {
		for _, f := range []string{"f", "batch"} {
			if _, err := tasks.Do[int](within(t), c, f, 1, tasks.Attempts(1)); !errors.Is(err, tasks.ErrFailed) || !strings.Contains(err.Error(), "ended its goroutine") {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
	if n, err := tasks.Do[int](within(t), c, "g", 7); n != 7 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

// A result that is too large fails only its own task, at once. A partial result that is too large
// is an error of Send.
func TestTooLargeResult(t *testing.T) {
	s, c := serve(t)
	large := make([]byte, 64<<20+1)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "whole", func(context.Context, int) ([]byte, error) { return large, nil })
		tasks.Handle(w, "part", func(ctx context.Context, _ int) (string, error) {
			if err := tasks.Send(ctx, large); !errors.Is(err, tasks.ErrInvalid) {
				return "", err
			}
			return "fine", nil
		})
	})
	_, err := tasks.Do[[]byte](within(t), c, "whole", 1)
	if !errors.Is(err, tasks.ErrFailed) || !strings.Contains(err.Error(), "a result of 67108865 bytes is over the limit of 67108864") {
		t.Errorf("%v, want ErrFailed that says the size and the limit", err)
	}
	if out, err := tasks.Do[string](within(t), c, "part", 1); out != "fine" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// lowLimit is a coordinator that ends a worker's session after a report of more than limit bytes.
type lowLimit struct {
	tasksv1.UnimplementedTasksServiceServer
	limit int
	ends  chan *tasksv1.TaskReport
}

func (l *lowLimit) WorkTasks(stream grpc.BidiStreamingServer[tasksv1.WorkTasksRequest, tasksv1.WorkTasksResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	first := &tasksv1.WorkTasksResponse{Welcome: &tasksv1.TaskWelcome{LeaseNanos: int64(time.Minute)}}
	if len(m.GetHello().GetAttempts()) == 0 {
		first.Assigns = []*tasksv1.TaskAssign{{Attempt: &tasksv1.TaskAttempt{Task: 1, Attempt: 1}, Function: "f", Input: []byte("1")}}
	}
	for err = stream.Send(first); err == nil; {
		if m, err = stream.Recv(); err != nil {
			break
		}
		for _, r := range m.GetReports().GetReports() {
			if len(r.GetResult()) > l.limit {
				return status.Error(codes.InvalidArgument, "too much")
			}
			if r.GetAttempt().GetTask() != 0 {
				l.ends <- r
			}
			err = stream.Send(&tasksv1.WorkTasksResponse{Acks: []*tasksv1.TaskAttempt{r.GetAttempt()}})
		}
	}
	return err
}

// A worker survives a coordinator whose limit for results is lower than its own.
func TestRefusedResult(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	low := &lowLimit{limit: 100_000, ends: make(chan *tasksv1.TaskReport, 1)}
	server := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	tasksv1.RegisterTasksServiceServer(server, low)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	work(t, l.Addr().String(), func(w *tasks.Worker) {
		tasks.Handle(w, "f", func(context.Context, int) ([]byte, error) { return make([]byte, 200_000), nil })
	})
	select {
	case r := <-low.ends:
		if text := string(r.GetFatal()); !strings.Contains(text, "refused a report of 200000 bytes") || !strings.Contains(text, "too much") {
			t.Errorf("the attempt ended with %q", text)
		}
	case <-within(t).Done():
		t.Error("the worker does not get rid of its result")
	}
}

// Hooks report the outcome of a stopped attempt, whatever its handler returns.
func TestHooksOfStoppedAttempts(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	heard := make(chan string, 10)
	begun := make(chan struct{}, 1)
	stop := work(t, s.Address, func(w *tasks.Worker) {
		w.Hooks.Done = func(e tasks.Event) { heard <- fmt.Sprintf("done %s %d", e.Function, e.Attempt) }
		w.Hooks.Retry = func(e tasks.Event) {
			heard <- fmt.Sprintf("retry %s %d %t", e.Function, e.Attempt, errors.Is(e.Err, tasks.ErrTimedOut))
		}
		w.Hooks.Failed = func(e tasks.Event) {
			heard <- fmt.Sprintf("failed %s %d %t", e.Function, e.Attempt, errors.Is(e.Err, tasks.ErrTimedOut))
		}
		tasks.Handle(w, "returns", func(ctx context.Context, _ int) (int, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return 1, nil
		})
		tasks.Handle(w, "fails", func(ctx context.Context, _ int) (int, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return 0, tasks.Fatal(errors.New("too late"))
		})
	})
	for _, function := range []string{"returns", "fails"} {
		id, err := tasks.Enqueue(ctx, c, function, 1, tasks.Attempts(5))
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		if _, err := c.Cancel(ctx, id); err != nil {
			t.Fatal(err)
		}
		_, err = tasks.Do[int](ctx, c, function, 1, tasks.Attempts(2), tasks.Backoff(time.Millisecond, 0), tasks.HardLimit(time.Millisecond))
		if !errors.Is(err, tasks.ErrTimedOut) {
			t.Errorf("%v, want ErrTimedOut", err)
		}
		<-begun
		<-begun
	}
	stop() // all hooks have been called
	close(heard)
	got := slices.Sorted(func(yield func(string) bool) {
		for h := range heard {
			yield(h)
		}
	})
	if want := []string{"failed fails 2 true", "failed returns 2 true", "retry fails 1 true", "retry returns 1 true"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// A retried dead letter starts again on a worker while the handler of the last attempt still runs.
func TestRetryBesideOldAttempt(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	open := make(chan struct{})
	var calls atomic.Int32
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "deaf", func(ctx context.Context, _ int) (int, error) {
			if calls.Add(1) == 1 {
				<-open
			}
			return tasks.Attempt(ctx), nil
		})
	})
	t.Cleanup(func() { close(open) })
	id, err := tasks.Enqueue(ctx, c, "deaf", 1, tasks.Attempts(1), tasks.HardLimit(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a busy machine may miss the limit of the second attempt too
		await(t, c, "a dead letter", func(o tasks.Overview) bool { return o.Functions[0].Dead == 1 })
		if _, err := c.Retry(ctx, id); err != nil {
			t.Fatal(err)
		}
		if out, err := tasks.Attach[int](ctx, c, id); err == nil && out > 1 {
			return
		} else if calls.Load() < 2 {
			t.Fatalf("%d, %v, and the handler was not called again", out, err)
		}
	}
}
