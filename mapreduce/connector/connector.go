// Package connector has the interfaces of sources and sinks, for authors of connectors: packages
// that read or write a format, a database or a service. Pipelines need only the connectors
// themselves, such as textio and csvio.
//
// A [Source] cuts its input into a [Split] for each task, and passes the records of a split to a
// [Reader]. A [Sink] opens a [Writer] for each attempt of a task, and publishes the output of the
// committed attempts at the end of the job. The example of Source has a whole source.
//
// Package source of this module makes sources for text and binary formats of your own with less
// code.
//
// A source or sink may have further abilities, each with an interface: [BudgetUser] limits
// connections, [PlacedSink] refuses two sinks with one place, [PublishedSink] notices that the
// output is gone, [RequeueSink] adds repaired records to a finished output, [MemorySink] receives a
// share of the memory, and a writer that is a [RefusingWriter] sets refused records aside.
//
// This package imports no part of the engine, and neither do connectors.
package connector

import (
	"context"

	"github.com/layshaft/layshaft/internal/call"
)

// BudgetUser is a Source or Sink whose attempts hold a part of a budget while they run, as with
// mapreduce.Needs. So the number of connections or requests is limited over all workers and all
// jobs.
type BudgetUser interface {
	// Budget returns the name of the budget, the amount n that each attempt holds, and the size
	// that the budget has while nobody has set one. If jobs declare several sizes at once, the
	// smallest counts. An empty name means that nothing is needed.
	Budget() (name string, n, size int)
}

// Skip marks an error of Read or Write so that the record is set aside in the quarantine and the
// attempt continues, within mapreduce.MaxBad. Skip(nil) is nil.
func Skip(err error) error {
	if err == nil {
		return nil
	}
	return &call.SkipError{Err: err}
}

// Fatal marks err so that the job ends at once, because another attempt cannot help. Fatal(nil) is
// nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &call.FatalError{Err: err}
}

// TaskMemory returns the number of bytes that the writer of a [MemorySink], or the function of an
// operator, may hold. ctx is the context of Open, or of the function; without one the result is
// zero. The caller is free to ignore it.
func TaskMemory(ctx context.Context) int64 { return call.Memory(ctx) }
