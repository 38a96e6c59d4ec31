package sched

import (
	"slices"
	"time"
)

// Jobs that have ended are kept for Retain, so that clients can ask how they went and gather results; then they are dropped.

// retainJob notes that a job has ended.
func (s *Scheduler) retainJob(j *jobState) {
	i, _ := slices.BinarySearchFunc(s.retained, j.endedAt, func(x *jobState, at time.Time) int {
		if x.endedAt.After(at) {
			return 1
		}
		return -1 // behind those that ended at the same time
	})
	s.retained = slices.Insert(s.retained, i, j)
}

// dropOldJobs drops the jobs whose time is over.
func (s *Scheduler) dropOldJobs() {
	for s.cfg.Retain > 0 && len(s.retained) > 0 && !s.now.Before(s.retained[0].endedAt.Add(s.cfg.Retain)) {
		s.dropJob(s.retained[0].spec.ID)
	}
}
