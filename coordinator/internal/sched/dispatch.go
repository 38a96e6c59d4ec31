package sched

import (
	"container/heap"
	"container/list"
	"time"
)

// dispatch gives waiting tasks to idle workers. It offers the tasks of all jobs to workers whose slot came free in this Step or whose
// wait is over, and those of jobs that have tasks that were not there before to all workers; the others have declined already.
func (s *Scheduler) dispatch() {
	s.endNaps()
	awake := s.freed
	s.freed = s.freed[:0]
	if s.settling {
		return // all jobs are fresh when that ends
	}
	for _, w := range awake {
		w.awake = true
	}
	for at := 0; at < len(s.line) && (s.fresh > 0 || anyIdle(awake)); {
		o := &s.line[at].options
		s.serve(o, awake)
		for at = s.bandStart(o); at < len(s.line) && compareBands(&s.line[at].options, o) == 0; at++ {
		}
	}
	for _, w := range awake {
		w.awake = false
	}
	if s.fresh > 0 {
		for _, j := range s.line {
			j.fresh = false
		}
		s.fresh = 0
	}
}

func anyIdle(workers []*worker) bool {
	for _, w := range workers {
		if w.idle != nil {
			return true
		}
	}
	return false
}

// serve launches what it can of one band of jobs, one task per worker in turn, so that work spreads. Of a fresh job it first looks
// for tasks that are near, for all workers, before it lets any worker take a task that is far.
func (s *Scheduler) serve(o *Options, awake []*worker) {
	if s.hasFresh(o) {
		for d := near; d <= far; d++ {
			for progress := true; progress; {
				progress = o.Interactive && s.round(&s.spare, o, d)
				progress = s.round(&s.idle, o, d) || progress
			}
		}
	}
	for progress := true; progress; {
		progress = false
		for _, w := range awake {
			progress = w.idle != nil && s.try(w, o, far) || progress
		}
	}
}

func (s *Scheduler) hasFresh(o *Options) bool {
	if s.fresh > 0 {
		for i := s.bandStart(o); i < len(s.line) && compareBands(&s.line[i].options, o) == 0; i++ {
			if s.line[i].fresh {
				return true
			}
		}
	}
	return false
}

// round offers one task to each worker of a list.
func (s *Scheduler) round(l *list.List, o *Options, d distance) (progress bool) {
	for n := l.Len(); n > 0 && s.fresh > 0; n-- {
		w := l.Front().Value.(*worker)
		l.MoveToBack(w.idle)
		progress = s.try(w, o, d) || progress
	}
	return progress
}

// try launches one task on a worker, of the first job in a band that has one for it: of a fresh job only tasks as far away as d, of
// others, if the worker has not declined them, the nearest.
func (s *Scheduler) try(w *worker, o *Options, d distance) bool {
	asked := false
	for i := s.bandStart(o); i < len(s.line) && compareBands(&s.line[i].options, o) == 0; i++ {
		j := s.line[i]
		if !j.fresh && !w.awake || !w.fits(j) {
			continue
		}
		if !asked && s.yield(w, o) {
			return true
		}
		asked = true
		from := near
		if j.fresh {
			from = d
		}
		for e := from; e <= far; e++ {
			if s.take(w, j, e) {
				return true
			}
			if j.fresh {
				break
			}
		}
	}
	return false
}

// take launches one task of a job that is as far from the worker as d, if there is any, or grants a slot to calls.
func (s *Scheduler) take(w *worker, j *jobState, d distance) bool {
	if j.calls {
		return s.grant(w, j)
	}
	for k := len(j.stages) - 1; k >= 0; k-- { // later stages first: they end jobs and free outputs
		st := j.stages[k]
		if st.missing > 0 || st.count[waiting] == 0 || !s.hasTicket(j, st) {
			continue
		}
		if i, ok := s.pick(st, w, d); ok {
			s.launch(w, j.ref(k, i), false)
			return true
		}
	}
	return false
}

// nap is the wait of an idle worker for tasks that are near.
type nap struct {
	until time.Time
	w     *worker // its napUntil is another time when this is out of date
}

// naps is a heap by time.
type naps []nap

func (q naps) Len() int           { return len(q) }
func (q naps) Swap(a, b int)      { q[a], q[b] = q[b], q[a] }
func (q naps) Less(a, b int) bool { return q[a].until.Before(q[b].until) }
func (q *naps) Push(x any)        { *q = append(*q, x.(nap)) }
func (q *naps) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

// sleep lets a worker wait, unless it wakes up before that anyway.
func (s *Scheduler) sleep(w *worker, until time.Time) {
	if w.napUntil.IsZero() || until.Before(w.napUntil) {
		w.napUntil = until
		heap.Push(&s.naps, nap{until, w})
	}
}

func (s *Scheduler) endNaps() {
	for len(s.naps) > 0 && !s.now.Before(s.naps[0].until) {
		n := heap.Pop(&s.naps).(nap)
		if n.w.napUntil.Equal(n.until) {
			n.w.napUntil = time.Time{}
			s.offer(n.w)
		}
	}
}
