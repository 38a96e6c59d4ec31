package tasks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
)

type attemptKey struct{}

// attemptFrom returns the attempt of a handler's context, or an error that names the function what.
func attemptFrom(ctx context.Context, what string) (*attemptRun, error) {
	if c, ok := ctx.Value(attemptKey{}).(*attemptRun); ok {
		return c, nil
	}
	if _, ok := ctx.Value(batchKey{}).(*batchItems); ok {
		return nil, fmt.Errorf("%w: tasks.%s needs the context of one task of the batch, tasks.Item(ctx, i)", ErrInvalid, what)
	}
	return nil, fmt.Errorf("%w: tasks.%s needs the context of a handler", ErrInvalid, what)
}

// Send sends a partial result to all clients waiting for the task, before its result. v is encoded
// like a result. Send blocks while the clients or the network are slower than the handler. The
// error is an encoding error, [ErrInvalid] for more than 64 MiB, or the cause of ctx after the
// attempt has ended.
func Send(ctx context.Context, v any) error {
	c, err := attemptFrom(ctx, "Send")
	if err != nil {
		return err
	}
	b, err := encode(v)
	if err != nil {
		return err
	}
	switch v.(type) {
	case []byte, json.RawMessage: // copied, because it is sent after Send has returned
		b = bytes.Clone(b)
	}
	return c.send(ctx, b)
}

// Warn sends a message for people, formatted as by fmt.Sprintf, to all clients waiting for the task
// and to the Warning hook of the worker. It blocks and fails like Send.
func Warn(ctx context.Context, format string, args ...any) error {
	c, err := attemptFrom(ctx, "Warn")
	if err != nil {
		return err
	}
	text := fmt.Sprintf(format, args...)
	c.worker.Hooks.call(c.worker.Hooks.Warning, Event{Task: c.task, Function: c.function, Attempt: int(c.number), Text: text})
	return c.warn(ctx, []byte(text))
}

// Progress reports that done of total parts of the task are done. The coordinator keeps the last
// report for [Client.Status]. It blocks and fails like Send.
func Progress(ctx context.Context, done, total uint64) error {
	c, err := attemptFrom(ctx, "Progress")
	if err != nil {
		return err
	}
	return c.progress(ctx, done, total)
}

// IdempotencyKey returns a string that is the same for all attempts at a task and different for all
// other tasks, also in other clusters and in a copied data directory. Pass it to outside
// systems, so that they can detect repeated work. It has letters, digits and dashes, at most 64.
// Outside a handler it is empty.
func IdempotencyKey(ctx context.Context) string {
	c, err := attemptFrom(ctx, "IdempotencyKey")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("layshaft-%s-%x-%s", cmp.Or(c.cluster, "none"), c.origin, c.task)
}

// TaskID returns the ID of the handler's task, or zero outside a handler.
func TaskID(ctx context.Context) ID {
	if c, err := attemptFrom(ctx, "TaskID"); err == nil {
		return c.task
	}
	return 0
}

// Attempt returns the number of the handler's attempt, from 1, or zero outside a handler.
func Attempt(ctx context.Context) int {
	if c, err := attemptFrom(ctx, "Attempt"); err == nil {
		return int(c.number)
	}
	return 0
}

// Hurry returns a channel that is closed when the attempt reaches its [SoftLimit]. The handler
// should then finish soon, with any result or error. Outside a handler the channel is nil.
func Hurry(ctx context.Context) <-chan struct{} {
	if c, err := attemptFrom(ctx, "Hurry"); err == nil {
		return c.softLimit
	}
	return nil
}
