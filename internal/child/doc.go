// Package child is the conversation between a worker and the process that runs a job's user code, both ends of it, and what can be
// known of a program before it is started (Inspect). The worker's end is Conn, the child's is Serve. Starting, watching and killing processes is
// left to worker/internal/runner, compiled code to package mapreduce.
//
// A Conn's Run stands in for a stage function: the child runs the function over blocks that cross a socket, and what comes of it is what
// a call in the worker would have given. The worker keeps inputs, output, manifest and disk budget; scratch files alone are
// the child's own. Memory is bounded on both ends: a run of an input has at most two batches of blocks on their way, or one block when there
// are very many runs, and output waits in one batch and the stream's window.
//
// The conversation is proto/layshaft/v1/runner.proto over gRPC. Blocks go as they are: the worker's leave its memory without a copy, and
// each end copies once between its own memory and the transport's.
package child

import (
	"errors"

	"github.com/layshaft/layshaft/internal/job"
)

// Env is the environment variable that makes a program the child of a worker. Its value is what Serve takes.
const Env = "LAYSHAFT_RUNNER"

// FilesEnv is the environment variable by which user code reaches the files of its worker: the address of a FilesService, a space, and the volume of
// the client that submitted the job, if there is one.
const FilesEnv = "LAYSHAFT_FILES"

// protocol numbers the conversation. It grows when an old child could misunderstand a new worker.
const protocol = 1

// batch is how many bytes of blocks go in one message, save for a single larger block.
const batch = 256 << 10

// perSlot is how many bytes a stream may hold in its window.
const perSlot = 2 << 20

// failureOf turns any error into a failure with the kind that it has as the outcome of an attempt. It keeps what wrapping added.
func failureOf(err error) *job.Failure {
	var f *job.Failure
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &f):
		return &job.Failure{Kind: job.Transient, Message: err.Error()}
	case err != error(f):
		c := *f
		c.Message = err.Error()
		return &c
	}
	return f
}
