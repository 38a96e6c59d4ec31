// Package queue decides which task runs on which worker when tasks are single calls of named functions.
//
// It is a pure core: Step takes one fact and the time and returns wishes. It starts nothing, reads no clock, does no
// I/O, and the same events give the same commands. Payloads are elsewhere: an input or a result is kept by the shell under
// the ID of its task, and the payload of an event is at hand while its commands are carried out.
//
// What must survive a crash leaves Step as Write commands, each setting or removing one small Record; Restore takes the Records that
// there are, in the order of their keys. Tries on their way are not recorded: after a restart their tasks wait again, unless a
// worker claims them.
//
// Order: High before Normal before Low over all functions, then by age, which begins when a task becomes ready to run. Of the starts
// that could have been of a lower priority, 1 in 18 is Low and 1 in 18 Normal, so neither starves. A task whose worker was lost
// goes to the front.
//
// A worker has slots of its own, or asks for each task, or uses a share of slots that somebody else gives (share.go): then this core only says what could start.
//
// A waiting task costs 64 bytes, and 11 to 21 more with a unique key; what few tasks have is kept apart, and nothing points to a task, so
// the collector passes by. No Step depends on how many tasks there are, but on how many functions a worker has, and functions a
// budget. The three Steps of a task's life take 0.4 µs on an idle core of an EPYC, 0.7 µs with unique keys behind a million others
// (BenchmarkCycle), and allocate nothing: events and commands are reused, lists are links between slots.
package queue

import (
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/tally"
)

// Config holds the policies. Zero values mean the defaults.
type Config struct {
	// MaxFunctions is how many functions there may be; submits of others are rejected. Zero means 100,000.
	MaxFunctions int
	// MaxDead is how many dead letters a function keeps; the oldest are dropped. Zero means 100,000.
	MaxDead int
}

// Queue is the core. Use it from one goroutine.
type Queue struct {
	cfg Config
	now time.Time
	out []Command
	buf []byte // keys and values of Writes in out

	seq, reserved uint64 // IDs given, and those that may be without another Record
	tasks         slab[task]
	heads         []links
	freeHeads     []int32
	wheel         wheel
	uniques       uniques
	stamp         int64 // of the last task that became ready
	waits         slab[wait]
	runs          slab[run]

	policies     []sharedPolicy
	policyIndex  map[Policy]int32
	freePolicies []int32
	lastPolicy   int32 // 0: none

	functions        []*function // by number, from 1; nil when dropped
	functionIndex    map[string]int32
	droppedCounts    Counts // of functions that were dropped
	attemptDurations tally.Durations
	peers            []*peer // by number, from 1; nil when gone
	peerIndex        map[Peer]int32
	freePeers        []int32
	rankTurn         uint32 // see lowest
	rated            []*function
	rateWake         int64 // nanoseconds; when a function's rate allows a start again; 0 when none waits for that

	parked          int32 // head of those that wait for Gathered, and of ended members of groups
	groups          map[ID]*group
	memberOf        map[int32]member
	chains          map[int32][]Next
	earlierAttempts map[int32]int // tries before a dead letter was run again
	gathers         map[int32]gather
	successors      successors
	endedGroups     endedGroups
	budgets         map[string]*budget
	shares          map[string]*share
	scan            uint64             // see wants
	staleShares     []*share           // whose wants may have grown
	vacated         []Command          // to be said after them
	holders         map[uint64]*holder // of Acquire
}

// New returns an empty core.
func New(cfg Config) *Queue {
	if cfg.MaxFunctions == 0 {
		cfg.MaxFunctions = 100_000
	}
	if cfg.MaxDead == 0 {
		cfg.MaxDead = 100_000
	}
	q := &Queue{
		cfg: cfg, policies: make([]sharedPolicy, 1), policyIndex: map[Policy]int32{}, functions: make([]*function, 1),
		functionIndex: map[string]int32{}, peers: make([]*peer, 1), peerIndex: map[Peer]int32{}, groups: map[ID]*group{},
		memberOf: map[int32]member{}, chains: map[int32][]Next{}, earlierAttempts: map[int32]int{}, gathers: map[int32]gather{}, successors: successors{map[ID]ID{}, map[int32][]ID{}}, endedGroups: endedGroups{outcomes: map[ID]endedGroup{}}, budgets: map[string]*budget{}, shares: map[string]*share{}, holders: map[uint64]*holder{},
	}
	for range wheelLevels * digits {
		q.newHead()
	}
	q.parked = q.newHead()
	return q
}

// Step applies one event at time now and returns what the world should do next. The returned slice is valid until the
// next Step.
func (q *Queue) Step(now time.Time, ev Event) []Command {
	q.now = now
	clear(q.out)
	q.out, q.buf = q.out[:0], q.buf[:0]
	if tick := now.UnixMilli(); tick > q.wheel.tick {
		q.advanceWheel(tick)
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
	case *Detach:
		q.detach(ev)
	case *Gone:
		q.gone(ev.Peer)
	case *Cancel:
		q.cancel(ev)
	case *Retry:
		q.retry(ev)
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
	case *SetBudget:
		q.setBudget(ev)
	case *Acquire:
		q.acquire(ev)
	case *Release:
		q.release(ev.Ref)
	case Restarted:
		q.restarted()
	}
	if len(q.staleShares)+len(q.vacated) > 0 {
		q.emitWants()
	}
	return q.out
}

// Next returns the latest time at which Step wants to be called again, with Tick if nothing else happens.
// The zero time means that only an event can change anything.
func (q *Queue) Next() time.Time {
	var next time.Time
	if _, _, tick, ok := q.nextTimers(); ok {
		next = time.UnixMilli(tick)
	}
	if rate := time.Unix(0, q.rateWake); q.rateWake != 0 && (next.IsZero() || rate.Before(next)) {
		next = rate
	}
	return next
}

// tickAfter returns the first tick that is d or more from now.
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

// fireTimer is called when the timer of task i has run out.
func (q *Queue) fireTimer(i int32) {
	switch t := q.tasks.at(i); {
	case t.state == Delayed:
		q.makeReady(i, false)
	case t.state == Running:
		q.enforceLimit(i)
	default:
		q.forgetTask(i)
	}
}

// setState counts task i in another state.
func (q *Queue) setState(i int32, to State) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	f.counts.In[t.state]--
	f.counts.In[to]++
	t.state = to
}

// makeReady puts task i, which is in no list, at the end of its queue, or at its front, and offers it to workers.
func (q *Queue) makeReady(i int32, front bool) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	q.setState(i, Waiting)
	q.enqueue(i, front)
	q.offerTasks(f)
}

func (q *Queue) enqueue(i int32, front bool) {
	t := q.tasks.at(i)
	f := q.functions[t.fn]
	head := f.queues[t.flags.rank()]
	if front {
		q.insertBefore(q.link(head).next, i) // t.due is the stamp that it had before
	} else {
		q.stamp++
		t.due = q.stamp
		q.insertBefore(head, i)
	}
	f.waiting[t.flags.rank()]++
}

// dequeue takes waiting task i out of its queue.
func (q *Queue) dequeue(i int32) {
	t := q.tasks.at(i)
	q.unlink(i)
	q.functions[t.fn].waiting[t.flags.rank()]--
}

// forgetTask drops all that there is of task i.
func (q *Queue) forgetTask(i int32) {
	t := q.tasks.at(i)
	q.unlink(i)
	q.forgetKey(i)
	q.dropPolicy(t.policy)
	delete(q.chains, i)
	q.dropPredecessors(i)
	delete(q.earlierAttempts, i)
	q.emit(Command{Op: Drop, Task: t.id, N: boolBit(t.flags&durable != 0), M: boolBit(t.flags&hasUpdate != 0)})
	f := q.functions[t.fn]
	f.taskCount--
	if t.isDeadLetter() {
		f.deadCount--
	}
	q.tasks.drop(i)
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
