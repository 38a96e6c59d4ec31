package sched

import (
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Command is an order to the shell. The shell first writes all Records of the same Step.
type Command interface{ command() }

// Write orders the shell to make a Record durable before it carries out any other command of the
// same Step.
type Write struct{ Record Record }

// Launch starts an attempt on a worker. Launches share the slices in it: read only.
type Launch struct {
	Worker      string     // name of the worker
	Launch      job.Launch // the attempt and its inputs
	Speculative bool       // the attempt races another attempt of its task
}

// CancelAttempt stops an attempt on a worker. The worker still reports its end; only then the slot
// is free.
type CancelAttempt struct {
	Worker  string      // name of the worker
	Attempt job.Attempt // the running attempt
}

// Commit makes the output of an attempt, held by the worker, the task's output from now on.
type Commit struct {
	Worker  string      // name of the worker with the output
	Attempt job.Attempt // the committed attempt
}

// Refuse makes a worker drop an output that does not count: it is late, a duplicate, damaged, or
// its job is gone.
type Refuse struct {
	Worker  string      // name of the worker with the output
	Attempt job.Attempt // the refused attempt
}

// Copy makes worker To copy an output, because its holder drains. To answers with OutputMoved, even
// if it already has a copy. If no answer comes within copyWait, the core tries another worker.
type Copy struct {
	To     string       // name of the worker
	Output job.Producer // the attempt and its present holder
}

// Drained lets the draining worker named Worker leave: no attempt runs on it, none of its outputs
// is needed, and nobody reads from it. It comes once.
type Drained struct{ Worker string }

// GrantQueued gives a slot of a worker to a queued task of a class. QueuedEnded returns it.
type GrantQueued struct {
	WorkerID string      // ID of the worker's data directory
	Class    QueuedClass // class of the queued task
}

// AcquireBudgets requests the budgets of an attempt. BudgetsGranted answers, perhaps much later. If
// InUse is set, no answer comes: the attempt has had them since before a restart or before its
// worker was lost.
type AcquireBudgets struct {
	Ticket uint64     // never used twice
	Needs  []job.Need // amounts, one per budget
	InUse  bool
}

// ReleaseBudgets returns the budgets of Ticket, or withdraws its request.
type ReleaseBudgets struct{ Ticket uint64 }

// WorkerGone announces the end of the lease of the worker named Worker: it expired, or the worker
// left. The worker must join again to get work.
type WorkerGone struct{ Worker string }

// JobEnded announces the end of a job. It comes once, and once more after each Reopened.
type JobEnded struct {
	Job     job.ID       // ID of the job
	Outcome Outcome      // how it ended
	Failure *job.Failure // nil when the job is done
	Empty   bool         // the job is done and left nothing for a client to read
}

// Release drops the outputs of a stage, which nobody needs, at their holders.
type Release struct {
	Job     job.ID         // ID of the job
	Stage   int            // index of the stage, from 0
	Outputs []job.Producer // the outputs, each with its holder
}

// AttemptEnded reports the end of an attempt, for the history of its job. No decision depends on
// it.
type AttemptEnded struct {
	Attempt job.Attempt // the attempt
	Worker  string      // name of the worker that ran it
	// Started is the time of the launch, or of the adoption after a restart. It is zero if the
	// coordinator restarted between the launch and the end.
	Started     time.Time
	Ended       time.Time // time of the report of the end
	End         End
	Speculative bool            // it raced another attempt of its task
	Summary     Summary         // sizes and counters of a committed attempt, else zero
	Keys        []job.KeySample // of the keys of the records of a committed attempt
	Failure     *job.Failure    // why there is no output; nil for other attempts
}

func (Write) command()          {}
func (Launch) command()         {}
func (CancelAttempt) command()  {}
func (Commit) command()         {}
func (Refuse) command()         {}
func (Copy) command()           {}
func (Drained) command()        {}
func (GrantQueued) command()    {}
func (AcquireBudgets) command() {}
func (ReleaseBudgets) command() {}
func (WorkerGone) command()     {}
func (JobEnded) command()       {}
func (Release) command()        {}
func (AttemptEnded) command()   {}

// Outcome is how a job ended.
type Outcome = report.Outcome

// The outcomes of a job.
const (
	Running = report.JobRunning // not ended
	Done    = report.JobDone
	Failed  = report.JobFailed
	Aborted = report.JobCancelled // by a client
)
