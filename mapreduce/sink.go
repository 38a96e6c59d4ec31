package mapreduce

import "context"

// Sink is where records of type T go. Packages textio, csvio, jsonio, parquetio and binio make sinks.
// Every attempt writes to a place of its own; Finish makes the committed attempts' output visible, all of it or nothing.
// A sink that has a method Place() string says with it which path it writes to: a plan with two sinks to one path, or to one inside the
// other, is refused. One that has a method Published(ctx context.Context, job string, ended time.Time) (bool, error) says with it whether what the job
// wrote, which was done at a time, is in place still: when it is not, a cluster that remembers the job runs it anew.
type Sink[T any] interface {
	// String names the sink in plans and errors, such as textio.Write("out").
	String() string
	// Check is called once before the run, in the client. It returns an error that names the path and the way out when
	// the place cannot be written.
	Check(ctx context.Context) error
	// Open starts the output of one attempt of one task.
	Open(ctx context.Context, t SinkTask) (SinkWriter[T], error)
	// Finish is called once, in the client, when the job is done, with the results of Close of the committed attempts in task
	// order. It renames temporary files into place, removes what other attempts left, and writes a manifest.
	// It must be idempotent: it runs again when the process is killed in the middle.
	Finish(ctx context.Context, job string, parts [][]byte) error
	// Abandon is called when the job failed or was cancelled. It removes every temporary file of the job.
	Abandon(ctx context.Context, job string) error
}

// SinkTask says for which attempt a sink is opened.
type SinkTask struct {
	Job     string // job ID, safe in file names
	Index   int    // task number over all tasks that write to the sink, from 0
	Of      int    // number of such tasks
	Attempt int    // attempt number, from 1
}

// SinkWriter writes the output of one attempt. It is used by one goroutine.
type SinkWriter[T any] interface {
	// Write adds one record. It must not keep r.
	Write(r *T) error
	// Close flushes and syncs, and describes what was written, for Finish.
	Close() (part []byte, err error)
	// Abort removes what was written. It is called instead of Close, or after Close failed.
	Abort()
}
