package sched

import (
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

type worker struct {
	name, zone  string
	id          string // see WorkerJoined
	slots       int
	reserved    int        // number of slots for interactive jobs only
	running     []*attempt // including cancelled ones, until the worker reports their end
	queuedTasks int        // slots in use by queued tasks
	// ^ ordinary counts attempts of jobs that are not interactive, and queued tasks below high
	// priority.
	ordinary int
	share    *share // nil when another worker has its ID
	kind     *kind
	drain    *draining // nil when it does not drain

	lastContact time.Time // time of its join or last heartbeat
	lease       *list.Element
	// idle is its place in Scheduler.idle or, when isSpare, in Scheduler.spare; nil when it can
	// take nothing.
	idle    *list.Element
	isSpare bool
	awake   bool // it is offered the tasks of all jobs in this Step
	// ^ napUntil is when the worker is offered declined far tasks again; zero when it declined
	// none.
	napUntil     time.Time
	strikes      int       // transient failures in a row
	blockedUntil time.Time // zero when not blocked
}

func (s *Scheduler) joinWorker(ev WorkerJoined) {
	permanent := false
	if w := s.workers[ev.Worker]; w != nil {
		permanent = w.leavesForGood()
		s.loseWorker(w)
	}
	w := &worker{name: ev.Worker, id: cmp.Or(ev.WorkerID, ev.Worker), zone: ev.Zone, slots: ev.Slots, reserved: ev.Reserved, lastContact: s.now, kind: s.kindOf(&ev)}
	s.workers[w.name] = w
	w.lease = s.leases.PushBack(w)
	s.countTaker(w.kind, 1)
	if ev.Draining {
		s.startDrain(w, permanent)
	}
	for _, a := range ev.Outputs {
		r, ok := s.findTask(a)
		switch {
		case !ok || a.N <= 0 || r.task().committed != a.N:
			s.emit(Refuse{w.name, a})
		// a moved output stays at its new holder
		case r.task().holder == nil || w.drain == nil:
			s.confirmCommit(r, w)
		}
	}
	for _, a := range ev.Running {
		// A worker lists an attempt as running until its report is acknowledged. The report may
		// have arrived on the worker's former stream: then the worker holds the output.
		if r, ok := s.findTask(a); ok && a.N > 0 && r.task().committed == a.N {
			if r.task().holder == nil || w.drain == nil {
				s.confirmCommit(r, w)
			}
			continue
		}
		s.adoptAttempt(w, a)
	}
	s.attachShare(w, w.id)
	s.recordOffer(w.id, ev.Datasets)
	s.offerWorker(w)
}

// confirmCommit makes w the holder of a committed output.
func (s *Scheduler) confirmCommit(r ref, w *worker) {
	s.setHolder(r, w)
	s.emit(Commit{w.name, r.attempt(r.task().committed)})
}

// setHolder stores w as the holder of the committed output of a task, and cancels other attempts of
// the task.
func (s *Scheduler) setHolder(r ref, w *worker) {
	t := r.task()
	for t.newest != nil {
		s.cancelAttempt(t.newest)
	}
	t.holder = w
	delete(r.j.wanted, r.t)
	r.stage().outputs = nil
	r.j.outputsAt[w] = append(r.j.outputsAt[w], r.t)
	s.setState(r, done)
}

// loseWorker ends a worker's lease: its attempts return to the queue, and its outputs are gone.
func (s *Scheduler) loseWorker(w *worker) {
	s.leases.Remove(w.lease)
	w.slots = 0
	s.detachShare(w)
	s.listWorker(w)
	delete(s.workers, w.name)
	if w.drain == nil {
		s.countTaker(w.kind, -1)
	}
	s.drains = slices.DeleteFunc(s.drains, func(x *worker) bool { return x == w })
	if w.kind.workers--; w.kind.workers == 0 {
		delete(s.kinds, w.kind.key)
	}
	for _, a := range w.running {
		s.returnBudgets(a)
		if s.countLost(a, s.explainLoss(w)); a.element != nil {
			a.stage().failures++
		}
		counts := a.element != nil
		if last := s.removeAttempt(a); counts && s.countLoss(a.ref, s.explainLoss(w)) && last {
			s.enqueueTask(a.ref)
		}
	}
	w.running = nil
	if w.leavesForGood() {
		s.recordOffer(w.id, nil)
	}
	for _, j := range s.order {
		for _, t := range j.outputsAt[w] {
			if j.stages[t.Stage].tasks == nil {
				continue // released
			}
			if r := (ref{j, t}); r.task().holder == w {
				s.loseOutput(r)
			}
		}
		delete(j.outputsAt, w)
	}
}

// leavesForGood reports whether an operator has drained the worker permanently.
func (w *worker) leavesForGood() bool { return w.drain != nil && w.drain.permanent }

// loseOutput marks the output of a task as one without a holder.
func (s *Scheduler) loseOutput(r ref) {
	st := r.stage()
	r.task().holder, st.outputs = nil, nil
	if r.j.outcome == Running {
		st.goneTasks = append(st.goneTasks, int32(r.t.Index))
	} else {
		r.j.lostAt = s.now
	}
	s.setState(r, gone)
}

// outputLost takes back a commit with an unreadable output, unless the job was released.
func (s *Scheduler) outputLost(a job.Attempt) {
	r, ok := s.findTask(a)
	if !ok || a.N <= 0 || r.task().committed != a.N {
		return
	}
	s.emit(Write{OutputLost{a}})
	t := r.task()
	t.committed, t.floor = 0, a.N
	if t.holder != nil {
		s.emit(Refuse{t.holder.name, a})
		s.loseOutput(r)
	}
}

func (w *worker) hasFreeSlot() bool {
	return len(w.running)+w.queuedTasks < w.slots && w.drain == nil
}

// offerWorker lists a worker after a slot may have become free, and wakes it.
func (s *Scheduler) offerWorker(w *worker) {
	if s.listWorker(w); w.idle != nil {
		s.freed = append(s.freed, w)
	}
}

// listWorker puts a worker into the list of idle workers, the list of spare ones, or neither.
func (s *Scheduler) listWorker(w *worker) {
	free, spare := w.hasFreeSlot(), w.ordinary >= w.slots-w.reserved
	if w.idle != nil && (!free || spare != w.isSpare) {
		s.idleListOf(w).Remove(w.idle)
		w.idle = nil
	}
	if free && w.idle == nil {
		w.isSpare = spare
		w.idle = s.idleListOf(w).PushBack(w)
	}
}

func (s *Scheduler) idleListOf(w *worker) *list.List {
	if w.isSpare {
		return &s.spare
	}
	return &s.idle
}

func (w *worker) findAttempt(a job.Attempt) *attempt {
	if i := slices.IndexFunc(w.running, func(x *attempt) bool { return x.id == a }); i >= 0 {
		return w.running[i]
	}
	return nil
}
