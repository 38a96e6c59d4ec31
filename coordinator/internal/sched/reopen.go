package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// A client may miss an output: the result of a finished job, or a side output of an earlier stage.
// Then the output's task runs again, together with the tasks of its lost inputs
// or dropped, and no others. The job is running meanwhile. Its counters stay, since each task
// counts once. The outputs of a released job are not needed, so nothing is kept to make them again.

// outputWanted causes a missing output to be made again.
func (s *Scheduler) outputWanted(ev OutputWanted) {
	a := ev.Attempt
	r, ok := s.findTask(a)
	if !ok || !r.j.canRepeat() {
		return
	}
	t := r.task()
	if t.state == done {
		if a.N != t.committed || ev.Worker != "" && ev.Worker != t.holder.name {
			return // another worker holds it
		}
		s.outputLost(a)
	}
	if t.state != gone {
		return // it is being made
	}
	j := r.j
	if j.wanted == nil {
		j.wanted = map[job.Task]bool{}
	}
	j.wanted[r.t] = true
	s.touchJob(j)
	if j.outcome != Done {
		return
	}
	lost := j.lostAt
	s.emit(Write{Reopened{j.spec.ID}})
	s.reopenJob(j)
	if by := lost.Add(s.cfg.Return); t.committed != 0 && s.now.Before(by) {
		j.returnBy = by
		s.returning = append(s.returning, j)
	}
}

// canRepeat reports whether everything needed to run the job's tasks again is still there.
func (j *jobState) canRepeat() bool {
	return !j.released && (j.outcome == Running || j.outcome == Done)
}

// reopenJob makes a finished job a running one.
func (s *Scheduler) reopenJob(j *jobState) {
	j.outcome, j.endedAt, j.lostAt = Running, time.Time{}, time.Time{}
	j.need = s.needOf(&j.options)
	s.retained = slices.DeleteFunc(s.retained, func(x *jobState) bool { return x == j })
	at, _ := slices.BinarySearchFunc(s.active, j, func(x, j *jobState) int { return cmp.Compare(x.number, j.number) })
	s.active = slices.Insert(s.active, at, j)
	for _, st := range j.stages {
		st.readyAt = s.now
		for i := range st.tasks {
			if st.tasks[i].state == gone {
				st.goneTasks = append(st.goneTasks, int32(i))
			}
		}
	}
	s.touchJob(j)
}

// endReturns ends the wait for lost workers.
func (s *Scheduler) endReturns() {
	s.returning = slices.DeleteFunc(s.returning, func(j *jobState) bool {
		if s.now.Before(j.returnBy) {
			return false
		}
		j.returnBy = time.Time{}
		s.touchJob(j)
		return true
	})
}
