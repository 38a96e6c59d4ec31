package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Slots are lent to tasks that others wait for; see lend.go. The limits of functions and budgets
// are not, because they protect something outside. So a task may wait for tasks that a limit holds
// back, while it uses up that limit itself:
//
//	f may run 1 at once; a of f runs, and calls b of f     b fails
//
// If all tasks that use up a limit wait in this way, directly or not, none of them would ever end.
// The calls among the tasks held back then fail, the oldest first. Background tasks do not: they
// can start once their caller gives up.

// stuckSearch says when to search for such calls. A search may look at all tasks that others wait
// for, so an event that comes too early leaves its search to a later Step; see Next. Together the
// searches look at freeVisits things per Step at most, and at one more per visitPause of time.
type stuckSearch struct {
	due     bool  // an event may have been the last step into such a state
	next    int64 // Unix nanoseconds; no search before
	visited int   // functions, runs and waits that searches have looked at, here and in lend.go
}

const (
	freeVisits = 256 // a search that looks at so many things needs no pause after it
	visitPause = 10 * time.Microsecond
)

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

// failStuck fails calls that could never start, if a search is due and allowed.
func (q *Queue) failStuck() {
	for q.stuck.due && q.now.UnixNano() >= q.stuck.next {
		before := q.stuck.visited
		q.stuck.due = q.failSomeStuck()
		if n := q.stuck.visited - before; n > freeVisits {
			q.stuck.next = q.now.UnixNano() + int64(n)*int64(visitPause)
		}
	}
}

// failSomeStuck fails calls that could never start, the oldest first, until one of the remaining
// ones may be able to start. It reports whether there was one.
func (q *Queue) failSomeStuck() bool {
	s := q.findStuck()
	var calls []int32
	left := map[ID]int{} // waits for held tasks, by waiting task
	if len(s.held) > 0 {
		s.eachHeldChild(func(parent ID, i int32) {
			left[parent]++
			if q.tasks.at(i).flags&background == 0 {
				calls = append(calls, i)
			}
		})
	}
	slices.SortFunc(calls, func(a, b int32) int { return cmp.Compare(q.tasks.at(a).id, q.tasks.at(b).id) })
	calls = slices.Compact(calls)
	for _, i := range calls {
		t := q.tasks.at(i)
		last := t.flags&grouped != 0 // the end of its group ends more waits
		for w := t.firstWait; w != 0; {
			x := q.waits.at(w)
			if x.parent != 0 {
				left[x.parent]--
				last = last || left[x.parent] == 0
			}
			if w = x.ofTask.next; w == t.firstWait {
				break
			}
		}
		q.removeFromList(i)
		q.failTask(i, Circular, NoPayload)
		if last {
			break
		}
	}
	return len(calls) > 0
}

// findStuck finds the functions whose tasks limits never let start.
func (q *Queue) findStuck() *sticking {
	s := &sticking{q: q, held: map[int32]bool{}}
	if !s.limitUsedUp() {
		return s
	}
	q.stuck.visited += len(q.functions)
	for n, f := range q.functions {
		if f != nil && f.isLimited() && f.counts.In[Waiting] > 0 {
			s.held[int32(n)] = true
		}
	}
	called := map[int32]bool{}
	s.eachHeldChild(func(_ ID, i int32) { called[q.tasks.at(i).fn] = true })
	s.held = called
	for again := len(s.held) > 0; again; {
		again = false
		s.waits = map[ID]bool{}
		for _, n := range slices.Sorted(maps.Keys(s.held)) {
			if !s.isHeldBack(q.functions[n]) {
				delete(s.held, n)
				again = true
			}
		}
	}
	return s
}

// limitUsedUp reports whether a limit or a budget holds back tasks of some function.
func (s *sticking) limitUsedUp() bool {
	return slices.ContainsFunc(s.q.functions[1:], func(f *function) bool {
		s.q.stuck.visited++
		return f != nil && f.isLimited() && f.queued() > 0 && !s.q.canStart(f)
	})
}

// isLimited reports whether a task of f may have to wait for the end of others.
func (f *function) isLimited() bool { return f.limits.Concurrency > 0 || len(f.limits.Needs) > 0 }

// sticking is the search for calls that could never start.
type sticking struct {
	q     *Queue
	held  map[int32]bool // functions whose tasks limits hold back, unless the search finds that one can start
	waits map[ID]bool    // known results of waitsForHeld, by waiting task
}

// eachHeldChild calls f for all tasks of held functions that wait to start and that others wait
// for.
func (s *sticking) eachHeldChild(f func(parent ID, i int32)) {
	add := func(parent ID, i int32) {
		s.q.stuck.visited++
		if t := s.q.tasks.at(i); i != 0 && t.state == Waiting && s.held[t.fn] {
			f(parent, i)
		}
	}
	for parent, kids := range s.q.children.of {
		for _, i := range kids {
			add(parent, i)
		}
	}
	for parent, groups := range s.q.children.groups {
		for _, g := range groups {
			for _, id := range s.q.unendedMembers(g) {
				add(parent, s.q.find(id))
			}
		}
	}
}

// isHeldBack reports whether a limit or a budget of f is used up by tasks that all wait for tasks
// of held functions.
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
	s.q.stuck.visited += len(s.q.holders)
	for _, h := range s.q.holders {
		for _, n := range h.needs[:h.acquired] {
			if n.Budget == budget {
				return true
			}
		}
	}
	return false
}

// allWait reports whether all runs of some functions wait for tasks of held functions. There must
// be one.
func (s *sticking) allWait(uses func(*function) bool) bool {
	found := false
	for _, p := range s.q.peers {
		if p == nil {
			continue
		}
		for _, r := range p.runs {
			s.q.stuck.visited++
			x := s.q.runs.at(r)
			if !uses(s.q.functions[x.fn]) {
				continue
			}
			if x.task == 0 || !s.waitsForHeld(s.q.leaderOf(x.id)) { // a run without a task was stopped
				return false
			}
			found = true
		}
	}
	return found
}

// waitsForHeld reports whether a running task, or the batch that it leads, waits for a task of a
// held function, or for a running task that does.
func (s *sticking) waitsForHeld(leader ID) bool {
	if known, ok := s.waits[leader]; ok {
		return known
	}
	s.waits[leader] = false
	q := s.q
	waits := func(i int32) bool {
		q.stuck.visited++
		t := q.tasks.at(i)
		return i != 0 && (t.state == Waiting && s.held[t.fn] || t.state == Running && s.waitsForHeld(q.leaderOf(t.id)))
	}
	s.waits[leader] = slices.ContainsFunc(q.children.of[leader], waits) || slices.ContainsFunc(q.children.groups[leader], func(g *group) bool {
		return slices.ContainsFunc(q.unendedMembers(g), func(id ID) bool { return waits(q.find(id)) })
	})
	return s.waits[leader]
}
