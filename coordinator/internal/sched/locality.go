package sched

import (
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/report"
)

// A task should run on a worker that holds its split. A worker without waiting tasks of this sort
// waits a little before it takes a task with input in its zone, and again before it takes any other
// task (delay scheduling, Zaharia and others, EuroSys 2010). With a LocalityWait of 1 s:
//
//	0 s    tasks with input on the worker, and tasks with input nowhere in particular
//	1 s    also tasks with input in its zone
//	2 s    all tasks
//
// The wait begins with the worker's last near launch of the stage, so a worker pays it once and not
// per task. Tasks with input from other stages follow the same rule when the place of their input
// is known: see prefer.go.

// distance is the largest distance between a worker and a task's input.
type distance int

const (
	near  distance = iota // on the worker, or nowhere in particular
	zonal                 // in the worker's zone
	far                   // anywhere
)

// queue is a FIFO of task indexes. An entry is out of date, and skipped, when its task is not
// waiting.
type queue struct {
	items []int32
	head  int
	last  time.Time // for a worker's queue: time of its last launch from it
}

func (q *queue) push(i int) { q.items = append(q.items, int32(i)) }

// peek returns the first valid entry.
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
	free queue             // tasks with no known worker near the input
	rest queue             // tasks with a known worker near the input
	host map[string]*queue // by the name or ID in the task's hosts
	zone map[string]*queue // by zone of the near workers
}

// hosts returns the workers near the input of a task; some may be gone. A holder of a split keeps
// it over restarts of its process, so it appears by its ID. A holder of an output appears by its
// name.
func (st *stage) hosts(i int) []string {
	switch {
	case st.nearWorkers != nil:
		return st.nearWorkers[i]
	case len(st.spec.Splits) > 0:
		return st.spec.Splits[i].Hosts
	}
	return nil
}

func queueFor(m *map[string]*queue, key string) *queue {
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

// enqueueTask makes a task wait.
func (s *Scheduler) enqueueTask(r ref) {
	s.setState(r, waiting)
	s.addToQueues(r)
}

// addToQueues puts a waiting task into its queues. After a failure, a task may run anywhere at
// once.
func (s *Scheduler) addToQueues(r ref) {
	st, i, held := r.stage(), r.t.Index, false
	hosts := st.hosts(i)
	if name, ok := st.preferred[i]; ok {
		hosts = []string{name}
	}
	if r.task().failures == 0 {
		for k, h := range hosts {
			queueFor(&st.queues.host, h).push(i)
			w := s.findWorker(h)
			if w == nil {
				continue
			}
			held = true
			if w.zone != "" && !s.inZone(hosts[:k], w.zone) {
				queueFor(&st.queues.zone, w.zone).push(i)
			}
		}
	}
	if held {
		st.queues.rest.push(i)
	} else {
		st.queues.free.push(i)
	}
}

// findWorker returns the worker with a name or ID, or nil if none has a lease.
func (s *Scheduler) findWorker(name string) *worker {
	if w := s.workers[name]; w != nil {
		return w
	}
	if sh := s.shares[name]; sh != nil {
		return sh.w
	}
	return nil
}

// eachNear calls f for the queues of tasks with input on w, until f returns true.
func (q *queues) eachNear(w *worker, f func(h *queue) bool) bool {
	if h := q.host[w.name]; h != nil && f(h) {
		return true
	}
	h := q.host[w.id]
	return w.id != w.name && h != nil && f(h)
}

// inZone reports whether any of the hosts is in a zone.
func (s *Scheduler) inZone(hosts []string, zone string) bool {
	for _, h := range hosts {
		if w := s.findWorker(h); w != nil && w.zone == zone {
			return true
		}
	}
	return false
}

// pickTask chooses a waiting task of a stage for a worker. If the worker must wait first, it starts
// a nap.
func (s *Scheduler) pickTask(st *stage, w *worker, d distance) (int, bool) {
	q := &st.queues.rest
	switch d {
	case near:
		var i int
		popped := st.queues.eachNear(w, func(h *queue) (ok bool) {
			if i, ok = h.pop(st); ok {
				h.last = s.now
			}
			return ok
		})
		if popped {
			return i, true
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
	st.queues.eachNear(w, func(h *queue) bool {
		if h.last.After(from) {
			from = h.last
		}
		return false
	})
	if w.zone == "" {
		d = zonal // it has waited for its zone already
	}
	if due := from.Add(time.Duration(d) * s.cfg.LocalityWait); s.now.Before(due) {
		s.startNap(w, due)
		return 0, false
	}
	return q.pop(st)
}

// measureLocality returns the distance between a worker and the input of its task, as counts.
func (s *Scheduler) measureLocality(w *worker, st *stage, i int) report.Locality {
	hosts, bytes := st.hosts(i), int64(0)
	if len(st.spec.Splits) > 0 {
		bytes = st.spec.Splits[i].Bytes
	}
	switch {
	case len(hosts) == 0:
		return report.Locality{}
	case slices.Contains(hosts, w.name), slices.Contains(hosts, w.id):
		return report.Locality{Local: 1, LocalBytes: bytes}
	case w.zone != "" && s.inZone(hosts, w.zone):
		return report.Locality{Zone: 1, ZoneBytes: bytes}
	}
	return report.Locality{Remote: 1, RemoteBytes: bytes}
}
