package tasks

import (
	"fmt"
	"slices"
	"time"
)

// State is where a task is. Every task is in exactly one.
type State uint8

// The states. The last three are ends.
const (
	StateWaiting   State = iota + 1 // for a worker
	StateDelayed                    // for a time, or for its input
	StateRunning                    // on a worker
	StateDone                       // with a result
	StateFailed                     // without
	StateCancelled                  // by somebody, or because nobody waited any more
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

// UnmarshalText is the opposite of MarshalText. The error wraps [ErrInvalid].
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

// UnmarshalText is the opposite of MarshalText. The error wraps [ErrInvalid].
func (p *Priority) UnmarshalText(text []byte) error {
	for *p = Normal; *p <= Low; *p++ {
		if p.String() == string(text) {
			return nil
		}
	}
	return fmt.Errorf("%w: priority %q is none of high, normal and low", ErrInvalid, text)
}

// Status is how a task stands.
type Status struct {
	ID       ID        `json:"id"`
	Function string    `json:"function"`
	State    State     `json:"state"`
	Dead     bool      `json:"dead"` // a dead letter: it can be run again
	Priority Priority  `json:"priority"`
	Durable  bool      `json:"durable"`  // survives a restart of the coordinator
	Attempts int       `json:"attempts"` // that have begun
	Most     int       `json:"most"`     // attempts that it has
	Waiters  int       `json:"waiters"`  // that wait for it; at most 1,000 are counted
	Size     int       `json:"size"`     // bytes of the input
	Due      time.Time `json:"due"`      // when it becomes ready, or, after its end, is forgotten; the zero time when that is not fixed
	N        uint64    `json:"n"`        // progress of the running attempt: N of M
	M        uint64    `json:"m"`
	Worker   string    `json:"worker,omitempty"` // that runs it
	Unique   string    `json:"unique,omitempty"` // set by Status and Dead
	Error    string    `json:"error,omitempty"`  // of a failed task's last attempt; of Tasks the first KiB
	Why      string    `json:"why,omitempty"`    // it does not run yet, in words; set by Status
	Input    []byte    `json:"input,omitempty"`  // set by Inspect, at most 1 MiB
	Result   []byte    `json:"result,omitempty"` // set by Inspect, at most 1 MiB
}

// Limits bound a function on all workers together. Zero values mean no limit.
type Limits struct {
	QueueHigh   int            `json:"queue_high"`   // tasks of High are refused when so many of the function have not ended
	QueueNormal int            `json:"queue_normal"` // the same for Normal
	QueueLow    int            `json:"queue_low"`    // the same for Low
	Concurrency int            `json:"concurrency"`  // tasks that run at once
	Rate        float64        `json:"rate"`         // starts per second
	Burst       int            `json:"burst"`        // starts that may come at once after a pause; zero means 1
	Needs       map[string]int `json:"needs"`        // what each running task holds of budgets, by their name; see Client.SetBudget
}

// Counts count tasks. Submitted is always the sum of the others.
type Counts struct {
	Submitted int `json:"submitted"`
	Waiting   int `json:"waiting"`
	Delayed   int `json:"delayed"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

// Function is how a function stands. Tasks that have ended stay counted when they are forgotten.
type Function struct {
	Name          string `json:"name"`
	Counts        Counts `json:"counts"`
	WaitingHigh   int    `json:"waiting_high"` // these three add up to Counts.Waiting
	WaitingNormal int    `json:"waiting_normal"`
	WaitingLow    int    `json:"waiting_low"`
	Dead          int    `json:"dead"`    // dead letters
	Workers       int    `json:"workers"` // that can do it
	Limits        Limits `json:"limits"`
	Paused        bool   `json:"paused"` // nothing starts
}

// Budget is how an amount of something outside stands that tasks and pipelines hold parts of, such as connections of a database.
type Budget struct {
	Name    string `json:"name"`
	Size    int    `json:"size"`
	Used    int    `json:"used"`
	Waiting int    `json:"waiting"` // others than tasks that wait for a part
}

// Overview is how all functions and budgets stand at one instant.
type Overview struct {
	Totals    Counts     `json:"totals"` // of all functions that there are and were
	Functions []Function `json:"functions"`
	Budgets   []Budget   `json:"budgets"`
}

// WorkerStatus is how a worker stands.
type WorkerStatus struct {
	Name      string   `json:"name"` // of one that speaks Gearman's protocol, its address
	Functions []string `json:"functions"`
	Running   []ID     `json:"running"`
	Slots     int      `json:"slots"` // how many it may run at once; zero for one of Gearman's, which asks for them
	Reserved  int      `json:"reserved"`
	Gearman   bool     `json:"gearman"`
}
