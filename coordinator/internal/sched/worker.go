package sched

import (
	"container/list"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

type worker struct {
	id, zone string
	slots    int
	running  []*attempt // cancelled ones too, until the worker reports their end

	seen         time.Time // joined, or sent its last heartbeat
	lease        *list.Element
	idle         *list.Element // nil when it can take nothing
	lastLocal    time.Time     // last launch of a split that it holds
	strikes      int           // transient failures in a row
	blockedUntil time.Time     // zero when not blocked
}

func (s *Scheduler) join(ev WorkerJoined) {
	if w := s.workers[ev.Worker]; w != nil {
		s.lose(w)
	}
	w := &worker{id: ev.Worker, zone: ev.Zone, slots: ev.Slots, seen: s.now}
	s.workers[w.id] = w
	w.lease = s.leases.PushBack(w)
	for _, a := range ev.Held {
		if r, ok := s.find(a); ok && a.N > 0 && r.task().kept == a.N {
			s.claim(r, w)
		} else {
			s.emit(Refuse{w.id, a})
		}
	}
	for _, a := range ev.Running {
		s.adopt(w, a)
	}
	s.offer(w)
}

// claim makes w the holder of a committed output.
func (s *Scheduler) claim(r ref, w *worker) {
	s.hold(r, w)
	s.emit(Commit{w.id, r.attempt(r.task().kept)})
}

// hold notes that w holds the committed output of a task, and ends the attempts that would make another.
func (s *Scheduler) hold(r ref, w *worker) {
	t := r.task()
	for t.run != nil {
		s.cancel(t.run)
	}
	t.at = w
	r.stage().outputs = nil
	r.j.held[w] = append(r.j.held[w], r.t)
	s.move(r, done)
}

// lose ends a worker's lease: its attempts go back to the queue, and its outputs are gone.
func (s *Scheduler) lose(w *worker) {
	s.leases.Remove(w.lease)
	w.slots = 0
	s.withdraw(w)
	delete(s.workers, w.id)
	for _, a := range w.running {
		if a.el != nil {
			a.stage().failures++
		}
		if s.detach(a) {
			s.enqueue(a.ref)
		}
	}
	w.running = nil
	for _, j := range s.order {
		for _, t := range j.held[w] {
			if j.stages[t.Stage].tasks == nil {
				continue // released
			}
			if r := (ref{j, t}); r.task().at == w {
				s.vanish(r)
			}
		}
		delete(j.held, w)
	}
}

// vanish notes that nobody holds the output of a task any more.
func (s *Scheduler) vanish(r ref) {
	st := r.stage()
	r.task().at, st.outputs = nil, nil
	if r.j.outcome == Running {
		st.lost = append(st.lost, int32(r.t.Index))
	}
	s.move(r, gone)
}

// outputLost takes back a commit whose output cannot be read.
func (s *Scheduler) outputLost(a job.Attempt) {
	r, ok := s.find(a)
	if !ok || r.j.outcome != Running || a.N <= 0 || r.task().kept != a.N {
		return
	}
	s.emit(Write{OutputLost{a}})
	t := r.task()
	t.kept, t.floor = 0, a.N
	if t.at != nil {
		s.emit(Refuse{t.at.id, a})
		s.vanish(r)
	}
}

func (w *worker) free() bool { return len(w.running) < w.slots && w.blockedUntil.IsZero() }

// offer puts a worker that may have got a free slot among the idle ones.
func (s *Scheduler) offer(w *worker) {
	if !w.free() {
		return
	}
	if w.idle == nil {
		w.idle = s.idle.PushBack(w)
	}
	s.freed = append(s.freed, w)
}

// withdraw takes a worker without a free slot from among the idle ones.
func (s *Scheduler) withdraw(w *worker) {
	if w.idle != nil && !w.free() {
		s.idle.Remove(w.idle)
		w.idle = nil
	}
}

func (w *worker) find(a job.Attempt) *attempt {
	if i := slices.IndexFunc(w.running, func(x *attempt) bool { return x.id == a }); i >= 0 {
		return w.running[i]
	}
	return nil
}
