package sched

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Status returns how a job stands; ok is false when the job is not known.
func (s *Scheduler) Status(id job.ID) (status report.Job, ok bool) {
	j := s.jobs[id]
	if j == nil {
		return report.Job{}, false
	}
	status = report.Job{ID: id, Name: j.spec.Name, Outcome: j.outcome, Failure: j.failure,
		Options: j.options, Ended: j.endedAt, Released: j.released, Reason: s.explainWait(j)}
	for _, st := range j.stages {
		sum := st.summary
		sum.Counters = maps.Clone(sum.Counters)
		last := st.lastFailure
		if st.openTasks() == 0 {
			last = ""
		}
		status.Stages = append(status.Stages, report.Stage{
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

// Workers returns the workers with a lease, sorted by name. now is the time for Silent. Fields that
// the scheduler does not have stay zero.
func (s *Scheduler) Workers(now time.Time) []report.Worker {
	out := make([]report.Worker, 0, len(s.workers))
	for _, w := range slices.SortedFunc(maps.Values(s.workers), func(a, b *worker) int { return cmp.Compare(a.name, b.name) }) {
		out = append(out, report.Worker{Name: w.name, ID: w.id, State: w.state(), WaitingReason: s.explainPause(w), Zone: w.zone,
			Datasets: s.offered[w.id], Slots: w.slots, Reserved: w.reserved, Running: len(w.running), QueuedTasks: w.queuedTasks,
			Silent: report.SecondsOf(max(now.Sub(w.lastContact), 0))})
	}
	return out
}

// explainPause returns why a worker gets no attempts, for people; empty if it may get some.
func (s *Scheduler) explainPause(w *worker) string {
	if w.drain != nil || w.blockedUntil.IsZero() {
		return s.explainDrain(w)
	}
	return "blocked after failures in a row, " + s.explainBlock(w) + "; its log and \"layshaft job report\" show them"
}

func (w *worker) state() report.State {
	switch {
	case w.drain != nil:
		return report.Draining
	case !w.blockedUntil.IsZero():
		return report.Blocked
	}
	return report.Ready
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

// LaunchOf returns the launch that an attempt of a task would get now. ok is false if the task is
// not known, its outputs were released, or its input is not complete.
func (s *Scheduler) LaunchOf(a job.Attempt) (l job.Launch, ok bool) {
	r, ok := s.findTask(a)
	if !ok || r.stage().incompleteInputs > 0 {
		return l, false
	}
	l = job.Launch{Attempt: a, Timeout: r.stage().spec.Timeout}
	if p := r.stage().suspects[r.t.Index]; p != nil {
		l.Skips = p.skips
	}
	s.addInput(&l, r)
	return l, true
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
