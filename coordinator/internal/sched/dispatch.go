package sched

import (
	"container/heap"
	"container/list"
	"time"
)

// dispatch gives waiting tasks to idle workers. A worker is awake if it got a free slot in this
// Step or its wait is over: it is offered the tasks of all jobs. All other workers have declined
// those tasks before, so they are only offered the tasks of fresh jobs, with new tasks to launch.
func (s *Scheduler) dispatch() {
	s.endNaps()
	awake := s.freed
	s.freed = s.freed[:0]
	if s.settling {
		return // all jobs are fresh when settling ends
	}
	for _, w := range awake {
		w.awake = true
	}
	for at := 0; at < len(s.line) && (s.freshJobs > 0 || anyIdle(awake)); {
		o := &s.line[at].options
		s.serveBand(o, awake)
		for at = s.bandStart(o); at < len(s.line) && compareBands(&s.line[at].options, o) == 0; at++ {
		}
	}
	for _, w := range awake {
		w.awake = false
	}
	if s.freshJobs > 0 {
		for _, j := range s.line {
			j.fresh = false
		}
		s.freshJobs = 0
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

// serveBand launches as many tasks of one band as it can, one task per worker in turn, so that work
// spreads. For fresh jobs it offers near tasks to all workers before it lets any worker take a far
// one.
func (s *Scheduler) serveBand(o *Options, awake []*worker) {
	if s.hasFresh(o) {
		for d := near; d <= far; d++ {
			for progress := true; progress; {
				progress = o.Interactive && s.offerRound(&s.spare, o, d)
				progress = s.offerRound(&s.idle, o, d) || progress
			}
		}
	}
	for progress := true; progress; {
		progress = false
		for _, w := range awake {
			progress = w.idle != nil && s.offerTask(w, o, far) || progress
		}
	}
}

func (s *Scheduler) hasFresh(o *Options) bool {
	if s.freshJobs > 0 {
		for i := s.bandStart(o); i < len(s.line) && compareBands(&s.line[i].options, o) == 0; i++ {
			if s.line[i].fresh {
				return true
			}
		}
	}
	return false
}

// offerRound offers one task to each worker of a list.
func (s *Scheduler) offerRound(l *list.List, o *Options, d distance) (progress bool) {
	for n := l.Len(); n > 0 && s.freshJobs > 0; n-- {
		w := l.Front().Value.(*worker)
		l.MoveToBack(w.idle)
		progress = s.offerTask(w, o, d) || progress
	}
	return progress
}

// offerTask launches one task on a worker, for the first suitable job in a band. From a fresh job
// the worker gets only tasks at distance d. From other jobs an awake worker gets the nearest task.
func (s *Scheduler) offerTask(w *worker, o *Options, d distance) bool {
	asked := false
	for i := s.bandStart(o); i < len(s.line) && compareBands(&s.line[i].options, o) == 0; i++ {
		j := s.line[i]
		if !j.fresh && !w.awake || !w.fits(j) {
			continue
		}
		if !asked && s.yieldSlot(w, o) {
			return true
		}
		asked = true
		from := near
		if j.fresh {
			from = d
		}
		for e := from; e <= far; e++ {
			if s.startTask(w, j, e) {
				return true
			}
			if j.fresh {
				break
			}
		}
	}
	return false
}

// startTask launches one task of a job at distance d from the worker, or grants the slot to a
// queued task. It returns false when there is none.
func (s *Scheduler) startTask(w *worker, j *jobState, d distance) bool {
	if j.isQueued {
		return s.grantQueued(w, j)
	}
	for k := len(j.stages) - 1; k >= 0; k-- { // later stages first: they end jobs and free outputs
		st := j.stages[k]
		if st.incompleteInputs > 0 || st.taskCounts[waiting] == 0 || !s.ensureTicket(j, st) {
			continue
		}
		if i, ok := s.pickTask(st, w, d); ok {
			s.launchAttempt(w, j.ref(k, i), false)
			return true
		}
	}
	return false
}

// nap is the wait of an idle worker for near tasks.
type nap struct {
	until time.Time
	w     *worker // its napUntil differs when this entry is out of date
}

// naps is a heap, ordered by time.
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

// startNap lets a worker wait, unless it wakes up earlier anyway.
func (s *Scheduler) startNap(w *worker, until time.Time) {
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
			s.offerWorker(n.w)
		}
	}
}
