package sched

import "github.com/layshaft/layshaft/internal/job"

// Event is a fact that the shell tells the core.
type Event interface{ event() }

// Submitted says that a client wants a job. A job ID that is known already changes nothing. The spec must pass Check.
type Submitted struct{ Spec job.Spec }

// WorkerJoined says that a worker offers slots. A worker that is known already is first taken for lost, so a worker
// that re-attaches names what it holds and runs.
type WorkerJoined struct {
	Worker  string
	Slots   int           // attempts it runs at once
	Zone    string        // empty when there are no zones
	Held    []job.Attempt // outputs that it holds, committed or not; those that do not count are refused
	Running []job.Attempt // attempts that it runs
}

// WorkerLost says that a worker left or died.
type WorkerLost struct{ Worker string }

// Heartbeat renews a worker's lease.
type Heartbeat struct {
	Worker string
	// Running is what the worker runs; nil means not told. Attempts that the core does not know are taken up or
	// cancelled, and launches that never arrived are taken back after a lease.
	Running []job.Attempt
}

// Summary is what the coordinator keeps of a manifest.
type Summary struct {
	Bytes    int64            `json:"bytes,omitempty"`   // stored bytes
	Records  int64            `json:"records,omitempty"` // records of all extents
	Counters map[string]int64 `json:"counters,omitempty"`
}

// AttemptDone says that a worker sealed the output of an attempt. Telling it twice does no harm.
type AttemptDone struct {
	Worker  string
	Attempt job.Attempt
	Summary Summary
}

// AttemptFailed says that an attempt ended without output.
type AttemptFailed struct {
	Worker  string
	Attempt job.Attempt
	Failure job.Failure
}

// OutputLost says that the output of a committed attempt cannot be read. It is also a Record.
type OutputLost struct{ Attempt job.Attempt }

// Cancelled says that a client wants a job to end.
type Cancelled struct {
	Job job.ID
	Why string
}

// JobDropped says that nobody wants to know of a job any more. A job that has not ended is cancelled first. It is also a Record.
type JobDropped struct{ Job job.ID }

// Settled says that after a restart all workers that there are have joined, so no more outputs will be claimed.
type Settled struct{}

// Restarted follows the last Restore of a coordinator that had a past.
type Restarted struct{}

// Tick says that time has passed. It must come no later than Next.
type Tick struct{}

func (Submitted) event()     {}
func (WorkerJoined) event()  {}
func (WorkerLost) event()    {}
func (Heartbeat) event()     {}
func (AttemptDone) event()   {}
func (AttemptFailed) event() {}
func (OutputLost) event()    {}
func (Cancelled) event()     {}
func (JobDropped) event()    {}
func (Settled) event()       {}
func (Restarted) event()     {}
func (Tick) event()          {}
