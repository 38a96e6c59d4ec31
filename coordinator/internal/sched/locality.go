package sched

import "time"

// A task that reads a split should run where the split is. A worker that has run out of splits of its own waits a
// little, in case one comes free near it, before it takes one from the zone and then from afar (delay scheduling, Zaharia
// and others, EuroSys 2010). The wait counts from its last near launch, so it is paid once and not per task.

// distance says how far from a worker a task's split may be.
type distance int

const (
	near  distance = iota // on the worker, or nowhere in particular
	zonal                 // in the worker's zone
	far                   // anywhere
)

// queue is a FIFO of task indexes. Entries whose task is not waiting are out of date and skipped.
type queue struct {
	items []int32
	head  int
}

func (q *queue) push(i int) { q.items = append(q.items, int32(i)) }

// peek returns the first entry that is up to date.
func (q *queue) peek(st *stage) (int, bool) {
	for ; q.head < len(q.items); q.head++ {
		if i := int(q.items[q.head]); st.tasks[i].state == waiting {
			return i, true
		}
	}
	q.items, q.head = q.items[:0], 0
	return 0, false
}

func (q *queue) pop(st *stage) (int, bool) {
	i, ok := q.peek(st)
	if ok {
		q.head++
	}
	return i, ok
}

// queues holds the waiting tasks of one stage. A task with hosts is in several queues at once.
type queues struct {
	free queue             // no worker holds the split
	rest queue             // some worker holds it
	host map[string]*queue // by worker
	zone map[string]*queue // by zone of the workers that hold it
}

func at(m *map[string]*queue, key string) *queue {
	q := (*m)[key]
	if q == nil {
		if *m == nil {
			*m = map[string]*queue{}
		}
		q = &queue{}
		(*m)[key] = q
	}
	return q
}

// enqueue makes a task wait. A task that has failed before may go anywhere at once.
func (s *Scheduler) enqueue(r ref) {
	s.move(r, waiting)
	st, i, held := r.stage(), r.t.Index, false
	if len(st.spec.Splits) > 0 && r.task().failed == 0 {
		for k, h := range st.spec.Splits[i].Hosts {
			at(&st.queues.host, h).push(i)
			w := s.workers[h]
			if w == nil {
				continue
			}
			held = true
			if w.zone != "" && !s.zoneBefore(st.spec.Splits[i].Hosts[:k], w.zone) {
				at(&st.queues.zone, w.zone).push(i)
			}
		}
	}
	if held {
		st.queues.rest.push(i)
	} else {
		st.queues.free.push(i)
	}
}

func (s *Scheduler) zoneBefore(hosts []string, zone string) bool {
	for _, h := range hosts {
		if w := s.workers[h]; w != nil && w.zone == zone {
			return true
		}
	}
	return false
}

// pick chooses a waiting task of a stage for a worker.
func (s *Scheduler) pick(st *stage, w *worker, d distance) (int, bool) {
	q := &st.queues.rest
	switch d {
	case near:
		if h := st.queues.host[w.id]; h != nil {
			if i, ok := h.pop(st); ok {
				w.lastLocal = s.now
				return i, true
			}
		}
		return st.queues.free.pop(st)
	case zonal:
		if q = st.queues.zone[w.zone]; q == nil {
			return 0, false
		}
	}
	if _, ok := q.peek(st); !ok {
		return 0, false
	}
	from := st.readyAt
	if w.lastLocal.After(from) {
		from = w.lastLocal
	}
	if w.zone == "" {
		d = zonal // it has waited for its zone already
	}
	if due := from.Add(time.Duration(d) * s.cfg.LocalityWait); s.now.Before(due) {
		if s.wake.IsZero() || due.Before(s.wake) {
			s.wake = due
		}
		return 0, false
	}
	return q.pop(st)
}
