package tasks

import (
	"fmt"
	"slices"
	"time"
)

// State is the state of a task. Every task is in exactly one.
type State uint8

// The states. Done, failed and cancelled are final.
const (
	// StateWaiting: the task waits for a worker.
	StateWaiting State = iota + 1
	// StateDelayed: the task waits for a time, or for its input.
	StateDelayed
	// StateRunning: an attempt runs on a worker.
	StateRunning
	// StateDone: the task ended with a result.
	StateDone
	// StateFailed: the task ended without a result.
	StateFailed
	// StateCancelled: the task was cancelled, or dropped because nobody waited for it.
	StateCancelled
)

var stateNames = []string{"unknown", "waiting", "delayed", "running", "done", "failed", "cancelled"}

// String returns the state in lower case, such as waiting.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		s = 0
	}
	return stateNames[s]
}

// MarshalText returns String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses the output of MarshalText. The error wraps [ErrInvalid].
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames, string(text))
	if i <= 0 {
		return fmt.Errorf("%w: state %q is none of %v", ErrInvalid, text, stateNames[1:])
	}
	*s = State(i)
	return nil
}

// MarshalText returns String.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the output of MarshalText. The error wraps [ErrInvalid].
func (p *Priority) UnmarshalText(text []byte) error {
	for *p = Normal; *p <= Low; *p++ {
		if p.String() == string(text) {
			return nil
		}
	}
	return fmt.Errorf("%w: priority %q is none of high, normal and low", ErrInvalid, text)
}

// Status describes a task.
type Status struct {
	ID       ID     `json:"id"`       // the task's ID
	Function string `json:"function"` // name of the function
	State    State  `json:"state"`    // never zero
	// Dead marks a dead letter: the task failed and can be retried.
	Dead     bool     `json:"dead"`
	Priority Priority `json:"priority"` // set at the submit
	// Durable reports whether the task survives a restart of the coordinator.
	Durable bool `json:"durable"`
	// Attempts is the number of attempts begun.
	Attempts int `json:"attempts"`
	// Lost is the number of attempts that ended with their worker. They are not counted as failed.
	Lost int `json:"lost"`
	// MaxAttempts is the number of failed attempts after which the task fails; see [Attempts].
	MaxAttempts int `json:"max_attempts"`
	// Waiters is the number of clients waiting for the task, counted up to 1,000.
	Waiters int `json:"waiters"`
	// Size is the length of the input in bytes.
	Size int `json:"size"`
	// Due is when the task becomes ready or, after its end, is forgotten. The zero time means: not
	// fixed.
	Due time.Time `json:"due,omitzero"`
	// Ended is when a dead letter failed.
	Ended time.Time `json:"ended,omitzero"`
	// N and M are the progress of the running attempt: N of M parts are done.
	N uint64 `json:"n"`
	M uint64 `json:"m"`
	// Worker is the name of the worker running the task.
	Worker string `json:"worker,omitempty"`
	// Unique is the unique key. It is set by Status and Dead.
	Unique string `json:"unique,omitempty"`
	// Error is the error of the last attempt of a failed task. Tasks returns only its first KiB.
	Error string `json:"error,omitempty"`
	// Reason explains in words why the task does not run yet. It is set by Status.
	Reason string `json:"reason,omitempty"`
	// Input is set by Inspect, up to 1 MiB.
	Input []byte `json:"input,omitempty"`
	// Result is set by Inspect, up to 1 MiB.
	Result []byte `json:"result,omitempty"`
}

// Limits bound a function over all workers together. Zero values mean no limit.
type Limits struct {
	// QueueHigh refuses tasks of [High] while this many tasks of the function have not ended.
	QueueHigh int `json:"queue_high"`
	// QueueNormal is the same for [Normal].
	QueueNormal int `json:"queue_normal"`
	// QueueLow is the same for [Low].
	QueueLow int `json:"queue_low"`
	// Concurrency is the maximum number of tasks running at once.
	Concurrency int `json:"concurrency"`
	// Rate is the maximum number of starts per second.
	Rate float64 `json:"rate"`
	// Burst is the number of starts allowed at once after a pause. Zero means 1.
	Burst int `json:"burst"`
	// Weight is the share of starts beside other functions with waiting tasks of the same priority,
	// 1 to 1000: a function of weight 3 gets three starts for each one of weight 1. Zero means 1.
	Weight int `json:"weight"`
	// Needs is the amount of each budget used by a running task, by budget name; see
	// [Client.SetBudget].
	Needs map[string]int `json:"needs"`
}

// Counts has the number of tasks by state: Waiting, Delayed, Running, Done, Failed or Cancelled.
// Submitted is always the sum of these six.
type Counts struct {
	Submitted int `json:"submitted"`
	Waiting   int `json:"waiting"`
	Delayed   int `json:"delayed"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

// Function describes a function. Ended tasks stay counted after they are forgotten.
type Function struct {
	Name   string `json:"name"`   // name of the function
	Counts Counts `json:"counts"` // numbers of tasks by state
	// WaitingHigh, WaitingNormal and WaitingLow add up to Counts.Waiting.
	WaitingHigh   int `json:"waiting_high"`
	WaitingNormal int `json:"waiting_normal"`
	WaitingLow    int `json:"waiting_low"`
	// Dead is the number of dead letters.
	Dead int `json:"dead"`
	// Workers is the number of workers able to run the function.
	Workers int    `json:"workers"`
	Limits  Limits `json:"limits"` // set by SetLimits
	// Paused: no task of the function starts.
	Paused bool `json:"paused"`
}

// Budget describes a budget: a limited amount of something outside, such as database connections,
// shared by tasks and pipelines.
type Budget struct {
	Name string `json:"name"` // name of the budget
	Size int    `json:"size"` // amount that may be used at once
	Used int    `json:"used"` // amount in use
	// Waiting is the number of pipelines waiting for a part of the budget.
	Waiting int `json:"waiting"`
}

// Overview describes all functions and budgets at one instant.
type Overview struct {
	// Totals includes dropped functions.
	Totals    Counts     `json:"totals"`
	Functions []Function `json:"functions"`
	Budgets   []Budget   `json:"budgets"`
}

// WorkerStatus describes a task worker.
type WorkerStatus struct {
	// Name is the worker's name; for a Gearman worker its client ID, else its address. A client ID
	// may be any bytes.
	Name      string   `json:"name"`
	Functions []string `json:"functions"`
	Running   []ID     `json:"running"`
	// Slots is the maximum number of tasks at once. It is zero for a Gearman worker, which requests
	// each task.
	Slots    int  `json:"slots"`
	Reserved int  `json:"reserved"`
	Gearman  bool `json:"gearman"`
	// SlotsOf names the worker of the cluster that lends its slots; empty if they are its own.
	SlotsOf string `json:"slots_of,omitempty"`
}
