package mapreduce

import (
	"context"

	"github.com/layshaft/layshaft/mapreduce/connector"
)

// The names of package connector, until all sources and sinks use that package.
type (
	Source[T any]     = connector.Source[T]
	Split             = connector.Split
	Reader[T any]     = connector.Reader[T]
	Sink[T any]       = connector.Sink[T]
	SinkTask          = connector.SinkTask
	SinkWriter[T any] = connector.Writer[T]
	MemorySink        = connector.MemorySink
	PlacedSink        = connector.PlacedSink
	PublishedSink     = connector.PublishedSink
	RequeueSink       = connector.RequeueSink
	RefusingWriter    = connector.RefusingWriter
	BudgetUser        = connector.BudgetUser
)

// NewReader is connector.NewReader.
func NewReader[T any](emit func(*T), bad func(err error, raw []byte) error) *Reader[T] {
	return connector.NewReader(emit, bad)
}

// TaskMemory is connector.TaskMemory.
func TaskMemory(ctx context.Context) int64 { return connector.TaskMemory(ctx) }

// WriteTo is Dataset.WriteTo.
func WriteTo[T any](d Dataset[T], s Sink[T]) { d.WriteTo(s) }
