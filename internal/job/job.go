// Package job defines the common terms of the system as Go types: Job, Stage, Task, Attempt, Split,
// Manifest, Program. All roles use it. It imports only the standard library, starts nothing and
// keeps no state.
package job

import (
	"fmt"
	"time"
)

// ID identifies one job. It is stable: the same plan, parameters and input give the same ID.
type ID string

// Task is one split to map, one partition to reduce or one group to combine, by stage number and index from 0.
type Task struct {
	Stage, Index int
}

// String returns STAGE/INDEX, as in 0/17.
func (t Task) String() string { return fmt.Sprintf("%d/%d", t.Stage, t.Index) }

// Attempt is one try at a task. N starts at 1 and only increases.
type Attempt struct {
	Job  ID
	Task Task
	N    int
}

// String returns STAGE/INDEX#N, as in 0/17#2.
func (a Attempt) String() string { return fmt.Sprintf("%s#%d", a.Task, a.N) }

// Split is a slice of the input, with the places where reading it is cheap.
type Split struct {
	Label string   `json:"label"`           // name for people: a.txt[0:1048576]
	Bytes int64    `json:"bytes"`           // estimated input bytes, for planning and progress
	Hosts []string `json:"hosts,omitempty"` // workers that hold it; empty means anywhere
	Note  string   `json:"note,omitempty"`  // shown by -explain, such as: gzip, cannot be cut
	Data  []byte   `json:"data,omitempty"`  // the source's own description of the slice
}

// Mode selects the part of the producers' output that a task reads over an edge.
type Mode int

const (
	Shuffle   Mode = iota // task i reads partition i of every producing task
	Broadcast             // every task reads the whole output
	Range                 // task i of n reads the i-th of n key ranges of the producers' sorted runs
	Group                 // task i reads all output of producers in group i; see Stage.Combine
	Sinks                 // every task reads the results of sinks, no records; see Run.Sinks
)

// Edge joins a stage to an earlier stage, whose output it reads. From is the number of the
// producing stage, less than the number of the reader. Port selects one of the producer's outputs.
// Input numbers the reader's inputs, such as 0 and 1 for the sides of a join. Several edges may
// feed one input (a union).
type Edge struct {
	From, Port, Input int
	Mode              Mode
}

// Stage is a set of tasks of one kind that can run in parallel.
type Stage struct {
	Name        string        // name for people: map products, reduce by brand
	Tasks       int           // number of tasks; len(Splits) when the stage reads a source
	Splits      []Split       // one per task when the stage reads a source
	Inputs      []Edge        // outputs of earlier stages; it starts when all are done
	MaxAttempts int           // attempts per task before the job fails; zero means 4
	Timeout     time.Duration // maximum duration of an attempt; zero means no limit

	// Combine marks a tier: a stage that merges outputs early and near their location. It has one
	// input edge, of mode Group. When the producing stage is complete, the coordinator puts each of
	// its outputs into one of Tasks/Slices groups. There is one group per worker with outputs or,
	// if the producing stage is itself a combine stage, one per zone. Groups without producers also
	// run, and write nothing.
	Combine bool
	// Slices is the number of tasks of a combine stage that share a group, so that several tasks
	// can work on it; zero means 1. Tasks must be a multiple of it, and there are Tasks/Slices
	// groups. Task i has the partitions of group i/Slices with a number equal to i modulo Slices.
	Slices int

	// Inner means that only later stages read the output, and no client. The output is dropped when
	// the job is done, unless records were set aside for the client.
	Inner bool

	// Needs contains the parts of external budgets that each attempt holds from its launch to its
	// end. Each name occurs once.
	Needs []Need
}

// Bad is the engine's counter of records set aside.
const Bad = ".bad"

// Need is an amount of a budget, such as one connection of a database.
type Need struct {
	Budget string
	N      int
}

// Spec is a job as data, complete for the coordinator.
type Spec struct {
	ID     ID
	Name   string
	Hash   string // fingerprint of plan, parameters and input, hex
	Params []byte // the caller's parameters, JSON
	// Plan is the fingerprint of the plan alone. The program that runs the job is checked against
	// it. It may be empty.
	Plan   string
	Memory int64 // bytes of one attempt before it spills; if zero, the worker decides
	Stages []Stage
}

// Tasks returns the number of tasks of all stages.
func (s *Spec) Tasks() int {
	n := 0
	for i := range s.Stages {
		n += s.Stages[i].Tasks
	}
	return n
}

// Producer is one committed attempt that a launched attempt reads, and the worker that holds its
// output.
type Producer struct {
	Attempt Attempt
	Worker  string
}

// Launch asks a worker to run an attempt. For each edge of the stage, in order, Producers contains
// the committed attempts of the producing stage in task order. For an edge of mode Group, it
// contains only those in the task's group.
type Launch struct {
	Attempt   Attempt
	Split     *Split // nil unless the stage reads a source
	Producers [][]Producer
	Timeout   time.Duration
	// Alone requires a process without other attempts, which notes the current record. It is set
	// after a process died with an attempt of the task.
	Alone bool
	Skips []Skip // records of the split set aside, by number
}

// Skip is a record that user code must not process again, because attempts died at it.
type Skip struct {
	Number      int64  // among the records of the split, from 1
	Why, Detail string // reason: one line; stack or end of the log
}

// Kind classifies how an attempt ends without output.
type Kind int

const (
	Transient  Kind = iota // retry
	Fatal                  // a retry cannot help: the job fails
	InputLost              // an input could not be read: its producer must run again
	Cancelled              // the coordinator ended it
	WorkerLost             // the worker left or its lease ended
	Poison                 // an input record ended it; the second time it is set aside
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Transient:
		return "transient"
	case Fatal:
		return "fatal"
	case InputLost:
		return "input lost"
	case Cancelled:
		return "cancelled"
	case WorkerLost:
		return "worker lost"
	case Poison:
		return "poison record"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Failure describes why an attempt ended without output.
type Failure struct {
	Kind    Kind
	Message string    // one line, for people
	Detail  string    // stack, last record, end of the log; may be empty
	Record  string    // position of the current record, such as a.jsonl:1042; may be empty
	Lost    []Attempt // for InputLost: the attempts with unreadable output
	Crashed bool      // the process of user code died with the attempt
	// Number is the number of the current record in the split, from 1; zero when it is not known.
	Number int64
}

func (f *Failure) Error() string {
	if f.Record != "" {
		return f.Record + ": " + f.Message
	}
	return f.Message
}

// Extent is the location of one partition of one sorted run of one output port. If the port is
// sorted, its blocks are in key order.
type Extent struct {
	Port, Run, Part int
	Inline          bool  // stored in the state store beside the manifest, else in a segment file
	Offset, Bytes   int64 // in the segment, or in the inline bytes
	Records         int64
	Raw             int64   // bytes before compression
	Blocks          []Block // first keys, only for ports read by Range edges
}

// MaxFirst is the maximum size in bytes of a first key in a manifest. It is the same for all
// workers, so that all compute the same key ranges.
const MaxFirst = 1 << 10

// Block is one frame of an extent, for seeking by key.
type Block struct {
	Offset  int64  // from the start of the extent
	Records int64  // in the block
	First   []byte // first key in the block, truncated to MaxFirst bytes
}

// Manifest is the final description of one attempt's output. Without a manifest there is no output.
type Manifest struct {
	Attempt  Attempt
	Segment  string // file name of the attempt's segment; empty when everything is inline
	Extents  []Extent
	Counters map[string]int64 // of the user and, with a dot before the name, of the engine
	Sink     [][]byte         // one entry per sink port: the result of the sink's Close
	Sum      uint64           // order-dependent hash of all extents before compression
}

// Bytes returns the stored bytes of all extents.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Extents {
		n += m.Extents[i].Bytes
	}
	return n
}
