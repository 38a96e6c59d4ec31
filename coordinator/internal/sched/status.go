package sched

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Status is how a job stands.
type Status struct {
	ID      job.ID
	Name    string
	Outcome Outcome
	Failure *job.Failure // nil unless failed or cancelled
	Stages  []StageStatus
	Options Options
	Ended   time.Time // zero when it has not, or when that is not known
	// Released means that the outputs are gone, as nobody wants them: of a job that is done, failed or cancelled.
	Released bool
	Reason   string // why a job that has not ended makes no progress, for people; empty when it does
}

// StageStatus is how a stage stands. Tasks is always the sum of Waiting, Running, Done, Failed and Cancelled.
type StageStatus struct {
	Name                                             string
	Tasks, Waiting, Running, Done, Failed, Cancelled int
	Attempts                                         int     // on their way, speculative ones too
	FailedAttempts                                   int     // ended without output in this life of the coordinator
	LastFailure                                      string  // of the last attempt that failed in this life, in one line; empty when none did or all tasks are done
	Lost                                             int     // committed outputs that were lost and had to be made again, in this life
	Sum                                              Summary // of committed attempts, each task once
}

// Status returns how a job stands; ok is false when the job is not known.
func (s *Scheduler) Status(id job.ID) (status Status, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return Status{}, false
	}
	status = Status{ID: id, Name: j.spec.Name, Outcome: j.outcome, Failure: j.failure,
		Options: j.options, Ended: j.endedAt, Released: j.released, Reason: s.explainWait(j)}
	for _, st := range j.stages {
		sum := st.summary
		sum.Counters = maps.Clone(sum.Counters)
		last := st.lastFailure
		if st.openTasks() == 0 {
			last = ""
		}
		status.Stages = append(status.Stages, StageStatus{
			Name: st.spec.Name, Tasks: st.spec.Tasks,
			Waiting: st.taskCounts[waiting] + st.taskCounts[delayed], Running: st.taskCounts[running], Done: st.taskCounts[done] + st.taskCounts[gone],
			Failed: st.failedTasks, Cancelled: st.cancelledTasks,
			Attempts: st.running.Len(), FailedAttempts: st.failures, LastFailure: last, Lost: st.lostOutputs, Sum: sum,
		})
	}
	return status, true
}

// Spec returns a job as it was submitted, without its splits when its output was let go; ok is false when the job is not known.
func (s *Scheduler) Spec(id job.ID) (spec job.Spec, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return job.Spec{}, false
	}
	spec = j.spec
	spec.Stages = slices.Clone(spec.Stages) // splits are let go when the job ends
	return spec, true
}

// WorkerStatus is how a worker stands.
type WorkerStatus struct {
	Worker, Zone    string
	WorkerID        string   // see WorkerJoined
	Datasets        []string // that it offers
	Slots, Reserved int
	Running         int       // attempts on it, also cancelled ones that have not ended
	QueuedTasks     int       // single calls of functions in its slots
	Draining        bool      // it gets no new attempts, and will leave
	WaitsFor        string    // what it waits for when it drains, for people; may be empty
	Blocked         bool      // it failed too often and gets no attempts for a while
	LastContact     time.Time // when it joined or sent its last heartbeat
}

// Workers returns the workers that have a lease, by name.
func (s *Scheduler) Workers() []WorkerStatus {
	out := make([]WorkerStatus, 0, len(s.workers))
	for _, w := range s.workers {
		out = append(out, WorkerStatus{Worker: w.name, WorkerID: w.id, Datasets: s.offered[w.id], Zone: w.zone, Slots: w.slots, Reserved: w.reserved, Running: len(w.running), QueuedTasks: w.queuedTasks,
			Draining: w.drain != nil, WaitsFor: s.explainDrain(w), Blocked: !w.blockedUntil.IsZero(), LastContact: w.lastContact})
	}
	slices.SortFunc(out, func(a, b WorkerStatus) int { return cmp.Compare(a.Worker, b.Worker) })
	return out
}

// Commits returns the committed attempts of a stage and their holders in task order, the zero Producer for a task without.
// It returns nil for a stage that is not known or whose output was released.
func (s *Scheduler) Commits(id job.ID, stage int) []job.Producer {
	j := s.jobs[id]
	if j == nil || stage < 0 || stage >= len(j.stages) || j.stages[stage].tasks == nil {
		return nil
	}
	return slices.Clone(s.committedOutputs(j, stage))
}

// Commit returns what Commits has of one task, in constant time: readers of rows ask for each in turn.
func (s *Scheduler) Commit(id job.ID, stage, task int) job.Producer {
	j := s.jobs[id]
	if j == nil || stage < 0 || stage >= len(j.stages) || task < 0 || task >= len(j.stages[stage].tasks) {
		return job.Producer{}
	}
	if t := &j.stages[stage].tasks[task]; t.holder != nil {
		return job.Producer{Attempt: j.ref(stage, task).attempt(t.committed), Worker: t.holder.name}
	}
	return job.Producer{}
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
