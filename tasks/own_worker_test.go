package tasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/tasks"
)

// A handler that calls functions of its own worker, deeper than the worker has slots, gets results.
func TestCallOfOwnWorker(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 1
		tasks.Handle(w, "depth", func(ctx context.Context, n int) (int, error) {
			if n == 0 {
				return 0, nil
			}
			if n == 3 {
				sum := 0
				for r := range tasks.Scatter[int](ctx, c, "depth", []int{2, 1, 0}) {
					if r.Err != nil {
						return 0, r.Err
					}
					sum += r.Value
				}
				return sum + 1, nil
			}
			below, err := tasks.Do[int](ctx, c, "depth", n-1)
			return below + 1, err
		})
	})
	if n, err := tasks.Do[int](within(t), c, "depth", 20); n != 21 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// A call that its own callers hold back, by the limit of a function or by a budget, fails with words.
func TestCallHeldBack(t *testing.T) {
	s, c := serve(t)
	ctx := within(t)
	if err := errors.Join(c.SetLimits(ctx, "one", tasks.Limits{Concurrency: 1}), c.SetBudget(ctx, "pg", 1), c.SetLimits(ctx, "needy", tasks.Limits{Needs: map[string]int{"pg": 1}})); err != nil {
		t.Fatal(err)
	}
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 4
		for _, f := range []string{"one", "needy"} {
			tasks.Handle(w, f, func(ctx context.Context, n int) (int, error) {
				if n == 0 {
					return 0, nil
				}
				return tasks.Do[int](ctx, c, f, n-1)
			})
		}
	})
	for _, f := range []string{"one", "needy"} {
		if _, err := tasks.Do[int](ctx, c, f, 1, tasks.Attempts(1)); err == nil || !strings.Contains(err.Error(), "the call waits for itself") || !strings.Contains(err.Error(), "layshaft task limit") {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := tasks.Do[int](ctx, c, f, 0); err != nil {
			t.Errorf("%s afterwards: %v", f, err)
		}
	}
}

// A handler with one slot may also wait for a task submitted earlier, for a group, and with a program
// that passes its ID. It cannot wait for itself.
func TestWaitInHandler(t *testing.T) {
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 1
		tasks.Handle(w, "half", func(_ context.Context, n int) (int, error) { return n / 2, nil })
		tasks.Handle(w, "sum", func(_ context.Context, all []int) (int, error) { return all[0] + all[1], nil })
		tasks.Handle(w, "attach", func(ctx context.Context, n int) (int, error) {
			id, err := tasks.Enqueue(ctx, c, "half", n)
			if err != nil {
				return 0, err
			}
			return tasks.Attach[int](ctx, c, id)
		})
		tasks.Handle(w, "group", func(ctx context.Context, n int) (int, error) {
			g, err := tasks.OpenGroup(ctx, c, tasks.Then("sum"))
			if err != nil {
				return 0, err
			}
			if _, err := tasks.AddToGroup(ctx, g, "half", []int{n, n}); err != nil {
				return 0, err
			}
			if err := g.Close(ctx); err != nil {
				return 0, err
			}
			return tasks.Attach[int](ctx, c, g.ID())
		})
		tasks.Handle(w, "program", func(ctx context.Context, n int) (int, error) {
			return tasks.Do[int](context.Background(), c, "half", n, tasks.CalledBy(tasks.TaskID(ctx)))
		})
		tasks.Handle(w, "itself", func(ctx context.Context, _ int) (int, error) {
			return tasks.Attach[int](ctx, c, tasks.TaskID(ctx))
		})
		tasks.Handle(w, "join", func(ctx context.Context, n int) (int, error) {
			return tasks.Do[int](ctx, c, "join", n, tasks.Unique("one"))
		})
	})
	for function, want := range map[string]int{"attach": 4, "group": 8, "program": 4} {
		if n, err := tasks.Do[int](within(t), c, function, 8); n != want || err != nil {
			t.Errorf("%s: %d, %v", function, n, err)
		}
	}
	for _, function := range []string{"itself", "join"} {
		if _, err := tasks.Do[int](within(t), c, function, 8, tasks.Unique("one"), tasks.Attempts(1)); err == nil || !strings.Contains(err.Error(), "the task of this handler would wait for itself") {
			t.Errorf("%s: %v", function, err)
		}
	}
}
