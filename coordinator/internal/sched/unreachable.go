package sched

import (
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// A worker may be unable to read from another one, although both have leases: a firewall between
// them, a wrong address, a cut. A task must not be tried on such a pair again and again:
//
//   - The reader runs best on the worker with its input, else on a worker without a known cut to
//     any holder.
//   - If there is none, both the reader and the input that it lacks go to one side of the pair.
//     That is the worker whose name comes first, so that all tasks choose the same side.
//
// A worker that cannot read its own output reports a damage: that output is made again at once.

// cutFor is how long a pair of workers counts as cut off from each other.
const cutFor = time.Minute

// After some losses of a task's input, the input may be damaged where it lies.
const (
	moveReader = 3 // up to here only the reader moves
	keepInput  = 8 // up to here the input on the chosen side is kept
)

// pair is a pair of worker names, the smaller one first.
type pair [2]string

func pairOf(a, b *worker) pair { return pair{min(a.name, b.name), max(a.name, b.name)} }

// isCut reports whether one of two workers lately could not read from the other.
func (s *Scheduler) isCut(a, b *worker) bool {
	at, ok := s.cuts[pairOf(a, b)]
	return ok && s.now.Sub(at) < cutFor
}

// loseInput handles a report of attempt a: its worker cannot read some outputs. It returns the
// holder of one of them, if that is another worker with a lease.
func (s *Scheduler) loseInput(a *attempt, lost []job.Attempt) (holder *worker) {
	var unread []ref
	for _, l := range lost {
		if l.Job != a.id.Job || s.outputMovedSince(l, a) {
			continue
		}
		r, ok := s.findTask(l)
		if !ok || r.task().committed != l.N || r.task().holder == nil || r.task().holder == a.worker || r.task().holder.drain != nil {
			s.outputLost(l)
			continue
		}
		holder = r.task().holder
		unread = append(unread, r)
		if s.cuts == nil {
			s.cuts = map[pair]time.Time{}
		}
		s.cuts[pairOf(a.worker, holder)] = s.now
	}
	if holder == nil {
		return nil
	}
	losses := int(a.task().inputLosses)
	if w := s.findReader(a, holder); w != nil && losses <= moveReader {
		a.stage().prefer(a.t.Index, w)
		return holder
	}
	side := s.workers[pairOf(a.worker, holder)[0]]
	a.stage().prefer(a.t.Index, side)
	for _, r := range unread {
		if r.task().holder != side || losses > keepInput {
			r.stage().prefer(r.t.Index, side)
			s.outputLost(r.attempt(r.task().committed))
		}
	}
	return holder
}

// findReader returns a worker that is not cut off from any holder of an attempt's input: first if
// possible, else the first by name; nil if there is none.
func (s *Scheduler) findReader(a *attempt, first *worker) *worker {
	holders := map[*worker]bool{}
	for _, e := range a.stage().spec.Inputs {
		for _, t := range a.j.stages[e.From].tasks {
			if t.holder != nil {
				holders[t.holder] = true
			}
		}
	}
	able := func(w *worker) bool {
		if w.drain != nil || !w.kind.meets[a.j.need] {
			return false
		}
		for h := range holders { // any order: all must agree
			if h != w && s.isCut(h, w) {
				return false
			}
		}
		return true
	}
	if able(first) {
		return first
	}
	for _, name := range slices.Sorted(maps.Keys(s.workers)) {
		if able(s.workers[name]) {
			return s.workers[name]
		}
	}
	return nil
}

// freeLosses returns how many losses of a task's input cause no pause.
func freeLosses(holder *worker) int {
	if holder != nil {
		return 1
	}
	return 4 // the input is made again meanwhile
}

// prefer makes a worker the near one of a task.
func (st *stage) prefer(task int, w *worker) {
	if st.preferred == nil {
		st.preferred = map[int]string{}
	}
	st.preferred[task] = w.name
}
