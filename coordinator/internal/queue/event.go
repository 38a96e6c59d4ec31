package queue

import "time"

// Event is a fact reported by the shell. Events are pointers, so a shell can reuse them; the queue
// keeps only their strings and the slices in Then.
type Event interface{ event() }

// Peer identifies a connection: a waiting client, a worker, or both. The shell chooses the number
// and never uses it again. Zero means none.
type Peer uint64

// Priority orders tasks over all functions: High before Normal before Low.
type Priority uint8

const (
	Normal Priority = iota
	High
	Low
)

// Endless is the Policy.Attempts of a task that is attempted until it succeeds.
const Endless = 1<<16 - 1

// Policy controls the attempts at a task. Tasks with equal policies share one copy.
type Policy struct {
	// Attempts is the number of failed or timed out attempts after which the task fails. Attempts
	// that were lost with their worker are counted apart, if nothing else ran on that worker; this
	// number is their limit, too. See isolate.go. With 1, no attempt follows a loss. Zero means 5.
	Attempts int
	// Backoff is the delay before the second attempt; it doubles with each further attempt. Zero
	// means 1 s. If a lost worker ended the first attempt, there is no delay.
	Backoff    time.Duration
	MaxBackoff time.Duration // longest delay; zero means 1 hour
	// Soft is the time after which the worker is asked to end the attempt. Zero means never.
	Soft time.Duration
	// Hard is the time after which the attempt counts as failed. Zero means never.
	Hard time.Duration
	// Keep is how long the outcome and the result are kept after the end. Zero means not at all.
	Keep time.Duration
}

// Submit adds a task. The answer is Accepted or Rejected with the same Ref.
type Submit struct {
	Ref uint64 // returned in the answer
	// Peer waits for the result (a foreground task). Zero means a background task.
	Peer     Peer
	Function string // not empty, at most 512 bytes
	// Unique joins the submit to an unended task with the same function and key; see KeyOf. That
	// task keeps its input. The earlier start and the higher priority of both count. Zero means
	// never.
	Unique Key
	// Fresh demands an attempt that begins after the submit: if it joins a task, that task runs
	// once more, unless its next attempt has not begun yet.
	Fresh    bool
	Priority Priority
	Due      time.Time // earliest start; zero means now
	// Size is the length of the input in bytes. The shell stores the input under the task ID.
	Size   int
	Policy Policy
	// Durable makes the task survive a restart: Writes of its Records come before Accepted.
	Durable bool
	// Group is an open group to add the task to. Zero means none. A task in a group ignores Unique.
	Group ID
	// Place is the position in the group, from 1; zero means the next one. If the position is
	// taken, the answer is the task in it. If the position before it is empty, the submit is
	// rejected.
	Place int
	// Then lists the tasks to run afterwards, one after another. Each gets the result of the task
	// before it as input.
	Then []Next
	// Parent is the running task that waits for this one, through Peer. Zero means none. See
	// lend.go.
	Parent ID
	// Token identifies the submit, so that it can be repeated without a second task; zero means
	// none. A group uses Place instead.
	Token uint64
	// Repeated means that this is not the first try. If an earlier submit with the Token arrived,
	// the answer is its task.
	Repeated bool
}

// Next is a task that follows another task, or a group.
type Next struct {
	Function string   // function to run; not empty, at most 512 bytes
	Priority Priority // zero means Normal
	Policy   Policy   // zero fields mean the defaults
}

// OpenGroup opens a group, to be filled with Submit. The answer is Accepted with the group's ID.
type OpenGroup struct {
	Ref uint64 // returned in the answer
	// Then lists the tasks to run after the group. The first gets the results of all members as
	// input. If Then is empty, the group just ends.
	Then []Next
	// Partial makes the group continue after a member fails or is cancelled. Otherwise the group
	// ends with the first such member.
	Partial bool
	Durable bool // the group survives a restart
	// Token and Repeated are as in Submit.
	Token    uint64
	Repeated bool
}

// CloseGroup ends the submits to the group with the ID Group. The tasks in Then follow when all
// members have ended.
type CloseGroup struct{ Group ID }

// Gathered reports that the shell has assembled the input of a task, as requested by Gather.
type Gathered struct {
	Task ID  // the task of the Gather
	Size int // length of the input in bytes
}

// GatherFailed reports that the shell cannot assemble the input of a task, as requested by Gather.
// The task fails. The event's payload is the reason.
type GatherFailed struct {
	Task ID // the task of the Gather
}

// Attach adds a peer to those waiting for a task. The task may have ended. The answer is Accepted,
// Unknown or Rejected. For a group, only Parent waits: GroupEnded names no peers.
type Attach struct {
	Ref      uint64 // returned in the answer
	Peer     Peer   // the peer that waits from now on
	Task     ID     // zero means: find it by Function and Unique
	Function string // used when Task is zero
	Unique   Key    // with Function: the key from Submit
	Parent   ID     // as in Submit
}

// Lead reports that one call of a handler runs two tasks, so Task waits when Leader does. Peer runs
// both. It holds until the attempt ends; see lend.go.
type Lead struct {
	Peer         Peer
	Task, Leader ID
}

// CanDo adds a function that a worker can run, or changes its Timeout.
type CanDo struct {
	Peer     Peer   // the worker
	Function string // not empty, at most 512 bytes
	// Timeout is a hard time limit for tasks on this worker, after which they are queued again.
	// Zero means none.
	Timeout time.Duration
}

// CantDo withdraws CanDo for one function, or for all if Function is empty.
type CantDo struct {
	Peer     Peer // the worker
	Function string
}

// Grab requests tasks. The answer is up to Max Assigns, or one NoTask. A sleeping peer is awake
// again.
type Grab struct {
	Peer Peer // the worker
	Max  int  // zero means 1
}

// Sleep reports that Peer waits for Wake. If a task is ready for it, Wake comes at once.
type Sleep struct{ Peer Peer }

// SetSlots gives a peer slots. The queue then assigns tasks to it without Grab.
type SetSlots struct {
	Peer     Peer // the worker
	N        int  // maximum number of tasks at once, from now on
	Reserved int  // slots kept free for High
	// Share, if set, names slots lent by another party. Each Grant then starts one task, and the
	// peer runs at most N at once. Only the first SetSlots of a peer sets it.
	Share string
}

// Grant lends one slot of a share for a task of the given priority. Vacated returns it.
type Grant struct {
	Share    string   // as in SetSlots
	Priority Priority // only a task of this priority may use the slot
}

// Claim reports that a peer still runs a task from before a restart or a lost connection. The
// answer is Stop if the peer must not continue.
type Claim struct {
	Peer Peer // the worker
	Task ID   // the task that it still runs
	// From is the number of its former connection, which keeps its runs until PeerGone; zero when
	// there is none. The run of attempt N moves from there.
	From Peer
	N    uint64
}

// Report is a worker's message about a task it runs. The answer is Unknown if it does not run the
// task.
type Report struct {
	Peer Peer // the worker
	Task ID   // the running task
	// Notice is Data, Warning, Progress, Exception, Done, Failed or Fatal.
	Notice Notice
	N, M   uint64 // for Progress
	Size   int    // length of the result or error in bytes
}

// Cancel ends a task before its end, including its follower, or a group with all its tasks. The
// answer is Accepted (Ref, Task) or Unknown.
type Cancel struct {
	Ref  uint64
	Task ID
}

// Retry queues a dead letter again, with a full number of attempts. It is answered like Cancel. If
// an unended task has its unique key, the answer is Unknown, and the dead letter stays.
type Retry struct {
	Ref  uint64 // returned in the answer
	Task ID     // the dead letter
}

// Forget drops an ended task. It is answered like Cancel.
type Forget struct {
	Ref  uint64 // returned in the answer
	Task ID     // the ended task
}

// Detach removes a peer from those waiting for a task. If nobody waits for a foreground task now,
// the task is cancelled. A peer that has gone is detached from all its tasks.
type Detach struct {
	Peer Peer // the waiting peer
	Task ID   // the task that it waits for
}

// RunNow makes a delayed task ready before its time, also during the delay after a failure. It is
// answered like Cancel.
type RunNow struct {
	Ref  uint64 // returned in the answer
	Task ID     // the delayed task
}

// PeerGone reports that Peer has disconnected or died.
type PeerGone struct {
	Peer Peer
	// Left: the worker announced its end. The tasks that it still runs are not suspected of it.
	Left bool
}

// Limits bound a function. Zero values mean no limit.
type Limits struct {
	// Queue is, by Priority, the number of unended tasks from which a submit is rejected.
	Queue [3]int
	// Concurrency is the number of tasks that may run at once, over all workers.
	Concurrency int
	Rate        float64 // starts per second
	// Burst is the number of starts allowed at once after a pause. Zero means 1.
	Burst  int
	Needs  []Need // budgets used by each running task
	Paused bool   // no task starts
	// Weight is the share of starts beside other functions with waiting tasks of the same priority:
	// a function of weight 3 gets three starts for each one of a function of weight 1. Zero means
	// 1; MaxWeight is the largest.
	Weight int
}

// MaxWeight is the largest Limits.Weight.
const MaxWeight = 1000

// Need is an amount of a budget.
type Need struct {
	Budget string // name of the budget
	N      int    // amount, in the budget's own unit
	// Size is the size of the budget while nobody has set one, if the Need is part of an Acquire.
	// Zero declares no size.
	Size int
}

// SetFunction creates a function if necessary and sets its limits. They are durable.
type SetFunction struct {
	Function string // name of the function
	Limits   Limits // they replace all earlier limits
}

// DropFunction removes a function. The answer is Accepted, or Rejected if the function has workers
// or unended tasks.
type DropFunction struct {
	Ref      uint64 // returned in the answer
	Function string // name of the function
}

// SetBudget sets the size of a budget; the size is durable. Before, a budget has the size that its
// holders declare, else zero.
type SetBudget struct {
	Budget string // name of the budget
	N      int    // new size; amounts in use stay granted
}

// Acquire requests amounts of budgets for another party, such as a pipeline stage. The answer is
// Granted with the same Ref, perhaps much later. A Ref in use changes nothing.
type Acquire struct {
	Ref   uint64 // chosen by the caller; Release repeats it
	Needs []Need // the amounts, one per budget
	// Restored marks amounts granted before a restart. They are taken even if the budget is too
	// small, and there is no answer.
	Restored bool
}

// Release returns the amounts of the Acquire with the same Ref, or withdraws its request.
type Release struct{ Ref uint64 }

// Restarted follows the last Restore.
type Restarted struct {
	// Origin is a random number of this process; see Queue.Origin.
	Origin uint64
}

// Woke reports that the coordinator itself did not run for a while: no result could reach it. The
// time limits of running tasks move by that time. It comes before the first event after the pause.
type Woke struct{ For time.Duration }

// Tick reports the passing of time. It must come no later than Next.
type Tick struct{}

func (Woke) event()          {}
func (*Submit) event()       {}
func (*OpenGroup) event()    {}
func (*CloseGroup) event()   {}
func (*Gathered) event()     {}
func (*GatherFailed) event() {}
func (*Attach) event()       {}
func (*Lead) event()         {}
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
func (*RunNow) event()       {}
func (*Retry) event()        {}
func (*Forget) event()       {}
func (*PeerGone) event()     {}
func (*SetFunction) event()  {}
func (*DropFunction) event() {}
func (*SetBudget) event()    {}
func (*Acquire) event()      {}
func (*Release) event()      {}
func (Restarted) event()     {}
func (Tick) event()          {}
