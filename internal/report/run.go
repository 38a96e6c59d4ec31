package report

import (
	"fmt"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Run is the record of one run of a job: the job as submitted, and every attempt that has ended.
// Package history stores it. ViewRun computes what pages, commands and files show of it.
type Run struct {
	ID    job.ID
	Name  string // name of the plan
	Owner string // name of the submitter
	Hash  string // fingerprint of plan, parameters and input
	Plan  string // fingerprint of the plan alone
	// Params are the parameters as JSON, without secrets.
	Params []byte
	// Explain is the plan in words, as -explain prints it.
	Explain string
	// Submitted and Ended are zero if they are unknown; Ended also before the end.
	Submitted, Ended time.Time
	Outcome          Outcome
	Failure          *job.Failure // nil unless the job failed or was cancelled
	Stages           []RunStage   // in the order of the Spec
	Attempts         []Attempt    // in the order of their ends
	// Causes are the distinct failures of attempts. Attempt.Cause is an index into them, plus 1.
	Causes []Cause
	// PostMortems are of attempts without output, in the order of Attempts.
	PostMortems []PostMortem
	// Lines are lines that user code wrote, in order of their numbers.
	Lines []Line
	// Keys are samples of the keys of the records that the stages wrote.
	Keys Keys
	// Damaged explains which part of the record is missing; empty if it is complete.
	Damaged string
}

// RunStage is a stage of a Run.
type RunStage struct {
	Name string // operators of the stage
	// Places are where the operators are made, as many as in Name, separated by " > ".
	Places string `json:",omitempty"`
	Kind   string // map, combine, reduce or publish
	Tasks  int
	// Inputs are the edges from earlier stages.
	Inputs []job.Edge `json:",omitempty"`
	// Source describes the input of a stage that reads a source, as the label of its first split.
	Source string `json:",omitempty"`
	// SourceBytes is the estimated size of that input.
	SourceBytes int64 `json:",omitempty"`
	// State is the state of the stage at the end of the job, or the latest one.
	State Stage `json:",omitzero"`
}

// End is how an attempt ended.
type End int

// The ends of an attempt.
const (
	EndDone      End = iota // its output was committed
	EndFailed               // by an error of user code or of the worker
	EndInputLost            // its input was lost
	EndLost                 // with its worker, or without a report
	EndCancelled            // another attempt was done first, or the job ended
	EndRefused              // it was done, but no longer counted
	Ends
)

// String returns the end in the words of the status page.
func (e End) String() string {
	return [...]string{"done", "failed", "input lost", "lost", "cancelled", "refused", "none"}[min(max(e, 0), Ends)]
}

// Attempt is an attempt that has ended.
type Attempt struct {
	Task   job.Task
	N      int    // number of the attempt
	Worker string // name of the worker that ran it
	// Started is the time of the launch; the zero time if it is unknown.
	Started, Ended time.Time
	End            End
	Speculative    bool // it raced another attempt of its task
	// Input and output of a committed attempt, else zero.
	ReadRecords, ReadBytes   int64
	WroteRecords, WroteBytes int64
	SpilledBytes             int64
	// Cause is the index of the failure in Run.Causes plus 1; zero without a failure.
	Cause int
}

// Took returns the duration of the attempt; zero if its start is unknown.
func (a *Attempt) Took() time.Duration {
	if a.Started.IsZero() {
		return 0
	}
	return max(a.Ended.Sub(a.Started), 0)
}

// String returns STAGE/INDEX#N, as in 0/17#2.
func (a *Attempt) String() string { return fmt.Sprintf("%s#%d", a.Task, a.N) }

// Cause is a failure that one or more attempts had.
type Cause struct {
	Kind    string // class of the failure
	Message string // one line
	Detail  string `json:",omitempty"` // stack or log of the first attempt
	Record  string `json:",omitempty"` // position of the record of the first attempt
}
