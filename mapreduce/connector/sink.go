package connector

import (
	"context"
	"time"
)

// Sink writes records of type T outside. Packages textio, csvio, jsonio, parquetio, binio, pgio,
// searchio and indexio make sinks.
//
// Every attempt writes to a temporary place of its own. Finish makes the output of the committed
// attempts visible, all of it or nothing. A Sink may also be a [PlacedSink], a [PublishedSink]
// and a [MemorySink].
type Sink[T any] interface {
	// String names the sink in plans and errors, such as textio.Write("out").
	String() string
	// Check is called once before the run, in the client. If the sink cannot write, Check returns
	// an error that names the path and a way to solve it.
	Check(ctx context.Context) error
	// Open starts the output of one attempt of one task.
	Open(ctx context.Context, t SinkTask) (Writer[T], error)
	// Finish is called once, when all tasks are done. parts are the results of Close of the
	// committed attempts, in task order. Finish renames temporary files into place, removes the
	// files of other attempts, and writes a manifest. It must be idempotent: it runs again if its
	// process is killed.
	Finish(ctx context.Context, job string, parts [][]byte) error
	// Abandon is called when the job failed or was cancelled. It removes every temporary file of
	// the job.
	Abandon(ctx context.Context, job string) error
}

// MemorySink is a Sink whose writers hold much in memory, such as the next requests. They share the
// memory of an attempt with its operators: [TaskMemory] of the context of Open returns their part.
type MemorySink interface {
	// HoldsMemory marks the sink.
	HoldsMemory()
}

// PlacedSink is a Sink that writes to one path. A plan is refused if two of its sinks write to the
// same path, or if the path of one lies inside the path of another.
type PlacedSink interface {
	// Place returns the path or URL.
	Place() string
}

// PublishedSink is a Sink that can look for its output later. A cluster remembers finished jobs,
// and answers a repeated run from memory. It runs the job again if a PublishedSink misses its
// output.
type PublishedSink interface {
	// Published reports whether the output of a job is still in place and unchanged. ended is the
	// time when the job was done.
	Published(ctx context.Context, job string, ended time.Time) (bool, error)
}

// RequeueSink is a Sink that can add records to its finished output; see mapreduce.Reporting. The
// sinks for directories of files do that.
type RequeueSink interface {
	// Requeued returns the records that FinishRequeue has added to the output of job of, which may
	// be empty for any job. If nothing can be added, it returns an error with the reason.
	Requeued(ctx context.Context, of string) ([]string, error)
	// FinishRequeue is called instead of Finish. It adds parts to the output of job of, and keeps
	// the list of records, so that none of them is added twice. Like Finish it must be idempotent.
	FinishRequeue(ctx context.Context, job string, parts [][]byte, of string, records []string) error
}

// SinkTask is the attempt for which a sink is opened.
type SinkTask struct {
	Job     string // job ID, safe in file names
	Index   int    // task number over all tasks that write to the sink, from 0
	Of      int    // number of these tasks
	Attempt int    // attempt number, from 1
}

// RefusingWriter is a Writer for an outside that refuses some records, perhaps long after they
// were written.
type RefusingWriter interface {
	// SetBad is called before the first Write. Write and Close call bad for each refused record,
	// with its text; bad sets it aside like a record of Skip. If bad returns an error, Write or
	// Close returns it.
	SetBad(bad func(err error, record []byte) error)
}

// Writer writes the output of one attempt. One goroutine uses it.
type Writer[T any] interface {
	// Write adds one record. It must not keep r. An error made by Skip sets the record aside.
	Write(r *T) error
	// Close flushes and syncs. It returns a description of the output, which Finish receives.
	Close() (part []byte, err error)
	// Abort removes the output. It is called instead of Close, or after Close failed.
	Abort()
}
