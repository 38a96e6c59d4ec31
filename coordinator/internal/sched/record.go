package sched

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Record is a decision that must survive a crash. The records in order, given to Restore, rebuild the core.
// Submitted, OutputLost, OutputMoved, Detached, JobReleased and JobDropped are events as well.
type Record interface{ record() }

// Committed says that the output of an attempt is its task's output.
type Committed struct {
	Attempt job.Attempt
	Worker  string // that sealed it, for people: after a restart the worker that holds it says so itself
	Summary Summary
}

// Ended says that a job is over.
type Ended struct {
	Job     job.ID
	Outcome Outcome
	Failure *job.Failure // nil when done
	Task    job.Task     // that failed the job, when it failed
	At      time.Time    // when; zero when not known
	Stages  []Totals     // only from Records, for the stages whose tasks are forgotten

	Released bool // only from Records: a JobReleased followed
}

// Totals is what is left of a stage of an ended job.
type Totals struct {
	Done, Failed, Cancelled int
	Sum                     Summary
}

// Grouped says into which group each output was put that a combine stage reads. It holds until the job ends, whoever holds the
// outputs later: groups that were committed stay right.
type Grouped struct {
	Job    job.ID
	Stage  int     // the combine stage
	Groups []int32 // by task of the producing stage
}

// Reopened says that a job that was done runs again, to make outputs that were lost. Another Ended follows.
type Reopened struct{ Job job.ID }

// Offered says which datasets a worker offers from now on, by its lasting name; none when it offers none any more.
type Offered struct {
	WorkerID string
	Datasets []string // sorted
}

// Epoch begins the life of a coordinator after the first.
type Epoch struct{ N int }

func (Submitted) record()   {}
func (OutputLost) record()  {}
func (OutputMoved) record() {}
func (Grouped) record()     {}
func (JobDropped) record()  {}
func (JobReleased) record() {}
func (Committed) record()   {}
func (Ended) record()       {}
func (Reopened) record()    {}
func (Detached) record()    {}
func (Offered) record()     {}
func (Epoch) record()       {}

// Restore puts back a record that Step wrote in an earlier life. After the last one, Step wants Restarted.
// Records about things that are not known are skipped.
func (s *Scheduler) Restore(rec Record) {
	switch rec := rec.(type) {
	case Epoch:
		s.epoch = rec.N
	case Offered:
		s.setOffer(rec)
	case Submitted:
		if s.jobs[rec.Spec.ID] == nil && Check(&rec.Spec) == nil {
			s.addJob(rec)
		}
	case Committed:
		if r, ok := s.findTask(rec.Attempt); ok && r.j.outcome == Running {
			t, st := r.task(), r.stage()
			t.committed = rec.Attempt.N
			st.addSummary(t, rec.Summary)
			s.setState(r, gone) // until a worker claims it
			st.goneTasks = append(st.goneTasks, int32(r.t.Index))
		}
	case OutputLost:
		if r, ok := s.findTask(rec.Attempt); ok && r.task().committed == rec.Attempt.N {
			r.task().committed, r.task().floor = 0, rec.Attempt.N
		}
	case Grouped:
		if j := s.jobs[rec.Job]; j != nil && rec.Stage >= 0 && rec.Stage < len(j.stages) {
			j.setGroups(j.stages[rec.Stage], rec.Groups)
		}
	case Ended:
		if j := s.jobs[rec.Job]; j != nil && j.outcome == Running {
			s.closeJob(j, rec)
			j.released = rec.Outcome != Done || rec.Released
			for k, st := range j.stages {
				if k < len(rec.Stages) {
					st.summary = rec.Stages[k].Sum
				}
				if j.released {
					s.release(j, k)
				}
			}
			if !j.released {
				s.dropInternalOutputs(j)
			}
			for k, st := range j.stages {
				if st.tasks == nil && k < len(rec.Stages) {
					x := rec.Stages[k]
					st.taskCounts[done], st.failedTasks, st.cancelledTasks = x.Done, x.Failed, x.Cancelled
				}
			}
		}
	case Reopened:
		if j := s.jobs[rec.Job]; j != nil && j.outcome == Done && !j.released {
			s.reopenJob(j)
		}
	case Detached:
		if j := s.jobs[rec.Job]; j != nil {
			j.options.Detached = true
		}
	case JobReleased:
		if j := s.jobs[rec.Job]; j != nil && j.outcome != Running {
			s.releaseOutputs(j)
		}
	case JobDropped:
		if j := s.jobs[rec.Job]; j != nil {
			if j.outcome == Running { // its Ended record was lost with the end of the journal
				s.closeJob(j, Ended{Job: rec.Job, Outcome: Aborted})
			}
			s.forgetJob(j)
		}
	}
}

// Records yields the shortest list of records that rebuilds what Restore has rebuilt or Step has written, to replace
// a long journal.
func (s *Scheduler) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if s.epoch > 0 && !yield(Epoch{s.epoch}) {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(s.offered)) {
			if !yield(Offered{name, s.offered[name]}) {
				return
			}
		}
		for _, j := range s.order {
			if !j.yieldRecords(yield) {
				return
			}
		}
	}
}

func (j *jobState) yieldRecords(yield func(Record) bool) bool {
	if !yield(Submitted{j.spec, j.options}) {
		return false
	}
	end := Ended{Job: j.spec.ID, Outcome: j.outcome, Failure: j.failure, At: j.endedAt, Released: j.outcome == Done && j.released}
	for k, st := range j.stages {
		if st.groups != nil && !yield(Grouped{j.spec.ID, k, st.groups}) {
			return false
		}
		end.Stages = append(end.Stages, Totals{st.taskCounts[done] + st.taskCounts[gone], st.failedTasks, st.cancelledTasks, st.summary})
		sum := st.summary // with the first commit; only the sum over the stage is known
		for i := range st.tasks {
			t, r := &st.tasks[i], j.ref(k, i)
			if !t.isCounted {
				continue
			}
			c := Committed{Attempt: r.attempt(max(t.committed, t.floor)), Summary: sum}
			if t.holder != nil {
				c.Worker = t.holder.name
			}
			sum = Summary{}
			if !yield(c) || t.committed == 0 && !yield(OutputLost{c.Attempt}) {
				return false
			}
		}
	}
	return j.outcome == Running || yield(end)
}
