package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// movable is a coordinator that can move to another address with its data.
type movable struct {
	t         *testing.T
	dir       string
	addresses []string
	at        int
	server    *tasktest.Server
}

// startMovable starts a coordinator at the second of three addresses.
func startMovable(t *testing.T) *movable {
	m := &movable{t: t, dir: t.TempDir(), addresses: []string{porttest.Free(t), porttest.Free(t), porttest.Free(t)}}
	m.start(1)
	t.Cleanup(m.stop)
	return m
}

func (m *movable) start(at int) {
	m.t.Helper()
	var err error
	if m.server, err = tasktest.Start(m.dir, m.addresses[at]); err != nil {
		m.t.Fatal(err)
	}
	m.at = at
}

func (m *movable) stop() {
	if err := m.server.Stop(); err != nil {
		m.t.Error(err)
	}
}

// move stops the coordinator and starts it at the next address.
func (m *movable) move() {
	m.t.Helper()
	m.stop()
	m.start((m.at + 1) % len(m.addresses))
}

func (m *movable) list() string { return strings.Join(m.addresses, ",") }

// Everything that waits goes on when the coordinator moves to another address of the list, as often
// as that happens.
func TestCoordinatorMoves(t *testing.T) {
	m := startMovable(t)
	c, ctx := dial(t, m.list()), within(t)
	begun, open := make(chan string, 100), make(chan struct{})
	work(t, m.list(), func(w *tasks.Worker) {
		w.Concurrency = 20
		tasks.Handle(w, "slow", func(ctx context.Context, in string) (string, error) {
			begun <- in
			select {
			case <-open:
				return in + " done", nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})
		tasks.HandleBatch(w, "batch", func(ctx context.Context, in []string) ([]string, error) {
			begun <- "batch"
			<-open
			return in, nil
		}, tasks.BatchSize(2), tasks.BatchWait(patience))
	})
	id, err := tasks.Enqueue(ctx, c, "slow", "queued")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := tasks.EnqueueAll(ctx, c, "batch", []string{"b0", "b1"})
	if err != nil {
		t.Fatal(err)
	}
	var waits sync.WaitGroup
	var mu sync.Mutex
	got := map[string]string{}
	wait := func(what string, f func() (string, error)) {
		waits.Go(func() {
			out, err := f()
			mu.Lock()
			defer mu.Unlock()
			got[what] = fmt.Sprint(out, err)
		})
	}
	wait("do", func() (string, error) { return tasks.Do[string](ctx, c, "slow", "called") })
	wait("attach", func() (string, error) { return tasks.Attach[string](ctx, c, id) })
	wait("updates", func() (string, error) {
		return tasks.Do[string](ctx, c, "slow", "updated", tasks.OnUpdate(func(tasks.Update) {}))
	})
	wait("scatter", func() (string, error) {
		var all []string
		for r := range tasks.Scatter[string](ctx, c, "slow", []string{"s0", "s1"}) {
			all = append(all, r.Value+fmt.Sprint(r.Err))
		}
		slices.Sort(all)
		return strings.Join(all, ","), nil
	})
	// receive takes the starts of attempts.
	receive := func(want ...string) {
		t.Helper()
		left := map[string]bool{}
		for _, w := range want {
			left[w] = true
		}
		for len(left) > 0 {
			select {
			case in := <-begun:
				if !left[in] {
					t.Errorf("%q runs, want only %v", in, slices.Sorted(maps.Keys(left)))
				}
				delete(left, in)
			case <-ctx.Done():
				t.Fatalf("%v did not start", left)
			}
		}
	}
	receive("queued", "batch", "called", "updated", "s0", "s1")
	for range 3 { // around the list: what is on disk runs on, calls are made again
		m.move()
		receive("called", "updated", "s0", "s1")
	}
	close(open)
	for i, id := range batch {
		if out, err := tasks.Attach[string](ctx, c, id); out != fmt.Sprint("b", i) || err != nil {
			t.Errorf("batch: %q, %v", out, err)
		}
	}
	waits.Wait()
	want := map[string]string{"do": "called done<nil>", "attach": "queued done<nil>", "updates": "updated done<nil>", "scatter": "s0 done<nil>,s1 done<nil><nil>"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A task whose answer was lost in the move is enqueued once.
func TestEnqueueWhileMoving(t *testing.T) {
	m := startMovable(t)
	other, ctx := dial(t, m.list()), within(t)
	g := &gate{}
	c, err := tasks.Dial(tasks.Cluster{Address: m.list(), Dial: g.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Overview(ctx); err != nil { // connects
		t.Fatal(err)
	}
	var added sync.WaitGroup
	ids := make([]tasks.ID, 3)
	g.during(func() {
		added.Go(func() {
			id, err := tasks.Enqueue(ctx, c, "once", "input")
			if ids[0] = id; err != nil {
				t.Error(err)
			}
		})
		added.Go(func() {
			both, err := tasks.EnqueueAll(ctx, c, "once", []string{"a", "b"})
			if copy(ids[1:], both); err != nil {
				t.Error(err)
			}
		})
		await(t, other, "the tasks", func(o tasks.Overview) bool { return o.Totals.Waiting == 3 })
		m.move()
	})
	added.Wait()
	if o, err := other.Overview(ctx); err != nil || o.Totals.Waiting != 3 {
		t.Errorf("%d tasks wait, %v, want 3", o.Totals.Waiting, err)
	}
	for _, id := range ids {
		if _, err := c.Status(ctx, id); err != nil {
			t.Errorf("task %v: %v", id, err)
		}
	}
}

// The error of a client without any coordinator names all addresses with their reasons.
func TestNoneOfSeveral(t *testing.T) {
	first, second := porttest.Free(t), porttest.Free(t)
	c, err := tasks.Dial(tasks.Cluster{Address: first + ", " + second, Connect: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = tasks.Do[int](within(t), c, "f", 1)
	for _, want := range []string{"no coordinator can be reached", first + ": connect: connection refused", second + ": connect: connection refused"} {
		if !errors.Is(err, tasks.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrUnavailable with %q", err, want)
		}
	}
	for address, want := range map[string]string{"c1:7070,c2": `Address of the cluster: "c2" in "c1:7070,c2" is not HOST:PORT`, ",": "not HOST:PORT"} {
		if _, err := tasks.Dial(tasks.Cluster{Address: address}); !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ErrInvalid with %q", address, err, want)
		}
	}
}

// logLine is a log that sends the first line with a text.
type logLine struct {
	text  string
	found chan string
}

func (l *logLine) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.text) {
		select {
		case l.found <- string(b):
		default:
		}
	}
	return len(b), nil
}

// A worker keeps its tasks while a coordinator of another cluster, such as one that has lost its
// data, stands in the place of its own. A worker without tasks joins it, and says so.
func TestStrangeCoordinator(t *testing.T) {
	address, dir, ctx := porttest.Free(t), t.TempDir(), within(t)
	start := func(cluster, dir string) (stop func()) {
		t.Helper()
		s, err := tasktest.StartCluster(cluster, dir, address)
		if err != nil {
			t.Fatal(err)
		}
		stop = sync.OnceFunc(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(stop)
		return stop
	}
	stop := start("own", dir)
	c := dial(t, address)
	begun, open := make(chan string, 10), make(chan struct{})
	log := &logLine{text: "refused; the worker keeps its tasks", found: make(chan string, 1)}
	slow := func(w *tasks.Worker) {
		tasks.Handle(w, "slow", func(_ context.Context, in string) (string, error) {
			begun <- in
			<-open
			return in + " done", nil
		})
	}
	holding := tasks.NewWorker(tasks.Cluster{Address: address, Log: slog.New(slog.NewTextHandler(log, nil))})
	slow(holding)
	ended := make(chan error, 1)
	running, end := context.WithCancel(ctx)
	go func() { ended <- holding.Run(running) }()
	changed := &logLine{text: "is of another cluster than before", found: make(chan string, 1)}
	idle := tasks.NewWorker(tasks.Cluster{Address: address, Log: slog.New(slog.NewTextHandler(changed, nil))})
	tasks.Handle(idle, "idle", func(_ context.Context, in string) (string, error) { return in, nil })
	idled := make(chan error, 1)
	go func() { idled <- idle.Run(running) }()
	for o, err := range c.Watch(ctx) { // it gets no task, since one whose end is on its way counts as held
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(o.Functions, func(f tasks.Function) bool { return f.Name == "idle" && f.Workers == 1 }) {
			break
		}
	}
	id, err := tasks.Enqueue(ctx, c, "slow", "held")
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	stop = start("other", "")
	select {
	case line := <-log.found:
		if !strings.Contains(line, "has tasks of cluster own, this is other") {
			t.Errorf("the log says %s", line)
		}
	case <-ctx.Done():
		t.Fatal("the worker was not refused")
	}
	select {
	case line := <-changed.found:
		if !strings.Contains(line, "cluster=other former=own") {
			t.Errorf("the log says %s", line)
		}
	case <-ctx.Done():
		t.Fatal("the idle worker joined silently")
	}
	work(t, address, func(w *tasks.Worker) {
		tasks.Handle(w, "quick", func(_ context.Context, in string) (string, error) { return in, nil })
	})
	if out, err := tasks.Do[string](ctx, c, "quick", "here"); out != "here" || err != nil {
		t.Errorf("at the other cluster: %q, %v", out, err)
	}
	if ws, err := c.Workers(ctx); err != nil || len(ws) != 2 {
		t.Errorf("%d workers joined the other cluster, %v, want the two without tasks", len(ws), err)
	}
	stop()
	close(open) // it ends while nobody can be told
	start("own", dir)
	if out, err := tasks.Attach[string](ctx, c, id); out != "held done" || err != nil || len(begun) > 0 {
		t.Errorf("%q, %v, and %d more runs", out, err, len(begun))
	}
	end()
	if err := errors.Join(<-ended, <-idled); err != nil {
		t.Error(err)
	}
}
