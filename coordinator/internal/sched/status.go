package sched

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Status describes a job at one moment.
type Status struct {
	ID      job.ID
	Name    string
	Outcome Outcome
	Failure *job.Failure // nil unless failed or cancelled
	Stages  []StageStatus
	Options Options
	Ended   time.Time // zero when the job has not ended, or the time is not known
	// Released means the outputs of an ended job were dropped, because nobody needs them.
	Released bool
	// Reason is why a running job makes no progress, in words for people; empty when it makes
	// progress.
	Reason string
}

// StageStatus describes a stage at one moment. Tasks is always the sum of Waiting, Running, Done,
// Failed and Cancelled.
type StageStatus struct {
	Name                                             string
	Tasks, Waiting, Running, Done, Failed, Cancelled int
	Attempts                                         int // running, including speculative ones
	// FailedAttempts counts attempts that ended without output since the coordinator started.
	FailedAttempts int
	// LastFailure is the error of the last failed attempt since the coordinator started, in one
	// line. It is empty when no attempt failed or all tasks are done.
	LastFailure string
	// Lost counts committed outputs lost and made again since the coordinator started.
	Lost int
	// Sum adds up the committed attempts, each task once.
	Sum Summary
}

// Status returns the status of a job; ok is false when the job is not known.
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

// Spec returns a job as it was submitted, but without its splits once its outputs were released; ok
// is false when the job is not known.
func (s *Scheduler) Spec(id job.ID) (spec job.Spec, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return job.Spec{}, false
	}
	spec = j.spec
	spec.Stages = slices.Clone(spec.Stages) // releaseStage clears splits in its own copy
	return spec, true
}

// WorkerStatus describes a worker at one moment.
type WorkerStatus struct {
	Worker, Zone    string
	WorkerID        string   // see WorkerJoined
	Datasets        []string // datasets on offer
	Slots, Reserved int
	Running         int  // attempts on it, including cancelled ones until they end
	QueuedTasks     int  // queued tasks in its slots
	Draining        bool // it gets no new attempts, and will leave
	// WaitsFor is why a draining worker cannot leave yet, in words for people; it may be empty.
	WaitsFor    string
	Blocked     bool      // its attempts failed too often: it gets none for a while
	LastContact time.Time // time of its join or last heartbeat
}

// Workers returns the workers with a lease, sorted by name.
func (s *Scheduler) Workers() []WorkerStatus {
	out := make([]WorkerStatus, 0, len(s.workers))
	for _, w := range s.workers {
		out = append(out, WorkerStatus{Worker: w.name, WorkerID: w.id, Datasets: s.offered[w.id], Zone: w.zone, Slots: w.slots, Reserved: w.reserved, Running: len(w.running), QueuedTasks: w.queuedTasks,
			Draining: w.drain != nil, WaitsFor: s.explainDrain(w), Blocked: !w.blockedUntil.IsZero(), LastContact: w.lastContact})
	}
	slices.SortFunc(out, func(a, b WorkerStatus) int { return cmp.Compare(a.Worker, b.Worker) })
	return out
}

// Commits returns the committed attempts of a stage and their holders in task order, with the zero
// Producer for a task without a commit. It returns nil if the stage is not known or its output was
// released.
func (s *Scheduler) Commits(id job.ID, stage int) []job.Producer {
	j := s.jobs[id]
	if j == nil || stage < 0 || stage >= len(j.stages) || j.stages[stage].tasks == nil {
		return nil
	}
	return slices.Clone(s.committedOutputs(j, stage))
}

// Commit returns the element of Commits for one task, in constant time: readers of rows need one
// after another.
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
