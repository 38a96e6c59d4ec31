package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Status returns the status of a task. A group that has not ended is [StateWaiting], and has only
// its Reason. The error wraps [ErrUnknown] if the task does not exist or is no longer kept; see
// [Keep].
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
	out, err := ask(ctx, c, c.rpc.GetTask, &tasksv1.GetTaskRequest{Name: name.proto(), Bodies: bodies})
	if err != nil {
		return Status{}, name.wrapUnknown(err)
	}
	return statusOf(out.GetTask()), nil
}

func statusOf(p *tasksv1.TaskInfo) Status {
	s := Status{
		ID: ID(p.GetTask()), Function: p.GetFunction(), State: State(p.GetState()), Dead: p.GetDead(), Priority: Priority(p.GetPriority()),
		Durable: p.GetDurable(), Attempts: int(p.GetAttempts()), Lost: int(p.GetLost()), MaxAttempts: int(p.GetPolicy().GetAttempts()), Waiters: int(p.GetWaiters()), Size: int(p.GetSize()),
		N: p.GetProgress().GetDone(), M: p.GetProgress().GetTotal(), Worker: p.GetWorker(), Unique: p.GetUnique(), Error: string(p.GetError()),
		Reason: p.GetWaitingReason(), Input: p.GetInput(), Result: p.GetResult(),
	}
	if p.GetDueNanos() != 0 {
		s.Due = time.Unix(0, p.GetDueNanos()).UTC()
	}
	if p.GetEndedNanos() != 0 {
		s.Ended = time.Unix(0, p.GetEndedNanos()).UTC()
	}
	return s
}

// Tasks yields the tasks of a function, or of all functions if it is empty, in no particular order.
// With states, it yields only tasks in these states. A task that exists all the time is yielded
// once. After an error, the loop ends.
func (c *Client) Tasks(ctx context.Context, function string, states ...State) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		q := &tasksv1.ListTasksRequest{Function: function, Limit: 1000}
		for _, s := range states {
			q.States = append(q.States, tasksv1.TaskState(s))
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

// Dead returns the dead letters of a function, or of all functions if it is empty: background tasks
// that failed for good. The latest of each function come first. limit is the maximum number per
// function; zero means 100, and the maximum is 1,000.
func (c *Client) Dead(ctx context.Context, function string, limit int) ([]Status, error) {
	return c.FindDead(ctx, DeadLetters{Function: function}, limit)
}

// DeadLetters selects dead letters. The zero value selects all.
type DeadLetters struct {
	// Function is the name of the function. Empty means all functions.
	Function string
	// Error is a text in the error, in any case of letters. Empty means any error.
	Error string
	// Older is the minimum time since the end of the task. Zero means any.
	Older time.Duration
}

// FindDead is [Client.Dead] for selected dead letters.
func (c *Client) FindDead(ctx context.Context, which DeadLetters, limit int) ([]Status, error) {
	out, err := ask(ctx, c, c.rpc.ListDeadTasks, &tasksv1.ListDeadTasksRequest{Function: which.Function, Error: which.Error, OlderNanos: int64(which.Older), Limit: int64(limit)})
	var dead []Status
	for _, p := range out.GetTasks() {
		dead = append(dead, statusOf(p))
	}
	return dead, err
}

// Cancel ends tasks before their end, including running ones; later reports of their workers are
// ignored. It returns the IDs of the tasks it ended. The change is on disk when Cancel returns.
func (c *Client) Cancel(ctx context.Context, ids ...ID) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.CancelTasks, &tasksv1.CancelTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

// RunNow makes delayed tasks ready at once: before the time of [After] or [At], and during the
// delay after a failure. It returns the IDs of these tasks. The change is on disk when RunNow
// returns.
func (c *Client) RunNow(ctx context.Context, ids ...ID) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.RunTasks, &tasksv1.RunTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

// Retry queues dead letters again, with a full number of attempts. It returns the IDs of the tasks
// it queued. A dead letter with a unique key stays one while another task with this key has not
// ended. The change is on disk when Retry returns.
func (c *Client) Retry(ctx context.Context, ids ...ID) ([]ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := ask(ctx, c, c.rpc.RetryTasks, &tasksv1.RetryTasksRequest{Tasks: numbers(ids)})
	return idsOf(out.GetTasks()), err
}

// RetryAll is Retry for all dead letters of a function.
func (c *Client) RetryAll(ctx context.Context, function string) ([]ID, error) {
	return c.RetryDead(ctx, DeadLetters{Function: function})
}

// RetryDead is Retry for selected dead letters.
func (c *Client) RetryDead(ctx context.Context, which DeadLetters) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.RetryTasks, &tasksv1.RetryTasksRequest{Function: which.Function, Error: which.Error, OlderNanos: int64(which.Older), All: true})
	return idsOf(out.GetTasks()), err
}

// DropDead is Drop for selected dead letters.
func (c *Client) DropDead(ctx context.Context, which DeadLetters) ([]ID, error) {
	out, err := ask(ctx, c, c.rpc.DropTasks, &tasksv1.DropTasksRequest{Function: which.Function, Error: which.Error, OlderNanos: int64(which.Older), All: true})
	return idsOf(out.GetTasks()), err
}

// Drop forgets ended tasks, including dead letters. It returns the IDs of the tasks it dropped.
func (c *Client) Drop(ctx context.Context, ids ...ID) ([]ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := ask(ctx, c, c.rpc.DropTasks, &tasksv1.DropTasksRequest{Tasks: numbers(ids)})
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

// Pause stops tasks of a function from starting; running tasks continue. The pause survives
// restarts, until Resume.
func (c *Client) Pause(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.PauseFunction, &tasksv1.PauseFunctionRequest{Function: function, Paused: true})
	return err
}

// Resume ends a Pause.
func (c *Client) Resume(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.PauseFunction, &tasksv1.PauseFunctionRequest{Function: function})
	return err
}

// SetLimits sets all limits of a function, and creates the function if necessary. The limits
// survive restarts. The error wraps [ErrInvalid] if a limit is negative or not a number.
func (c *Client) SetLimits(ctx context.Context, function string, l Limits) error {
	p := taskwire.LimitsToProto(report.FunctionLimits(l))
	_, err := ask(ctx, c, c.rpc.SetFunction, &tasksv1.SetFunctionRequest{Function: function, Limits: p})
	return err
}

// SetBudget sets the size of a budget; the size survives restarts. A budget never set has size
// zero, and tasks with a need of it wait. The error wraps [ErrInvalid] if size is negative.
func (c *Client) SetBudget(ctx context.Context, budget string, size int) error {
	_, err := ask(ctx, c, c.rpc.SetBudget, &tasksv1.SetBudgetRequest{Budget: budget, Size: int64(size)})
	return err
}

// unknownFunction is an ErrUnknown.
type unknownFunction string

func (f unknownFunction) Error() string { return fmt.Sprintf("function %q is not known", string(f)) }

func (f unknownFunction) Is(target error) bool { return target == ErrUnknown }

// DropFunction removes a function and its limits. It fails while the function has workers or
// unended tasks. The error wraps [ErrUnknown] if the function does not exist.
func (c *Client) DropFunction(ctx context.Context, function string) error {
	_, err := ask(ctx, c, c.rpc.DropFunction, &tasksv1.DropFunctionRequest{Function: function})
	if status.Code(err) == codes.NotFound {
		return unknownFunction(function)
	}
	return err
}

// Overview returns all functions and budgets, sorted by name.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	out, err := ask(ctx, c, c.rpc.ListFunctions, &tasksv1.ListFunctionsRequest{})
	return overviewOf(out.GetStatus()), err
}

// Watch yields the Overview now and after each change, at most a few times a second, until the
// caller leaves the loop. After an error, the loop ends.
func (c *Client) Watch(ctx context.Context) iter.Seq2[Overview, error] {
	return func(yield func(Overview, error) bool) {
		err := c.retry(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := c.rpc.WatchFunctions(ctx, &tasksv1.WatchFunctionsRequest{})
			for err == nil {
				var m *tasksv1.WatchFunctionsResponse
				if m, err = stream.Recv(); err == nil && !yield(overviewOf(m.GetStatus()), nil) {
					err = errStop
				}
			}
			return err
		})
		if !errors.Is(err, errStop) {
			yield(Overview{}, err)
		}
	}
}

func overviewOf(p *tasksv1.FunctionsStatus) Overview {
	o := Overview{Totals: Counts(taskwire.TaskCountsFromProto(p.GetTotals()))}
	for _, m := range p.GetFunctions() {
		f := taskwire.FunctionFromProto(m)
		o.Functions = append(o.Functions, Function{Name: f.Name, Counts: Counts(f.Counts), WaitingHigh: f.WaitingHigh, WaitingNormal: f.WaitingNormal,
			WaitingLow: f.WaitingLow, Dead: f.Dead, Workers: f.Workers, Limits: Limits(f.Limits), Paused: f.Paused})
	}
	for _, b := range p.GetBudgets() {
		o.Budgets = append(o.Budgets, Budget{Name: b.GetBudget(), Size: int(b.GetSize()), Used: int(b.GetUsed()), Waiting: int(b.GetWaiting())})
	}
	return o
}

// Workers returns all task workers, in the order of their arrival.
func (c *Client) Workers(ctx context.Context) ([]WorkerStatus, error) {
	out, err := ask(ctx, c, c.rpc.ListTaskWorkers, &tasksv1.ListTaskWorkersRequest{})
	var all []WorkerStatus
	for _, w := range out.GetWorkers() {
		all = append(all, WorkerStatus{Name: w.GetWorker(), Functions: w.GetFunctions(), Running: idsOf(w.GetRunning()),
			Slots: int(w.GetSlots()), Reserved: int(w.GetReserved()), Gearman: w.GetGearman(), SlotsOf: w.GetSlotsOf()})
	}
	return all, err
}
