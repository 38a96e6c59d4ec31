package job

import (
	"context"
	"sync/atomic"
)

// Program is the compiled code of a job: one function per stage. The worker runs it and knows no user type.
type Program struct {
	Stages    []func(ctx context.Context, run *Run) error
	Tolerates bool // the plan goes on without records that are bad
}

// Run is all that an attempt may touch. The worker makes one per attempt; the stage function owns it until it returns.
type Run struct {
	Attempt Attempt
	Tasks   int           // number of tasks of the stage
	Split   *Split        // nil unless the stage reads a source
	Inputs  [][]RunReader // per input number (Edge.Input): sorted runs in a fixed order
	Output  Output        // where blocks go

	// Part opens the runs of one partition of all producers that Group edges name, in order of edge, producing task and run. It
	// closes those of the call before. It is nil when the stage has no such edge.
	Part func(part int) ([]RunReader, error)
	// Sinks has, for each producer that Sinks edges name, in order of edge and task, what its sinks wrote: Manifest.Sink.
	Sinks [][][]byte

	// Alone, Skips: see Launch. Mark, unless it is nil, notes the record that is given to user code next where it outlives the process: its
	// number among those of the split and where it stands. Number zero means none.
	Alone bool
	Skips []Skip
	Mark  func(number int64, path string, offset, line int64)

	Memory   int64            // bytes that the attempt may hold before it spills
	Slots    int              // attempts that the process runs at once, with as much memory each; zero means one
	Temp     func() Scratch   // makes a scratch file that is removed when the attempt ends
	Counters map[string]int64 // filled by the stage function
	Sink     [][]byte         // filled by the stage function: one entry per sink port
	Progress *Progress
}

// Progress is counted by the stage function and read by the worker at any time.
type Progress struct {
	Records, Bytes atomic.Int64 // input consumed
	Spilled        atomic.Int64 // bytes written to scratch files
}

// RunReader reads the blocks of one run, one after the other.
type RunReader interface {
	// Next returns the next block: records in the format of package record, verified and decompressed.
	// The bytes are never reused, so strings may alias them for ever. It returns io.EOF after the last block,
	// and an error that wraps a *Failure of kind InputLost when the block is gone or damaged.
	Next() ([]byte, error)
	// Records and Bytes are the totals of the run (bytes before compression), for planning and progress.
	Records() int64
	Bytes() int64
	Close() error
}

// Output takes the blocks that an attempt writes. It is used by one goroutine.
type Output interface {
	// Append adds one block of whole records to partition part of run number run of output port. The blocks of one
	// (port, run, part) are given together, before any other's, and in key order when the port is sorted. first is the key of the
	// first record, needed only for ports read by Range edges, else nil. block and first may be reused after the call.
	Append(port, run, part int, block []byte, records int, first []byte) error
}

// Scratch is a temporary file for spilled runs.
type Scratch interface {
	Write(p []byte) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	Close() error // and remove
}
