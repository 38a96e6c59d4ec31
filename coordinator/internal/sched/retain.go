package sched

import (
	"slices"
	"time"
)

// Ended jobs are kept for Retain, so that clients can ask for their status and gather results; then
// they are dropped.

// retainJob adds an ended job to the retained ones.
func (s *Scheduler) retainJob(j *jobState) {
	i, _ := slices.BinarySearchFunc(s.retained, j.endedAt, func(x *jobState, at time.Time) int {
		if x.endedAt.After(at) {
			return 1
		}
		return -1 // behind jobs that ended at the same time
	})
	s.retained = slices.Insert(s.retained, i, j)
}

// dropOldJobs drops the jobs whose time has passed.
func (s *Scheduler) dropOldJobs() {
	for s.cfg.Retain > 0 && len(s.retained) > 0 && !s.now.Before(s.retained[0].endedAt.Add(s.cfg.Retain)) {
		s.dropJob(s.retained[0].spec.ID)
	}
}
