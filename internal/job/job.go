// Package job holds the words of the system as Go types: Job, Stage, Task, Attempt, Split, Manifest, Program.
// The roles meet here. It imports the standard library only, starts nothing and keeps no state.
package job

import (
	"fmt"
	"time"
)

// ID names one job. It is stable: the same plan, parameters and input give the same ID.
type ID string

// Task is one split to map, one partition to reduce or one group to combine, by stage number and index from 0.
type Task struct {
	Stage, Index int
}

// String returns STAGE/INDEX, as in 0/17.
func (t Task) String() string { return fmt.Sprintf("%d/%d", t.Stage, t.Index) }

// Attempt is one try at a task. N starts at 1 and only grows.
type Attempt struct {
	Job  ID
	Task Task
	N    int
}

// String returns STAGE/INDEX#N, as in 0/17#2.
func (a Attempt) String() string { return fmt.Sprintf("%s#%d", a.Task, a.N) }

// Split is a slice of the input, with the places where it is cheap to read.
type Split struct {
	Label string   `json:"label"`           // for people: a.txt[0:1048576]
	Bytes int64    `json:"bytes"`           // input bytes, estimated; for planning and progress
	Hosts []string `json:"hosts,omitempty"` // workers that hold it; empty means anywhere
	Note  string   `json:"note,omitempty"`  // shown by -explain, such as: gzip, cannot be cut
	Data  []byte   `json:"data,omitempty"`  // the source's own description of the slice
}

// Mode says which part of its producers' output a task reads over an edge.
type Mode int

const (
	Shuffle   Mode = iota // task i reads partition i of every producing task
	Broadcast             // every task reads everything
	Range                 // task i of n reads the i-th of n key ranges of the producers' sorted runs
	Group                 // task i reads everything of the producers in group i; see Stage.Combine
	Sinks                 // every task reads no records but what the producers' sinks wrote; see Run.Sinks
)

// Edge joins a stage to a stage it reads from. From is the producing stage and is smaller than the
// reader's own number. Port is which of the producer's outputs. Input numbers the reader's inputs, such as
// 0 and 1 for the sides of a join; several edges may feed one input (a union).
type Edge struct {
	From, Port, Input int
	Mode              Mode
}

// Stage is a set of tasks of one kind that can run side by side.
type Stage struct {
	Name        string        // for people: map products, reduce by brand
	Tasks       int           // number of tasks; len(Splits) when the stage reads a source
	Splits      []Split       // one per task when the stage reads a source
	Inputs      []Edge        // output of earlier stages it reads; the stage starts when all of them are done
	MaxAttempts int           // attempts per task before the job fails; zero means 4
	Timeout     time.Duration // longest an attempt may run; zero means no limit

	// Combine marks a tier: a stage that merges outputs early, near where they are. It has one input edge, of mode Group. When
	// the producing stage is complete, the coordinator puts each of its outputs into one of Tasks/Slices groups: one group per worker
	// that holds any or, when the producing stage is itself a combine stage, one per zone. Groups without producers are run too,
	// and write nothing.
	Combine bool
	// Slices is how many tasks of a combine stage share a group, for more than one task to work at it; zero means 1. Tasks is a multiple of it, there are
	// Tasks/Slices groups, and task i has the partitions of group i/Slices whose number is i modulo Slices.
	Slices int

	// Inner says that no client reads what the stage writes, only later stages do: it is dropped when the job is done, unless
	// records were set aside, which the client reads.
	Inner bool

	// Needs is what each attempt holds of budgets of outside resources from its launch to its end, by name, each name once.
	Needs []Need
}

// Bad is the engine's counter of records that were set aside.
const Bad = ".bad"

// Need is an amount of a budget, such as one connection of a database.
type Need struct {
	Budget string
	N      int
}

// Spec is a job as data: all that a coordinator needs to know of it.
type Spec struct {
	ID     ID
	Name   string
	Hash   string // fingerprint of plan, parameters and input, hex
	Params []byte // the caller's parameters, JSON
	Plan   string // fingerprint of the plan alone, by which the program that runs it is checked; may be empty
	Memory int64  // bytes that one attempt may hold before it spills; zero leaves it to the worker
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

// Producer is one committed attempt whose output a launched attempt reads, and the worker that holds it.
type Producer struct {
	Attempt Attempt
	Worker  string
}

// Launch asks a worker to run an attempt. Producers holds, for each edge of the stage in order, the
// committed attempts of the producing stage in task order; for an edge of mode Group those of the task's group only.
type Launch struct {
	Attempt   Attempt
	Split     *Split // nil unless the stage reads a source
	Producers [][]Producer
	Timeout   time.Duration
	Alone     bool   // in a process that runs nothing else and says which record it had at hand, as one died with an attempt of the task
	Skips     []Skip // records of the split that are set aside, by number
}

// Skip is a record that is not given to user code again, because attempts died over it.
type Skip struct {
	Number      int64  // among the records of the split, from 1
	Why, Detail string // what happened: one line; stack or log tail
}

// Kind sorts the ways in which an attempt can end without output.
type Kind int

const (
	Transient  Kind = iota // try again
	Fatal                  // trying again cannot help: the job fails
	InputLost              // an input could not be read: its producer must run again
	Cancelled              // the coordinator asked for the end
	WorkerLost             // the worker went away or its lease ended
	Poison                 // a record of the input ended it, and will be set aside when it does so again
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

// Failure says why an attempt ended without output.
type Failure struct {
	Kind    Kind
	Message string    // one line, for people
	Detail  string    // stack, last record, log tail; may be empty
	Record  string    // position of the record at hand, such as a.jsonl:1042; may be empty
	Lost    []Attempt // for InputLost: the attempts whose output could not be read
	Crashed bool      // the process of user code died with the attempt
	Number  int64     // of the record at hand, among those of the split, from 1; zero when that is not known
}

func (f *Failure) Error() string {
	if f.Record != "" {
		return f.Record + ": " + f.Message
	}
	return f.Message
}

// Extent is where one partition of one sorted run of one output port lies. Blocks of an extent are in key order
// when the port is sorted.
type Extent struct {
	Port, Run, Part int
	Inline          bool  // held in the state store beside the manifest, else in a segment file
	Offset, Bytes   int64 // in the segment, or in the inline bytes
	Records         int64
	Raw             int64   // bytes before compression
	Blocks          []Block // first keys, only for ports read by Range edges
}

// MaxFirst is how many bytes of a first key a manifest holds. It is the same for all workers, so that all compute the same
// key ranges.
const MaxFirst = 1 << 10

// Block is one frame of an extent, for seeking by key.
type Block struct {
	Offset  int64  // from the start of the extent
	Records int64  // in the block
	First   []byte // first key in the block, cut to MaxFirst bytes
}

// Manifest is the sealed output of one attempt. No manifest, no output.
type Manifest struct {
	Attempt  Attempt
	Segment  string // file name of the attempt's segment; empty when all of it is inline
	Extents  []Extent
	Counters map[string]int64 // user counters and, under names starting with a dot, the engine's own
	Sink     [][]byte         // one entry per sink port: the sink's own description of what it wrote
	Sum      uint64           // order-dependent hash over the content of all extents, compression aside
}

// Bytes returns the stored bytes of all extents.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Extents {
		n += m.Extents[i].Bytes
	}
	return n
}
