package sched

import (
	"slices"
	"time"
)

// A worker's lease ends LeaseTTL after its join or last heartbeat. Its attempts may still run
// somewhere, but their reports are refused from then on.

func (s *Scheduler) renewLease(w *worker) {
	w.lastContact = s.now
	s.leases.MoveToBack(w.lease)
}

func (s *Scheduler) expireLeases() {
	if s.cfg.LeaseTTL < 0 {
		return
	}
	for e := s.leases.Front(); e != nil; e = s.leases.Front() {
		w := e.Value.(*worker)
		if s.now.Before(w.lastContact.Add(s.cfg.LeaseTTL)) {
			return
		}
		s.loseWorker(w)
		s.emit(WorkerGone{w.name})
	}
}

// wake starts every lease and wait for a worker anew.
func (s *Scheduler) wake() {
	s.woke = s.now
	for e := s.leases.Front(); e != nil; e = e.Next() {
		e.Value.(*worker).lastContact = s.now
	}
	if s.settling {
		s.settleUntil = s.now.Add(s.cfg.Settle)
		if !s.rejoinUntil.IsZero() {
			s.rejoinUntil = s.now.Add(s.cfg.Rejoin)
		}
	}
	for _, j := range s.returning {
		if !j.returnBy.IsZero() {
			j.returnBy = s.now.Add(s.cfg.Return)
		}
	}
}

// ranFor returns how long an attempt has run while the coordinator could follow it.
func (s *Scheduler) ranFor(a *attempt) time.Duration {
	if a.started.Before(s.woke) {
		return s.now.Sub(s.woke)
	}
	return s.now.Sub(a.started)
}

func (s *Scheduler) heartbeat(ev Heartbeat) {
	w := s.workers[ev.Worker]
	if w == nil {
		return
	}
	s.renewLease(w)
	if ev.Running == nil {
		return
	}
	for _, a := range ev.Running {
		if w.findAttempt(a) == nil {
			s.adoptAttempt(w, a)
		}
	}
	for _, a := range slices.Clone(w.running) {
		if s.cfg.LeaseTTL > 0 && s.ranFor(a) > s.cfg.LeaseTTL && !slices.Contains(ev.Running, a.id) {
			s.freeSlot(w, a)
			const why = "the launch never arrived, or the report of its end was lost"
			s.countLost(a, why)
			counts := a.element != nil
			if last := s.removeAttempt(a); counts && s.countLoss(a.ref, why) && last {
				s.enqueueTask(a.ref)
			}
		}
	}
}

// HasLease reports whether a worker has a lease.
func (s *Scheduler) HasLease(worker string) bool { return s.workers[worker] != nil }
