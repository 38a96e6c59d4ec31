package sched

import (
	"container/list"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// span is how many attempts of one task an epoch can number.
const span = 1_000_000

// attempt is on its way on a worker.
type attempt struct {
	ref
	id          job.Attempt
	w           *worker
	since       time.Time
	also        *attempt      // the next older attempt of the same task
	el          *list.Element // in stage.running; nil when the attempt no longer counts and only holds its slot
	ticket      uint64        // for the budgets that it holds; zero when it needs none
	speculative bool
}

// launch starts a new attempt of a task on a worker.
func (s *Scheduler) launch(w *worker, r ref, speculative bool) {
	t, st := r.task(), r.stage()
	t.n = max(t.n, s.epoch*span) + 1
	a := s.attach(w, r, t.n)
	a.speculative = speculative
	a.ticket = s.useTicket(st)
	s.starts++
	r.j.served = s.starts
	l := job.Launch{Attempt: a.id, Timeout: st.spec.Timeout}
	if p := st.suspects[r.t.Index]; p != nil {
		l.Alone, l.Skips = p.alone, p.skips
	}
	if len(st.spec.Splits) > 0 {
		l.Split = &st.spec.Splits[r.t.Index]
	}
	for _, e := range st.spec.Inputs {
		producers := s.list(r.j, e.From)
		if e.Mode == job.Group {
			producers = pickOut(producers, st.members[r.t.Index])
		}
		l.Producers = append(l.Producers, producers)
	}
	s.emit(Launch{Worker: w.id, Launch: l, Speculative: speculative})
}

func (s *Scheduler) attach(w *worker, r ref, n int) *attempt {
	t, st := r.task(), r.stage()
	a := &attempt{ref: r, id: r.attempt(n), w: w, since: s.now, also: t.run}
	a.el = st.running.PushBack(a)
	t.run = a
	w.running = append(w.running, a)
	s.tallies[st.kind()].Begun++
	if !r.j.options.Interactive {
		w.ordinary++
	}
	s.adjust(r.j, 0, 1)
	s.move(r, running)
	s.place(w)
	return a
}

// detach takes an attempt away from its task. It returns true when the task is left without any attempt, so that the
// caller must move it on.
func (s *Scheduler) detach(a *attempt) bool {
	if a.el == nil {
		return false
	}
	a.stage().running.Remove(a.el)
	a.el = nil
	s.adjust(a.j, 0, -1)
	t := a.task()
	for p := &t.run; *p != nil; p = &(*p).also {
		if *p == a {
			*p = a.also
			break
		}
	}
	return t.run == nil
}

// cancel ends an attempt that can no longer help. Its slot stays taken until the worker reports.
func (s *Scheduler) cancel(a *attempt) {
	s.detach(a)
	s.emit(CancelAttempt{a.w.id, a.id})
}

// remove frees the slot of an attempt.
func (s *Scheduler) remove(w *worker, a *attempt) {
	s.giveBack(a)
	if i := slices.Index(w.running, a); i >= 0 {
		w.running = slices.Delete(w.running, i, i+1)
		if !a.j.options.Interactive {
			w.ordinary--
		}
	}
	if s.offer(w); w.drain != nil && len(w.running) == 0 {
		s.drainAt = s.now // is that all?
	}
}

// issued says whether an attempt number may have been given to a worker.
func (s *Scheduler) issued(t *task, n int) bool { return n > 0 && (n <= t.n || n <= s.epoch*span) }

// runs says whether some worker is known to run attempt n.
func (t *task) runs(n int) bool {
	for a := t.run; a != nil; a = a.also {
		if a.id.N == n {
			return true
		}
	}
	return false
}

// adopt takes up an attempt that a worker runs and that the core does not know, because the coordinator was restarted or
// the lease had ended. When it cannot help any more it is cancelled.
func (s *Scheduler) adopt(w *worker, id job.Attempt) {
	r, ok := s.find(id)
	if ok && r.j.outcome == Running && s.issued(r.task(), id.N) && id.N > r.task().floor {
		t := r.task()
		if t.kept != id.N && !t.runs(id.N) && t.state != done && t.state != gone {
			s.holdBudgets(s.attach(w, r, id.N))
			return
		}
	}
	s.emit(CancelAttempt{w.id, id})
}

func (s *Scheduler) attemptDone(ev AttemptDone) {
	refuse := Refuse{ev.Worker, ev.Attempt}
	w := s.workers[ev.Worker]
	if w == nil {
		s.emit(refuse)
		return
	}
	since := s.now
	a := w.find(ev.Attempt)
	if a != nil {
		since = a.since
		s.remove(w, a)
		s.detach(a)
	}
	r, ok := s.find(ev.Attempt)
	if !ok {
		s.countRefused(a)
		s.emit(refuse)
		return
	}
	t, st, n := r.task(), r.stage(), ev.Attempt.N
	switch {
	case n > 0 && t.kept == n:
		s.countRefused(a)
		s.claim(r, w)
	case r.j.outcome != Running || t.state == done || t.state == gone || n <= t.floor || !s.issued(t, n) || t.runs(n):
		s.countRefused(a)
		s.emit(refuse)
	default:
		s.count(st, a, EndDone)
		w.strikes = 0
		t.kept, t.n = n, max(t.n, n)
		ev.Summary.Locality = s.locality(w, st, r.t.Index)
		st.add(t, ev.Summary)
		st.sizes.put(len(st.tasks), r.t.Index, st.partitions(r.t.Stage), ev.PartitionBytes)
		if since.Before(s.now) {
			st.took.add(s.now.Sub(since))
		}
		s.emit(Write{Committed{Attempt: ev.Attempt, Worker: w.id, Summary: ev.Summary}})
		s.claim(r, w)
	}
}

// add counts a task's output once, when it is first committed.
func (st *stage) add(t *task, sum Summary) {
	if t.seen {
		return
	}
	t.seen = true
	st.sum.Bytes += sum.Bytes
	st.sum.Records += sum.Records
	st.sum.Locality.add(sum.Locality)
	for k, v := range sum.Counters {
		if st.sum.Counters == nil {
			st.sum.Counters = map[string]int64{}
		}
		st.sum.Counters[k] += v
	}
}

func (s *Scheduler) attemptFailed(ev AttemptFailed) {
	w := s.workers[ev.Worker]
	if w == nil {
		return
	}
	a := w.find(ev.Attempt)
	if a == nil {
		s.notMoved(w, ev.Attempt)
		return
	}
	s.remove(w, a)
	if a.el == nil {
		s.count(a.stage(), a, EndCancelled)
		return
	}
	last := s.detach(a)
	t, st, f := a.task(), a.stage(), ev.Failure
	st.failures++
	s.count(st, a, endOf(f.Kind))
	s.trouble(a, f)
	st.suspect(a.t.Index, &f)
	switch {
	case f.Kind == job.Fatal:
		s.fail(a.ref, f)
		return
	case f.Kind == job.InputLost && len(f.Lost) > 0:
		for _, l := range f.Lost {
			if l.Job == a.id.Job && !s.movedSince(l, a) {
				s.outputLost(l)
			}
		}
		if t.lost++; int(t.lost) >= s.cfg.MaxInputLost {
			f.Message = fmt.Sprintf("input lost %d times: %s", t.lost, f.Message)
			s.fail(a.ref, f)
			return
		}
	case f.Kind == job.Transient || f.Kind == job.InputLost:
		s.strike(w)
		if t.failed++; int(t.failed) >= orDefault(st.spec.MaxAttempts, s.cfg.MaxAttempts) {
			s.fail(a.ref, f)
			return
		}
		if last {
			s.delay(a.ref)
		}
		return
	}
	if last {
		s.enqueue(a.ref)
	}
}

// fail ends the job of a task.
func (s *Scheduler) fail(r ref, f job.Failure) {
	s.end(r.j, Ended{Job: r.j.spec.ID, Outcome: Failed, Failure: &f, Task: r.t})
}
