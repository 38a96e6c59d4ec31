package sched

import (
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

type worker struct {
	id, zone string
	lasting  string // see WorkerJoined
	slots    int
	reserved int        // of the slots, for interactive jobs only
	running  []*attempt // cancelled ones too, until the worker reports their end
	calls    int        // slots that calls have
	ordinary int        // attempts of jobs that are not interactive, and calls that are not high
	share    *share     // nil when another worker has its lasting name
	kind     *kind
	drain    *draining // nil when it does not drain

	seen         time.Time // joined, or sent its last heartbeat
	lease        *list.Element
	idle         *list.Element // in Scheduler.idle or, when isSpare, Scheduler.spare; nil when it can take nothing
	isSpare      bool
	awake        bool      // it is offered the tasks of all jobs in this Step
	napUntil     time.Time // when it is offered tasks again that it declined because they were far; zero when it declined none
	strikes      int       // transient failures in a row
	blockedUntil time.Time // zero when not blocked
}

func (s *Scheduler) join(ev WorkerJoined) {
	if w := s.workers[ev.Worker]; w != nil {
		s.lose(w)
	}
	w := &worker{id: ev.Worker, lasting: cmp.Or(ev.WorkerID, ev.Worker), zone: ev.Zone, slots: ev.Slots, reserved: ev.Reserved, seen: s.now, kind: s.kindOf(&ev)}
	s.workers[w.id] = w
	w.lease = s.leases.PushBack(w)
	s.taking(w.kind, 1)
	if ev.Draining {
		s.startDrain(w)
	}
	for _, a := range ev.Outputs {
		r, ok := s.find(a)
		switch {
		case !ok || a.N <= 0 || r.task().kept != a.N:
			s.emit(Refuse{w.id, a})
		case r.task().at == nil || w.drain == nil: // what moved away from a draining worker stays where it is
			s.claim(r, w)
		}
	}
	for _, a := range ev.Running {
		s.adopt(w, a)
	}
	s.joinShare(w, w.lasting)
	s.offers(w.lasting, ev.Datasets)
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
	delete(r.j.wanted, r.t)
	r.stage().outputs = nil
	r.j.held[w] = append(r.j.held[w], r.t)
	s.move(r, done)
}

// lose ends a worker's lease: its attempts go back to the queue, and its outputs are gone.
func (s *Scheduler) lose(w *worker) {
	s.leases.Remove(w.lease)
	w.slots = 0
	s.leaveShare(w)
	s.place(w)
	delete(s.workers, w.id)
	if w.drain == nil {
		s.taking(w.kind, -1)
	}
	s.drains = slices.DeleteFunc(s.drains, func(x *worker) bool { return x == w })
	if w.kind.workers--; w.kind.workers == 0 {
		delete(s.kinds, w.kind.key)
	}
	for _, a := range w.running {
		s.giveBack(a)
		if s.countLost(a, s.silence(w)); a.el != nil {
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
	} else {
		r.j.lostAt = s.now
	}
	s.move(r, gone)
}

// outputLost takes back a commit whose output cannot be read, until the job is released.
func (s *Scheduler) outputLost(a job.Attempt) {
	r, ok := s.find(a)
	if !ok || a.N <= 0 || r.task().kept != a.N {
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

func (w *worker) free() bool {
	return len(w.running)+w.calls < w.slots && w.drain == nil
}

// offer puts a worker that may have got a free slot among the idle ones.
func (s *Scheduler) offer(w *worker) {
	if s.place(w); w.idle != nil {
		s.freed = append(s.freed, w)
	}
}

// place puts a worker among the idle ones, the spare ones, or neither.
func (s *Scheduler) place(w *worker) {
	free, spare := w.free(), w.ordinary >= w.slots-w.reserved
	if w.idle != nil && (!free || spare != w.isSpare) {
		s.listOf(w).Remove(w.idle)
		w.idle = nil
	}
	if free && w.idle == nil {
		w.isSpare = spare
		w.idle = s.listOf(w).PushBack(w)
	}
}

func (s *Scheduler) listOf(w *worker) *list.List {
	if w.isSpare {
		return &s.spare
	}
	return &s.idle
}

func (w *worker) find(a job.Attempt) *attempt {
	if i := slices.IndexFunc(w.running, func(x *attempt) bool { return x.id == a }); i >= 0 {
		return w.running[i]
	}
	return nil
}
