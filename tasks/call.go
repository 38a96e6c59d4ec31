package tasks

import (
	"context"
	"fmt"
	"iter"
)

// Do calls a function with the input in, on some worker, and returns its result. It blocks until then: until the last attempt has
// ended, ctx ends, or the [Deadline] passes. When the caller goes, the task is dropped or stopped, unless others wait for it too.
//
// The error is an [*Error] when the task failed or was cancelled. Others wrap [ErrInvalid], [ErrFull], [ErrUnavailable] or the cause
// of ctx, or say that in or the result has not the form of its type.
//
// Do is not durable: when the coordinator restarts meanwhile the call is made again, so the function may run twice.
func Do[Out any](ctx context.Context, c *Client, function string, in any, options ...Option) (out Out, err error) {
	s, err := callSpec(function, 0, options)
	if err == nil && s.lossy {
		err = fmt.Errorf("%w: Lossy is for tasks that nobody waits for; Do always is", ErrInvalid)
	}
	if err != nil {
		return out, err
	}
	input, err := encode(in)
	if err != nil {
		return out, fmt.Errorf("input of %s: %w", function, err)
	}
	if err := largeInput(function, input); err != nil {
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

// Result is how one of many tasks ended.
type Result[Out any] struct {
	// Index is the place of the task's input.
	Index int
	// ID is the task's; zero when none was made.
	ID ID
	// Value is the result; the zero value when Err is set.
	Value Out
	// Err is nil, or what Do would return.
	Err error
}

// Scatter calls a function with each of inputs, on all workers that there are, and yields the results as they come: one for every input, in the order
// in which they end. What has no result when ctx ends or the [Deadline] passes is yielded with that as its error, so that the others are not lost. A caller
// that leaves the loop leaves the tasks: they are dropped or stopped. Else it is like [Do].
//
// Up to 16,384 inputs are on their way at a time.
func Scatter[Out, In any](ctx context.Context, c *Client, function string, inputs []In, options ...Option) iter.Seq[Result[Out]] {
	return func(yield func(Result[Out]) bool) {
		s, err := callSpec(function, 0, options)
		if err == nil && (s.lossy || s.unique != "") {
			err = fmt.Errorf("%w: Lossy and Unique are not for Scatter", ErrInvalid)
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
		ctx, cancel := s.within(ctx, "scatter to "+function)
		defer cancel()
		s.collect(ctx, c, function, payloads, func(i int, u Update, err error) bool {
			r := Result[Out]{Index: i, ID: u.Task, Err: err}
			if err == nil {
				r.Value, r.Err = decodeResult[Out](function, u.Payload)
			}
			return yield(r)
		})
	}
}

// Enqueue hands over a task that runs although nobody waits for it, and returns when the coordinator has it on disk: from then on it is not lost. Its
// outcome can be asked for with [Attach] and [Client.Status], for as long as [Keep] says after the end. One that fails for good becomes a dead letter.
//
// The error wraps [ErrInvalid], [ErrFull], [ErrUnavailable] or the cause of ctx.
func Enqueue(ctx context.Context, c *Client, function string, in any, options ...Option) (ID, error) {
	s, err := backgroundSpec(function, options)
	if err != nil {
		return 0, err
	}
	return c.enqueue(ctx, function, in, &s)
}

func backgroundSpec(function string, options []Option) (spec, error) {
	s, err := callSpec(function, defaultKeep, options)
	if err == nil && (s.deadline != 0 || s.update != nil) {
		err = fmt.Errorf("%w: Deadline and OnUpdate are for those who wait; Enqueue returns at once, and Attach takes them", ErrInvalid)
	}
	return s, err
}

// EnqueueAll is [Enqueue] for many inputs, in few messages. It returns the tasks' IDs in the order of inputs. With an error some may have been handed over:
// those whose ID is there and not zero.
func EnqueueAll[In any](ctx context.Context, c *Client, function string, inputs []In, options ...Option) ([]ID, error) {
	s, err := backgroundSpec(function, options)
	if err == nil && s.unique != "" {
		err = fmt.Errorf("%w: Unique is not for EnqueueAll: all would be one task", ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	return enqueueAll(ctx, c, function, inputs, &s)
}

// Attach waits for the end of a task, or of a group and what follows it, that was submitted before, and returns its result. A task that has ended is known
// for as long as [Keep] says. Of options it takes [Deadline] and [OnUpdate], which hears what is told from now on. Errors are those of [Do], and [ErrUnknown].
// When the caller goes, the task goes on.
func Attach[Out any](ctx context.Context, c *Client, id ID, options ...Option) (Out, error) {
	return attach[Out](ctx, c, taskName{id: id}, options)
}

// AttachUnique is [Attach] for the last task of a function with a unique key.
func AttachUnique[Out any](ctx context.Context, c *Client, function, key string, options ...Option) (Out, error) {
	return attach[Out](ctx, c, taskName{function: function, unique: key}, options)
}

// taskName finds a task: by ID, else by function and unique key.
type taskName struct {
	id               ID
	function, unique string
}

func attach[Out any](ctx context.Context, c *Client, name taskName, options []Option) (out Out, err error) {
	s, err := specOf(0, options)
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

// String names the task in errors.
func (n taskName) String() string {
	if n.id != 0 {
		return "task " + n.id.String()
	}
	return fmt.Sprintf("task %s with the unique key %q", n.function, n.unique)
}
