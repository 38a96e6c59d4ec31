package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

type callKey struct{}

// callOf returns the attempt whose handler got ctx, or an error that names what was tried.
func callOf(ctx context.Context, what string) (*call, error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c, nil
	}
	if _, ok := ctx.Value(batchKey{}).([]context.Context); ok {
		return nil, fmt.Errorf("%w: tasks.%s needs the context of one task of the batch, tasks.Item(ctx, i)", ErrInvalid, what)
	}
	return nil, fmt.Errorf("%w: tasks.%s needs the context that a handler was given", ErrInvalid, what)
}

// Send gives those who wait for the task a partial result, before the result. The form of v is that of results. It blocks while they, or
// the network, are slower than the handler. The error is that of the encoding, [ErrInvalid] for
// more than 64 MiB, or the cause of ctx when the attempt has ended.
func Send(ctx context.Context, v any) error {
	c, err := callOf(ctx, "Send")
	if err != nil {
		return err
	}
	b, err := encode(v)
	if err != nil {
		return err
	}
	switch v.(type) {
	case []byte, json.RawMessage: // it is sent after Send has returned
		b = bytes.Clone(b)
	}
	return c.send(ctx, b)
}

// Warn gives those who wait for the task a text for people, formatted like fmt.Sprintf does, and the hooks of the worker too. It blocks and fails
// like Send.
func Warn(ctx context.Context, format string, args ...any) error {
	c, err := callOf(ctx, "Warn")
	if err != nil {
		return err
	}
	text := fmt.Sprintf(format, args...)
	c.worker.Hooks.call(c.worker.Hooks.Warning, Event{Task: c.task, Function: c.function, Attempt: int(c.number), Text: text})
	return c.warn(ctx, []byte(text))
}

// Progress says that done of total parts of the task are done; the coordinator keeps the last for [Client.Status]. It blocks and fails like Send.
func Progress(ctx context.Context, done, total uint64) error {
	c, err := callOf(ctx, "Progress")
	if err != nil {
		return err
	}
	return c.progress(ctx, done, total)
}

// IdempotencyKey returns a text that is the same for all attempts at a task and different for all other tasks of the cluster, for
// outside systems that can tell by it that something was done already. Outside of a handler it is empty.
func IdempotencyKey(ctx context.Context) string {
	c, err := callOf(ctx, "IdempotencyKey")
	if err != nil {
		return ""
	}
	return "layshaft-" + c.task.String()
}

// TaskID returns the task whose handler got ctx, or zero.
func TaskID(ctx context.Context) ID {
	if c, err := callOf(ctx, "TaskID"); err == nil {
		return c.task
	}
	return 0
}

// Attempt returns the number of the attempt whose handler got ctx, from 1, or zero.
func Attempt(ctx context.Context) int {
	if c, err := callOf(ctx, "Attempt"); err == nil {
		return int(c.number)
	}
	return 0
}

// Hurry returns a channel that is closed when the attempt has reached its SoftLimit: the handler should come to an end, with whatever
// result or error it likes. Outside of a handler it is nil.
func Hurry(ctx context.Context) <-chan struct{} {
	if c, err := callOf(ctx, "Hurry"); err == nil {
		return c.hurry
	}
	return nil
}
