package connector

import (
	"context"
	"sync/atomic"

	"github.com/layshaft/layshaft/internal/job"
)

// Split is a slice of the input of a source, with the places where it is cheap to read.
type Split struct {
	// Label is for people, such as a.txt[0:1048576].
	Label string
	// Bytes is the estimated size of the input, for planning and progress.
	Bytes int64
	// Hosts are the IDs of the workers that hold the input. Empty means that every worker is
	// equally near.
	Hosts []string
	// Note is shown by -explain, such as: gzip, cannot be cut.
	Note string
	// Data is the source's own description of the slice. Only the source reads it.
	Data []byte
}

// Source reads records of type T from outside. Packages textio, csvio, jsonio, parquetio, avroio,
// stanzaio, binio, memio and pgio make sources, and package source makes sources for formats of
// your own.
type Source[T any] interface {
	// String names the source in plans and errors, such as textio.Lines("logs/*.txt").
	String() string
	// Splits cuts the input into slices of about target bytes each, in a fixed order. It is called
	// twice per run, in the client. If input is missing or unreadable, it returns an error that
	// names the path and a way to solve it.
	Splits(ctx context.Context, target int64) ([]Split, error)
	// Read passes every record of the split to r, in a fixed order. It returns at the end of the
	// split, when r.Stopped returns true, or with an error.
	Read(ctx context.Context, s Split, r *Reader[T]) error
}

// Reader receives the records of a source, for one attempt. One goroutine uses it.
type Reader[T any] struct {
	// Emit receives one record. The source may reuse the variable after the call, but must never
	// change the memory of its strings and slices: users may keep them.
	Emit func(*T)
	// Path, Offset and Line are the position of the record that is emitted next; the source sets
	// them before it calls Emit. Offset is in bytes of the decompressed file. Line counts from 1;
	// zero means unknown.
	Path         string
	Offset, Line int64

	progress *job.Progress
	stopped  *atomic.Bool
	bad      func(err error, raw []byte) error
}

// Stopped reports whether the attempt is ending, so that Read should return nil. Call it for every
// record: it costs two loads, and tells a slow user function from one that hangs.
func (r *Reader[T]) Stopped() bool {
	r.progress.Beat()
	return r.stopped.Load()
}

// Add counts consumed input, for progress. Call it once per chunk, not per record.
func (r *Reader[T]) Add(records, bytes int64) {
	r.progress.Records.Add(records)
	r.progress.Bytes.Add(bytes)
}

// Bad reports a malformed record at the current position. If Bad returns nil, the record is set
// aside and Read continues. Otherwise Read must return the error.
func (r *Reader[T]) Bad(err error, raw []byte) error { return r.bad(err, raw) }

// Absent reports that no record of this split had a field of T, which is therefore zero in all.
// near is the most similar name that records had, or empty. If no split of the input has the field,
// the run prints it at its end.
func (r *Reader[T]) Absent(field, near string) {
	if r.progress.Absent == nil {
		r.progress.Absent = map[string]string{}
	}
	r.progress.Absent[field] = near
}

// Attach connects the reader to an attempt: bad receives malformed records. Package mapreduce calls
// it.
func (r *Reader[T]) Attach(progress *job.Progress, stopped *atomic.Bool, bad func(err error, raw []byte) error) {
	r.progress, r.stopped, r.bad = progress, stopped, bad
}

// NewReader returns a Reader for tests of sources. emit receives records. bad receives malformed
// records; if it is nil, the first one ends the reading.
func NewReader[T any](emit func(*T), bad func(err error, raw []byte) error) *Reader[T] {
	if bad == nil {
		bad = func(err error, _ []byte) error { return err }
	}
	return &Reader[T]{Emit: emit, progress: new(job.Progress), stopped: new(atomic.Bool), bad: bad}
}
