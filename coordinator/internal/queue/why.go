package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// WaitReason explains why a task does not run now, with the command that helps if there is one. For
// a group it explains the first task that has not ended. It returns the empty string if the task
// runs, has ended or does not exist. It looks at the workers of one function, and at 1,000 members
// of a group, at most.
func (q *Queue) WaitReason(id ID) string {
	if g := q.groups[id]; g != nil {
		return q.groupWaitReason(g)
	}
	i := q.findLatest(id)
	if i == 0 {
		return ""
	}
	t := q.tasks.at(i)
	switch {
	case t.state == Delayed && t.flags&awaitsInput != 0:
		return "its input is being assembled from the results of earlier tasks"
	case t.state == Delayed && t.attempts > 0:
		return fmt.Sprintf("attempt %d failed; the next one waits until %s: layshaft task run-now %s", t.attempts, clock(t.due), t.id)
	case t.state == Delayed:
		return fmt.Sprintf("it is not due before %s: layshaft task run-now %s", clock(t.due), t.id)
	case t.state == Waiting:
		return q.startReason(i, q.functions[t.fn])
	}
	return ""
}

// WaitReasons yields the WaitReason of several tasks. It explains each function only once.
func (q *Queue) WaitReasons(ids []ID, yield func(id ID, why string)) {
	known := map[int32]string{} // by function
	for _, id := range ids {
		i := q.findLatest(id)
		if i == 0 || q.tasks.at(i).state != Waiting || q.isSuspect(i) {
			yield(id, q.WaitReason(id))
			continue
		}
		fn := q.tasks.at(i).fn
		why, ok := known[fn]
		if !ok {
			why = q.startReason(i, q.functions[fn])
			known[fn] = why
		}
		yield(id, why)
	}
}

// WaitingFunctions yields each function with waiting tasks, their number, and why the oldest of the
// best priority does not start. stuck means that none can start before somebody acts.
func (q *Queue) WaitingFunctions(yield func(name string, waiting int, stuck bool, why string)) {
	for _, f := range q.functions[1:] {
		if f == nil || f.queued() == 0 && !f.hasSuspects() {
			continue
		}
		oldest, n := q.first(f.suspects), f.queued()
		for r := len(f.queues) - 1; r >= 0; r-- {
			n += f.suspectCount[r]
			if i := q.first(f.queues[r]); i > 0 {
				oldest = i
			}
		}
		yield(f.name, n, f.workerCount == 0 || q.neverStarts(f), q.startReason(oldest, f))
	}
}

func (q *Queue) groupWaitReason(g *group) string {
	if g.open {
		return "the group is open: it waits until all its tasks are submitted"
	}
	for _, id := range g.members[:min(len(g.members), 1000)] {
		if i := q.findLatest(id); i != 0 && !q.tasks.at(i).state.hasEnded() {
			if why := q.WaitReason(id); why != "" {
				return fmt.Sprintf("task %s of %s: %s", id, quote(q.functions[q.tasks.at(i).fn].name), why)
			}
		}
	}
	return ""
}

// startReason explains why task i, waiting in f, does not start.
func (q *Queue) startReason(i int32, f *function) string {
	name, l := quote(f.name), &f.limits
	switch {
	case l.Paused:
		return fmt.Sprintf("function %s is paused: layshaft task resume %s", name, name)
	case f.workerCount == 0 && strings.HasPrefix(f.name, "program/"): // of a schedule
		return fmt.Sprintf("no process runs program %s; start one: layshaft schedule work -program %s=FILE", quote(f.name[8:]), quote(f.name[8:]))
	case f.workerCount == 0:
		return fmt.Sprintf("no worker can run function %s; start one, such as: layshaft task work -function %s -- COMMAND", name, name)
	}
	if why := q.shortage(l.Needs); why != "" {
		return fmt.Sprintf("function %s %s", name, why)
	}
	if l.Concurrency > 0 && f.runCount >= l.Concurrency {
		return fmt.Sprintf("function %s may run %d at once, and does: layshaft task limit -concurrency", name, l.Concurrency)
	}
	for _, n := range l.Needs {
		switch b := q.budgets[n.Budget]; {
		case b.used+n.N > b.size:
			return fmt.Sprintf("function %s needs %d of budget %s; %d of %d are in use", name, n.N, quote(n.Budget), b.used, b.size)
		case !b.canTake(n.N):
			return fmt.Sprintf("other work that waits for budget %s has the next turn", quote(n.Budget))
		}
	}
	if !q.canStart(f) {
		return fmt.Sprintf("function %s is limited to a rate of %v per second: layshaft task limit -rate", name, l.Rate)
	}
	if q.isSuspect(i) {
		return "its worker was lost, so it runs alone next; it waits until a worker of its function has no other task"
	}
	if shares := q.sharesOf(f); shares != nil {
		return fmt.Sprintf("its workers wait for slots of %s, which are in use, or that worker is away", strings.Join(shares, ", "))
	}
	if slots := q.slotsOf(f); slots == 0 {
		return fmt.Sprintf("all workers of function %s are leaving: they take no more tasks", name)
	}
	if q.tasks.at(i).flags.rank() > 0 && q.allReserved(f) {
		return fmt.Sprintf("all slots of the workers of function %s are reserved for tasks of high priority: start a worker with fewer -reserved, or submit with -priority high", name)
	}
	return fmt.Sprintf("all workers of function %s are busy", name)
}

// allReserved reports whether all slots of the workers of f are reserved.
func (q *Queue) allReserved(f *function) bool {
	return !slices.ContainsFunc(q.peers, func(p *peer) bool {
		return p != nil && p.abilityFor(f) != nil && (!p.hasSlots || p.slots > p.reserved)
	})
}

// clock formats a tick for people.
func clock(tick int64) string { return time.UnixMilli(tick).UTC().Format("2006-01-02 15:04:05Z") }

// quote returns a name as a word of a shell command.
func quote(name string) string {
	if strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:", r))
	}) < 0 {
		return name
	}
	if q := fmt.Sprintf("%q", name); q != `"`+name+`"` || strings.Contains(name, "'") {
		return q
	}
	return "'" + name + "'"
}

// slotsOf returns the number of slots of the workers of f. A worker without slots counts as one.
func (q *Queue) slotsOf(f *function) (n int) {
	for _, p := range q.peers {
		if p != nil && p.abilityFor(f) != nil {
			n += max(p.slots, int(boolBit(!p.hasSlots)))
		}
	}
	return n
}

// sharesOf returns the shares used by the workers of f, if none of these has slots of its own.
func (q *Queue) sharesOf(f *function) (names []string) {
	for _, p := range q.peers {
		if p == nil || p.abilityFor(f) == nil {
			continue
		}
		if p.share == nil {
			return nil
		}
		names = append(names, p.share.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
