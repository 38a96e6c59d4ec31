package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// A client may find that an output it wants is gone, be it the last word of a job that is done or what a stage wrote for it on the way. Then the
// task runs again, and those whose outputs it needs and that were lost, or let go at the end, and nothing else. The job is running meanwhile; what it has counted stays, as
// each task counts once. Nobody needs that of a job that was released, so nothing is kept to do it.

// outputWanted has an output made again that a client cannot read.
func (s *Scheduler) outputWanted(ev OutputWanted) {
	a := ev.Attempt
	r, ok := s.findTask(a)
	if !ok || !r.j.canRepeat() {
		return
	}
	t := r.task()
	if t.state == done {
		if a.N != t.committed || ev.Worker != "" && ev.Worker != t.holder.name {
			return // it is elsewhere
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

// canRepeat says whether all is there to run the tasks of a job again.
func (j *jobState) canRepeat() bool {
	if j.released || j.outcome != Running && j.outcome != Done {
		return false
	}
	for _, st := range j.stages {
		if j.outcome == Done && st.spec.Combine && st.groups == nil { // a former version forgot them
			return false
		}
	}
	return true
}

// reopenJob makes a job that is done a running one.
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

// endReturns ends the wait for workers that were lost.
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
