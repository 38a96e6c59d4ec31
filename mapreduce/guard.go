package mapreduce

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// guarded is a sink whose panics in the client are errors. Panics in tasks end the attempt.
type guarded[T any] struct{ Sink[T] }

func (s guarded[T]) guard(method string, f func() error) error {
	return guard(s.Sink, method, f)
}

func (s guarded[T]) Check(ctx context.Context) error {
	return s.guard("Check", func() error { return s.Sink.Check(ctx) })
}

func (s guarded[T]) Open(ctx context.Context, t SinkTask) (w SinkWriter[T], err error) {
	err = s.guard("Open", func() (err error) { w, err = s.Sink.Open(ctx, t); return err })
	return guardedWriter[T]{w, s.Sink}, err
}

func (s guarded[T]) Finish(ctx context.Context, job string, parts [][]byte) error {
	return s.guard("Finish", func() error { return s.Sink.Finish(ctx, job, parts) })
}

func (s guarded[T]) Abandon(ctx context.Context, job string) error {
	return s.guard("Abandon", func() error { return s.Sink.Abandon(ctx, job) })
}

// guardedWriter is the writer of a guarded sink.
type guardedWriter[T any] struct {
	SinkWriter[T]
	sink fmt.Stringer
}

func (w guardedWriter[T]) Write(r *T) error {
	return guard(w.sink, "Write", func() error { return w.SinkWriter.Write(r) })
}

func (w guardedWriter[T]) Close() (part []byte, err error) {
	err = guard(w.sink, "Close", func() (err error) { part, err = w.SinkWriter.Close(); return err })
	return part, err
}

// guardedSplits calls Splits of a source in the client.
func guardedSplits[T any](s Source[T], ctx context.Context, target int64) (splits []job.Split, err error) {
	err = guard(nil, "Splits", func() (err error) { splits, err = jobSplits(s.Splits(ctx, target)); return err })
	return splits, err
}

// guard calls a method of a user's source or sink outside of an attempt. A panic becomes an error
// with the place. The caller adds the name if of is nil.
func guard(of fmt.Stringer, method string, f func() error) (err error) {
	panicked := true
	err = call.Method(func() error {
		err := f()
		panicked = false
		return err
	})
	if panicked && of == nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if panicked {
		return fmt.Errorf("%s: %s: %w", of, method, err)
	}
	return err
}
