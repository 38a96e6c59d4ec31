// Package spans connects the parts that run jobs and tasks with package tracing, which makes spans
// of them. A program without package tracing has no Tracer, and pays one look-up for
// each job and call. Package spans starts no goroutine and keeps no state.
package spans

import (
	"context"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/report"
)

// Tracer makes spans. Its methods may be called by several goroutines at once.
type Tracer interface {
	// A job's spans are made from its record.
	inspection.Recorder
	// Call begins the span of a call of a function, such as "do" or "enqueue". It returns the
	// position in the trace, for the attempts of its tasks, and the end of the span.
	Call(ctx context.Context, kind, function string) (trace string, end func(err error))
	// Attempt begins the span of an attempt of a task, below the call that submitted it. It returns
	// the context for its handler, and the end of the span.
	Attempt(ctx context.Context, trace, function, task string, number int64) (context.Context, func(err error))
	// Job makes the spans of a job that has ended, below the span of ctx.
	Job(ctx context.Context, run *report.Run)
}

type key struct{}

// With returns a context with a Tracer.
func With(ctx context.Context, t Tracer) context.Context { return context.WithValue(ctx, key{}, t) }

// Of returns the Tracer of a context; nil if there is none.
func Of(ctx context.Context) Tracer {
	t, _ := ctx.Value(key{}).(Tracer)
	return t
}
