package queue

import "slices"

// Slots are lent to tasks that others wait for; see lend.go. The limits of functions and budgets
// are not, because they protect something outside. So a task may wait for tasks that a limit holds
// back, while it uses up that limit itself:
//
//	f may run 1 at once; a of f runs, and calls b of f     b fails
//
// If all tasks that use up a limit wait in this way, directly or not, none of them would ever end.
// The calls among the tasks held back then fail, the oldest first. Background tasks do not: they
// can start once their caller gives up.

// mayStick reports whether an event may have been the last step into such a state.
func (q *Queue) mayStick(ev Event) bool {
	switch ev := ev.(type) {
	case *Submit:
		return ev.Parent != 0 || q.timerReady
	case *Attach:
		return ev.Parent != 0 || q.timerReady
	case *SetFunction, *SetBudget:
		return true
	case *Report:
		return len(q.budgets) > 0 || q.timerReady
	}
	return q.timerReady
}

// failStuck fails calls that could never start.
func (q *Queue) failStuck() {
	for {
		i := q.stuckCall()
		if i == 0 {
			return
		}
		q.removeFromList(i)
		q.failTask(i, Circular, NoPayload)
	}
}

// stuckCall returns the oldest call that could never start, or 0.
func (q *Queue) stuckCall() (oldest int32) {
	if !q.limitUsedUp() {
		return 0
	}
	s := sticking{q: q, held: map[int32]bool{}}
	add := func(i int32) {
		if t := q.tasks.at(i); i != 0 && t.state == Waiting && q.functions[t.fn].isLimited() {
			s.held[i] = true
		}
	}
	for _, kids := range q.children.of {
		for _, i := range kids {
			add(i)
		}
	}
	for _, groups := range q.children.groups {
		for _, g := range groups {
			for _, id := range q.unendedMembers(g) {
				add(q.find(id))
			}
		}
	}
	for again := len(s.held) > 0; again; {
		again = false
		s.runs = map[int32]bool{}
		for i := range s.held {
			if !s.isHeldBack(q.functions[q.tasks.at(i).fn]) {
				delete(s.held, i)
				again = true
			}
		}
	}
	for i := range s.held {
		if t := q.tasks.at(i); t.flags&background == 0 && (oldest == 0 || t.id < q.tasks.at(oldest).id) {
			oldest = i
		}
	}
	return oldest
}

// limitUsedUp reports whether a limit or a budget holds back tasks of some function.
func (q *Queue) limitUsedUp() bool {
	return slices.ContainsFunc(q.functions[1:], func(f *function) bool { return f != nil && f.isLimited() && f.queued() > 0 && !q.canStart(f) })
}

// isLimited reports whether a task of f may have to wait for the end of others.
func (f *function) isLimited() bool { return f.limits.Concurrency > 0 || len(f.limits.Needs) > 0 }

// sticking is the search for calls that could never start.
type sticking struct {
	q    *Queue
	held map[int32]bool // tasks that limits hold back, unless the search finds that they can start
	runs map[int32]bool // known results of waitsForHeld, by run
}

// isHeldBack reports whether a limit or a budget of f is used up by tasks that all wait for tasks
// in s.held.
func (s *sticking) isHeldBack(f *function) bool {
	if l := f.limits.Concurrency; l > 0 && f.runCount >= l && s.allWait(func(g *function) bool { return g == f }) {
		return true
	}
	for _, n := range f.limits.Needs {
		b := s.q.budgets[n.Budget]
		if n.N > b.size || b.used+n.N <= b.size || s.usedByHolder(n.Budget) {
			continue
		}
		if s.allWait(func(g *function) bool {
			for _, x := range g.limits.Needs {
				if x.Budget == n.Budget {
					return true
				}
			}
			return false
		}) {
			return true
		}
	}
	return false
}

// usedByHolder reports whether some part of a budget belongs to a party with an Acquire.
func (s *sticking) usedByHolder(budget string) bool {
	for _, h := range s.q.holders {
		for _, n := range h.needs[:h.acquired] {
			if n.Budget == budget {
				return true
			}
		}
	}
	return false
}

// allWait reports whether all runs of some functions wait for tasks in s.held. There must be one.
func (s *sticking) allWait(uses func(*function) bool) bool {
	found := false
	for _, p := range s.q.peers {
		if p == nil {
			continue
		}
		for _, r := range p.runs {
			if !uses(s.q.functions[s.q.runs.at(r).fn]) {
				continue
			}
			if !s.waitsForHeld(r) {
				return false
			}
			found = true
		}
	}
	return found
}

// waitsForHeld reports whether run r waits for a task in s.held, or for a run that does.
func (s *sticking) waitsForHeld(r int32) bool {
	if known, ok := s.runs[r]; ok {
		return known
	}
	s.runs[r] = false
	q, x := s.q, s.q.runs.at(r)
	if x.task == 0 {
		return false // it was stopped
	}
	waits := func(i int32) bool {
		return i != 0 && (s.held[i] || q.tasks.at(i).state == Running && s.waitsForHeld(q.tasks.at(i).run))
	}
	leader := q.leaderOf(x.id)
	for _, i := range q.children.of[leader] {
		if waits(i) {
			s.runs[r] = true
			return true
		}
	}
	for _, g := range q.children.groups[leader] {
		for _, id := range q.unendedMembers(g) {
			if waits(q.find(id)) {
				s.runs[r] = true
				return true
			}
		}
	}
	return false
}
