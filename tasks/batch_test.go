package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// Tasks that arrive together are handled together, up to the batch size, and each gets its own
// result.
func TestBatch(t *testing.T) {
	s, c := serve(t)
	var mu sync.Mutex
	var sizes []int
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 0
		tasks.HandleBatch(w, "double", func(_ context.Context, in []int) ([]int, error) {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(in))
			out := make([]int, len(in))
			for i, n := range in {
				out[i] = 2 * n
			}
			return out, nil
		}, tasks.BatchSize(20), tasks.BatchWait(200*time.Millisecond))
	})
	inputs := make([]int, 200)
	for i := range inputs {
		inputs[i] = i
	}
	for r := range tasks.Scatter[int](within(t), c, "double", inputs) {
		if r.Err != nil || r.Value != 2*r.Index {
			t.Errorf("%d: %d, %v", r.Index, r.Value, r.Err)
		}
	}
	sum := 0
	for _, n := range sizes {
		sum += n
	}
	if sum != 200 || slices.Max(sizes) != 20 || len(sizes) > 20 {
		t.Errorf("batches of %v", sizes)
	}
	// A single task does not wait without limit.
	if out, err := tasks.Do[int](within(t), c, "double", 21); out != 42 || err != nil {
		t.Errorf("alone: %d, %v", out, err)
	}
}

// batchOf runs n tasks in one batch: the handler is called when all have arrived.
func batchOf[Out any](t *testing.T, n int, options []tasks.Option, f func(ctx context.Context, in []string) ([]Out, error), more ...func(*tasks.Worker)) (*tasks.Client, []tasks.ID) {
	t.Helper()
	s, c := serve(t)
	work(t, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 2 * n
		tasks.HandleBatch(w, "f", f, tasks.BatchSize(n), tasks.BatchWait(patience))
		for _, m := range more {
			m(w)
		}
	})
	inputs := make([]string, n)
	for i := range inputs {
		inputs[i] = fmt.Sprint(i)
	}
	ids, err := tasks.EnqueueAll(within(t), c, "f", inputs, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c, ids
}

// Each task of a batch fails, is retried and ends on its own.
func TestBatchItemErrors(t *testing.T) {
	var calls atomic.Int32
	options := []tasks.Option{tasks.Attempts(2), tasks.Backoff(time.Millisecond, 0)}
	c, ids := batchOf(t, 4, options, func(ctx context.Context, in []string) ([]string, error) {
		if calls.Add(1) == 1 {
			// The order is random: 1 fails for good, 2 is retried, the others succeed, inside or
			// beyond the list.
			each := make(tasks.ItemErrors, max(slices.Index(in, "1"), slices.Index(in, "2"))+1)
			each[slices.Index(in, "1")], each[slices.Index(in, "2")] = tasks.Fatal(errors.New("never")), errors.New("not yet")
			return in, each
		}
		if len(in) != 1 || in[0] != "2" || tasks.Attempt(tasks.Item(ctx, 0)) != 2 {
			t.Errorf("tried again: %v, attempt %d", in, tasks.Attempt(tasks.Item(ctx, 0)))
		}
		return in, nil
	})
	for i, want := range []string{"0", "", "2", "3"} {
		out, err := tasks.Attach[string](within(t), c, ids[i])
		if out != want || (err != nil) != (i == 1) {
			t.Errorf("task %d: %q, %v", i, out, err)
		}
		if i == 1 && err != nil && !strings.Contains(err.Error(), "never") {
			t.Errorf("task 1: %v", err)
		}
	}
}

// An input that breaks whole batches does not make other tasks fail: last attempts run one by one.
func TestBatchPoison(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("the batch failed") },
		"panic": func() error { panic("the batch failed") },
	} {
		t.Run(name, func(t *testing.T) {
			c, ids := batchOf(t, 5, []tasks.Option{tasks.Attempts(2), tasks.Backoff(time.Millisecond, 0)}, func(_ context.Context, in []string) ([]string, error) {
				if slices.Contains(in, "3") {
					return nil, fail()
				}
				return in, nil
			})
			for i, id := range ids {
				out, err := tasks.Attach[string](within(t), c, id)
				if i != 3 && (err != nil || out != fmt.Sprint(i)) || i == 3 && (err == nil || !strings.Contains(err.Error(), "the batch failed")) {
					t.Errorf("task %d: %q, %v", i, out, err)
				}
			}
		})
	}
}

// A task of a batch can be cancelled alone; the batch is cancelled with its last task.
func TestBatchCancel(t *testing.T) {
	begun := make(chan context.Context, 1)
	single := make(chan struct{})
	c, ids := batchOf(t, 3, nil, func(ctx context.Context, in []string) ([]string, error) {
		if err := tasks.Send(ctx, "whose?"); !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(err.Error(), "Item") {
			t.Errorf("Send with the context of the batch: %v", err)
		}
		if err := tasks.Progress(tasks.Item(ctx, slices.Index(in, "2")), 1, 3); err != nil {
			t.Error(err)
		}
		begun <- ctx
		<-tasks.Item(ctx, slices.Index(in, "0")).Done()
		if err := ctx.Err(); err != nil {
			t.Errorf("one of three was cancelled, and the batch too: %v", err)
		}
		close(single)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	<-begun
	if _, err := c.Cancel(within(t), ids[0]); err != nil {
		t.Fatal(err)
	}
	<-single
	for { // progress does not trigger Watch
		if st, err := c.Status(within(t), ids[2]); err != nil {
			t.Fatal(err)
		} else if st.N == 1 && st.M == 3 {
			break
		}
	}
	if _, err := c.Cancel(within(t), ids[1:]...); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := tasks.Attach[string](within(t), c, id); !errors.Is(err, tasks.ErrCancelled) {
			t.Errorf("task %s: %v", id, err)
		}
	}
}

func TestBatchOfWrongLength(t *testing.T) {
	c, ids := batchOf(t, 3, nil, func(context.Context, []string) ([]string, error) { return []string{"one"}, nil })
	for _, id := range ids {
		if _, err := tasks.Attach[string](within(t), c, id); err == nil || !strings.Contains(err.Error(), "returned 1 result for 3 inputs") {
			t.Errorf("task %s: %v", id, err)
		}
	}
}

func TestBatchOptions(t *testing.T) {
	f := func(_ context.Context, in []int) ([]int, error) { return in, nil }
	one := func(_ context.Context, in int) (int, error) { return in, nil }
	for want, prepare := range map[string]func(w *tasks.Worker){
		"BatchSize -1":    func(w *tasks.Worker) { tasks.HandleBatch(w, "f", f, tasks.BatchSize(-1)) },
		"BatchWait -1ns":  func(w *tasks.Worker) { tasks.HandleBatch(w, "f", f, tasks.BatchWait(-1)) },
		"for HandleBatch": func(w *tasks.Worker) { tasks.Handle(w, "f", one, tasks.BatchSize(3)) },
		"handlers take only the option HardLimit":    func(w *tasks.Worker) { tasks.HandleBatch(w, "f", f, tasks.Low) },
		"f has no handler":                           func(w *tasks.Worker) { tasks.HandleBatch[int, int](w, "f", nil) },
		"batch handlers BatchSize and BatchWait too": func(w *tasks.Worker) { tasks.Handle(w, "f", one, tasks.Attempts(3)) },
	} {
		w := tasks.NewWorker(tasks.Cluster{Address: "127.0.0.1:1"})
		prepare(w)
		if err := w.Run(within(t)); !errors.Is(err, tasks.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrInvalid that says %s", err, want)
		}
	}
	_, c := serve(t)
	if _, err := tasks.Do[int](within(t), c, "f", 1, tasks.BatchSize(3)); !errors.Is(err, tasks.ErrInvalid) {
		t.Errorf("Do with BatchSize: %v", err)
	}
}

// A batch whose tasks have all slots of the worker may call functions of that worker: with the
// context of the batch, or of one of its tasks.
func TestBatchCallsOwnWorker(t *testing.T) {
	for _, size := range []int{1, 4} {
		s, c := serve(t)
		work(t, s.Address, func(w *tasks.Worker) {
			w.Concurrency = size
			tasks.Handle(w, "half", func(_ context.Context, n int) (int, error) { return n / 2, nil })
			tasks.HandleBatch(w, "halves", func(ctx context.Context, in []int) ([]int, error) {
				if len(in) != size {
					return nil, fmt.Errorf("%d tasks, want %d", len(in), size)
				}
				out := make([]int, len(in))
				for i, n := range in {
					of := ctx
					if i%2 == 1 {
						of = tasks.Item(ctx, i)
					}
					var err error
					if out[i], err = tasks.Do[int](of, c, "half", n); err != nil {
						return nil, err
					}
				}
				return out, nil
			}, tasks.BatchSize(size), tasks.BatchWait(time.Hour))
		})
		in := make([]int, 2*size)
		for r := range tasks.Scatter[int](within(t), c, "halves", in) {
			if r.Err != nil {
				t.Errorf("batches of %d: %v", size, r.Err)
			}
		}
	}
}
