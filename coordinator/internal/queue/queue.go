// Package queue decides which queued task runs on which worker.
//
// A task is one queued call of a named function, such as "resize" with an image as input. Clients
// submit tasks. Workers announce the functions they can run and receive tasks of these functions.
//
// # Events and commands
//
// The package is a pure core inside a shell, the coordinator. Step takes one event and the current
// time and returns commands for the shell. It starts no goroutines, reads no clock and does no I/O;
// the same events always produce the same commands. A short dialogue:
//
//	Submit{Ref: 1, Function: "resize"}   Keep (the input), Accepted{Ref: 1, Task: 7}
//	CanDo{Peer: 3, Function: "resize"}
//	Grab{Peer: 3}                        Assign{Peer: 3, Task: 7, N: 1}
//	Report{Peer: 3, Task: 7, Done}       Notify to every waiting peer, then Drop
//
// The core never sees payloads. The shell stores inputs and results under the task ID. While the
// shell carries out the commands of a Step, it still has the payload of the event; a command refers
// to it with FromEvent.
//
// # Life of a task
//
// A task is Waiting for a worker, Delayed until a time, or Running. Then it ends as WasDone,
// WasFailed or WasCancelled.
//
//   - A failed attempt is repeated after a delay (Policy.Backoff) until Policy.Attempts are used
//     up. Attempt numbers only grow.
//   - A task whose worker was lost runs alone next; see isolate.go.
//   - A background task without attempts left becomes a dead letter: it stays until Retry or
//     Forget.
//   - A foreground task exists for the peers waiting for it. When the last of them leaves, the task
//     is cancelled. Only a worker without slots runs it to its end.
//   - A submit with the unique key of a task of the same function joins this task if it has not
//     ended: one run serves all. A fresh submit (Submit.Fresh) is served by an attempt that begins
//     after it: when the task has ended, it runs again instead. It runs at most once at a time.
//   - Submit.Then makes a chain: each follower gets the result of the task before it as input.
//   - A group collects tasks. When all members have ended, the first task in OpenGroup.Then gets
//     their results as input.
//   - Policy.Keep retains the outcome and the result of an ended task for a while.
//
// # Order and fairness
//
// Over all functions, High goes before Normal before Low. Functions with waiting tasks of one
// priority take turns, by weight (Limits.Weight). Within a function older goes before newer; the
// age begins when the task becomes ready to run. If tasks of lower priority could start too, 1
// start in 18 is Low and 1 in 18 Normal, so no priority starves. A task from a lost worker goes to
// the front of its queue.
//
// A function can have limits: queue length, tasks at once, starts per second, and budgets shared
// with other functions and with pipeline stages. A worker has its own slots, or grabs tasks one by
// one, or uses slots lent by another party (see share.go).
//
// # Restarts
//
// Changes to durable tasks leave Step as Write commands. Each sets or removes one small Record.
// After a restart, Restore takes the Records in key order, and the event Restarted follows. Running
// attempts are not recorded: their tasks wait again, unless a worker claims them.
//
// # What always holds
//
//   - Every task is counted in exactly one state: Counts.Submitted is the sum of Counts.In.
//   - Every task has a next step: a worker to wait for, a timer, a run, a group or a follower.
//   - While a task may start, no worker able to run it has a free slot or sleeps.
//   - A waiting foreground task has a waiting peer; an ended task has none.
//
// Audit checks these. The tests simulate thousands of random histories against a simple model.
//
// # Cost
//
// A waiting task takes 64 bytes, and 11 to 21 more with a unique key. Rare properties are kept in
// side tables. Tasks are linked by slot number, without pointers, so the garbage collector skips
// them. The cost of a Step does not depend on the number of tasks, only on the number of functions
// per worker and per budget. The three Steps of a task's life take 0.4 µs on an idle core of an
// EPYC, or 0.7 µs with unique keys behind a million other tasks (BenchmarkCycle). They allocate
// nothing: events and commands are reused. Searches for calls that could never start, which look at
// all waiting calls, make pauses in proportion; see stuck.go.
package queue

import (
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/tally"
)

// Config holds the policies. Zero values mean the defaults.
type Config struct {
	// MaxFunctions limits the number of functions. Submits to further functions are rejected. Zero
	// means 100,000.
	MaxFunctions int
	// MaxGathered limits the results of a group that has a follower, together, in bytes. Zero means
	// 64 MiB.
	MaxGathered int
	// MaxDead limits the dead letters per function; beyond it the oldest are dropped. Zero means
	// 100,000.
	MaxDead int
	// KeepDead is how long dead letters are kept. Zero means without limit.
	KeepDead time.Duration
	// KeepIdle is how long a function and an open group are remembered after their last use; see
	// forget.go. Zero means 7 days.
	KeepIdle time.Duration
}

// Queue is the core. It is not safe for concurrent use.
type Queue struct {
	cfg Config
	now time.Time
	out []Command
	buf []byte // buf holds the keys and values of the Writes in out.

	// seq is the last sequence number given to an ID. Numbers up to reserved may be used without
	// writing another Record.
	seq, reserved uint64
	origins       []origin // by first
	tasks         slab[task]
	heads         []links
	freeHeads     []int32
	wheel         wheel
	uniques       uniques
	reported      int // reported is the size of the result or error in the present event.
	// stamp is the age stamp of the last task that became ready: the time in Unix nanoseconds, or
	// one more than the stamp before.
	stamp int64
	// born is the time of the first event, in Unix nanoseconds.
	born  int64
	waits slab[wait]
	runs  slab[run]

	policies     []sharedPolicy
	policyIndex  map[Policy]int32
	freePolicies []int32
	lastPolicy   int32 // last result of policyOf; 0: none

	functions        []*function // by number, from 1; nil when dropped
	functionIndex    map[string]int32
	droppedCounts    Counts // sums of dropped functions
	attemptDurations tally.Durations
	firstWaits       [3]tally.Durations // of tasks before their first attempt, by rank
	peers            []*peer            // by number, from 1; nil when gone
	peerIndex        map[Peer]int32
	freePeers        []int32
	rankTurn         uint32 // see chooseRank
	rated            []*function
	// deadWake is the tick of the next search for old dead letters. It is 0 when none is due.
	deadWake int64
	idleWake int64 // tick of the next search for idle functions and groups; 0: there are none
	// rateWake is the earliest time, in Unix nanoseconds, when a function's rate allows another
	// start. It is 0 when no function waits for its rate.
	rateWake int64
	// timerReady: a delayed task became ready in this Step.
	timerReady bool
	stuck      stuckSearch

	// parked heads the list of tasks without a queue or timer: tasks waiting for their input (see
	// Gathered), and ended tasks whose result is still needed.
	parked          int32
	groups          map[ID]*group
	memberOf        map[int32]member
	chains          map[int32][]Next
	earlierAttempts map[int32]int     // attempts before a dead letter was retried
	late            map[int32][]*peer // see late.go
	reruns          map[int32]bool    // tasks that a fresh submit has joined since their last start
	losses          map[int32]losses
	children        children
	leaders         map[ID]ID // of running tasks in batches; see lend.go
	suspectCount    int       // suspects in the lists of their functions; see isolate.go
	emptying        []*peer   // peers closed for a suspect
	gathers         map[int32]gather
	successors      successors
	tokens          tokens
	endedGroups     endedGroups
	budgets         map[string]*budget
	shares          map[string]*share
	scan            uint64             // see countWants
	staleShares     []*share           // shares to count again at the end of Step
	vacated         []Command          // Vacated commands, sent after Want
	holders         map[uint64]*holder // see Acquire
}

// New returns an empty queue.
func New(cfg Config) *Queue {
	if cfg.MaxFunctions == 0 {
		cfg.MaxFunctions = 100_000
	}
	if cfg.MaxGathered == 0 {
		cfg.MaxGathered = 64 << 20
	}
	if cfg.MaxDead == 0 {
		cfg.MaxDead = 100_000
	}
	if cfg.KeepIdle == 0 {
		cfg.KeepIdle = 7 * 24 * time.Hour
	}
	q := &Queue{
		cfg: cfg, policies: make([]sharedPolicy, 1), policyIndex: map[Policy]int32{}, functions: make([]*function, 1),
		functionIndex: map[string]int32{}, peers: make([]*peer, 1), peerIndex: map[Peer]int32{}, groups: map[ID]*group{},
		memberOf: map[int32]member{}, chains: map[int32][]Next{}, earlierAttempts: map[int32]int{}, late: map[int32][]*peer{}, reruns: map[int32]bool{}, losses: map[int32]losses{},
		children: children{map[ID][]int32{}, map[ID][]*group{}}, leaders: map[ID]ID{}, gathers: map[int32]gather{}, successors: successors{map[ID]ID{}, map[int32][]ID{}, map[ID]uint64{}},
		endedGroups: endedGroups{outcomes: map[ID]endedGroup{}}, budgets: map[string]*budget{}, shares: map[string]*share{}, holders: map[uint64]*holder{},
	}
	for range wheelLevels * digits {
		q.newHead()
	}
	q.parked = q.newHead()
	return q
}

// Step applies one event at time now and returns the resulting commands. The slice is valid until
// the next Step.
func (q *Queue) Step(now time.Time, ev Event) []Command {
	q.now, q.reported, q.timerReady = now, 0, false
	if q.born == 0 {
		q.born = now.UnixNano()
	}
	clear(q.out)
	q.out, q.buf = q.out[:0], q.buf[:0]
	if woke, ok := ev.(Woke); ok {
		q.postponeLimits(woke.For)
	}
	if tick := now.UnixMilli(); tick > q.wheel.tick {
		q.advanceWheel(tick)
	}
	if q.deadWake != 0 && q.wheel.tick >= q.deadWake {
		q.forgetOldDead()
	}
	if q.idleWake != 0 && q.wheel.tick >= q.idleWake {
		q.forgetIdle()
	}
	if q.rateWake != 0 && now.UnixNano() >= q.rateWake {
		q.rateWake = 0
		q.offerInTurn(q.rated)
	}
	switch ev := ev.(type) {
	case *Submit:
		q.submit(ev)
	case *Grab:
		q.grab(ev)
	case *Report:
		q.report(ev)
	case *Sleep:
		q.sleep(ev.Peer)
	case *CanDo:
		q.canDo(ev)
	case *CantDo:
		q.cantDo(ev)
	case *SetSlots:
		q.slots(ev)
	case *Grant:
		q.grant(ev)
	case *Claim:
		q.claim(ev)
	case *Attach:
		q.attach(ev)
	case *Lead:
		q.lead(ev)
	case *Detach:
		q.detach(ev)
	case *PeerGone:
		q.removePeer(ev)
	case *Cancel:
		q.cancel(ev)
	case *Retry:
		q.retry(ev)
	case *RunNow:
		q.runNow(ev)
	case *Forget:
		q.forgetEnded(ev)
	case *SetFunction:
		q.setFunction(ev)
	case *DropFunction:
		q.dropFunction(ev)
	case *OpenGroup:
		q.openGroup(ev)
	case *CloseGroup:
		q.closeGroup(ev.Group)
	case *Gathered:
		q.gathered(ev)
	case *GatherFailed:
		q.gatherFailed(ev)
	case *SetBudget:
		q.setBudget(ev)
	case *Acquire:
		q.acquire(ev)
	case *Release:
		q.release(ev.Ref)
	case Restarted:
		q.restarted(ev.Origin)
	}
	if len(q.children.of)+len(q.children.groups) > 0 {
		q.lend()
		q.stuck.due = q.stuck.due || q.mayStick(ev)
		q.failStuck()
	} else {
		q.stuck.due = false
	}
	if len(q.emptying) > 0 {
		q.reopen()
	}
	if len(q.staleShares)+len(q.vacated) > 0 {
		q.emitWants()
	}
	return q.out
}

// Next returns the latest time for the next Step; without another event, the shell sends Tick then.
// The zero time means that no timer is set.
func (q *Queue) Next() time.Time {
	var next time.Time
	if _, _, tick, ok := q.nextTimers(); ok {
		next = time.UnixMilli(tick)
	}
	if q.deadWake != 0 && (next.IsZero() || time.UnixMilli(q.deadWake).Before(next)) {
		next = time.UnixMilli(q.deadWake)
	}
	if q.idleWake != 0 && (next.IsZero() || time.UnixMilli(q.idleWake).Before(next)) {
		next = time.UnixMilli(q.idleWake)
	}
	if rate := time.Unix(0, q.rateWake); q.rateWake != 0 && (next.IsZero() || rate.Before(next)) {
		next = rate
	}
	if search := time.Unix(0, q.stuck.next); q.stuck.due && (next.IsZero() || search.Before(next)) {
		next = search
	}
	return next
}

// tickAfter returns the first tick at least d after now.
func (q *Queue) tickAfter(d time.Duration) int64 { return tickOf(q.now.Add(d)) }

// tickOf returns the first tick at or after t.
func tickOf(t time.Time) int64 {
	tick := t.UnixMilli()
	if time.UnixMilli(tick).Before(t) {
		tick++
	}
	return tick
}

func (q *Queue) emit(c Command) { q.out = append(q.out, c) }

// fireTimer handles the expired timer of task i: a delayed task becomes ready, a running task has
// reached a time limit, an ended task is forgotten.
func (q *Queue) fireTimer(i int32) {
	switch t := q.tasks.at(i); {
	case t.state == Delayed:
		q.timerReady = true
		q.makeReady(i, false)
	case t.state == Running:
		q.enforceLimit(i)
	default:
		q.forgetTask(i)
	}
}

// setState changes the state of task i and the counts of its function.
func (q *Queue) setState(i int32, to State) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	f.counts.In[t.state]--
	f.counts.In[to]++
	t.state = to
}

// makeReady puts task i, in no list so far, at the end or the front of its queue and offers it to
// workers.
func (q *Queue) makeReady(i int32, front bool) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	q.setState(i, Waiting)
	q.enqueue(i, front)
	q.offerTasks(f)
}

// nextStamp returns the age stamp of a task that becomes ready now.
func (q *Queue) nextStamp() int64 {
	q.stamp = max(q.stamp+1, q.now.UnixNano())
	return q.stamp
}

func (q *Queue) enqueue(i int32, front bool) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	if q.isSuspect(i) {
		if !front {
			t.due = q.nextStamp()
		}
		q.enqueueSuspect(i, f)
		return
	}
	head := f.queues[t.flags.rank()]
	if front {
		q.insertBefore(q.link(head).next, i) // it keeps its old stamp in t.due
	} else {
		t.due = q.nextStamp()
		q.insertBefore(head, i)
	}
	f.waiting[t.flags.rank()]++
}

// dequeue removes waiting task i from its queue.
func (q *Queue) dequeue(i int32) {
	if q.isSuspect(i) {
		q.dequeueSuspect(i)
		return
	}
	t := q.tasks.at(i)
	q.unlink(i)
	q.functions[t.fn].waiting[t.flags.rank()]--
}

// forgetTask removes task i and everything stored about it.
func (q *Queue) forgetTask(i int32) {
	t := q.tasks.at(i)
	q.unlink(i)
	q.forgetKey(i)
	q.dropPolicy(t.policy)
	deleteRare(q.chains, i)
	q.dropPredecessors(i)
	deleteRare(q.earlierAttempts, i)
	deleteRare(q.losses, i)
	q.emit(Command{Op: Drop, Task: t.id, N: boolBit(t.flags&durable != 0), M: boolBit(t.flags&hasUpdate != 0)})
	f := q.functions[t.fn]
	f.taskCount--
	if t.isDeadLetter() {
		f.deadCount--
	}
	q.tasks.drop(i)
}

// deleteRare removes a task from a map that is mostly empty, which costs no call then.
func deleteRare[V any](m map[int32]V, i int32) {
	if len(m) > 0 {
		delete(m, i)
	}
}

func boolBit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func remove[T comparable](s []T, x T) []T {
	if i := slices.Index(s, x); i >= 0 {
		return slices.Delete(s, i, i+1)
	}
	return s
}
