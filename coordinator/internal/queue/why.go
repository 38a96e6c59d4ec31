package queue

import (
	"fmt"
	"slices"
	"strings"
)

// WaitReason explains why a task does not run now. It returns the empty string if the task runs,
// has ended or does not exist. It looks at the workers of one function at most.
func (q *Queue) WaitReason(id ID) string {
	i := q.find(id)
	if i == 0 {
		return ""
	}
	t := q.tasks.at(i)
	f, l := q.functions[t.fn], &q.functions[t.fn].limits
	switch {
	case t.state == Delayed && t.flags&awaitsInput != 0:
		return "its input is being assembled from the results of earlier tasks"
	case t.state == Delayed && t.attempts > 0:
		return fmt.Sprintf("attempt %d failed; the next one waits until its delay has passed", t.attempts)
	case t.state == Delayed:
		return "it is not due yet"
	case t.state != Waiting:
		return ""
	case l.Paused:
		return "its function is paused"
	case f.workerCount == 0:
		return "no worker can run its function"
	case l.Concurrency > 0 && f.runCount >= l.Concurrency:
		return fmt.Sprintf("its function has reached its limit of running tasks, %d", f.runCount)
	}
	for _, n := range l.Needs {
		switch b := q.budgets[n.Budget]; {
		case n.N > b.size:
			return fmt.Sprintf("its function needs %d of budget %s, which has only %d in total", n.N, n.Budget, b.size)
		case b.used+n.N > b.size:
			return fmt.Sprintf("its function needs %d of budget %s; %d of %d are in use", n.N, n.Budget, b.used, b.size)
		case !b.canTake(n.N):
			return fmt.Sprintf("other work that waits for budget %s has the next turn", n.Budget)
		}
	}
	if !q.canStart(f) {
		return fmt.Sprintf("its function is limited to %v starts per second", l.Rate)
	}
	if q.isSuspect(i) {
		return "its worker was lost, so it runs alone next; it waits until a worker of its function has no other task"
	}
	if shares := q.sharesOf(f); shares != nil {
		return fmt.Sprintf("its workers wait for slots of %s, which are in use, or that worker is away", strings.Join(shares, ", "))
	}
	return "all workers of its function are busy"
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
