package sched

import "time"

// After a restart the core knows the committed attempts, but not the holders of their outputs or
// the running attempts. Workers report both when they join. Until then the core is settling: it
// launches nothing, and no output counts as lost. Settling ends when every needed output has been
// reported and Rejoin has passed, or when Settle has passed.

func (s *Scheduler) beginEpoch() {
	s.epoch++
	s.emit(Write{Epoch{s.epoch}})
	s.settling, s.settleUntil, s.rejoinUntil = true, s.now.Add(s.cfg.Settle), time.Time{}
	if len(s.active) > 0 {
		s.rejoinUntil = s.now.Add(s.cfg.Rejoin)
	}
	for _, j := range s.retained {
		j.lostAt = s.now // the holders of its outputs are not known yet
	}
	for _, j := range s.active {
		s.touchJob(j)
		for _, st := range j.stages {
			st.readyAt = s.now
		}
	}
}

func (s *Scheduler) endSettling() {
	if !s.now.Before(s.rejoinUntil) {
		s.rejoinUntil = time.Time{}
	}
	if !s.settling || s.now.Before(s.settleUntil) && (!s.rejoinUntil.IsZero() || s.hasUnclaimed()) {
		return
	}
	s.settling = false
	for _, j := range s.active {
		s.touchJob(j)
	}
	s.reviewTouched()
	for e := s.leases.Front(); e != nil; e = e.Next() { // queued tasks are never fresh
		if w := e.Value.(*worker); w.idle != nil {
			s.freed = append(s.freed, w)
		}
	}
}

// hasUnclaimed reports whether a needed committed output has no holder.
func (s *Scheduler) hasUnclaimed() bool {
	for _, j := range s.active {
		for _, st := range j.stages {
			if st.taskCounts[gone] > 0 && st.isNeeded() {
				return true
			}
		}
	}
	return false
}
