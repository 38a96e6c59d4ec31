package sched

import (
	"maps"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

// Status is how a job stands.
type Status struct {
	ID      job.ID
	Name    string
	Outcome Outcome
	Failure *job.Failure // nil unless failed or cancelled
	Stages  []StageStatus
}

// StageStatus is how a stage stands. Tasks is always the sum of Waiting, Running, Done, Failed and Cancelled.
type StageStatus struct {
	Name                                             string
	Tasks, Waiting, Running, Done, Failed, Cancelled int
	Attempts                                         int     // on their way, speculative ones too
	FailedAttempts                                   int     // ended without output in this life of the coordinator
	Sum                                              Summary // of committed attempts, each task once
}

// Status returns how a job stands; ok is false when the job is not known.
func (s *Scheduler) Status(id job.ID) (status Status, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return Status{}, false
	}
	status = Status{ID: id, Name: j.spec.Name, Outcome: j.outcome, Failure: j.failure}
	for _, st := range j.stages {
		sum := st.sum
		sum.Counters = maps.Clone(sum.Counters)
		status.Stages = append(status.Stages, StageStatus{
			Name: st.spec.Name, Tasks: st.spec.Tasks,
			Waiting: st.count[waiting] + st.count[delayed], Running: st.count[running], Done: st.count[done] + st.count[gone],
			Failed: st.failedTasks, Cancelled: st.cancelledTasks,
			Attempts: st.running.Len(), FailedAttempts: st.failures, Sum: sum,
		})
	}
	return status, true
}

// Spec returns a job as it was submitted, without its splits when it has ended; ok is false when the job is not known.
func (s *Scheduler) Spec(id job.ID) (spec job.Spec, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return job.Spec{}, false
	}
	spec = j.spec
	spec.Stages = slices.Clone(spec.Stages) // splits are let go when the job ends
	return spec, true
}

// Commits returns the committed attempts of a stage and their holders in task order, the zero Producer for a task without.
// It returns nil for a stage that is not known or whose output was released.
func (s *Scheduler) Commits(id job.ID, stage int) []job.Producer {
	j := s.jobs[id]
	if j == nil || stage < 0 || stage >= len(j.stages) || j.stages[stage].tasks == nil {
		return nil
	}
	return slices.Clone(s.list(j, stage))
}

// Jobs returns the IDs of all jobs, in order of submission.
func (s *Scheduler) Jobs() []job.ID {
	ids := make([]job.ID, len(s.order))
	for i, j := range s.order {
		ids[i] = j.spec.ID
	}
	return ids
}

// Hash returns the fingerprint of a job; ok is false when the job is not known.
func (s *Scheduler) Hash(id job.ID) (hash string, ok bool) {
	if j := s.jobs[id]; j != nil {
		return j.spec.Hash, true
	}
	return "", false
}
