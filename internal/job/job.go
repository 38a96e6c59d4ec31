// Package job defines the terms of the system as Go types, such as Spec (a job), Stage, Task,
// Attempt, Split, Manifest and Program. Coordinator, worker and client use it. It imports only the
// standard library, starts no goroutine and keeps no state.
package job

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// ErrDiskFull means that too little disk space is left. A later attempt may succeed.
var ErrDiskFull = errors.New("disk full")

// ID identifies one job. It is stable: the same plan, parameters and input give the same ID.
type ID string

// Task is one split to map, one partition to reduce or one group to combine. Stage is the number of
// its stage in Spec.Stages, Index its number in the stage. Both start at 0.
type Task struct {
	Stage, Index int
}

// String returns STAGE/INDEX, as in 0/17.
func (t Task) String() string { return fmt.Sprintf("%d/%d", t.Stage, t.Index) }

// Compare orders tasks by stage and number.
func (t Task) Compare(o Task) int { return cmp.Or(t.Stage-o.Stage, t.Index-o.Index) }

// Attempt is one try at the task Task of the job Job. N starts at 1 and only increases.
type Attempt struct {
	Job  ID
	Task Task
	N    int
}

// String returns STAGE/INDEX#N, as in 0/17#2.
func (a Attempt) String() string { return fmt.Sprintf("%s#%d", a.Task, a.N) }

// Compare orders attempts by job, task and number.
func (a Attempt) Compare(b Attempt) int {
	return cmp.Or(cmp.Compare(a.Job, b.Job), a.Task.Compare(b.Task), a.N-b.N)
}

// Split is a slice of the input, with the workers near its data.
type Split struct {
	Label string   `json:"label"`           // readable name, such as a.txt[0:1048576]
	Bytes int64    `json:"bytes"`           // estimated input bytes, for planning and progress
	Hosts []string `json:"hosts,omitempty"` // workers that hold its data; empty means any worker
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
	Sinks                 // every task reads only the results of sinks, no records; see Run.Sinks
)

// Edge connects a stage with an earlier stage and its output. From is the number of the earlier
// stage, the producer; it is less than the number of the reading stage. Port selects one of the
// producer's outputs. Input numbers the reader's inputs, such as 0 and 1 for the sides of a join.
// Several edges may feed one input (a union). Mode selects the data for each task of the reader.
type Edge struct {
	From, Port, Input int
	Mode              Mode
}

// Stage is a set of tasks of one kind that can run in parallel.
type Stage struct {
	Name        string        // readable name, such as map products or reduce by brand
	Places      string        // where its operators are made, such as main.go:17 > main.go:19
	Tasks       int           // number of tasks; len(Splits) when the stage reads a source
	Splits      []Split       // one per task when the stage reads a source
	Inputs      []Edge        // from earlier stages; the stage starts when all of them are done
	MaxAttempts int           // attempts per task before the job fails; zero means 4
	Timeout     time.Duration // maximum duration of an attempt; zero means no limit

	// Combine marks a combine stage: it merges outputs early, near their workers, to save network
	// traffic. It has one input edge, of mode Group. When the producing stage is complete, the
	// coordinator puts each of its outputs into one of Tasks/Slices groups. There is one group per
	// worker with outputs. If the producing stage is itself a combine stage, there is one group per
	// zone. Tasks of groups without producers also run, and write nothing.
	Combine bool
	// Slices is the number of tasks per group of a combine stage, so that several tasks can share
	// the work on one group. Zero means 1. Tasks must be a multiple of Slices. Task i reads the
	// partitions of group i/Slices with a number equal to i modulo Slices.
	Slices int

	// Inner marks a stage whose output is read only by later stages, not by a client. The output is
	// dropped when the job is done, unless records were set aside for the client.
	Inner bool

	// Needs contains the amounts of external budgets held by each attempt from its launch to its
	// end. Each name occurs once.
	Needs []Need
}

// Bad is the name of the engine's counter for records set aside.
const Bad = ".bad"

// Need is an amount N of the budget named Budget, such as one connection of a database. Size is the
// size of the budget while nobody has set one; zero if the job does not declare it.
type Need struct {
	Budget  string
	N, Size int
}

// Spec is a job as data. It contains everything that the coordinator needs.
type Spec struct {
	ID     ID     // the same for equal plan, parameters and input
	Name   string // name of the plan
	Hash   string // fingerprint of plan, parameters and input, hex
	Params []byte // the caller's parameters, JSON
	// Plan is the fingerprint of the plan alone. A worker's program must build a plan with the same
	// fingerprint. If it is empty, this check is omitted.
	Plan string
	// Explain is the plan in words, as -explain prints it, for people; it may be empty.
	Explain string
	// Requeue selects the records that sources pass on, in a form that package mapreduce knows;
	// empty means all.
	Requeue []byte
	// Profile is the client's directory for profiles of the processes with user code; empty means
	// no profiles.
	Profile string
	Memory  int64   // bytes used by one attempt before it spills; if zero, the worker decides
	Stages  []Stage // each after the stages it reads
}

// Tasks returns the number of tasks of all stages.
func (s *Spec) Tasks() int {
	n := 0
	for i := range s.Stages {
		n += s.Stages[i].Tasks
	}
	return n
}

// Producer is a committed attempt whose output is an input of a launched attempt.
type Producer struct {
	Attempt Attempt // the committed attempt
	Worker  string  // holder of the output
}

// Launch asks a worker to run an attempt. For each edge of the stage, in order, Producers contains
// the committed attempts of the producing stage in task order. For an edge of mode Group, it
// contains only the attempts in the task's group.
type Launch struct {
	Attempt   Attempt // the attempt to run
	Split     *Split  // nil unless the stage reads a source
	Producers [][]Producer
	Timeout   time.Duration // limit for the attempt; zero means none
	// Isolated requires a process without other attempts. The process stores its current record in
	// a place that survives it; see Run.Mark. Isolated is set after a process died with an attempt
	// of the task, or an attempt ended with kind Poison. Such attempts count their records.
	Isolated bool
	Skips    []Skip // records of the split set aside, in order of number
}

// Skip is a record set aside because attempts died at it. User code must not process it again.
type Skip struct {
	Number         int64  // number of the record in the split, from 1
	Reason, Detail string // reason in one line; stack or end of the log
}

// Kind classifies failures by their consequence.
type Kind int

const (
	Transient  Kind = iota // a retry may help
	Fatal                  // a retry cannot help: the job fails
	InputLost              // an input could not be read: its producer must run again
	Cancelled              // the coordinator ended it
	WorkerLost             // the worker left or its lease ended
	Poison                 // an input record ended it; the record is set aside after the second time
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
	Kind    Kind      // its class; it decides about retries
	Message string    // one readable line
	Detail  string    // stack, last record, end of the log; may be empty
	Record  string    // position of the current record, such as a.jsonl:1042; may be empty
	Lost    []Attempt // for InputLost: the attempts with unreadable output
	Crashed bool      // the process of user code died with the attempt
	// Number is the number of the current record in the split, from 1; zero if it is unknown.
	Number int64
	// Death is what was seen of the attempt and its process at the end; nil if nothing was. The
	// history of a job keeps it, the journal does not.
	Death *Death
}

func (f *Failure) Error() string {
	if f.Record != "" {
		return f.Record + ": " + f.Message
	}
	return f.Message
}

// Extent is the location of one partition (Part) of one sorted run (Run) of one output port (Port).
// It has Records records. If the port is sorted, its blocks are in key order.
type Extent struct {
	Port, Run, Partition int
	Inline               bool  // stored in the state store beside the manifest, else in a segment file
	Offset, Bytes        int64 // in the segment, or in the inline bytes
	Records              int64
	Raw                  int64   // bytes before compression
	Blocks               []Block // first keys, only for ports read by Range edges
}

// MaxProfile is the maximum size in bytes of the CPU profile that a coordinator keeps of a job.
const MaxProfile = 2 << 20

// NoProfile is what gives a job a CPU profile, for messages about a job without one.
const NoProfile = "run its program with -profile DIR and -cluster"

// MaxFirst is the maximum size in bytes of a first key in a manifest. All workers must use the same
// value, to compute the same key ranges.
const MaxFirst = 1 << 10

// Block is one frame of an extent, for seeking by key.
type Block struct {
	Offset  int64  // from the start of the extent
	Records int64  // in the block
	First   []byte // first key in the block, truncated to MaxFirst bytes
}

// Manifest is the final description of one attempt's output. An attempt without a manifest has no
// output.
type Manifest struct {
	Attempt  Attempt          // the attempt with this output
	Segment  string           // file name of the attempt's segment; empty when everything is inline
	Extents  []Extent         // all partitions of all runs
	Counters map[string]int64 // the user's counters and, with a dot before the name, the engine's
	Sink     [][]byte         // one entry per sink port: the result of the sink's Close
	Sum      uint64           // order-dependent hash of all extents before compression
	// Keys are samples of the keys of its records, for people. They are not stored: a manifest that
	// was read has none.
	Keys []KeySample
}

// MaxKeys and MaxKeyName are the limits of the keys in a KeySample of an attempt, and of the name
// of a key, in bytes.
const (
	MaxKeys    = 16
	MaxKeyName = 64
)

// KeySample is a sample of the keys of the records that an attempt, or a stage, wrote to the output
// Port. It stands for Records records. Squares is the sum of the squares of the records that each
// sampled key stands for, and Distinct the number of different keys, as far as they were counted.
// Keys are the most frequent keys, the first one most.
type KeySample struct {
	Port     int        `json:"port"`
	Records  int64      `json:"records"`
	Squares  int64      `json:"squares"`
	Distinct int        `json:"distinct"`
	Keys     []KeyCount `json:"keys,omitempty"`
}

// KeyCount is a key and how often it occurs. Hash identifies it, in every process. Name is the key
// as text, and Records the number of its records in the sample, at least.
type KeyCount struct {
	Hash    uint64 `json:"hash"`
	Name    string `json:"name"`
	Records int64  `json:"records"`
}

// Bytes returns the stored bytes of all extents.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Extents {
		n += m.Extents[i].Bytes
	}
	return n
}
