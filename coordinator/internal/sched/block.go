package sched

import "time"

// A worker on which BlockAfter attempts in a row failed gets no attempts for BlockFor; calls go on. At most half of the workers are
// blocked at once: when everything fails, the workers are not to blame.

func (s *Scheduler) countStrike(w *worker) {
	w.strikes++
	if s.cfg.BlockAfter > 0 && w.strikes >= s.cfg.BlockAfter && w.blockedUntil.IsZero() && s.blocked.Len() < len(s.workers)/2 {
		w.blockedUntil = s.now.Add(s.cfg.BlockFor)
		s.blocked.PushBack(w)
	}
}

func (s *Scheduler) unblockWorkers() {
	for e := s.blocked.Front(); e != nil && !s.now.Before(e.Value.(*worker).blockedUntil); e = s.blocked.Front() {
		w := s.blocked.Remove(e).(*worker)
		w.strikes, w.blockedUntil = 0, time.Time{}
		s.offerWorker(w) // it has no slots if it was lost
	}
}
