// Package child implements the communication between a worker and the process that runs a job's
// user code. It contains both ends: Conn for the worker and Serve for the child. Inspect reads the
// properties of a program before it is started. Package worker/internal/runner starts, watches and
// kills the processes, and package mapreduce compiles the code.
//
// Conn.Run replaces a stage function. The child runs the function over blocks from a socket, with
// the same result as a call inside the worker. The worker keeps inputs, output, manifest and disk
// budget; only scratch files belong to the child.
//
// What lies in files of this machine crosses no socket: the child reads such inputs by itself, and
// writes all but small outputs into the segment that the worker seals. If it cannot open such a
// file, the bytes cross the socket.
//
// Memory is bounded on both ends. A run of an input has at most two batches of blocks in transit,
// or one block when there are very many runs. Output waits in one batch and the stream's window.
//
// The protocol is proto/layshaft/runner/v1/runner.proto over gRPC. Blocks are sent unchanged: the
// worker's blocks leave its memory without a copy, and each end copies once between its own memory
// and the transport's.
package child

import (
	"errors"

	"github.com/layshaft/layshaft/internal/job"
)

// Env is the environment variable that makes a program the child of a worker. Its value is the
// argument of Serve.
const Env = "LAYSHAFT_RUNNER"

// FilesEnv is the environment variable with the address of the worker's FilesService, for user
// code. If the client that submitted the job has a volume, a space and that volume follow.
const FilesEnv = "LAYSHAFT_FILES"

// RootsEnv is the environment variable with the directories that file:// paths may reach, in the
// form of PATH. The worker always sets it with FilesEnv.
const RootsEnv = "LAYSHAFT_FILE_ROOTS"

// ReplayEnv is the environment variable that makes a child run an attempt for a person, in the
// foreground: its output has no tags, and its sinks write nothing.
const ReplayEnv = "LAYSHAFT_REPLAY"

// protocol is the version of the protocol. It increases when an old child could misunderstand a new
// worker.
const protocol = 1

// batch is the maximum number of bytes of blocks in one message, except for a single larger block.
const batch = 256 << 10

// perSlot is the window size of a stream in bytes.
const perSlot = 2 << 20

// failureOf converts any error to a failure, with the kind of the attempt's outcome. It keeps the
// text added by wrapping.
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
