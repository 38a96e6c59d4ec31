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
		return "what it follows is being put together"
	case t.state == Delayed && t.attempts > 0:
		return fmt.Sprintf("attempt %d has failed, and the next one waits until it is due", t.attempts)
	case t.state == Delayed:
		return "it is not due yet"
	case t.state != Waiting:
		return ""
	case l.Paused:
		return "its function is paused"
	case f.workerCount == 0:
		return "no worker can do its function"
	case l.Concurrency > 0 && f.runCount >= l.Concurrency:
		return fmt.Sprintf("its function runs %d times, which is its limit", f.runCount)
	}
	for _, n := range l.Needs {
		switch b := q.budgets[n.Budget]; {
		case n.N > b.size:
			return fmt.Sprintf("its function needs %d of the budget %s, which has %d in all", n.N, n.Budget, b.size)
		case b.used+n.N > b.size:
			return fmt.Sprintf("its function needs %d of the budget %s, of which %d of %d are in use", n.N, n.Budget, b.used, b.size)
		case !b.canTake(n.N):
			return fmt.Sprintf("it is the turn of others who wait for the budget %s", n.Budget)
		}
	}
	if !q.canStart(f) {
		return fmt.Sprintf("its function starts at most %v times a second", l.Rate)
	}
	if shares := q.sharesOf(f); shares != nil {
		return fmt.Sprintf("its workers wait for slots of %s; other work has them, or that worker is not there", strings.Join(shares, ", "))
	}
	return "all workers of its function have something else to do"
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
