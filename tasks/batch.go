package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// ItemErrors is what a handler of batches returns when some tasks of the batch failed: the error of each by the place of its input, nil where there is none. It
// may be shorter than the batch: ItemErrors{3: err} says that the fourth failed.
type ItemErrors []error

// Error returns the first of them, and how many there are.
func (e ItemErrors) Error() string {
	n, first := 0, error(nil)
	for _, err := range e {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	if first == nil {
		return "no task of the batch failed"
	}
	return fmt.Sprintf("%d tasks of the batch failed, the first with: %v", n, first)
}

const (
	defaultBatchSize = 100
	defaultBatchWait = 5 * time.Millisecond
)

// HandleBatch is [Handle] for many small tasks that are cheaper together: f gets the inputs of up to [BatchSize] tasks that came within [BatchWait], and returns a
// result for each, in their order. They stay tasks: each has its own attempts, limits, result, and those who wait for it.
//
// An error of f fails the attempts of all tasks of the batch, and [ItemErrors] those that it names; both may be [Fatal]. The last attempt at a task that failed
// before is made in a batch of its own, so that an input that breaks batches does not take others with it for good.
//
// The context of f ends when no task of the batch is wanted any more; that of a single one is had from [Item], and [Send], [Warn], [Progress], [IdempotencyKey],
// [TaskID], [Attempt] and [Hurry] want it. f may be called while another batch runs.
//
// All tasks of a batch are held at once, so Worker.Concurrency bounds it too; its default is large enough for a batch on each processor. Of options
// HandleBatch takes BatchSize, BatchWait and [HardLimit], which includes the wait for the batch. Else it is like Handle.
func HandleBatch[In, Out any](w *Worker, function string, f func(ctx context.Context, in []In) ([]Out, error), options ...Option) {
	s, err := handlerSpec(function, true, options)
	size, wait := s.batchSize, s.batchWait
	if size == 0 {
		size = defaultBatchSize
	}
	if wait == 0 {
		wait = defaultBatchWait
	}
	b := &batches[In, Out]{w: w, function: function, f: f, size: size, wait: wait}
	h := &handler{timeout: s.policy.hard, batch: size, run: func(ctx context.Context, in input) ([]byte, error) {
		v, err := decodeInput[In](in)
		if err != nil {
			return nil, Fatal(fmt.Errorf("input of %s: %w", function, err))
		}
		out, err := b.do(ctx, v)
		if err != nil {
			return nil, err
		}
		return encodeResult(function, out)
	}}
	w.handle(function, h, f == nil, err)
}

// BatchSize is how many tasks a batch has at the most, 1 to 65,536. Without it, and for zero, 100. It is for [HandleBatch].
func BatchSize(n int) Option {
	return option(func(s *spec) {
		if n < 0 || n > maxSlots {
			s.refuse("BatchSize %d is not 1 to %d", n, maxSlots)
		}
		s.batchSize = n
	})
}

// BatchWait is how long the first task of a batch waits for others. Without it, and for zero, 5 ms. It is for [HandleBatch].
func BatchWait(d time.Duration) Option {
	return duration("BatchWait", d, func(s *spec) *time.Duration { return &s.batchWait })
}

// batches makes batches of the tasks of one function.
type batches[In, Out any] struct {
	w        *Worker
	function string
	f        func(ctx context.Context, in []In) ([]Out, error)
	size     int
	wait     time.Duration

	// mu guards the field below.
	mu   sync.Mutex
	next *batch[In, Out] // is being gathered; nil when none is
}

// batch is tasks that are handled together. The one that came first runs it.
type batch[In, Out any] struct {
	// batches.mu guards these two until the batch is closed.
	items []context.Context
	in    []In

	full chan struct{} // closed when no more fit

	done  chan struct{} // closed when the fields below are set
	place []int         // of each item in what the handler got; -1: it was not wanted any more
	out   []Out
	err   error
}

// do puts a task into a batch, and returns its result.
func (b *batches[In, Out]) do(ctx context.Context, v In) (out Out, err error) {
	own, _ := callOf(ctx, "HandleBatch")
	alone := own.last && own.number > 1
	one, i := b.join(ctx, v, alone)
	if i == 0 {
		if !alone {
			b.gather(one)
		}
		b.run(one)
	}
	<-one.done
	at := one.place[i]
	var each ItemErrors
	switch {
	case at < 0:
		return out, context.Cause(ctx)
	case !errors.As(one.err, &each) && one.err != nil:
		return out, one.err
	case at >= len(each) || each[at] == nil:
		return one.out[at], nil
	case isFatal(one.err):
		return out, Fatal(each[at])
	}
	return out, each[at]
}

// join returns the batch that the task belongs to, and its place in it.
func (b *batches[In, Out]) join(ctx context.Context, v In, alone bool) (one *batch[In, Out], i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one = b.next; alone || one == nil {
		one = &batch[In, Out]{full: make(chan struct{}), done: make(chan struct{})}
		if !alone {
			b.next = one
		}
	}
	i = len(one.items)
	one.items, one.in = append(one.items, ctx), append(one.in, v)
	fit := b.w.slots - b.w.Reserved
	if fit <= 0 {
		fit = b.w.slots
	}
	if !alone && i+1 >= min(b.size, fit) {
		b.next = nil
		close(one.full)
	}
	return one, i
}

// gather waits until the batch is full or has waited enough, and closes it.
func (b *batches[In, Out]) gather(one *batch[In, Out]) {
	t := time.NewTimer(b.wait)
	defer t.Stop()
	select {
	case <-one.full:
	case <-t.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == one {
		b.next = nil
	}
}

// batchKey finds the contexts of the tasks of a batch in its own.
type batchKey struct{}

// run calls the handler with those tasks that are still wanted.
func (b *batches[In, Out]) run(one *batch[In, Out]) {
	defer close(one.done)
	var items []context.Context
	var in []In
	for i, item := range one.items {
		if item.Err() != nil {
			one.place = append(one.place, -1)
			continue
		}
		one.place = append(one.place, len(items))
		items, in = append(items, item), append(in, one.in[i])
	}
	if len(items) == 0 {
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), batchKey{}, items))
	defer cancel(nil)
	var mu sync.Mutex
	left := len(items)
	stops := make([]func() bool, 0, len(items))
	for _, item := range items {
		stops = append(stops, context.AfterFunc(item, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel(context.Cause(item))
			}
		}))
	}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	ended := false
	defer func() { // before done is closed
		if v := recover(); v != nil {
			one.err = fmt.Errorf("panic: %v\n\n%s", v, debug.Stack())
		} else if !ended {
			one.err = errGoexit
		}
	}()
	one.out, one.err = b.f(ctx, in)
	ended = true
	var each ItemErrors
	if (one.err == nil || errors.As(one.err, &each)) && len(one.out) != len(in) {
		one.err = Fatal(fmt.Errorf("the handler of %s returned %d results for %d inputs%s", b.function, len(one.out), len(in), also(one.err)))
	}
}

// also is what an error has to say beside another.
func also(err error) string {
	if err == nil {
		return ""
	}
	return ", and: " + err.Error()
}

// Item returns the context of the task with the i-th input of a batch; ctx is what its handler was given. It panics when there is no such input.
func Item(ctx context.Context, i int) context.Context {
	items, ok := ctx.Value(batchKey{}).([]context.Context)
	if !ok || i < 0 || i >= len(items) {
		panic(fmt.Sprintf("tasks.Item %d: the context is that of a batch of %d tasks", i, len(items)))
	}
	return items[i]
}
