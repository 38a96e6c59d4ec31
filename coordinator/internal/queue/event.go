package queue

import "time"

// Event is a fact that the shell tells the core. Events are pointers so that a shell can use the same one again and again;
// the core keeps nothing of them but strings and, in Then, the slice.
type Event interface{ event() }

// Peer names a connection, chosen by the shell and never used again: a client that waits, a worker, or both. Zero is nobody.
type Peer uint64

// Priority orders tasks over all functions: High goes before Normal, Normal before Low.
type Priority uint8

const (
	Normal Priority = iota
	High
	Low
)

// Policy is how a task is tried. Tasks with equal policies share one copy.
type Policy struct {
	Attempts   int           // tries at most, whether they failed, timed out or were lost with their worker; zero means 5
	Backoff    time.Duration // wait before the second try, doubling with each; zero means 1 s. After a first lost worker there is no wait
	MaxBackoff time.Duration // the longest wait; zero means 1 hour
	Soft       time.Duration // after it the worker is asked to end the task; zero means never
	Hard       time.Duration // after it the try counts as failed; zero means never
	Keep       time.Duration // how long outcome and result are kept after the end; zero means not
}

// Submit wants a task run. Answered by Accepted or Rejected with the same Ref.
type Submit struct {
	Ref      uint64 // handed back in the answer
	Peer     Peer   // that waits for the result (foreground); zero means background
	Function string // at most 512 bytes, not empty
	Unique   Key    // see KeyOf; zero means that the task never joins another
	Priority Priority
	Due      time.Time // not before; zero means now
	Size     int       // bytes of the input, which the shell keeps under the task's ID
	Policy   Policy
	Durable  bool   // survives a restart: its Records are written. Accepted comes after them
	Group    ID     // of an open group that it belongs to; zero means none. Such a task never joins another
	Place    int    // in the group, from 1: a task that is there already is the answer, and without one before it the submit is rejected. Zero means the next
	Then     []Next // tasks that follow one another, each with the result of the one before as input
}

// Next is a task that follows another task, or a group.
type Next struct {
	Function string
	Priority Priority
	Policy   Policy
}

// OpenGroup begins a group: tasks submitted with it are gathered. Answered by Accepted, with the group's ID.
type OpenGroup struct {
	Ref     uint64
	Then    []Next // the first gets the gathered results as input. Empty means that the group only ends
	Partial bool   // go on although tasks failed or were cancelled; otherwise the group is over with the first of them
	Durable bool
}

// CloseGroup says that all tasks of a group have been submitted.
type CloseGroup struct{ Group ID }

// Gathered says that the shell has put the input of a task together, after Gather.
type Gathered struct {
	Task ID
	Size int // bytes of the input
}

// Attach makes a peer wait for a task, which may have ended. Answered by Accepted, or by Unknown.
type Attach struct {
	Ref      uint64
	Peer     Peer
	Task     ID     // zero means: by Function and Unique
	Function string // used when Task is zero
	Unique   Key
}

// CanDo says that a peer is a worker for a function. It may be said again.
type CanDo struct {
	Peer     Peer
	Function string
	Timeout  time.Duration // a task returns to the queue after it; zero means never
}

// CantDo takes CanDo back for one function, and for all when Function is empty.
type CantDo struct {
	Peer     Peer
	Function string
}

// Grab asks for tasks. Answered by up to Max Assigns, or one NoTask. The peer is no longer asleep.
type Grab struct {
	Peer Peer
	Max  int // zero means 1
}

// Sleep says that a peer waits for Wake, which comes at once when a task waits for it.
type Sleep struct{ Peer Peer }

// SetSlots makes a peer one that tasks are pushed to.
type SetSlots struct {
	Peer     Peer
	N        int // tasks that it may hold at once, from now on
	Reserved int // so many of them are only for High
	// Share, unless empty, names slots that somebody else gives, by Grant: the peer gets a task with each, and at most N at once. It is that
	// of the first Slots of a peer.
	Share string
}

// Grant gives a slot of a share to a task of a priority. It is given back by Vacated.
type Grant struct {
	Share    string
	Priority Priority
}

// Claim says that a peer still runs a task from before a restart or a cut. The peer gets Stop when it should not.
type Claim struct {
	Peer Peer
	Task ID
}

// Report is what a worker says of a task that it runs. Answered by Unknown when it does not run it.
type Report struct {
	Peer   Peer
	Task   ID
	Notice Notice // Data, Warning, Progress, Exception, Done, Failed, Fatal
	N, M   uint64 // of Progress
}

// Cancel ends a task that has not ended, or the one that follows it, or a group with its tasks. Answered by Accepted (Ref, Task) or Unknown.
type Cancel struct {
	Ref  uint64
	Task ID
}

// Retry runs a dead letter again, with all its attempts. Answered like Cancel.
type Retry struct {
	Ref  uint64
	Task ID
}

// Forget drops a task that has ended. Answered like Cancel.
type Forget struct {
	Ref  uint64
	Task ID
}

// Detach says that a peer does not wait for a task any more. A foreground task that nobody waits for any more is dropped unless it runs.
type Detach struct {
	Peer Peer
	Task ID
	Stop bool // also when it runs
}

// Gone says that a peer has left or died.
type Gone struct{ Peer Peer }

// Limits bound a function. Zero values mean no limit.
type Limits struct {
	Queue       [3]int  // by Priority: a submit is rejected when so many tasks wait, are delayed or run
	Concurrency int     // tasks that run at once, on all workers
	Rate        float64 // starts per second
	Burst       int     // starts that may come at once after a pause; zero means 1
	Needs       []Need  // what each running task holds
	Paused      bool    // nothing starts
}

// Need is an amount of a budget.
type Need struct {
	Budget string
	N      int
}

// SetFunction makes a function known and sets its limits. They are Records.
type SetFunction struct {
	Function string
	Limits   Limits
}

// DropFunction forgets a function. Answered by Accepted, or by Rejected when it has workers or tasks that have not ended.
type DropFunction struct {
	Ref      uint64
	Function string
}

// SetBudget sets how much there is of a budget; budgets that were never set are empty. It is a Record.
type SetBudget struct {
	Budget string
	N      int
}

// Acquire asks for parts of budgets on behalf of somebody else, such as a pipeline stage. Answered by Granted with the
// same Ref, perhaps much later. A Ref that was acquired already changes nothing.
type Acquire struct {
	Ref      uint64
	Needs    []Need
	Restored bool // it has them already, from before a restart, although there may not be enough; no answer
}

// Release gives back what Acquire got, or stops waiting for it.
type Release struct{ Ref uint64 }

// Restarted follows the last Restore.
type Restarted struct{}

// Tick says that time has passed. It must come no later than Next.
type Tick struct{}

func (*Submit) event()       {}
func (*OpenGroup) event()    {}
func (*CloseGroup) event()   {}
func (*Gathered) event()     {}
func (*Attach) event()       {}
func (*Detach) event()       {}
func (*CanDo) event()        {}
func (*CantDo) event()       {}
func (*Grab) event()         {}
func (*Sleep) event()        {}
func (*SetSlots) event()     {}
func (*Grant) event()        {}
func (*Claim) event()        {}
func (*Report) event()       {}
func (*Cancel) event()       {}
func (*Retry) event()        {}
func (*Forget) event()       {}
func (*Gone) event()         {}
func (*SetFunction) event()  {}
func (*DropFunction) event() {}
func (*SetBudget) event()    {}
func (*Acquire) event()      {}
func (*Release) event()      {}
func (Restarted) event()     {}
func (Tick) event()          {}
