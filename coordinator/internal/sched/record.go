package sched

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Record is a decision. It must survive a crash. Restore rebuilds the core from all records in
// order. Submitted, OutputLost, OutputMoved, Detached, JobReleased and JobDropped are events as
// well.
type Record interface{ record() }

// Committed makes the output of an attempt its task's output.
type Committed struct {
	Attempt job.Attempt // the committed attempt
	// Worker sealed the output. It is kept for people: after a restart the holder reports the
	// output itself.
	Worker  string
	Summary Summary // sizes and counters of the output
}

// Ended ends a job.
type Ended struct {
	Job     job.ID       // ID of the job
	Outcome Outcome      // how it ended
	Failure *job.Failure // nil when the job is done
	Task    job.Task     // the failed task, if the job failed
	At      time.Time    // time of the end; zero when not known
	// Stages is set only by Records, for the stages whose tasks were forgotten.
	Stages []Totals

	Released bool // set only by Records: a JobReleased followed
}

// Totals is the rest of a stage of an ended job. Done, Failed and Cancelled count its tasks; Sum
// adds up its committed attempts.
type Totals struct {
	Done, Failed, Cancelled int
	Sum                     Summary
}

// Grouped assigns the outputs read by a combine stage to groups. It holds until the job ends, even
// if the outputs move to other workers, so committed groups stay right.
type Grouped struct {
	Job    job.ID  // ID of the job
	Stage  int     // index of the combine stage
	Groups []int32 // group numbers, by task of the producing stage
}

// Reopened makes the finished job with the ID Job run again, to make lost outputs. Another Ended
// follows.
type Reopened struct{ Job job.ID }

// Offered replaces the datasets offered by a worker; an empty list ends the offer.
type Offered struct {
	WorkerID string   // ID of the worker's data directory
	Datasets []string // sorted
}

// Epoch begins a life of the coordinator after the first. N is the number of the life.
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

// Restore puts back a record of an earlier life. Restarted must follow the last record. Records
// about unknown jobs and tasks are skipped.
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
			s.setState(r, gone) // until a worker reports the output
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
					s.releaseStage(j, k)
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

// Records yields the shortest list of records for the present state. It can replace a long journal.
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
		sum := st.summary // goes with the first commit: only the sum over the stage is known
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
