package mapreduce

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// sink is a connector.Sink without the type of its records.
type sink interface {
	String() string
	Check(ctx context.Context) error
	Finish(ctx context.Context, job string, parts [][]byte) error
	Abandon(ctx context.Context, job string) error
}

// writer is a connector.Writer without the type of its records.
type writer interface {
	Close() (part []byte, err error)
	Abort()
}

// guarded is a sink whose panics in the client are errors. Panics in tasks end the attempt.
type guarded struct{ sink }

func (s guarded) Check(ctx context.Context) error {
	return guard(s, "Check", func() error { return s.sink.Check(ctx) })
}

func (s guarded) Finish(ctx context.Context, job string, parts [][]byte) error {
	return guard(s, "Finish", func() error { return s.sink.Finish(ctx, job, parts) })
}

func (s guarded) Abandon(ctx context.Context, job string) error {
	return guard(s, "Abandon", func() error { return s.sink.Abandon(ctx, job) })
}

// guardedSplits calls Splits of a source in the client.
func guardedSplits[T any](s connector.Source[T], ctx context.Context, target int64) (splits []job.Split, err error) {
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
