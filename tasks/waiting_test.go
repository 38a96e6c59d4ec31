package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"github.com/layshaft/layshaft/tasks"
)

// bubble runs f in fake time with the address of a coordinator.
func bubble(t *testing.T, f func(t *testing.T, cluster tasks.Cluster), options ...grpc.ServerOption) {
	synctest.Test(t, func(t *testing.T) {
		s, err := taskserver.Open(taskserver.Config{})
		if err != nil {
			t.Fatal(err)
		}
		l := bufconn.Listen(1 << 20)
		server := grpc.NewServer(append(wire.ServerOptions(slog.New(slog.DiscardHandler), nil), options...)...)
		s.Register(server)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- s.Run(ctx) }()
		go func() { ended <- server.Serve(l) }()
		f(t, tasks.Cluster{Dial: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
		cancel()
		server.Stop()
		if err := errors.Join(<-ended, <-ended, s.Close()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // for the timers of connections
	})
}

// Who waits is told for what, and an error at the end has the reason.
func TestWaitingIsExplained(t *testing.T) {
	bubble(t, func(t *testing.T, cluster tasks.Cluster) {
		ctx := t.Context()
		c, err := tasks.Dial(cluster)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := errors.Join(c.Pause(ctx, "paused"), c.SetLimits(ctx, "needy", tasks.Limits{Needs: map[string]int{"pg": 2}})); err != nil {
			t.Fatal(err)
		}
		w := tasks.NewWorker(cluster)
		w.Concurrency = 1
		for _, f := range []string{"paused", "needy", "busy"} {
			tasks.Handle(w, f, func(ctx context.Context, d time.Duration) (int, error) {
				time.Sleep(d)
				return 1, nil
			})
		}
		working, leave := context.WithCancel(ctx)
		left := make(chan error, 1)
		go func() { left <- w.Run(working) }()
		synctest.Wait()
		later, err := tasks.Enqueue(ctx, c, "busy", 0, tasks.After(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		group, err := tasks.OpenGroup(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		attach := func(id tasks.ID) func(context.Context, string, ...tasks.Option) error {
			return func(ctx context.Context, _ string, o ...tasks.Option) error {
				_, err := tasks.Attach[int](ctx, c, id, o...)
				return err
			}
		}
		do := func(ctx context.Context, f string, o ...tasks.Option) error {
			_, err := tasks.Do[int](ctx, c, f, time.Minute, o...)
			return err
		}
		scatter := func(ctx context.Context, f string, o ...tasks.Option) (err error) {
			for r := range tasks.Scatter[int](ctx, c, f, []time.Duration{0, 0}, o...) {
				err = r.Err
			}
			return err
		}
		for _, tt := range []struct {
			call     func(context.Context, string, ...tasks.Option) error
			function string
			want     string
		}{
			{do, "nobody", "no worker can run function nobody; start one, such as: layshaft task work -function nobody"},
			{scatter, "nobody", "no worker can run function nobody"},
			{do, "paused", "function paused is paused: layshaft task resume paused"},
			{do, "needy", "function needy needs 2 of budget pg, which has size 0: layshaft task budget pg 2"},
			{attach(later), "busy", "it is not due before 2000-01-01 01:00:00Z: layshaft task run-now " + later.String()},
			{attach(group.ID()), "group", "the group is open"},
		} {
			// The error after the end of the context, without updates and with them.
			for _, limit := range []time.Duration{4 * time.Second, 300 * time.Millisecond} {
				for _, own := range [][]tasks.Option{nil, {tasks.OnUpdate(func(tasks.Update) {})}} {
					within, cancel := context.WithTimeout(ctx, limit)
					begun := time.Now()
					if err := tt.call(within, tt.function, own...); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%s within %v: %v, want it to say %q", tt.function, limit, err, tt.want)
					}
					if took := time.Since(begun); took != limit {
						t.Errorf("%s within %v took %v", tt.function, limit, took)
					}
					cancel()
				}
			}
			// The update comes once, after two seconds.
			var heard []string
			begun := time.Now()
			_ = tt.call(ctx, tt.function, tasks.Deadline(10*time.Second), tasks.OnUpdate(func(u tasks.Update) {
				if u.Kind == tasks.KindWaiting {
					heard = append(heard, string(u.Payload))
					if d := time.Since(begun).Round(time.Second); d != 2*time.Second {
						t.Errorf("%s: told after %v", tt.function, d)
					}
				}
			}))
			if len(heard) != 1 || !strings.Contains(heard[0], tt.want) {
				t.Errorf("%s: %q, want %q once", tt.function, heard, tt.want)
			}
		}
		// A task that started meanwhile does not give the reason any longer.
		first := make(chan error, 1)
		go func() { first <- do(ctx, "busy") }()
		synctest.Wait()
		if err := do(ctx, "busy", tasks.Deadline(5*time.Second)); !strings.Contains(err.Error(), "all workers of function busy are busy") {
			t.Errorf("a busy worker: %v", err)
		}
		if err := do(ctx, "busy", tasks.Deadline(90*time.Second)); err == nil || strings.Contains(err.Error(), "busy are busy") {
			t.Errorf("a task that runs: %v", err)
		}
		time.Sleep(time.Minute) // the worker is free again
		if err := do(ctx, "busy", tasks.Deadline(300*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "has not started") {
			t.Errorf("a task that runs past a short deadline: %v", err)
		}
		time.Sleep(time.Minute)
		leave()
		if err := errors.Join(<-first, <-left); err != nil {
			t.Error(err)
		}
	})
}

// A handler that ignores its hard limit holds up its caller no longer than that, and is named in the
// log.
func TestHandlerIgnoresItsLimit(t *testing.T) {
	bubble(t, func(t *testing.T, cluster tasks.Cluster) {
		c, err := tasks.Dial(cluster)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var log bytes.Buffer
		cluster.Log = slog.New(slog.NewTextHandler(&log, nil))
		w := tasks.NewWorker(cluster)
		release := make(chan struct{})
		tasks.Handle(w, "deaf", func(context.Context, int) (int, error) {
			<-release
			return 1, nil
		})
		tasks.Handle(w, "listens", func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		working, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- w.Run(working) }()
		for _, f := range []string{"deaf", "listens"} {
			begun := time.Now()
			_, err = tasks.Do[int](t.Context(), c, f, 1, tasks.Attempts(1), tasks.HardLimit(time.Second))
			if took := time.Since(begun); !errors.Is(err, tasks.ErrTimedOut) || took > 2*time.Second {
				t.Errorf("%s: %v after %v", f, err, took)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		const want = `msg="a handler ignores the end of its context: its slot stays in use until it returns" function=`
		if got := log.String(); strings.Count(got, want) != 1 || !strings.Contains(got, want+"deaf") {
			t.Errorf("log %s", got)
		}
		close(release)
		leave()
		if err := <-left; err != nil {
			t.Error(err)
		}
	})
}

// A coordinator that is away is named after a second, and in the error.
func TestCoordinatorAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		begun := time.Now()
		c, err := tasks.Dial(tasks.Cluster{
			Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody listens") },
			OnWait: func(why string) {
				told = append(told, why)
				if d := time.Since(begun); d < time.Second || d > 3*time.Second {
					t.Errorf("told after %v", d)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		const want = "coordinator 127.0.0.1:7070 cannot be reached"
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if _, err := tasks.Do[int](ctx, c, "f", 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nobody listens") {
			t.Errorf("%v, want it to say %s", err, want)
		}
		if len(told) != 1 || !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("told %q", told)
		}
		_ = c.Close()
		time.Sleep(time.Minute)
	})
}

// OpenGroup opens one group, although the answer to its first request is lost.
func TestLostAnswerOfGroup(t *testing.T) {
	var opened []uint64
	lose := grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		out, err := handle(ctx, r)
		if g, ok := out.(*tasksv1.OpenGroupResponse); ok {
			if opened = append(opened, g.GetGroup()); len(opened) == 1 {
				return nil, status.Error(codes.Unavailable, "the connection broke")
			}
		}
		return out, err
	})
	bubble(t, func(t *testing.T, cluster tasks.Cluster) {
		c, err := tasks.Dial(cluster)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		g, err := tasks.OpenGroup(t.Context(), c)
		if err != nil || len(opened) != 2 || opened[0] != opened[1] || uint64(g.ID()) != opened[0] {
			t.Errorf("groups %x, want one: %v", opened, err)
		}
	}, lose)
}

// The text of a task's error is safe for a terminal; its fields are as they came.
func TestErrorEscapes(t *testing.T) {
	err := &tasks.Error{ID: 1, Function: "f\x1b[31m", Reason: tasks.ErrFailed, Message: "bad\x1b[2J\xe9\nline 2"}
	if got, want := err.Error(), `task f\x1b[31m 1: `+tasks.ErrFailed.Error()+`: bad\x1b[2J\xe9`+"\nline 2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A worker that cannot reach its coordinator reports that once, after two seconds.
func TestWorkerReportsMissingCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards reports
		var reports []string
		reported := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(reports)
		}
		onWait := func(why string) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, why)
		}
		cluster := tasks.Cluster{Address: "nowhere:1", OnWait: onWait,
			Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") }}
		w := tasks.NewWorker(cluster)
		w.Name = "lonely"
		tasks.Handle(w, "f", func(context.Context, int) (int, error) { return 1, nil })
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- w.Run(ctx) }()
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{time.Second, 0}, {12 * time.Second, 1}, {time.Minute, 1}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if said := reported(); len(said) != step.want {
				t.Errorf("after %v more: reports %q, want %d", step.wait, said, step.want)
			}
		}
		if said := reported(); len(said) > 0 && (!strings.Contains(said[0], "worker lonely") || !strings.Contains(said[0], "nobody is there")) {
			t.Errorf("the report %q lacks the worker or the reason", said[0])
		}
		leave()
		if err := <-left; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // for the timers of connections
	})
}
