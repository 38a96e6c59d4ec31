package sched

import (
	"container/list"
	"slices"
	"time"
)

// Near the end of a stage, idle slots race its stragglers: a second attempt starts on another
// worker, and the first one to finish wins. See Dean and Ghemawat, "MapReduce" (OSDI 2004), section
// 3.6.

// speculateEvery is the interval between searches for stragglers.
const speculateEvery = time.Second

func (s *Scheduler) startSpeculative() {
	if s.cfg.StragglerRatio < 0 || s.idle.Len()+s.spare.Len() == 0 || s.running == 0 {
		s.speculateAt = time.Time{}
		return
	}
	if !s.speculateAt.IsZero() && s.now.Before(s.speculateAt) {
		return
	}
	look := !s.speculateAt.IsZero()
	s.speculateAt = s.now.Add(speculateEvery)
	if !look || s.settling {
		return
	}
	for _, j := range s.active {
		for _, st := range j.stages {
			if st.taskCounts[running] == 0 || st.taskCounts[waiting] > 0 || st.incompleteInputs > 0 || st.taskCounts[done] < (len(st.tasks)+1)/2 ||
				len(st.spec.Needs) > 0 { // a race would take twice the scarce budget
				continue
			}
			limit := max(s.cfg.SpeculateAfter, time.Duration(s.cfg.StragglerRatio*float64(st.took.median())))
			for e := st.running.Front(); e != nil; e = e.Next() {
				a := e.Value.(*attempt)
				if s.ranFor(a) < limit {
					break
				}
				if a.older != nil || a.task().newest != a || a.task().failures > 0 {
					continue // in a race already, or failing: a race would use up its attempts
				}
				if w := s.findRacer(a); w != nil {
					s.launchAttempt(w, a.ref, true)
				}
			}
		}
	}
}

// findRacer returns another worker that can run the task of an attempt too, or nil.
func (s *Scheduler) findRacer(a *attempt) *worker {
	for _, l := range []*list.List{&s.spare, &s.idle} {
		for e := l.Front(); e != nil; e = e.Next() {
			if w := e.Value.(*worker); w != a.worker && w.fits(a.j) {
				l.MoveToBack(e)
				return w
			}
		}
	}
	return nil
}

// durations remembers how long the latest attempts of a stage took.
type durations struct {
	last []time.Duration
	next int
}

func (d *durations) add(t time.Duration) {
	const keep = 99
	if len(d.last) < keep {
		d.last = append(d.last, t)
		return
	}
	d.last[d.next] = t
	d.next = (d.next + 1) % keep
}

// median returns zero when there are no durations.
func (d *durations) median() time.Duration {
	if len(d.last) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d.last))
	return sorted[len(sorted)/2]
}
