package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// ItemErrors is the error of a batch handler in which some tasks failed: one error per input, by
// index, nil for success. It may be shorter than the batch: ItemErrors{3: err} means that only the
// fourth task failed.
type ItemErrors []error

// Error returns the number of errors and the first one.
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
	return fmt.Sprintf("%s of the batch failed, the first with: %v", report.Plural(n, "task"), first)
}

const (
	defaultBatchSize = 100
	defaultBatchWait = 5 * time.Millisecond
)

// HandleBatch is [Handle] for many small tasks that are cheaper together. f receives the inputs of
// up to [BatchSize] tasks that arrived within [BatchWait], and returns one result per input, in the
// same order. Each task keeps its own attempts, limits, result and waiting clients.
//
// An error of f fails the attempts of all tasks in the batch; [ItemErrors] fails only the tasks it
// lists. Either may be [Fatal]. If a task has failed before, its last attempt runs in a batch of
// its own, so an input that breaks batches cannot make other tasks fail for good.
//
// The context of f ends when no task of the batch is needed. [Send], [Warn], [Progress],
// [IdempotencyKey], [TaskID], [Attempt] and [Hurry] need the context of a single task; see [Item].
// f may be called while another batch runs. While f waits for a task in [Do], [Scatter] or
// [Attach], with its own context or the context of an Item, all tasks of the batch count as
// waiting: they lend their slots to the tasks that they wait for.
//
// All tasks of a batch occupy slots at once, so Worker.Concurrency limits the batch too; its
// default allows one full batch per processor. HandleBatch takes the options BatchSize, BatchWait
// and [HardLimit]; the limit includes the wait for the batch. Otherwise it behaves like Handle.
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
	w.addHandler(function, h, f == nil, err)
}

// BatchSize is the maximum number of tasks in a batch, 1 to 65,536. The default, also for zero, is
// 100. It is an option of [HandleBatch].
func BatchSize(n int) Option {
	return option(func(s *spec) {
		if n < 0 || n > maxSlots {
			s.setInvalid("BatchSize %d is not 1 to %d", n, maxSlots)
		}
		s.batchSize = n
	})
}

// BatchWait is how long the first task of a batch waits for others. The default, also for zero, is
// 5 ms. It is an option of [HandleBatch].
func BatchWait(d time.Duration) Option {
	return duration("BatchWait", d, func(s *spec) *time.Duration { return &s.batchWait })
}

// batches groups the tasks of one function into batches.
type batches[In, Out any] struct {
	w        *Worker
	function string
	f        func(ctx context.Context, in []In) ([]Out, error)
	size     int
	wait     time.Duration

	// mu guards the field below.
	mu   sync.Mutex
	next *batch[In, Out] // batch being filled, or nil
}

// batch is a set of tasks handled together. The goroutine of the first task runs it.
type batch[In, Out any] struct {
	// batches.mu guards these two until the batch is closed.
	items []context.Context
	in    []In

	full chan struct{} // closed when the batch is full

	done  chan struct{} // closed when the fields below are set
	place []int         // index of each item among the handler's inputs; -1: cancelled before
	out   []Out
	err   error
}

// do adds a task to a batch and returns its result.
func (b *batches[In, Out]) do(ctx context.Context, v In) (out Out, err error) {
	own, _ := attemptFrom(ctx, "HandleBatch")
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

// join adds the task to a batch and returns the batch and the index in it.
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

// gather waits until the batch is full or its time is over, and closes it.
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

// batchKey is the context key for the batchItems of a batch handler.
type batchKey struct{}

// batchItems are the contexts of the tasks in a batch.
type batchItems struct {
	items []context.Context
	// announce reports to the coordinator that the tasks run together. So they all lend their slots
	// while one of them waits for a task.
	announce func()
}

// announce reports that the tasks of items run together, until they end.
func (b *batches[In, Out]) announce(items []context.Context) {
	state := &b.w.state
	state.mu.Lock()
	defer state.mu.Unlock()
	var leader ID
	for _, item := range items {
		c, _ := attemptFrom(item, "HandleBatch")
		if leader == 0 && item.Err() == nil {
			leader = c.task
			continue
		}
		c.leader = leader
		if state.session != nil {
			state.session.queue = append(state.session.queue, c.leaderReport())
		}
	}
	if state.session != nil {
		state.session.send()
	}
}

func (c *attemptRun) leaderReport() *tasksv1.TaskReport {
	return &tasksv1.TaskReport{Attempt: c.attempt.proto(), Content: &tasksv1.TaskReport_Leader{Leader: uint64(c.leader)}}
}

// run calls the handler with the tasks that are still needed.
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
	all := &batchItems{items, func() {}}
	if len(items) > 1 {
		all.announce = sync.OnceFunc(func() { b.announce(items) })
	}
	for _, item := range items {
		c, _ := attemptFrom(item, "HandleBatch")
		c.batch = all
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), batchKey{}, all))
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
	defer func() { // runs before done is closed
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
		one.err = Fatal(fmt.Errorf("the handler of %s returned %s for %s%s", b.function, report.Plural(len(one.out), "result"), report.Plural(len(in), "input"), appendError(one.err)))
	}
}

// appendError formats err as an addition to another error.
func appendError(err error) string {
	if err == nil {
		return ""
	}
	return ", and: " + err.Error()
}

// Item returns the context of the task with the i-th input of a batch. ctx is the context of the
// batch handler. Item panics if there is no such input.
func Item(ctx context.Context, i int) context.Context {
	var items []context.Context
	if b, ok := ctx.Value(batchKey{}).(*batchItems); ok {
		items = b.items
	}
	if i < 0 || i >= len(items) {
		panic(fmt.Sprintf("tasks.Item %d: the context belongs to a batch of %s", i, report.Plural(len(items), "task")))
	}
	return items[i]
}
