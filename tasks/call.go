package tasks

import (
	"context"
	"fmt"
	"iter"

	"github.com/layshaft/layshaft/internal/spans"
)

// Do runs a task: it calls a function with the input in on some worker and returns the result.
//
// Do blocks until the task has ended after its last attempt, ctx ends, or the [Deadline] passes. If
// the caller stops waiting, the task is dropped or stopped, unless other clients wait for it too.
//
// The error is an [*Error] if the task failed or was cancelled. Other errors wrap [ErrInvalid],
// [ErrFull], [ErrUnavailable] or the cause of ctx, or report an input or result that cannot be
// encoded or decoded. If the deadline of ctx passes before the task has started, the error has the
// reason: no worker runs the function, it is paused, or what else the task waited for. The
// coordinator has 100 ms to answer for it.
//
// In a handler, pass the context of the handler: while its task waits for tasks of its own worker,
// its slot is lent to them, so a function may call itself on a worker with one slot. The same holds
// for [Scatter] and [Attach]. A program that the handler starts passes [CalledBy]. A call that
// would wait for its own caller, such as one that joins it by [Unique], is refused.
//
// A task of Do is not durable: if the coordinator restarts, Do submits it again, and the function
// may run twice.
func Do[Out any](ctx context.Context, c *Client, function string, in any, options ...Option) (out Out, err error) {
	s, err := taskSpec(function, 0, options)
	if err == nil {
		err = c.check()
	}
	if err == nil && (s.lossy || s.once != "") {
		err = fmt.Errorf("%w: Lossy and Once are not for Do, whose tasks are never durable", ErrInvalid)
	}
	if err != nil {
		return out, err
	}
	input, err := encode(in)
	if err != nil {
		return out, fmt.Errorf("input of %s: %w", function, err)
	}
	if err := checkInput(function, input); err != nil {
		return out, err
	}
	result, err := c.do(ctx, function, input, &s)
	if err != nil {
		return out, err
	}
	return decodeResult[Out](function, result)
}

func decodeResult[Out any](function string, result []byte) (Out, error) {
	out, err := decode[Out](result)
	if err != nil {
		return out, fmt.Errorf("result of %s: %w", function, err)
	}
	return out, nil
}

// Result is the result of one of several tasks.
type Result[Out any] struct {
	// Index is the index of the task's input.
	Index int
	// ID is the task's ID, or zero if no task was made.
	ID ID
	// Value is the result, or the zero value if Err is set.
	Value Out
	// Err is nil or the error that Do would return.
	Err error
}

// Scatter runs one task per input, spread over all workers, and yields each result as soon as its
// task ends. For every input it yields exactly one Result.
//
// When ctx ends or the [Deadline] passes, the inputs without a result are yielded with this error,
// and the other results are not lost. When the caller leaves the loop, the remaining tasks are
// dropped or stopped. Otherwise Scatter behaves like [Do].
//
// At most 16,384 inputs are in progress at once.
func Scatter[Out, In any](ctx context.Context, c *Client, function string, inputs []In, options ...Option) iter.Seq[Result[Out]] {
	return func(yield func(Result[Out]) bool) {
		s, err := taskSpec(function, 0, options)
		if err == nil {
			err = c.check()
		}
		if err == nil && (s.lossy || s.unique != "" || s.once != "" || s.joined != nil) {
			err = fmt.Errorf("%w: Lossy, Unique, Once and Joined are not for Scatter", ErrInvalid)
		}
		var payloads [][]byte
		for i := 0; i < len(inputs) && err == nil; i++ {
			var p []byte
			if p, err = encode(inputs[i]); err != nil {
				err = fmt.Errorf("input %d of %s: %w", i, function, err)
			}
			payloads = append(payloads, p)
		}
		if err != nil {
			for i := range inputs {
				if !yield(Result[Out]{Index: i, Err: err}) {
					return
				}
			}
			return
		}
		ctx, cancel := s.withDeadline(ctx, "scatter to "+function)
		defer cancel()
		if t := spans.Of(ctx); t != nil {
			var end func(error)
			s.trace, end = t.Call(ctx, "scatter", function)
			defer func() { end(context.Cause(ctx)) }()
		}
		s.collect(ctx, c, function, payloads, func(i int, u Update, err error) bool {
			r := Result[Out]{Index: i, ID: u.Task, Err: err}
			if err == nil {
				r.Value, r.Err = decodeResult[Out](function, u.Payload)
			}
			return yield(r)
		})
	}
}

// Enqueue submits a task that runs even if nobody waits for it. When Enqueue returns, the
// coordinator has the task on disk, and it cannot be lost. Its outcome is available from [Attach]
// and [Client.Status] for the time set by [Keep]. A task that fails for good becomes a dead letter.
//
// The error wraps [ErrInvalid], [ErrFull], [ErrUnavailable] or the cause of ctx.
func Enqueue(ctx context.Context, c *Client, function string, in any, options ...Option) (ID, error) {
	s, err := backgroundSpec(function, options)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return 0, err
	}
	return c.enqueue(ctx, function, in, &s)
}

func backgroundSpec(function string, options []Option) (spec, error) {
	s, err := taskSpec(function, defaultKeep, options)
	if err == nil && (s.deadline != 0 || s.update != nil) {
		err = fmt.Errorf("%w: Deadline and OnUpdate are not for Enqueue, which returns at once; pass them to Attach", ErrInvalid)
	}
	if err == nil && s.parent != 0 {
		err = fmt.Errorf("%w: CalledBy is not for Enqueue, which does not wait; pass it to Attach", ErrInvalid)
	}
	return s, err
}

// EnqueueAll is [Enqueue] for many inputs, in few messages. It returns the task IDs in the order of
// inputs. If it returns an error, some tasks may have been submitted: those with an ID other than
// zero.
func EnqueueAll[In any](ctx context.Context, c *Client, function string, inputs []In, options ...Option) ([]ID, error) {
	s, err := backgroundSpec(function, options)
	if err == nil && (s.unique != "" || s.once != "") {
		err = fmt.Errorf("%w: Unique and Once are not for EnqueueAll: all would be one task", ErrInvalid)
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	return enqueueAll(ctx, c, function, inputs, &s)
}

// Attach waits for a task submitted earlier, or for a group and its followers, and returns the
// result. A task that has ended is known for the time set by [Keep]. Attach takes the options
// [Deadline] and [OnUpdate]; updates from before the call are not repeated. It returns the errors
// of [Do], and [ErrUnknown]. If the caller stops waiting, the task continues.
func Attach[Out any](ctx context.Context, c *Client, id ID, options ...Option) (Out, error) {
	return attach[Out](ctx, c, taskName{id: id}, options)
}

// AttachUnique is [Attach] for the last task of a function with a unique key.
func AttachUnique[Out any](ctx context.Context, c *Client, function, key string, options ...Option) (Out, error) {
	return attach[Out](ctx, c, taskName{function: function, unique: key}, options)
}

// taskName identifies a task by ID, or else by function and unique key.
type taskName struct {
	id               ID
	function, unique string
}

func attach[Out any](ctx context.Context, c *Client, name taskName, options []Option) (out Out, err error) {
	s, err := specOf(0, options)
	if err == nil {
		err = c.check()
	}
	if err == nil && name.id == 0 && (name.function == "" || name.unique == "") {
		err = fmt.Errorf("%w: a task to attach to needs an ID, or a function and a unique key", ErrInvalid)
	}
	if err != nil {
		return out, err
	}
	result, err := c.attach(ctx, name, &s)
	if err != nil {
		return out, err
	}
	return decodeResult[Out](name.String(), result)
}

// String returns the task's name for errors.
func (n taskName) String() string {
	if n.id != 0 {
		return "task " + n.id.String()
	}
	return fmt.Sprintf("task %s with the unique key %q", n.function, n.unique)
}
