package tasks_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/tasks"
)

// holdable is a connection whose answers can be held back.
type holdable struct {
	net.Conn
	gate *gate
}

// gate holds answers back while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while it is open; closed to break connections that wait
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

// during holds answers back while f runs, and then loses them.
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

// A task is added to a group once, though the answer was lost and the client asked again.
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
