package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/tally"
)

// Info describes a task.
type Info struct {
	ID         ID       // number of the task, never used twice
	Function   string   // name of the function
	State      State    // waiting, delayed, running or how it ended
	DeadLetter bool     // it can be retried
	Priority   Priority // of all functions, High goes first
	Background bool     // the task stays although nobody waits for it
	Durable    bool     // the task survives a restart
	Attempts   int      // attempts begun since the submit or the last Retry
	Lost       int      // attempts that ended with their worker
	Waiters    int      // counted up to 1,000
	Size       int      // length of the input in bytes
	// Due is when a delayed task becomes ready or an ended task is forgotten. It is zero for all
	// others, and for dead letters without Config.KeepDead.
	Due    time.Time
	Died   time.Time // end of a dead letter
	N, M   uint64    // progress of the running attempt
	Worker Peer      // peer running it
	Policy Policy    // limits of its attempts
}

// Counted returns the number of attempts that count as failures, once they have failed.
func (i Info) Counted() int { return i.Attempts - i.Lost }

// Status returns the state of a task. A chained task that is done counts as running until its
// follower is ready.
func (q *Queue) Status(id ID) (Info, bool) {
	i := q.find(id)
	if i == 0 {
		return Info{}, false
	}
	return q.info(i), true
}

// Durable reports whether a task or a group survives a restart. For an ended one it reports this of
// its last follower. An unknown one counts as durable: it may be a durable one just dropped.
func (q *Queue) Durable(id ID) bool {
	if g := q.groups[id]; g != nil {
		return g.durable
	}
	if e, ok := q.endedGroups.outcomes[id]; ok {
		return e.durable
	}
	i := q.findLatest(id)
	return i == 0 || q.tasks.at(i).flags&durable != 0
}

// StatusUnique returns the state of the last task with a unique key. If function is empty, it
// searches all functions, the oldest first.
func (q *Queue) StatusUnique(function string, key Key) (Info, bool) {
	i := q.lookUp(q.functionIndex[function], key)
	for n := 1; function == "" && i == 0 && n < len(q.functions); n++ {
		i = q.lookUp(int32(n), key)
	}
	if i == 0 {
		return Info{}, false
	}
	return q.info(i), true
}

func (q *Queue) info(i int32) Info {
	t := q.tasks.at(i)
	x := Info{
		ID: t.id, Function: q.functions[t.fn].name, State: t.state, DeadLetter: t.isDeadLetter(), Priority: t.flags.priority(),
		Background: t.flags&background != 0, Durable: t.flags&durable != 0, Attempts: int(t.attempts), Lost: q.losses[i].total, Size: int(t.size), Policy: q.policies[t.policy].Policy,
	}
	switch {
	case x.DeadLetter:
		x.Died = time.UnixMilli(t.due)
		if q.cfg.KeepDead > 0 {
			x.Due = x.Died.Add(q.cfg.KeepDead)
		}
	case (t.state == Delayed || t.state.hasEnded()) && t.due > 0:
		x.Due = time.UnixMilli(t.due)
	}
	if t.state == Running {
		r := q.runs.at(t.run)
		x.N, x.M, x.Worker = r.n, r.m, q.peers[r.peer].name
	}
	for w := t.firstWait; w != 0 && x.Waiters < 1000; {
		x.Waiters++
		if w = q.waits.at(w).ofTask.next; w == t.firstWait {
			break
		}
	}
	return x
}

// Tasks yields at most n tasks in no particular order, beginning at position from, 0 at first. It
// returns the position for the next call, 0 at the end. A task that exists all the time is yielded
// once.
func (q *Queue) Tasks(from, n int, yield func(Info)) (next int) {
	for i := max(from, 1); i < len(q.tasks.chunks)<<chunkBits; i++ {
		if q.tasks.chunks[i>>chunkBits] == nil {
			i |= chunkSize - 1
			continue
		}
		if q.tasks.at(int32(i)).id == 0 {
			continue
		}
		if n == 0 {
			return i
		}
		n--
		yield(q.info(int32(i)))
	}
	return 0
}

// DeadLetters yields at most n dead letters of a function, the latest first.
func (q *Queue) DeadLetters(function string, n int, yield func(Info)) {
	f := q.functions[q.functionIndex[function]]
	if f == nil {
		return
	}
	for i := q.link(f.deadLetters).prev; i > 0 && n > 0; i = q.link(i).prev {
		n--
		yield(q.info(i))
	}
}

// FunctionInfo describes a function.
type FunctionInfo struct {
	Name   string // name of the function
	Number int    // sequence number, smaller for older functions
	Counts Counts // tasks ever submitted, by state
	Queued [3]int // waiting tasks, by Priority
	Dead   int    // number of dead letters
	// Active is the number of runs, including runs of tasks that were cancelled or timed out and
	// have not stopped yet.
	Active  int
	Workers int    // number of peers that can run the function
	Limits  Limits // as set by SetFunction
}

// Functions describes all functions, sorted by name.
func (q *Queue) Functions() []FunctionInfo {
	var all []FunctionInfo
	for _, f := range q.functions[1:] {
		if f != nil {
			all = append(all, f.info())
		}
	}
	slices.SortFunc(all, func(a, b FunctionInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Function describes one function.
func (q *Queue) Function(name string) (FunctionInfo, bool) {
	f := q.functions[q.functionIndex[name]]
	if f == nil {
		return FunctionInfo{}, false
	}
	return f.info(), true
}

func (f *function) info() FunctionInfo {
	return FunctionInfo{f.name, int(f.n), f.counts, [3]int{f.waiting[1] + f.suspectCount[1], f.waiting[0] + f.suspectCount[0], f.waiting[2] + f.suspectCount[2]}, f.deadCount, f.runCount, f.workerCount, f.limits}
}

// AttemptDurations returns the durations of attempts ended by workers since the start of this
// process.
func (q *Queue) AttemptDurations() tally.Durations { return q.attemptDurations }

// WaitDurations returns how long tasks of a priority were ready before their first attempt began,
// since the start of this process. Tasks of an earlier process count from its first event.
func (q *Queue) WaitDurations(p Priority) tally.Durations { return q.firstWaits[rankOf(p)] }

// FunctionDurations yields AttemptDurations of each function.
func (q *Queue) FunctionDurations(yield func(function string, took *tally.Durations)) {
	for _, f := range q.functions[1:] {
		if f != nil {
			yield(f.name, &f.took)
		}
	}
}

// Totals returns the sum of the counts of all functions, including dropped ones.
func (q *Queue) Totals() Counts {
	c := q.droppedCounts
	for _, f := range q.functions[1:] {
		if f != nil {
			c.add(f.counts)
		}
	}
	return c
}

// WorkerInfo describes a worker.
type WorkerInfo struct {
	// Share names the share that lends its slots. It is empty if the slots are its own.
	Share           string
	Peer            Peer
	Functions       []string // in the order of CanDo
	Running         []ID
	Slots, Reserved int // zero for a worker without slots
	Sleeping        bool
}

// Workers describes all peers with functions or running tasks, sorted by Peer.
func (q *Queue) Workers() []WorkerInfo {
	var all []WorkerInfo
	for _, p := range q.peers[1:] {
		if p == nil || len(p.abilities) == 0 && len(p.runs) == 0 {
			continue
		}
		w := WorkerInfo{Peer: p.name, Slots: p.slots, Reserved: p.reserved, Sleeping: p.sleeping}
		if p.share != nil {
			w.Share = p.share.name
		}
		for _, a := range p.abilities {
			w.Functions = append(w.Functions, a.f.name)
		}
		for _, r := range p.runs {
			w.Running = append(w.Running, q.runs.at(r).id)
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b WorkerInfo) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// BudgetInfo describes a budget.
type BudgetInfo struct {
	Name            string // name of the budget
	Size, Used      int    // in the budget's own unit, as is Used by tasks and Acquires
	WaitingAcquires int    // number of Acquires without Granted
}

// Budgets describes all budgets, sorted by name.
func (q *Queue) Budgets() []BudgetInfo {
	var all []BudgetInfo
	for name, b := range q.budgets {
		all = append(all, BudgetInfo{name, b.size, b.used, len(b.waiters)})
	}
	slices.SortFunc(all, func(a, b BudgetInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
