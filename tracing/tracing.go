// Package tracing makes OpenTelemetry spans of pipelines and tasks.
//
//	ctx = tracing.With(ctx, provider)              // once, near the start of the program
//	for row, err := range Report.Run(ctx, ...)     // spans: job > stage > attempt
//	out, err := tasks.Do[Image](ctx, c, "resize")  // span of the call, below the span of ctx
//	err := worker.Run(ctx)                         // spans of attempts, below the call
//
// The position of a caller in its trace goes with each task of Do, Scatter, Enqueue and EnqueueAll
// to the worker, also to one in another process. A handler finds its span in its context, so calls
// that it makes are below it. If tasks become one by tasks.Unique, the trace of the first one
// counts.
//
// The spans of a job are made when it ends, from the record of its attempts, with the true times.
// So a job that was detached, or whose client was killed, has none. Tasks of groups, schedules and
// Gearman clients begin traces of their own on the worker.
//
// A program that does not import this package links nothing of OpenTelemetry through Layshaft, and
// pays a look-up in the context for each job, call and attempt.
package tracing

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spans"
)

// MaxAttempts is the largest number of attempts of a job that get a span. Beyond it, failed
// attempts come first, then the longest. The attribute layshaft.attempts.omitted of the job counts
// attempts without a span. Exporters drop spans that come faster than they can send them.
const MaxAttempts = 1000

// With returns a context with which pipelines, calls of tasks and workers make spans. The spans of
// a job or call are below the span that the context has then.
func With(ctx context.Context, provider trace.TracerProvider) context.Context {
	return spans.With(ctx, &tracer{Tracer: provider.Tracer("github.com/layshaft/layshaft/tracing")})
}

// tracer is a spans.Tracer.
type tracer struct {
	trace.Tracer
	recorder.Memory
}

// setEnd sets the status of a span that ends with err, which may be nil.
func setEnd(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}

// The headers of W3C in the trace of a task.
const (
	parentHeader = "traceparent"
	stateHeader  = "tracestate"
)

// Call begins the span of a call.
func (t *tracer) Call(ctx context.Context, kind, function string) (string, func(error)) {
	as := trace.SpanKindClient
	if kind == "enqueue" {
		as = trace.SpanKindProducer
	}
	ctx, span := t.Start(ctx, kind+" "+function, trace.WithSpanKind(as), trace.WithAttributes(attribute.String("layshaft.function", function)))
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	text := headers[parentHeader]
	if state := headers[stateHeader]; state != "" && len(text)+1+len(state) <= 1024 {
		text += "\n" + state
	}
	return text, func(err error) {
		setEnd(span, err)
		span.End()
	}
}

// Attempt begins the span of an attempt of a task.
func (t *tracer) Attempt(ctx context.Context, position, function, task string, number int64) (context.Context, func(error)) {
	parent, state, _ := strings.Cut(position, "\n")
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{parentHeader: parent, stateHeader: state})
	ctx, span := t.Start(ctx, "run "+function, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("layshaft.function", function), attribute.String("layshaft.task", task), attribute.Int64("layshaft.attempt", number)))
	return ctx, func(err error) {
		setEnd(span, err)
		span.End()
	}
}

// Job makes the spans of a job: one for each stage that had attempts, and for each attempt.
func (t *tracer) Job(ctx context.Context, run *report.Run) {
	begin, end := run.Submitted, run.Ended
	for i := range run.Attempts {
		a := &run.Attempts[i]
		begin, end = earlier(begin, begun(a)), later(end, a.Ended)
	}
	chosen := choose(run.Attempts)
	ctx, span := t.Start(ctx, "job "+run.Name, trace.WithTimestamp(begin), trace.WithAttributes(
		attribute.String("layshaft.job", string(run.ID)), attribute.String("layshaft.outcome", run.Outcome.String()),
		attribute.Int("layshaft.attempts", len(run.Attempts)), attribute.Int("layshaft.attempts.omitted", len(run.Attempts)-len(chosen))))
	if f := run.Failure; f != nil {
		span.SetStatus(codes.Error, f.Message)
	}
	if span.IsRecording() {
		for n := range run.Stages {
			t.stage(ctx, run, n, chosen)
		}
	}
	span.End(trace.WithTimestamp(end))
}

// stage makes the span of a stage and its attempts.
func (t *tracer) stage(ctx context.Context, run *report.Run, n int, chosen []int) {
	s := &run.Stages[n]
	var begin, end time.Time
	for i := range run.Attempts {
		if a := &run.Attempts[i]; a.Task.Stage == n {
			begin, end = earlier(begin, begun(a)), later(end, a.Ended)
		}
	}
	if end.IsZero() {
		return
	}
	ctx, span := t.Start(ctx, "stage "+s.Name, trace.WithTimestamp(begin), trace.WithAttributes(
		attribute.Int("layshaft.stage", n), attribute.String("layshaft.kind", s.Kind), attribute.Int("layshaft.tasks", s.Tasks), attribute.String("code.location", s.Places)))
	for _, i := range chosen {
		if a := &run.Attempts[i]; a.Task.Stage == n {
			t.attempt(ctx, run, s, a)
		}
	}
	span.End(trace.WithTimestamp(end))
}

// attempt makes the span of an attempt of a job.
func (t *tracer) attempt(ctx context.Context, run *report.Run, s *report.RunStage, a *report.Attempt) {
	_, span := t.Start(ctx, "attempt "+s.Name, trace.WithTimestamp(begun(a)), trace.WithAttributes(
		attribute.String("layshaft.attempt", a.String()), attribute.String("layshaft.worker", a.Worker), attribute.String("layshaft.end", a.End.String()),
		attribute.Bool("layshaft.speculative", a.Speculative),
		attribute.Int64("layshaft.read.records", a.ReadRecords), attribute.Int64("layshaft.read.bytes", a.ReadBytes),
		attribute.Int64("layshaft.wrote.records", a.WroteRecords), attribute.Int64("layshaft.wrote.bytes", a.WroteBytes)))
	if a.Cause > 0 && a.Cause <= len(run.Causes) {
		c := &run.Causes[a.Cause-1]
		span.SetStatus(codes.Error, c.Message)
		if c.Record != "" {
			span.SetAttributes(attribute.String("layshaft.record", c.Record))
		}
	}
	span.End(trace.WithTimestamp(a.Ended))
}

// choose returns the indexes of at most MaxAttempts attempts, in order.
func choose(all []report.Attempt) []int {
	chosen := make([]int, len(all))
	for i := range chosen {
		chosen[i] = i
	}
	if len(chosen) <= MaxAttempts {
		return chosen
	}
	slices.SortStableFunc(chosen, func(i, j int) int {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(min(b.Cause, 1), min(a.Cause, 1)), cmp.Compare(b.Took(), a.Took()))
	})
	chosen = chosen[:MaxAttempts]
	slices.Sort(chosen)
	return chosen
}

// begun returns the start of an attempt, or its end if the start is unknown.
func begun(a *report.Attempt) time.Time {
	if a.Started.IsZero() {
		return a.Ended
	}
	return a.Started
}

// earlier returns the earlier time; a zero time is unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later returns the later time.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
