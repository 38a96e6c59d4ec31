package sched

import (
	"fmt"

	"github.com/layshaft/layshaft/internal/job"
)

// Command is a wish that the shell carries out, after it has written all Records of the same Step.
type Command interface{ command() }

// Write asks for a Record to be made durable before any other command of the same Step is carried out.
type Write struct{ Record Record }

// Launch asks a worker to run an attempt. The slices in it are shared between launches: read only.
type Launch struct {
	Worker      string
	Launch      job.Launch
	Speculative bool // races another attempt of the same task
}

// CancelAttempt asks a worker to stop an attempt. The worker still reports its end, which frees the slot.
type CancelAttempt struct {
	Worker  string
	Attempt job.Attempt
}

// Commit says that the output of an attempt, held by the worker, is the task's output from now on.
type Commit struct {
	Worker  string
	Attempt job.Attempt
}

// Refuse asks a worker to drop an output that does not count: late, duplicate, damaged or of a job that is gone.
type Refuse struct {
	Worker  string
	Attempt job.Attempt
}

// Copy asks worker To for a copy of an output, because its holder drains. To answers with OutputMoved, also when it has a copy
// already; when it does not answer for long, another worker is asked.
type Copy struct {
	To     string
	Output job.Producer
}

// Drained says that nothing runs on a draining worker, nothing is needed of what it holds, and nobody reads from it: it can leave.
// It comes once.
type Drained struct{ Worker string }

// GrantQueued gives a slot of a worker, by its lasting name, to a call of a class. QueuedEnded gives it back.
type GrantQueued struct {
	WorkerID string
	Class    QueuedClass
}

// AcquireBudgets asks for what an attempt needs of budgets. BudgetsGranted answers, perhaps much later, unless InUse: then an attempt has it already,
// from before a restart.
type AcquireBudgets struct {
	Ticket uint64 // never used again
	Needs  []job.Need
	InUse  bool
}

// ReleaseBudgets gives back what a ticket got, or stops waiting for it.
type ReleaseBudgets struct{ Ticket uint64 }

// WorkerGone says that a worker's lease ended or that it left. It must join again before it gets work.
type WorkerGone struct{ Worker string }

// JobEnded says that a job is over. It comes once, and again when the job was Reopened.
type JobEnded struct {
	Job     job.ID
	Outcome Outcome
	Failure *job.Failure // nil when done
	Empty   bool         // it is done, and has nothing that a client could read
}

// Release says that nobody needs the output of a stage any more, and which workers hold it.
type Release struct {
	Job     job.ID
	Stage   int
	Outputs []job.Producer
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

// Outcome is how a job stands.
type Outcome int

const (
	Running Outcome = iota // not ended
	Done
	Failed
	Aborted // cancelled by a client
)

// String returns the outcome in the words of the status page.
func (o Outcome) String() string {
	switch o {
	case Running:
		return "running"
	case Done:
		return "done"
	case Failed:
		return "failed"
	case Aborted:
		return "cancelled"
	}
	return fmt.Sprintf("outcome %d", int(o))
}
