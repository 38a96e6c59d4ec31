package sched

import (
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Event is a fact. The shell passes it to Step.
type Event interface{ event() }

// Submitted reports a new job of a client. The spec must pass Check. A known job ID changes
// nothing.
type Submitted struct {
	Spec    job.Spec // the whole job
	Options Options  // the client's wishes
}

// Options are what a client requests beside the Spec when it submits a job.
type Options = report.Options

// WorkerJoined reports a worker that offers slots. If the worker is already known, it first counts
// as lost; so a reconnecting worker lists its outputs and its running attempts.
type WorkerJoined struct {
	Worker string // name of the worker
	Slots  int    // number of attempts it runs at once
	Zone   string // empty when there are no zones
	// ^ Outputs are the outputs on the worker, committed or not. Outputs that do not count are
	// refused.
	Outputs []job.Attempt
	Running []job.Attempt // attempts on the worker

	Reserved          int      // how many of the slots only interactive jobs may use
	Tags              []string // offered to jobs
	Platform          string   // GOOS/GOARCH
	Codes             []string // hashes of the programs given to the worker
	AllowsShippedCode bool     // the worker accepts programs from clients
	Draining          bool     // it was asked to drain before: see DrainWorker

	// WorkerID is the ID of the worker's data directory. It stays when the process restarts. Queued
	// tasks use it to name the worker whose slots they take. Empty means Worker. If several workers
	// have one ID, queued tasks take the slots of the last to join.
	WorkerID string

	Datasets []string // datasets on offer
}

// WorkerWithdrawn reports that an operator removed the worker with the ID WorkerID while it was
// away. Nobody waits for its datasets from then on. A worker with a lease is not changed.
type WorkerWithdrawn struct{ WorkerID string }

// WorkerLost reports the departure or death of the worker named Worker.
type WorkerLost struct{ Worker string }

// Heartbeat renews a worker's lease.
type Heartbeat struct {
	Worker string // name of the worker
	// Running lists the running attempts; nil means not reported. Attempts unknown to the core are
	// adopted or cancelled. Launches that never arrived are taken back after LeaseTTL.
	Running []job.Attempt
}

// Summary is the part of a manifest that the coordinator keeps.
type Summary = report.Summary

// AttemptDone reports an attempt with a sealed output. Reporting it twice does no harm.
type AttemptDone struct {
	Worker  string      // name of the worker with the output
	Attempt job.Attempt // the finished attempt
	Summary Summary     // sizes and counters of the output
	// PartitionBytes is the stored size of each partition of the first output port; nil when not
	// reported. It shows where readers run best.
	PartitionBytes []int64
	Keys           []job.KeySample // of the keys of its records; no decision depends on them
}

// AttemptFailed reports an attempt that ended without output.
type AttemptFailed struct {
	Worker  string      // name of the worker that ran it
	Attempt job.Attempt // the failed attempt
	Failure job.Failure // its kind decides whether the task is tried again
}

// OutputLost reports that the output of the committed attempt Attempt cannot be read. It is also a
// Record.
type OutputLost struct{ Attempt job.Attempt }

// OutputWanted reports a client's failure to read the output of a committed attempt at Worker, or
// to find a committed attempt (then the attempt's number is zero). The output is made again unless
// another worker holds it, even when no stage reads it. A finished job runs again for this purpose,
// until it is released.
type OutputWanted struct {
	Attempt job.Attempt // the committed attempt, or the number zero
	Worker  string      // empty means any worker
}

// Detached lets the job with the ID Job continue without its client. It is also a Record.
type Detached struct{ Job job.ID }

// Cancelled ends a job on behalf of a client.
type Cancelled struct {
	Job    job.ID // ID of the job
	Reason string // reason, for people
}

// JobDropped deletes the job with the ID Job: nobody needs its history. A running job is cancelled
// first. It is also a Record.
type JobDropped struct{ Job job.ID }

// JobReleased drops the outputs of the job with the ID Job: nobody needs them. Its status is kept
// until Retain has passed. A running job is cancelled. It is also a Record.
type JobReleased struct{ Job job.ID }

// DrainWorker orders the worker named Worker to leave. It gets no new attempts, and its outputs are
// copied to other workers as long as they are needed. When nothing is left to do, Drained answers.
// An unknown worker changes nothing.
type DrainWorker struct {
	Worker string
	// Permanent means that the worker will not come back, so nobody waits for its datasets after it
	// has left. Otherwise it is away until it joins again.
	Permanent bool
}

// OutputMoved reports a copy of the output of a committed attempt at Worker. It is also a Record,
// but only for people: after a restart, workers report their outputs themselves.
type OutputMoved struct {
	Worker  string      // name of the worker with the copy
	Attempt job.Attempt // the committed attempt
}

// QueuedWaiting sets how many more queued tasks of a class could start now on a worker. It replaces
// the last number. The worker need not have joined yet. Each GrantQueued lowers the number by one.
type QueuedWaiting struct {
	WorkerID string      // ID of the worker's data directory
	Class    QueuedClass // class of the queued tasks
	N        int         // number of queued tasks
}

// QueuedStarted reports a queued task that runs without a grant, because it began before a restart.
type QueuedStarted struct {
	WorkerID string      // ID of the worker's data directory
	Class    QueuedClass // class of the queued task
}

// QueuedEnded returns the slot of a queued task, including a granted slot without use.
type QueuedEnded struct {
	WorkerID string      // ID of the worker's data directory
	Class    QueuedClass // class of the queued task
}

// BudgetsGranted answers the AcquireBudgets with the same Ticket.
type BudgetsGranted struct{ Ticket uint64 }

// BudgetsShort reports that the AcquireBudgets with the same Ticket needs more than a whole budget.
type BudgetsShort struct {
	Ticket uint64
	Why    string // the reason in words, empty when the budget has become large enough
}

// Settled reports the end of a restart: all existing workers have joined, so no more outputs will
// be reported.
type Settled struct{}

// Woke reports that the coordinator itself did not run for a while. Nobody could reach it
// meanwhile, so every lease and wait starts anew. It comes before the first event after the pause.
type Woke struct{}

// Restarted follows the last Restore, when the coordinator had an earlier life.
type Restarted struct{}

// Tick reports the passing of time. It must come no later than Next.
type Tick struct{}

func (Submitted) event()       {}
func (WorkerJoined) event()    {}
func (WorkerLost) event()      {}
func (WorkerWithdrawn) event() {}
func (Heartbeat) event()       {}
func (AttemptDone) event()     {}
func (AttemptFailed) event()   {}
func (OutputLost) event()      {}
func (OutputWanted) event()    {}
func (Detached) event()        {}
func (Cancelled) event()       {}
func (JobDropped) event()      {}
func (JobReleased) event()     {}
func (DrainWorker) event()     {}
func (OutputMoved) event()     {}
func (QueuedWaiting) event()   {}
func (QueuedStarted) event()   {}
func (QueuedEnded) event()     {}
func (BudgetsGranted) event()  {}
func (BudgetsShort) event()    {}
func (Settled) event()         {}
func (Woke) event()            {}
func (Restarted) event()       {}
func (Tick) event()            {}
