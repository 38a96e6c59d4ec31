package sched

import (
	"fmt"
	"time"
)

// When BlockAfter attempts in a row fail on a worker, it gets no attempts for BlockFor. Queued
// tasks still run there. At most half of the workers are blocked at once: when everything fails,
// the workers are not the cause.

func (s *Scheduler) countStrike(w *worker) {
	w.strikes++
	if s.cfg.BlockAfter > 0 && w.strikes >= s.cfg.BlockAfter && w.blockedUntil.IsZero() && s.blocked.Len() < len(s.workers)/2 {
		w.blockedUntil = s.now.Add(s.cfg.BlockFor)
		s.blocked.PushBack(w)
	}
}

// explainBlock returns since when and until when a worker is blocked.
func (s *Scheduler) explainBlock(w *worker) string {
	return fmt.Sprintf("since %s until %s UTC, unless it restarts", w.blockedUntil.Add(-s.cfg.BlockFor).UTC().Format(time.TimeOnly), w.blockedUntil.UTC().Format(time.TimeOnly))
}

// longestBlocked returns the worker that is blocked for the longest time, of the
// workers that meet a need. There must be one.
func (s *Scheduler) longestBlocked(n *need) *worker {
	for e := s.blocked.Front(); ; e = e.Next() {
		if w := e.Value.(*worker); w.slots > 0 && w.drain == nil && w.kind.meets[n] {
			return w
		}
	}
}

func (s *Scheduler) unblockWorkers() {
	for e := s.blocked.Front(); e != nil && !s.now.Before(e.Value.(*worker).blockedUntil); e = s.blocked.Front() {
		w := s.blocked.Remove(e).(*worker)
		w.strikes, w.blockedUntil = 0, time.Time{}
		s.offerWorker(w) // a lost worker has no slots, so it is not listed
	}
}
