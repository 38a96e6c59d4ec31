package queue

import (
	"slices"

	"github.com/layshaft/layshaft/internal/tally"
)

// function is a named function with its queues, limits and workers.
type function struct {
	n       int32
	name    string
	limits  Limits
	queues  [3]int32 // queues are list heads, by rank.
	waiting [3]int   // lengths of queues
	// deadLetters is a list head; the oldest dead letter comes first.
	deadLetters int32
	deadCount   int
	// suspects is a list head, sorted by rank; see isolate.go.
	suspects     int32
	suspectCount [3]int // by rank
	emptying     *peer  // closed for a suspect, or nil
	// runCount includes runs of tasks that were cancelled or timed out and have not stopped yet.
	runCount        int
	taskCount       int // tasks in memory, in any state
	workers         [classes]abilities
	workerCount     int    // workers able to run it
	scanned         uint64 // see countWants
	suspectsScanned uint64
	served          [3]int64 // by rank; see lead
	// next is the time of the next start allowed by the rate without Burst, in Unix nanoseconds;
	// see canStart.
	next    int64
	lastUse int64 // tick; see forget.go
	counts  Counts
	took    tally.Durations // of attempts ended by workers, in this life
}

// Counts has the number of tasks by state. Submitted is always the sum of In. Ended tasks stay
// counted after they are forgotten.
type Counts struct {
	Submitted int
	In        [states]int
}

func (c *Counts) add(x Counts) {
	c.Submitted += x.Submitted
	for s, n := range x.In {
		c.In[s] += n
	}
}

// live returns the number of tasks that have not ended.
func (f *function) live() int {
	return f.counts.In[Waiting] + f.counts.In[Delayed] + f.counts.In[Running]
}

// queued returns the number of waiting tasks, without suspects.
func (f *function) queued() int { return f.waiting[0] + f.waiting[1] + f.waiting[2] }

// ensureFunction returns the function with this name and creates it if necessary. It returns nil
// for an invalid name and at MaxFunctions.
func (q *Queue) ensureFunction(name string) *function {
	if n := q.functionIndex[name]; n != 0 {
		q.functions[n].lastUse = q.wheel.tick
		return q.functions[n]
	}
	if len(name) == 0 || len(name) > 512 || len(q.functionIndex) >= q.cfg.MaxFunctions {
		return nil
	}
	f := &function{name: name, deadLetters: q.newHead(), suspects: q.newHead(), lastUse: q.wheel.tick}
	q.watchIdle()
	for r := range f.queues {
		f.queues[r] = q.newHead()
	}
	for c := range f.workers {
		f.workers[c].init()
	}
	// a number is never used again: keys of old tasks must not match a new function
	f.n = int32(len(q.functions))
	q.functions = append(q.functions, f)
	q.functionIndex[name] = f.n
	return f
}

func (q *Queue) setFunction(e *SetFunction) {
	f := q.ensureFunction(e.Function)
	if f == nil {
		return
	}
	before := f.limits.Needs
	q.setLimits(f, e.Limits.clean())
	q.write(0, NoPayload, append([]byte{'f'}, f.name...), appendLimits([]byte{version}, f.limits))
	for _, n := range append(before, f.limits.Needs...) {
		q.distribute(q.budgets[n.Budget])
	}
	q.offerTasks(f)
}

// clean returns a copy of l with each budget named once and no negative numbers.
func (l Limits) clean() Limits {
	var needs []Need
	for _, n := range l.Needs {
		at := slices.IndexFunc(needs, func(x Need) bool { return x.Budget == n.Budget })
		if at >= 0 {
			needs[at].N += max(n.N, 0)
		} else if n.N > 0 {
			needs = append(needs, n)
		}
	}
	l.Needs = needs
	for p := range l.Queue {
		l.Queue[p] = max(l.Queue[p], 0)
	}
	l.Concurrency, l.Burst, l.Weight = max(l.Concurrency, 0), max(l.Burst, 0), min(max(l.Weight, 0), MaxWeight)
	if !(l.Rate > 0) {
		l.Rate = 0
	}
	return l
}

func (q *Queue) setLimits(f *function, l Limits) {
	for _, n := range f.limits.Needs {
		b := q.budgets[n.Budget]
		b.used -= n.N * f.runCount
		b.functions = remove(b.functions, f)
	}
	f.limits = l
	for _, n := range l.Needs {
		b := q.ensureBudget(n.Budget)
		b.used += n.N * f.runCount
		b.functions = append(b.functions, f)
	}
	q.rated = remove(q.rated, f)
	if l.Rate > 0 {
		q.rated = append(q.rated, f)
	}
}

func (q *Queue) dropFunction(e *DropFunction) {
	n := q.functionIndex[e.Function]
	if n == 0 {
		q.emit(Command{Op: Unknown, Ref: e.Ref})
		return
	}
	f := q.functions[n]
	needed := false
	for _, g := range q.gathers {
		needed = needed || g.group == nil && q.tasks.at(g.before).fn == n
	}
	if f.workerCount > 0 || f.live() > 0 || f.runCount > 0 || needed {
		q.emit(Command{Op: Rejected, Ref: e.Ref, Notice: Busy})
		return
	}
	if f.taskCount > 0 {
		q.forgetTasksOf(f)
	}
	q.forgetFunction(f)
	q.emit(Command{Op: Accepted, Ref: e.Ref})
}

// forgetTasksOf forgets the ended tasks of a function. It scans all tasks, as it is rarely needed.
func (q *Queue) forgetTasksOf(f *function) {
	for c := range q.tasks.chunks {
		for k := range q.tasks.chunks[c] {
			if t := &q.tasks.chunks[c][k]; t.id != 0 && t.fn == f.n {
				i := t.id.slot()
				q.leaveGroup(i)
				q.forgetTask(i)
			}
		}
	}
}

// canStart reports whether the limits of f allow a start now.
func (q *Queue) canStart(f *function) bool {
	l := &f.limits
	if l.Paused || l.Concurrency > 0 && f.runCount >= l.Concurrency {
		return false
	}
	for _, n := range l.Needs {
		if !q.budgets[n.Budget].canTake(n.N) {
			return false
		}
	}
	if l.Rate > 0 {
		if at := f.next - int64(float64(max(l.Burst, 1)-1)*f.interval()); q.now.UnixNano() < at {
			if q.rateWake == 0 || at < q.rateWake {
				q.rateWake = at
			}
			return false
		}
	}
	return true
}

// interval returns the time between starts in nanoseconds.
func (f *function) interval() float64 { return 1e9 / f.limits.Rate }

// charge counts a start against the limits of f.
func (q *Queue) charge(f *function) {
	f.runCount++
	for _, n := range f.limits.Needs {
		q.budgets[n.Budget].take(n.N)
	}
	if f.limits.Rate > 0 {
		f.next = max(f.next, q.now.UnixNano()) + int64(f.interval())
	}
}

// refund returns the share of the limits held by a run, and offers tasks that can start now.
func (q *Queue) refund(f *function) {
	f.runCount--
	for _, n := range f.limits.Needs {
		q.budgets[n.Budget].used -= n.N
	}
	for _, n := range f.limits.Needs {
		q.distribute(q.budgets[n.Budget])
	}
	if f.limits.Concurrency > 0 {
		q.offerTasks(f)
	}
}
