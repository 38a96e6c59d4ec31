package sched

import (
	"container/list"
	"fmt"
)

// explainWait returns the reason why a job makes no progress, for people; empty when it makes
// progress.
func (s *Scheduler) explainWait(j *jobState) string {
	switch {
	case j.outcome != Running || j.running > 0:
		return ""
	case s.settling:
		return "the coordinator restarted and waits for workers to report their outputs"
	case !j.returnBy.IsZero():
		return "waits for the return of a lost worker that holds some of its rows"
	case j.launchable == 0:
		for _, st := range j.stages {
			if st.taskCounts[delayed] > 0 {
				return "a failed task waits for its next attempt"
			}
		}
		return ""
	case len(s.workers) == 0:
		return "there are no workers; start one, such as: layshaft worker -join GOSSIP_ADDRESS -data DIR"
	case !j.need.met:
		return s.explainUnmet(j.need)
	}
	if budgets := j.budgetsMissing(); budgets != "" {
		return budgets
	}
	if !j.options.Interactive && s.allReserved(j.need) {
		return "all slots of every worker that could run it are reserved for interactive jobs: start a worker with fewer -reserved, or the job with -interactive"
	}
	able, blocked := 0, 0
	for _, k := range s.kinds {
		if k.meets[j.need] {
			able += k.takers
		}
	}
	for e := s.blocked.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*worker); w.slots > 0 && w.drain == nil && w.kind.meets[j.need] {
			blocked++
		}
	}
	reserved := false
	for _, l := range []*list.List{&s.idle, &s.spare} {
		for e := l.Front(); e != nil; e = e.Next() {
			w := e.Value.(*worker)
			if w.fits(j) {
				return "waits for a slot near its input"
			}
			reserved = reserved || w.isSpare && w.blockedUntil.IsZero() && w.kind.meets[j.need]
		}
	}
	switch {
	case blocked == able:
		w := s.longestBlocked(j.need)
		return fmt.Sprintf("every worker that could run it is blocked for a while, after failures in a row, for example %s %s; \"layshaft job report %s\" shows them", w.name, s.explainBlock(w), j.spec.ID)
	case reserved:
		return "all slots are busy except those reserved for interactive jobs"
	}
	return "all slots are busy"
}

// allReserved reports whether the workers that meet a need reserve all their slots.
func (s *Scheduler) allReserved(n *need) bool {
	for _, w := range s.workers {
		if w.drain == nil && w.slots > w.reserved && w.kind.meets[n] {
			return false
		}
	}
	return true
}
