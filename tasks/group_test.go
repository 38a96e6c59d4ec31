package tasks_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// holdable is a connection with answers that can be held back.
type holdable struct {
	net.Conn
	gate *gate
}

// gate holds back answers while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open; closed to break waiting connections
	conn []net.Conn
}

func (h holdable) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.gate.mu.Lock()
	shut := h.gate.shut
	h.gate.mu.Unlock()
	if shut != nil {
		<-shut
		return 0, net.ErrClosed
	}
	return n, err
}

func (g *gate) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = append(g.conn, c)
	return holdable{c, g}, nil
}

// during holds back answers while f runs, and then drops them.
func (g *gate) during(f func()) {
	g.mu.Lock()
	g.shut = make(chan struct{})
	g.mu.Unlock()
	f()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conn {
		_ = c.Close()
	}
	close(g.shut)
	g.shut = nil
}

// A task is added to a group once, even if the answer was lost and the client sent the request
// again.
func TestGroupAnswerLost(t *testing.T) {
	s, other := serve(t)
	g := &gate{}
	c, err := tasks.Dial(tasks.Cluster{Address: s.Address, Dial: g.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t)
	group, err := tasks.OpenGroup(ctx, c, tasks.Then("sum"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := tasks.AddToGroup(ctx, group, "same", []int{1})
	if err != nil {
		t.Fatal(err)
	}
	var ids []tasks.ID
	var added sync.WaitGroup
	g.during(func() {
		added.Go(func() {
			if ids, err = tasks.AddToGroup(ctx, group, "same", []int{10, 100}); err != nil {
				t.Error(err)
			}
		})
		await(t, other, "the tasks", func(o tasks.Overview) bool { return o.Totals.Waiting == 3 })
	})
	added.Wait()
	if err := group.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if all := append(slices.Clone(first), ids...); len(all) != 3 || all[0] == all[1] || all[1] == all[2] {
		t.Errorf("IDs %v and %v", first, ids)
	}
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "same", func(_ context.Context, n int) (int, error) { return n, nil })
		tasks.Handle(w, "sum", func(_ context.Context, all []int) (sum int, err error) {
			for _, n := range all {
				sum += n
			}
			return sum, nil
		})
	})
	if sum, err := tasks.Attach[int](ctx, c, group.ID()); sum != 111 || err != nil {
		t.Errorf("sum %d, %v, want 111", sum, err)
	}
}

// A task is enqueued once, even if the answer was lost and the client sent the request again.
func TestEnqueueAnswerLost(t *testing.T) {
	s, other := serve(t)
	g := &gate{}
	c, err := tasks.Dial(tasks.Cluster{Address: s.Address, Dial: g.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t)
	if _, err := c.Overview(ctx); err != nil { // connects
		t.Fatal(err)
	}
	var added sync.WaitGroup
	g.during(func() {
		added.Go(func() {
			if _, err := tasks.Enqueue(ctx, c, "once", "input"); err != nil {
				t.Error(err)
			}
		})
		await(t, other, "the task", func(o tasks.Overview) bool { return o.Totals.Waiting == 1 })
	})
	added.Wait()
	if o, err := other.Overview(ctx); err != nil || o.Totals.Submitted != 1 {
		t.Errorf("%d tasks after one call of Enqueue, %v", o.Totals.Submitted, err)
	}
}

// Attach gets the end of the last follower, at any time, also after a restart.
func TestAttachToWhatFollowed(t *testing.T) {
	dir := t.TempDir()
	s, err := tasktest.Start(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, c := within(t), dial(t, s.Address)
	hold, begun := make(chan struct{}), make(chan struct{}, 2)
	handle := func(w *tasks.Worker) {
		tasks.Handle(w, "upper", func(_ context.Context, in string) (string, error) { return strings.ToUpper(in), nil })
		tasks.Handle(w, "twice", func(_ context.Context, in string) (string, error) {
			begun <- struct{}{}
			<-hold
			return in + in, nil
		})
		tasks.Handle(w, "join", func(_ context.Context, in []string) (string, error) { return strings.Join(in, "+"), nil })
	}
	stop := work(t, s.Address, handle)
	chain, err := tasks.Enqueue(ctx, c, "upper", "a", tasks.Then("twice"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := tasks.OpenGroup(ctx, c, tasks.Then("join"))
	if err == nil {
		_, err = tasks.AddToGroup(ctx, g, "upper", []string{"x", "y"})
	}
	if err == nil {
		err = g.Close(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	empty, err := tasks.OpenGroup(ctx, c)
	if err == nil {
		err = empty.Close(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if out, err := tasks.Attach[string](ctx, c, chain); out != "AA" || err != nil {
			t.Errorf("the chain gave %q, %v", out, err)
		}
		if out, err := tasks.Attach[string](ctx, c, g.ID()); out != "X+Y" || err != nil {
			t.Errorf("the group gave %q, %v", out, err)
		}
		if _, err := tasks.Attach[[]byte](ctx, c, empty.ID()); err != nil {
			t.Errorf("the empty group: %v", err)
		}
	}
	<-begun // while it runs
	attached := make(chan struct{})
	go func() {
		defer close(attached)
		check()
	}()
	close(hold)
	<-attached
	check()
	stop()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s, err = tasktest.Start(dir, s.Address); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	check()
}

// A group is cancelled with its tasks.
func TestCancelGroup(t *testing.T) {
	_, c := serve(t)
	ctx := within(t)
	g, err := tasks.OpenGroup(ctx, c, tasks.Then("sum"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.AddToGroup(ctx, g, "nobody", []int{1, 2}); err != nil {
		t.Fatal(err)
	}
	if ids, err := c.Cancel(ctx, g.ID()); err != nil || len(ids) != 1 {
		t.Errorf("cancelled %v, %v", ids, err)
	}
	if _, err := tasks.Attach[int](ctx, c, g.ID()); !errors.Is(err, tasks.ErrCancelled) {
		t.Errorf("the group gave %v", err)
	}
	if o, err := c.Overview(ctx); err != nil || o.Totals.Cancelled != 2 {
		t.Errorf("%+v, %v", o.Totals, err)
	}
}

func TestGroupGoesOnWithoutSome(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "half", func(_ context.Context, n int) (int, error) {
			if n%2 == 1 {
				return 0, tasks.Fatal(errors.New("odd"))
			}
			return n / 2, nil
		})
		tasks.Handle(w, "sum", func(_ context.Context, all []int) (sum int, err error) {
			for _, n := range all {
				sum += n
			}
			return sum, nil
		})
	})
	ctx := within(t)
	for _, tt := range []struct {
		option tasks.Option
		want   int
		err    error
	}{{tasks.Partial(), 1 + 2, nil}, {nil, 0, tasks.ErrFailed}} {
		g, err := tasks.OpenGroup(ctx, c, tasks.Then("sum"), tt.option)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tasks.AddToGroup(ctx, g, "half", []int{2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if sum, err := tasks.Attach[int](ctx, c, g.ID()); sum != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v: %d, %v, want %d, %v", tt.option != nil, sum, err, tt.want, tt.err)
		}
	}
}

// A group whose results are too large together fails with the size, before its last task ends.
func TestGroupTooLarge(t *testing.T) {
	s, c := serve(t)
	release := make(chan struct{})
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "make", func(ctx context.Context, mib int) ([]byte, error) {
			if mib == 0 {
				<-release
			}
			return make([]byte, mib<<20), nil
		})
		tasks.Handle(w, "join", func(_ context.Context, all [][]byte) (int, error) { return len(all), nil })
	})
	defer close(release)
	ctx := within(t)
	g, err := tasks.OpenGroup(ctx, c, tasks.Then("join"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.AddToGroup(ctx, g, "make", []int{40, 0, 40}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	const want = "the results of the group have 83886"
	_, err = tasks.Attach[int](ctx, c, g.ID())
	if !errors.Is(err, tasks.ErrFailed) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the limit is 67108864") {
		t.Errorf("%v, want it to say %s", err, want)
	}
	dead, err := c.Dead(ctx, "join", 10)
	if len(dead) != 1 || !strings.Contains(dead[0].Error, want) || err != nil {
		t.Errorf("%+v, %v", dead, err)
	}
	if ids, err := c.RetryAll(ctx, "join"); len(ids) != 0 || err != nil {
		t.Errorf("retried %v without an input, %v", ids, err)
	}
}
