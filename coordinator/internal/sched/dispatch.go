package sched

import "time"

// dispatch gives waiting tasks to idle workers: to those whose slot came free in this Step, or to all of them
// when there are tasks that were not there before. The job with the fewest attempts on their way goes first.
func (s *Scheduler) dispatch() {
	if !s.wake.IsZero() && !s.now.Before(s.wake) {
		s.full = true
	}
	freed := s.freed
	s.freed = s.freed[:0]
	if s.launchable == 0 {
		s.full, s.wake = false, time.Time{}
	}
	if s.launchable == 0 || s.settling {
		return
	}
	if s.full {
		s.full, s.wake = false, time.Time{}
		s.offerAll()
		return
	}
	for _, w := range freed {
		for w.idle != nil && s.launchable > 0 && s.serve(w) {
		}
	}
}

// offerAll goes round the idle workers, one task each, so that work spreads; and first looks for tasks that are
// near, for all of them, before it lets any worker take a task that is far.
func (s *Scheduler) offerAll() {
	for d := near; d <= far; d++ {
		for progress := true; progress; {
			progress = false
			for n := s.idle.Len(); n > 0 && s.launchable > 0; n-- {
				w := s.idle.Front().Value.(*worker)
				s.idle.MoveToBack(w.idle)
				if s.take(w, d) {
					progress = true
				}
			}
		}
	}
}

// serve gives one task to a worker, the nearest there is.
func (s *Scheduler) serve(w *worker) bool {
	for d := near; d <= far; d++ {
		if s.take(w, d) {
			return true
		}
	}
	return false
}

// take launches one task that is as far from the worker as d, if there is any.
func (s *Scheduler) take(w *worker, d distance) bool {
	s.round++
	for {
		var j *jobState
		for _, x := range s.active {
			if x.launchable > 0 && x.tried != s.round && (j == nil || x.running < j.running) {
				j = x
			}
		}
		if j == nil {
			return false
		}
		j.tried = s.round
		for k := len(j.stages) - 1; k >= 0; k-- { // later stages first: they end jobs and free outputs
			st := j.stages[k]
			if st.missing > 0 || st.count[waiting] == 0 {
				continue
			}
			if i, ok := s.pick(st, w, d); ok {
				s.launch(w, j.ref(k, i), false)
				return true
			}
		}
	}
}
