package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Status returns how a task stands. The error wraps [ErrUnknown] when it is not known, or no more; see [Keep].
func (c *Client) Status(ctx context.Context, id ID) (Status, error) {
	return c.status(ctx, taskName{id: id}, false)
}

// StatusUnique is Status for the last task of a function with a unique key.
func (c *Client) StatusUnique(ctx context.Context, function, key string) (Status, error) {
	return c.status(ctx, taskName{function: function, unique: key}, false)
}

// Inspect is Status with input and result.
func (c *Client) Inspect(ctx context.Context, id ID) (Status, error) {
	return c.status(ctx, taskName{id: id}, true)
}

func (c *Client) status(ctx context.Context, name taskName, bodies bool) (Status, error) {
	out, err := ask(ctx, c, c.rpc.GetTask, &layshaftv1.GetTaskRequest{Name: name.proto(), Bodies: bodies})
	if err != nil {
		return Status{}, name.unknown(err)
	}
	return statusOf(out.GetTask()), nil
}

func statusOf(p *layshaftv1.TaskInfo) Status {
	s := Status{
		ID: ID(p.GetTask()), Function: p.GetFunction(), State: State(p.GetState()), Dead: p.GetDead(), Priority: Priority(p.GetPriority()),
		Durable: p.GetDurable(), Attempts: int(p.GetAttempts()), Most: int(p.GetPolicy().GetAttempts()), Waiters: int(p.GetWaiters()), Size: int(p.GetSize()),
		N: p.GetProgress().GetN(), M: p.GetProgress().GetM(), Worker: p.GetWorker(), Unique: p.GetUnique(), Error: string(p.GetError()),
		Why: p.GetWhy(), Input: p.GetInput(), Result: p.GetResult(),
	}
	if p.GetDueNanos() != 0 {
		s.Due = time.Unix(0, p.GetDueNanos())
	}
	return s
}

// Tasks yields how tasks of a function stand, or of all when it is empty, in no particular order: all of them, or those in one of states. One that is there all
// the time is yielded once. An error is the last.
func (c *Client) Tasks(ctx context.Context, function string, states ...State) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		q := &layshaftv1.ListTasksRequest{Function: function, Limit: 1000}
		for _, s := range states {
			q.States = append(q.States, layshaftv1.TaskState(s))
		}
		for {
			out, err := ask(ctx, c, c.rpc.ListTasks, q)
			if err != nil {
				yield(Status{}, err)
				return
			}
			for _, p := range out.GetTasks() {
				if !yield(statusOf(p), nil) {
					return
				}
			}
			if q.From = out.GetNext(); q.From == 0 {
				return
			}
		}
	}
}

// Dead returns the dead letters of a function, or of all when it is empty, the oldest of each function first: tasks that failed for good though nobody waited. limit is
// how many of a function at most; zero means 100, and 1,000 is the most.
func (c *Client) Dead(ctx context.Context, function string, limit int) ([]Status, error) {
	out, err := ask(ctx, c, c.rpc.ListDeadTasks, &layshaftv1.ListDeadTasksRequest{Function: function, Limit: int64(limit)})
	var dead []Status
	for _, p := range out.GetTasks() {
		dead = append(dead, statusOf(p))
	}
	return dead, err
}

// Cancel ends tasks that have not ended, running ones too: whatever their workers still report counts for nothing. It returns those that it ended; that is on disk then.
func (c *Client) Cancel(ctx context.Context, ids ...ID) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.CancelTasks, &layshaftv1.CancelTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

// Retry runs dead letters again, with all their attempts. It returns those that were some; that is on disk then.
func (c *Client) Retry(ctx context.Context, ids ...ID) ([]ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := ask(ctx, c, c.rpc.RetryTasks, &layshaftv1.RetryTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

// RetryAll is Retry for all dead letters of a function.
func (c *Client) RetryAll(ctx context.Context, function string) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.RetryTasks, &layshaftv1.RetryTasksRequest{Function: function})
	return idsOf(out.GetTasks()), err
}

// Drop forgets tasks that have ended, dead letters too. It returns those that had.
func (c *Client) Drop(ctx context.Context, ids ...ID) ([]ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := ask(ctx, c, c.rpc.DropTasks, &layshaftv1.DropTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

func numbers(ids []ID) []uint64 {
	out := make([]uint64, len(ids))
	for i, id := range ids {
		out[i] = uint64(id)
	}
	return out
}

func idsOf(numbers []uint64) []ID {
	out := make([]ID, len(numbers))
	for i, n := range numbers {
		out[i] = ID(n)
	}
	return out
}

// Pause keeps tasks of a function from starting; those that run go on. It survives restarts, until Resume.
func (c *Client) Pause(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.PauseFunction, &layshaftv1.PauseFunctionRequest{Function: function, Paused: true})
	return err
}

// Resume takes Pause back.
func (c *Client) Resume(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.PauseFunction, &layshaftv1.PauseFunctionRequest{Function: function})
	return err
}

// SetLimits sets all limits of a function, which need not be known yet. They survive restarts. The error wraps [ErrInvalid] when one is negative or no number.
func (c *Client) SetLimits(ctx context.Context, function string, l Limits) error {
	p := &layshaftv1.FunctionLimits{QueueHigh: int64(l.QueueHigh), QueueNormal: int64(l.QueueNormal), QueueLow: int64(l.QueueLow),
		Concurrency: int64(l.Concurrency), Rate: l.Rate, Burst: int64(l.Burst), Needs: map[string]int64{}}
	for budget, n := range l.Needs {
		p.Needs[budget] = int64(n)
	}
	_, err := ask(ctx, c, c.rpc.SetFunction, &layshaftv1.SetFunctionRequest{Function: function, Limits: p})
	return err
}

// SetBudget sets how much there is of something outside. Budgets that were never set are empty: what needs them waits. It survives restarts.
// The error wraps [ErrInvalid] when size is negative.
func (c *Client) SetBudget(ctx context.Context, budget string, size int) error {
	_, err := ask(ctx, c, c.rpc.SetBudget, &layshaftv1.SetBudgetRequest{Budget: budget, Size: int64(size)})
	return err
}

// unknownFunction is an ErrUnknown.
type unknownFunction string

func (f unknownFunction) Error() string { return fmt.Sprintf("function %q is not known", string(f)) }

func (f unknownFunction) Is(target error) bool { return target == ErrUnknown }

// DropFunction forgets a function and its limits. It is an error while it has workers or tasks that have not ended, and wraps [ErrUnknown] when there is no
// such function.
func (c *Client) DropFunction(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.DropFunction, &layshaftv1.DropFunctionRequest{Function: function})
	if status.Code(err) == codes.NotFound {
		return unknownFunction(function)
	}
	return err
}

// Overview returns how functions and budgets stand, by name.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	out, err := ask(ctx, c, c.rpc.ListFunctions, &layshaftv1.ListFunctionsRequest{})
	return overviewOf(out.GetStatus()), err
}

// Watch yields the Overview, now and whenever it changes, a few times a second at most, until the caller leaves the loop. An error is the last.
func (c *Client) Watch(ctx context.Context) iter.Seq2[Overview, error] {
	return func(yield func(Overview, error) bool) {
		err := c.retry(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := c.rpc.WatchFunctions(ctx, &layshaftv1.WatchFunctionsRequest{})
			for err == nil {
				var m *layshaftv1.WatchFunctionsResponse
				if m, err = stream.Recv(); err == nil && !yield(overviewOf(m.GetStatus()), nil) {
					err = errEnough
				}
			}
			return err
		})
		if !errors.Is(err, errEnough) {
			yield(Overview{}, err)
		}
	}
}

func countsOf(p *layshaftv1.TaskCounts) Counts {
	return Counts{Submitted: int(p.GetSubmitted()), Waiting: int(p.GetWaiting()), Delayed: int(p.GetDelayed()), Running: int(p.GetRunning()),
		Done: int(p.GetDone()), Failed: int(p.GetFailed()), Cancelled: int(p.GetCancelled())}
}

func overviewOf(p *layshaftv1.FunctionsStatus) Overview {
	o := Overview{Totals: countsOf(p.GetTotals())}
	for _, f := range p.GetFunctions() {
		l := f.GetLimits()
		limits := Limits{QueueHigh: int(l.GetQueueHigh()), QueueNormal: int(l.GetQueueNormal()), QueueLow: int(l.GetQueueLow()),
			Concurrency: int(l.GetConcurrency()), Rate: l.GetRate(), Burst: int(l.GetBurst()), Needs: map[string]int{}}
		for budget, n := range l.GetNeeds() {
			limits.Needs[budget] = int(n)
		}
		o.Functions = append(o.Functions, Function{Name: f.GetFunction(), Counts: countsOf(f.GetCounts()), WaitingHigh: int(f.GetWaitingHigh()),
			WaitingNormal: int(f.GetWaitingNormal()), WaitingLow: int(f.GetWaitingLow()), Dead: int(f.GetDead()), Workers: int(f.GetWorkers()),
			Limits: limits, Paused: f.GetPaused()})
	}
	for _, b := range p.GetBudgets() {
		o.Budgets = append(o.Budgets, Budget{Name: b.GetBudget(), Size: int(b.GetSize()), Used: int(b.GetUsed()), Waiting: int(b.GetWaiting())})
	}
	return o
}

// Workers returns how the workers of functions stand, in the order in which they came.
func (c *Client) Workers(ctx context.Context) ([]WorkerStatus, error) {
	out, err := ask(ctx, c, c.rpc.ListTaskWorkers, &layshaftv1.ListTaskWorkersRequest{})
	var all []WorkerStatus
	for _, w := range out.GetWorkers() {
		all = append(all, WorkerStatus{Name: w.GetWorker(), Functions: w.GetFunctions(), Running: idsOf(w.GetRunning()),
			Slots: int(w.GetSlots()), Reserved: int(w.GetReserved()), Gearman: w.GetGearman()})
	}
	return all, err
}
