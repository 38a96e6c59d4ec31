package job

import (
	"context"
	"sync/atomic"
)

// Program is the compiled code of a job: one function per stage. Its functions contain no user type
// in their signature, so that the worker can run any program.
type Program struct {
	Stages    []func(ctx context.Context, run *Run) error // one per stage, in the order of the Spec
	Tolerates bool                                        // the plan allows records to be set aside
}

// Run contains everything that an attempt may use. The worker makes one per attempt. The stage
// function owns it until it returns.
type Run struct {
	Attempt Attempt       // the running attempt
	Tasks   int           // number of tasks of the stage
	Split   *Split        // nil unless the stage reads a source
	Inputs  [][]RunReader // sorted runs in a fixed order, by input number (Edge.Input)
	Output  Output        // receives the output blocks

	// OpenPartition opens the runs of one partition of all producers of Group edges, in order of
	// edge, producing task and run. It closes the runs of the previous call. It is nil when the
	// stage has no such edge.
	OpenPartition func(part int) ([]RunReader, error)
	// Sinks contains Manifest.Sink of each producer of a Sinks edge, in order of edge and task.
	Sinks [][][]byte

	// For Isolated and Skips, see Launch. Mark may be nil. Call it before each record for user
	// code: it stores the record's number and position in a place that survives the process. The
	// number counts the records of the split from 1; zero means no record.
	Isolated bool
	Skips    []Skip
	Mark     func(number int64, path string, offset, line int64)
	// SetAside may be nil. Call it with each record that is set aside, as a line of a quarantine
	// file. Such lines outlive a failed attempt. The caller must not change line afterwards.
	SetAside func(line []byte)

	Memory   int64            // bytes to use before the attempt spills
	Slots    int              // parallel attempts in the process, with equal memory; zero means one
	Temp     func() Scratch   // makes a scratch file; it is removed when the attempt ends
	Counters map[string]int64 // filled by the stage function
	Sink     [][]byte         // filled by the stage function: one entry per sink port
	Keys     []KeySample      // filled by the stage function: see Manifest.Keys
	Progress *Progress        // updated by the stage function
}

// Progress is updated by the stage function. The worker may read it at any time.
type Progress struct {
	Records, Bytes atomic.Int64 // input consumed
	Spilled        atomic.Int64 // bytes written because memory was full
	// Asked asks whether the attempt takes records: the next one adds one to Beats. Records counts
	// whole chunks.
	Asked atomic.Bool
	Beats atomic.Int64
	// Idle is how long the attempt has read no record and used no processor, in nanoseconds; zero
	// while it makes progress. Stacks are the stacks of its goroutines then, or nil.
	Idle   atomic.Int64
	Stacks atomic.Pointer[string]
	// Absent has the fields that no record of the input had, for a source that looks for that, with
	// the most similar name that records had. The goroutine of the attempt sets it.
	Absent map[string]string
}

// Beat answers Asked. It costs a load.
func (p *Progress) Beat() {
	if p.Asked.Load() {
		p.Asked.Store(false)
		p.Beats.Add(1)
	}
}

// RunReader reads the blocks of one run in sequence.
type RunReader interface {
	// Next returns the next block: records in the format of package record, verified and
	// decompressed. The bytes are never reused, so strings may alias them permanently. It returns
	// io.EOF after the last block. If the block is missing or damaged, its error wraps a *Failure
	// of kind InputLost.
	Next() ([]byte, error)
	// Records and Bytes return the totals of the run, for planning and progress. Bytes counts bytes
	// before compression.
	Records() int64
	Bytes() int64
	Close() error
}

// Output receives the blocks of an attempt. It must not be used by several goroutines at once.
type Output interface {
	// Append adds one block of whole records to partition part of run number run of output port.
	// Append all blocks of one (port, run, part) in sequence, in key order if the port is sorted.
	// first is the key of the first record for ports read by Range edges, else nil. The caller may
	// reuse block and first after the call.
	Append(port, run, part int, block []byte, records int, first []byte) error
}

// Scratch is a temporary file for spilled runs.
type Scratch interface {
	Write(p []byte) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	Close() error // closes and removes the file
}
