package queue

import (
	"fmt"
	"slices"
)

// AuditStep is one step of an incremental audit, beginning at position from, 0 at first. It checks
// that each of the next n tasks has an owner or a timer, and returns the next position. The last
// step also checks the totals of functions and returns 0. Other events may happen between steps.
func (q *Queue) AuditStep(from, n int) (bad []string, next int) {
	complain := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	i := max(from, 1)
	for end := i + n; i < end; i++ {
		if i >= len(q.tasks.chunks)<<chunkBits {
			q.auditTotals(complain)
			return bad, 0
		}
		if q.tasks.chunks[i>>chunkBits] == nil {
			i |= chunkSize - 1
			continue
		}
		if q.tasks.at(int32(i)).id != 0 {
			q.auditTask(int32(i), complain)
		}
	}
	return bad, i
}

// auditTask checks that task i has a next step.
func (q *Queue) auditTask(i int32, complain func(format string, a ...any)) {
	t := q.tasks.at(i)
	timed := t.next != 0
	switch {
	case t.state == Running:
		if r := q.runs.at(t.run); r.task != i || q.peers[r.peer] == nil || q.peers[r.peer].runs[r.index] != t.run {
			complain("task %s is running without a run", t.id)
		}
		timed = true // the timer of a limit is optional
	case t.run != 0:
		complain("task %s is %s but has a run", t.id, t.state)
	}
	if !timed {
		complain("task %s is %s and in no list: it would never continue", t.id, t.state)
	}
}

// auditTotals checks the totals of all functions.
func (q *Queue) auditTotals(complain func(format string, a ...any)) {
	q.auditShares(complain)
	for _, f := range q.functions {
		if f == nil {
			continue
		}
		sum := 0
		for s, c := range f.counts.In {
			if sum += c; c < 0 {
				complain("function %s: %d tasks are %s", f.name, c, State(s))
			}
		}
		if sum != f.counts.Submitted {
			complain("function %s: %d tasks submitted, %d counted in a state", f.name, f.counts.Submitted, sum)
		}
		if n := f.queued() + f.suspectCount[0] + f.suspectCount[1] + f.suspectCount[2]; n != f.counts.In[Waiting] {
			complain("function %s: %d queued of %d waiting", f.name, n, f.counts.In[Waiting])
		}
	}
}

// Audit recounts everything and returns the contradictions, in words. It scans all tasks: it is for
// tests and for a metric that must be zero.
func (q *Queue) Audit() []string {
	var bad []string
	complain := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	counts := map[int32][states]int{}
	kept, waits, runs, slots := map[int32]int{}, 0, 0, 0
	for c := range q.tasks.chunks {
		for k := range q.tasks.chunks[c] {
			t := &q.tasks.chunks[c][k]
			if t.id == 0 {
				slots += int(boolBit(c|k > 0))
				continue
			}
			i := int32(c<<chunkBits | k)
			if t.id.slot() != i {
				complain("task %s is in slot %d", t.id, i)
			}
			in := counts[t.fn]
			in[t.state]++
			counts[t.fn] = in
			kept[t.fn]++
			for w := t.firstWait; w != 0; {
				waits++
				if x := q.waits.at(w); x.task != i {
					complain("task %s has the wait of another task", t.id)
				} else if w = x.ofTask.next; w == t.firstWait {
					w = 0
				}
			}
			if t.state == Running {
				runs++
			}
			q.auditTask(i, complain)
			if t.state == Waiting && t.firstWait == 0 && t.flags&background == 0 {
				complain("foreground task %s waits without a waiting peer", t.id)
			}
			if t.state.hasEnded() && t.firstWait != 0 && !q.resultNeeded(i) {
				complain("task %s has ended and still has waiting peers", t.id)
			}
			if _, ok := q.memberOf[i]; ok != (t.flags&grouped != 0) {
				complain("task %s: in a group %v, marked %v", t.id, ok, !ok)
			}
			if _, ok := q.gathers[i]; ok != (t.flags&awaitsInput != 0 && !t.state.hasEnded()) {
				complain("task %s: waits for its input %v, marked %v", t.id, ok, !ok)
			}
		}
	}
	if slots != len(q.tasks.free) {
		complain("%d empty slots, %d in the list of free ones", slots, len(q.tasks.free))
	}
	after := 0
	for i, ids := range q.successors.predecessors {
		after += len(ids)
		for _, id := range ids {
			if t := q.tasks.at(i); t.id == 0 || q.successors.next[id] != t.id {
				complain("successor of %s is task %s, but recorded as %s", id, t.id, q.successors.next[id])
			}
		}
	}
	if after != len(q.successors.next) {
		complain("%d successor entries, %d of them for existing tasks", len(q.successors.next), after)
	}
	q.auditTotals(complain)
	used := map[string]int{}
	idle := 0
	for n, f := range q.functions {
		if f == nil {
			continue
		}
		for s, c := range f.counts.In {
			if c < 0 || State(s) < WasDone && c != counts[int32(n)][s] || c < counts[int32(n)][s] {
				complain("function %s: %d tasks counted %s, %d there", f.name, c, State(s), counts[int32(n)][s])
			}
		}
		if f.taskCount != kept[int32(n)] {
			complain("function %s: %d kept of %d", f.name, f.taskCount, kept[int32(n)])
		}
		for r, h := range f.queues {
			n := 0
			for i := q.first(h); i > 0; i = q.link(i).next {
				n++
				if t := q.tasks.at(i); t.state != Waiting || t.flags.rank() != r || q.functions[t.fn] != f {
					complain("function %s: task %s is %s in the wrong queue", f.name, t.id, t.state)
				}
			}
			if n != f.waiting[r] {
				complain("function %s: %d in queue %d of %d", f.name, n, r, f.waiting[r])
			}
		}
		deads := 0
		for i := q.first(f.deadLetters); i > 0; i = q.link(i).next {
			deads++
		}
		if deads != f.deadCount {
			complain("function %s: %d dead letters of %d", f.name, deads, f.deadCount)
		}
		able := 0
		for _, p := range q.peers {
			if p != nil && p.abilityFor(f) != nil {
				able++
			}
		}
		if able != f.workerCount {
			complain("function %s: %d workers of %d", f.name, able, f.workerCount)
		}
		for _, n := range f.limits.Needs {
			used[n.Budget] += n.N * f.runCount
		}
		idle += f.runCount
		if f.queued() > 0 && q.canStart(f) &&
			(f.workers[free].first() != nil || f.workers[asleep].first() != nil || f.waiting[0] > 0 && f.workers[reserved].first() != nil) {
			complain("function %s: %d tasks wait and a worker is idle", f.name, f.queued())
		}
	}
	q.auditShares(complain)
	q.auditSuspects(complain)
	inRuns, inWaits := 0, 0
	for _, p := range q.peers {
		if p == nil {
			continue
		}
		inRuns += len(p.runs)
		for w := p.firstWait; w != 0; {
			inWaits++
			if w = q.waits.at(w).ofPeer.next; w == p.firstWait {
				w = 0
			}
		}
	}
	if idle != inRuns || runs > inRuns || waits != inWaits {
		complain("%d runs of functions, %d of workers, %d of tasks; %d waits of tasks, %d of peers", idle, inRuns, runs, waits, inWaits)
	}
	for _, h := range q.holders {
		for _, n := range h.needs[:h.acquired] {
			used[n.Budget] += n.N
		}
	}
	for name, b := range q.budgets {
		if b.used != used[name] {
			complain("budget %s: %d used of %d counted", name, used[name], b.used)
		}
		if slices.ContainsFunc(b.waiters, func(w waiter) bool { return w.n > b.size }) {
			complain("budget %s: somebody waits for more than its size %d", name, b.size)
		}
		if len(b.waiters) > 0 && b.used+b.waiters[0].n <= b.size {
			complain("budget %s: somebody waits for %d, %d of %d used", name, b.waiters[0].n, b.used, b.size)
		}
	}
	for id, kids := range q.children.of {
		for _, k := range kids {
			if q.tasks.at(k).firstWait == 0 {
				complain("task %s waits for a task in slot %d, which nobody waits for", id, k)
			}
		}
	}
	for id := range q.leaders {
		if i := q.find(id); i == 0 || q.tasks.at(i).state != Running {
			complain("task %s has a leader and does not run", id)
		}
	}
	for id, groups := range q.children.groups {
		for _, g := range groups {
			if q.groups[g.id] != g {
				complain("task %s waits for group %s, which has ended", id, g.id)
			}
		}
	}
	for i := range q.earlierAttempts {
		if q.tasks.at(i).id == 0 {
			complain("earlier tries of slot %d, where no task is", i)
		}
	}
	entries := 0
	for _, e := range q.uniques.entries {
		if e != 0 {
			entries++
			if t := q.tasks.at(int32(e)); t.id == 0 || q.lookUp(t.fn, t.key) != int32(e) {
				complain("unique key of slot %d is not found", int32(e))
			}
		}
	}
	if entries != q.uniques.n {
		complain("%d unique keys of %d", entries, q.uniques.n)
	}
	for _, g := range q.groups {
		left := 0
		for _, id := range g.members {
			if i := q.find(id); i != 0 && (!q.tasks.at(i).state.hasEnded() || q.resultNeeded(i)) {
				left++
			}
		}
		if left != g.unfinished {
			complain("group %s: %d of %d left", g.id, left, g.unfinished)
		}
	}
	slices.Sort(bad)
	return bad
}
