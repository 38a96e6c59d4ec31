package tasks_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// After a restart of the coordinator, partial results are repeated. An attached client is notified
// of the retry once.
func TestAttachTellsOfRetry(t *testing.T) {
	dir := t.TempDir()
	s, err := tasktest.Start(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.Address)
	var again atomic.Bool
	attached, reattached := make(chan struct{}), make(chan struct{})
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "chunks", func(ctx context.Context, n int) (string, error) {
			<-attached
			second := again.Load()
			if second {
				<-reattached
			}
			for i := range n {
				if i == 2 && !second {
					<-ctx.Done()
					return "", context.Cause(ctx)
				}
				if err := tasks.Send(ctx, fmt.Sprint(i)); err != nil {
					return "", err
				}
			}
			return "EOD", nil
		})
	})
	id, err := tasks.Enqueue(within(t), c, "chunks", 3, tasks.Backoff(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	two := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		out, err := tasks.Attach[string](within(t), c, id, tasks.OnUpdate(func(u tasks.Update) {
			switch u.Kind {
			case tasks.KindData:
				if told = append(told, string(u.Payload)); len(told) == 2 {
					close(two)
				}
			case tasks.KindRetry:
				told = append(told, "retry")
			}
		}))
		told = append(told, out)
		ended <- err
	}()
	open := func(gate chan struct{}) {
		t.Helper()
		for len(ended) == 0 {
			if st, err := c.Status(within(t), id); err != nil {
				t.Fatal(err)
			} else if st.Waiters == 1 {
				close(gate)
				return
			}
		}
		err := <-ended
		t.Fatalf("the client ended with %q: %v", told, err)
	}
	open(attached)
	select {
	case <-two:
	case err := <-ended:
		t.Fatal(err)
	}
	again.Store(true)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s, err = tasktest.Start(dir, s.Address); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	open(reattached)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if want := []string{"0", "1", "retry", "0", "1", "2", "EOD"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
