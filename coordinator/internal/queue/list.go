package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/tally"
)

// Info is how a task stands.
type Info struct {
	ID         ID
	Function   string
	State      State
	DeadLetter bool // a dead letter: it can be run again
	Priority   Priority
	Background bool
	Durable    bool
	Attempts   int       // begun, since it was run again if it was a dead letter
	Waiters    int       // at most 1,000 are counted
	Size       int       // bytes of the input
	Due        time.Time // delayed: when it becomes ready; ended: when it is forgotten; zero when nothing is fixed, as of dead letters
	N, M       uint64    // progress of the running try
	Worker     Peer      // that runs it
	Policy     Policy
}

// Status returns how a task stands. A chained task that is done counts as running until the next one is ready.
func (q *Queue) Status(id ID) (Info, bool) {
	i := q.find(id)
	if i == 0 {
		return Info{}, false
	}
	return q.info(i), true
}

// Durable reports whether a task is one that survives a restart. An unknown one is not.
func (q *Queue) Durable(id ID) bool {
	i := q.find(id)
	return i != 0 && q.tasks.at(i).flags&durable != 0
}

// StatusUnique returns how the last task with a unique key stands. Without a function all are searched, the oldest function first.
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
		Background: t.flags&background != 0, Durable: t.flags&durable != 0, Attempts: int(t.attempts), Size: int(t.size), Policy: q.policies[t.policy].Policy,
	}
	if (t.state == Delayed || t.state.hasEnded() && !x.DeadLetter) && t.due > 0 {
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

// Tasks yields at most n tasks, in no particular order, from the place that the last call returned, 0 at first. It returns 0 at the end.
// A task that is there all the time is yielded once.
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

// DeadLetters yields at most n dead letters of a function, the oldest first.
func (q *Queue) DeadLetters(function string, n int, yield func(Info)) {
	f := q.functions[q.functionIndex[function]]
	if f == nil {
		return
	}
	for i := q.first(f.deadLetters); i > 0 && n > 0; i = q.link(i).next {
		n--
		yield(q.info(i))
	}
}

// FunctionInfo is how a function stands.
type FunctionInfo struct {
	Name    string
	Number  int // a count of all that there were: older ones have smaller numbers
	Counts  Counts
	Queued  [3]int // waiting, by Priority
	Dead    int    // dead letters
	Active  int    // runs, also of tasks that were cancelled or timed out and have not stopped yet
	Workers int
	Limits  Limits
}

// Functions returns how all functions stand, by name.
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

// Function returns how one function stands.
func (q *Queue) Function(name string) (FunctionInfo, bool) {
	f := q.functions[q.functionIndex[name]]
	if f == nil {
		return FunctionInfo{}, false
	}
	return f.info(), true
}

func (f *function) info() FunctionInfo {
	return FunctionInfo{f.name, int(f.n), f.counts, [3]int{f.waiting[1], f.waiting[0], f.waiting[2]}, f.deadCount, f.runCount, f.workerCount, f.limits}
}

// AttemptDurations returns how long tries took that workers ended, in this life.
func (q *Queue) AttemptDurations() tally.Durations { return q.attemptDurations }

// Totals adds up the counts of all functions that there are and were.
func (q *Queue) Totals() Counts {
	c := q.droppedCounts
	for _, f := range q.functions[1:] {
		if f != nil {
			c.add(f.counts)
		}
	}
	return c
}

// WorkerInfo is how a worker stands.
type WorkerInfo struct {
	Share           string // whose slots it uses; empty when they are its own
	Peer            Peer
	Functions       []string // in the order in which it said so
	Running         []ID
	Slots, Reserved int // zero when it grabs
	Sleeping        bool
}

// Workers returns how all peers stand that can do something or run something, by Peer.
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

// BudgetInfo is how a budget stands.
type BudgetInfo struct {
	Name            string
	Size, Used      int
	WaitingAcquires int
}

// Budgets returns how all budgets stand, by name.
func (q *Queue) Budgets() []BudgetInfo {
	var all []BudgetInfo
	for name, b := range q.budgets {
		all = append(all, BudgetInfo{name, b.size, b.used, len(b.waiters)})
	}
	slices.SortFunc(all, func(a, b BudgetInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
