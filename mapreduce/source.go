package mapreduce

import (
	"context"
	"sync/atomic"

	"github.com/layshaft/layshaft/internal/job"
)

// Split is a slice of the input of a source, with the places where it is cheap to read.
type Split = job.Split

// Source reads records of type T from outside. Packages textio, csvio, jsonio, parquetio and binio make sources.
type Source[T any] interface {
	// String names the source in plans and errors, such as textio.Lines("logs/*.txt").
	String() string
	// Splits cuts the input into slices of about target bytes each, in a fixed order. It is called once per run,
	// in the client. It returns an error that names the path and the way out when something is missing or unreadable.
	Splits(ctx context.Context, target int64) ([]Split, error)
	// Read hands every record of the split to r in a fixed order. It returns when the split ends, r.Stopped, or with an error.
	Read(ctx context.Context, s Split, r *Reader[T]) error
}

// Reader takes the records of a source, one attempt at a time. It is used by one goroutine.
type Reader[T any] struct {
	// Emit takes one record. The pointee may be reused after the call, but memory that its strings and slices point
	// to must never change again: users may keep them.
	Emit func(*T)
	// Path, Offset and Line are the position of the record being emitted; the source sets them before Emit.
	// Offset is in bytes of the (decompressed) file; Line counts from 1, zero when not known.
	Path         string
	Offset, Line int64

	records, bytes *atomic.Int64
	stopped        *atomic.Bool
	bad            func(err error, raw []byte) error
}

// Stopped reports that the attempt is ending and Read should return nil. It is cheap enough to call for every record.
func (r *Reader[T]) Stopped() bool { return r.stopped.Load() }

// Add counts consumed input, for progress. Call it once per chunk, not per record.
func (r *Reader[T]) Add(records, bytes int64) {
	r.records.Add(records)
	r.bytes.Add(bytes)
}

// Bad reports a malformed record at the current position. It returns nil when the record is set aside and
// reading goes on, else the error that Read must return.
func (r *Reader[T]) Bad(err error, raw []byte) error { return r.bad(err, raw) }

// NewReader returns a Reader for tests of sources: emit takes records; bad, which may be nil, takes malformed ones.
func NewReader[T any](emit func(*T), bad func(err error, raw []byte) error) *Reader[T] {
	if bad == nil {
		bad = func(err error, _ []byte) error { return err }
	}
	return &Reader[T]{Emit: emit, records: new(atomic.Int64), bytes: new(atomic.Int64), stopped: new(atomic.Bool), bad: bad}
}
