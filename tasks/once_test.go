package tasks_test

import (
	"context"
	"errors"
	"testing"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// TestOnce submits work with one key again and again: while its task waits, after its end, and
// after a restart of the coordinator.
func TestOnce(t *testing.T) {
	dir := t.TempDir()
	s, err := tasktest.Start(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, c := within(t), dial(t, s.Address)
	enqueue := func(function, key string) tasks.ID {
		t.Helper()
		id, err := tasks.Enqueue(ctx, c, function, key, tasks.Once(key))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := enqueue("letter", "Ann")
	if again := enqueue("letter", "Ann"); again != first {
		t.Errorf("task %v, want %v", again, first)
	}
	if enqueue("letter", "Ben") == first || enqueue("parcel", "Ann") == first {
		t.Error("another key or function gave the same task")
	}
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "letter", func(_ context.Context, in string) (string, error) { return in, nil })
	})
	if _, err := tasks.Attach[string](ctx, c, first); err != nil {
		t.Fatal(err)
	}
	if again := enqueue("letter", "Ann"); again != first {
		t.Errorf("after the end: task %v, want %v", again, first)
	}
	s.Stop()
	if s, err = tasktest.Start(dir, s.Address); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if again := enqueue("letter", "Ann"); again != first {
		t.Errorf("after a restart: task %v, want %v", again, first)
	}
	if _, err := tasks.Do[string](ctx, c, "letter", "Ann", tasks.Once("Ann")); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("Do: %v", err)
	}
	if _, err := tasks.EnqueueAll(ctx, c, "letter", []string{"Ann"}, tasks.Once("Ann")); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("EnqueueAll: %v", err)
	}
}
