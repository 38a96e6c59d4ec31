package sched

import (
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Event is a fact that the shell tells the core.
type Event interface{ event() }

// Submitted says that a client wants a job. A job ID that is known already changes nothing. The spec must pass Check.
type Submitted struct {
	Spec    job.Spec
	Options Options
}

// Options are what a client asks for beside the Spec. The zero value is a job that any worker can run.
type Options struct {
	// Priority: a larger number goes first, but for the turns of smaller ones (see yield); jobs of equal priority share the slots evenly.
	// Zero is the default.
	Priority int
	// Interactive means that somebody waits: the job goes before others of its priority and may use reserved slots.
	Interactive bool
	// Tags are what a worker must have, all of them, to run the job's attempts.
	Tags []string
	// Code is the hash of the program that runs the job; empty when no program is needed. A worker runs it that was given it or that
	// takes programs from clients (AllowsShippedCode), and whose platform is Platform.
	Code     string
	Platform string // GOOS/GOARCH of Code

	// The rest is kept for others and decides nothing here.
	CodeSize   int64     // bytes of the program
	CodeLoader string    // loader that the program needs; empty when it is linked statically
	Detached   bool      // the job goes on when its client leaves
	Owner      string    // who submitted it
	Client     string    // volume of files on the client's machine; empty when there are none
	Submitted  time.Time // when; zero when not known
}

// WorkerJoined says that a worker offers slots. A worker that is known already is first taken for lost, so a worker
// that re-attaches names what it holds and runs.
type WorkerJoined struct {
	Worker  string
	Slots   int           // attempts it runs at once
	Zone    string        // empty when there are no zones
	Outputs []job.Attempt // outputs that it holds, committed or not; those that do not count are refused
	Running []job.Attempt // attempts that it runs

	Reserved          int      // how many of the slots only interactive jobs may use
	Tags              []string // what it offers to jobs that ask for it
	Platform          string   // GOOS/GOARCH
	Codes             []string // hashes of the programs that it was given
	AllowsShippedCode bool     // it takes programs from clients
	Draining          bool     // it was told to drain before: see DrainWorker

	// WorkerID is the name that stays when the process is started again, by which calls name the worker whose slots they take. Empty
	// means Worker. Of several workers that have it, calls take the slots of the last that joined.
	WorkerID string

	Datasets []string // that it offers
}

// WorkerWithdrawn says that a worker, by its lasting name, left for good, or was given up while it was away: nobody is to wait for what it offered. One that has
// a lease is not touched.
type WorkerWithdrawn struct{ WorkerID string }

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
	Locality Locality         `json:"locality,omitzero"` // filled by the core
}

// AttemptDone says that a worker sealed the output of an attempt. Telling it twice does no harm.
type AttemptDone struct {
	Worker         string
	Attempt        job.Attempt
	Summary        Summary
	PartitionBytes []int64 // stored bytes of each partition of the first output port; nil when not told. They say where readers run best
}

// AttemptFailed says that an attempt ended without output.
type AttemptFailed struct {
	Worker  string
	Attempt job.Attempt
	Failure job.Failure
}

// OutputLost says that the output of a committed attempt cannot be read. It is also a Record.
type OutputLost struct{ Attempt job.Attempt }

// OutputWanted says that a client cannot read the output of a committed attempt at Worker, or knows of none: attempt number zero. Unless somebody
// else holds it, it is made again, also when no stage reads it; a job that is done runs again for that, until it is released.
type OutputWanted struct {
	Attempt job.Attempt
	Worker  string // empty stands for any
}

// Detached says that a job goes on without its client. It is also a Record.
type Detached struct{ Job job.ID }

// Cancelled says that a client wants a job to end.
type Cancelled struct {
	Job job.ID
	Why string
}

// JobDropped says that nobody wants to know of a job any more. A job that has not ended is cancelled first. It is also a Record.
type JobDropped struct{ Job job.ID }

// JobReleased says that nobody wants the output of a job any more. How it went is remembered until Retain. A job that has not ended is
// cancelled. It is also a Record.
type JobReleased struct{ Job job.ID }

// DrainWorker says that a worker is to leave: it gets no new attempts, and its outputs that are still needed are copied to other
// workers. Drained answers when nothing is left to wait for. A worker that is not known changes nothing.
type DrainWorker struct{ Worker string }

// OutputMoved says that a worker holds a copy of the output of a committed attempt. It is also a Record, for people: after a restart
// workers say themselves what they hold.
type OutputMoved struct {
	Worker  string
	Attempt job.Attempt
}

// QueuedWaiting says how many more calls of a class could start now on a worker, by its lasting name, which need not have joined yet. It
// takes the place of what was said before. Each slot that calls get is told by GrantQueued, and wanted no more.
type QueuedWaiting struct {
	WorkerID string
	Class    QueuedClass
	N        int
}

// QueuedStarted says that a call runs on a worker without a grant: from before a restart.
type QueuedStarted struct {
	WorkerID string
	Class    QueuedClass
}

// QueuedEnded gives the slot of a call back, also one that was granted and could not be used.
type QueuedEnded struct {
	WorkerID string
	Class    QueuedClass
}

// BudgetsGranted answers AcquireBudgets.
type BudgetsGranted struct{ Ticket uint64 }

// Settled says that after a restart all workers that there are have joined, so no more outputs will be claimed.
type Settled struct{}

// Restarted follows the last Restore of a coordinator that had a past.
type Restarted struct{}

// Tick says that time has passed. It must come no later than Next.
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
func (Settled) event()         {}
func (Restarted) event()       {}
func (Tick) event()            {}
