package tasks_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// patience limits the wait of tests for expected events.
const patience = 2 * time.Minute

// serve starts a server and returns a client for it.
func serve(t testing.TB) (*tasktest.Server, *tasks.Client) {
	t.Helper()
	s, err := tasktest.Start("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s, dial(t, s.Address)
}

func dial(t testing.TB, address string) *tasks.Client {
	t.Helper()
	c, err := tasks.Dial(tasks.Cluster{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// work runs a worker, set up by prepare, until the test ends or stop is called. An error of the
// worker fails the test.
func work(t testing.TB, address string, prepare func(w *tasks.Worker)) (stop func()) {
	t.Helper()
	w := tasks.NewWorker(tasks.Cluster{Address: address})
	w.Concurrency = 4
	prepare(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("worker: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// within returns a context that ends after patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits until ok is true for an overview.
func await(t testing.TB, c *tasks.Client, what string, ok func(tasks.Overview) bool) {
	t.Helper()
	for o, err := range c.Watch(within(t)) {
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		if ok(o) {
			return
		}
	}
}
