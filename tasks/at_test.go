package tasks_test

import (
	"context"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// TestAt enqueues a task for later, which is delayed, and one for a past time, which starts at once.
// Its update is decoded by the client.
func TestAt(t *testing.T) {
	s, err := tasktest.Start("", "")
	if err != nil {
		t.Fatal(err)
	}
	c, ctx := dial(t, s.Address), within(t)
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "double", func(ctx context.Context, n int) (int, error) { return 2 * n, tasks.Send(ctx, n) })
	})
	later, err := tasks.Enqueue(ctx, c, "double", 1, tasks.At(time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	var sent []int
	n, err := tasks.Do[int](ctx, c, "double", 21, tasks.At(time.Now().Add(-time.Hour)), tasks.OnUpdate(func(u tasks.Update) {
		if u.Kind == tasks.KindData {
			v, err := tasks.Decode[int](u.Payload)
			if err != nil {
				t.Error(err)
			}
			sent = append(sent, v)
		}
	}))
	if err != nil || n != 42 || len(sent) != 1 || sent[0] != 21 {
		t.Errorf("double(21) = %d, %v, with updates %v; want 42, nil, [21]", n, err, sent)
	}
	st, err := c.Status(ctx, later)
	if err != nil || st.State != tasks.StateDelayed {
		t.Errorf("the task for later is %v, %v; want delayed", st.State, err)
	}
}
