package sched

import (
	"container/list"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// attemptsPerEpoch is how many attempts of one task an epoch can number.
const attemptsPerEpoch = 1_000_000

// attempt runs on a worker, or was cancelled and still holds its slot there.
type attempt struct {
	ref
	id      job.Attempt
	worker  *worker
	started time.Time
	older   *attempt // the next older attempt of the same task
	// element is the attempt's place in stage.running. It is nil when the attempt no longer counts
	// and only holds its slot.
	element     *list.Element
	ticket      uint64 // for its budgets; zero when it needs none
	speculative bool
}

// launchAttempt starts a new attempt of a task on a worker.
func (s *Scheduler) launchAttempt(w *worker, r ref, speculative bool) {
	t, st := r.task(), r.stage()
	t.lastAttempt = max(t.lastAttempt, s.epoch*attemptsPerEpoch) + 1
	a := s.addAttempt(w, r, t.lastAttempt)
	a.speculative = speculative
	a.ticket = s.takeTicket(st)
	s.starts++
	r.j.served = s.starts
	l := job.Launch{Attempt: a.id, Timeout: st.spec.Timeout}
	if p := st.suspects[r.t.Index]; p != nil {
		l.Isolated, l.Skips = p.isolated, p.skips
	}
	s.addInput(&l, r)
	s.emit(Launch{Worker: w.name, Launch: l, Speculative: speculative})
}

// addInput adds the input of a task to a launch.
func (s *Scheduler) addInput(l *job.Launch, r ref) {
	st := r.stage()
	if len(st.spec.Splits) > 0 {
		l.Split = &st.spec.Splits[r.t.Index]
	}
	for _, e := range st.spec.Inputs {
		producers := s.committedOutputs(r.j, e.From)
		if e.Mode == job.Group && st.members != nil {
			producers = selectOutputs(producers, st.members[r.t.Index])
		}
		l.Producers = append(l.Producers, producers)
	}
}

func (s *Scheduler) addAttempt(w *worker, r ref, n int) *attempt {
	t, st := r.task(), r.stage()
	a := &attempt{ref: r, id: r.attempt(n), worker: w, started: s.now, older: t.newest}
	a.element = st.running.PushBack(a)
	t.newest = a
	w.running = append(w.running, a)
	s.tallies[st.kind()].Begun++
	if !r.j.options.Interactive {
		w.ordinary++
	}
	s.updateLine(r.j, 0, 1)
	s.setState(r, running)
	s.listWorker(w)
	return a
}

// removeAttempt removes an attempt from its task. It returns true when the task has no attempt
// left: then the caller must set a new state.
func (s *Scheduler) removeAttempt(a *attempt) bool {
	if a.element == nil {
		return false
	}
	a.stage().running.Remove(a.element)
	a.element = nil
	s.updateLine(a.j, 0, -1)
	t := a.task()
	for p := &t.newest; *p != nil; p = &(*p).older {
		if *p == a {
			*p = a.older
			break
		}
	}
	return t.newest == nil
}

// cancelAttempt cancels a useless attempt. Its slot stays taken until the worker reports its end.
func (s *Scheduler) cancelAttempt(a *attempt) {
	s.removeAttempt(a)
	s.emit(CancelAttempt{a.worker.name, a.id})
}

// freeSlot frees the slot of an attempt and returns its budgets.
func (s *Scheduler) freeSlot(w *worker, a *attempt) {
	s.returnBudgets(a)
	if i := slices.Index(w.running, a); i >= 0 {
		w.running = slices.Delete(w.running, i, i+1)
		if !a.j.options.Interactive {
			w.ordinary--
		}
	}
	if s.offerWorker(w); w.drain != nil && len(w.running) == 0 {
		s.drainAt = s.now // the worker may be able to leave now
	}
}

// wasIssued reports whether an attempt number may have been given to a worker.
func (s *Scheduler) wasIssued(t *task, n int) bool {
	return n > 0 && (n <= t.lastAttempt || n <= s.epoch*attemptsPerEpoch)
}

// isRunning reports whether attempt n is known to run on some worker.
func (t *task) isRunning(n int) bool {
	for a := t.newest; a != nil; a = a.older {
		if a.id.N == n {
			return true
		}
	}
	return false
}

// adoptAttempt takes over an attempt on a worker, unknown to the core after a restart or after the
// worker's lease ended. If the attempt is useless, it is cancelled.
func (s *Scheduler) adoptAttempt(w *worker, id job.Attempt) {
	r, ok := s.findTask(id)
	if ok && r.j.outcome == Running && s.wasIssued(r.task(), id.N) && id.N > r.task().floor {
		t := r.task()
		if t.committed != id.N && !t.isRunning(id.N) && t.state != done && t.state != gone {
			s.reclaimBudgets(s.addAttempt(w, r, id.N))
			return
		}
	}
	s.emit(CancelAttempt{w.name, id})
}

func (s *Scheduler) attemptDone(ev AttemptDone) {
	refuse := Refuse{ev.Worker, ev.Attempt}
	w := s.workers[ev.Worker]
	if w == nil {
		s.emit(refuse)
		return
	}
	since := s.now
	a := w.findAttempt(ev.Attempt)
	if a != nil {
		since = a.started
		s.freeSlot(w, a)
		s.removeAttempt(a)
	}
	r, ok := s.findTask(ev.Attempt)
	if !ok {
		s.countRefused(a)
		s.emit(refuse)
		return
	}
	t, st, n := r.task(), r.stage(), ev.Attempt.N
	switch {
	case n > 0 && t.committed == n:
		s.countRefused(a)
		s.confirmCommit(r, w)
	case r.j.outcome != Running || t.state == done || t.state == gone || n <= t.floor || !s.wasIssued(t, n) || t.isRunning(n):
		s.countRefused(a)
		s.emit(refuse)
	default:
		w.strikes = 0
		t.committed, t.lastAttempt = n, max(t.lastAttempt, n)
		ev.Summary.Locality = s.measureLocality(w, st, r.t.Index)
		if a != nil {
			s.countEnd(a, EndDone, &ev, nil)
		} else {
			s.countUnseen(st, w, &ev)
		}
		st.addSummary(t, ev.Summary)
		st.sizes.store(len(st.tasks), r.t.Index, st.partitions(r.t.Stage), ev.PartitionBytes)
		if since.Before(s.now) {
			st.took.add(s.now.Sub(since))
		}
		s.emit(Write{Committed{Attempt: ev.Attempt, Worker: w.name, Summary: ev.Summary}})
		s.confirmCommit(r, w)
	}
}

// addSummary counts a task's output when it is first committed, and never again.
func (st *stage) addSummary(t *task, sum Summary) {
	if t.isCounted {
		return
	}
	t.isCounted = true
	st.summary.Bytes += sum.Bytes
	st.summary.Records += sum.Records
	st.summary.Locality.Add(sum.Locality)
	for k, v := range sum.Counters {
		if st.summary.Counters == nil {
			st.summary.Counters = map[string]int64{}
		}
		st.summary.Counters[k] += v
	}
}

func (s *Scheduler) attemptFailed(ev AttemptFailed) {
	w := s.workers[ev.Worker]
	if w == nil {
		return
	}
	a := w.findAttempt(ev.Attempt)
	if a == nil {
		s.copyFailed(w, ev.Attempt)
		return
	}
	s.freeSlot(w, a)
	if a.element == nil {
		s.countEnd(a, EndCancelled, nil, nil)
		return
	}
	last := s.removeAttempt(a)
	t, st, f := a.task(), a.stage(), ev.Failure
	st.failures++
	s.countEnd(a, endOf(f.Kind), nil, &ev.Failure)
	s.noteTrouble(a, f)
	deaths := st.noteDeath(a.t.Index, &f)
	switch {
	case f.Kind == job.Fatal:
		s.failJob(a.ref, f)
	case f.Kind == job.Poison:
		if last {
			s.delayTask(a.ref, s.cfg.RetryDelay/8<<min(deaths/16, 10))
		}
	case f.Kind == job.InputLost && len(f.Lost) > 0:
		t.inputLosses++
		holder := s.loseInput(a, f.Lost)
		if int(t.inputLosses) >= s.cfg.MaxInputLost {
			f.Message = fmt.Sprintf("input lost %s: %s", report.Plural(t.inputLosses, "time"), f.Message)
			if holder != nil {
				f.Message += fmt.Sprintf("; workers %s and %s have leases, but %s cannot read from %s: check the network between their addresses", w.name, holder.name, w.name, holder.name)
			}
			s.failJob(a.ref, f)
			return
		}
		if free := freeLosses(holder); last && int(t.inputLosses) <= free {
			s.enqueueTask(a.ref)
		} else if last {
			s.delayTask(a.ref, s.cfg.RetryDelay<<min(int(t.inputLosses)-free-1, 5))
		}
	case f.Kind == job.Transient || f.Kind == job.InputLost:
		s.countStrike(w)
		if t.failures++; int(t.failures) >= orDefault(st.spec.MaxAttempts, s.cfg.MaxAttempts) {
			s.failJob(a.ref, f)
			return
		}
		if last {
			s.delayTask(a.ref, s.cfg.RetryDelay<<min(t.failures-1, 10))
		}
	default: // the worker ended the attempt, not the task
		if s.countLoss(a.ref, f.Message) && last {
			s.delayTask(a.ref, s.cfg.RetryDelay<<min(t.losses-1, 10))
		}
	}
}

// maxLosses is how many attempts of one task may end with their workers before its job fails.
const maxLosses = 100

// countLoss counts an attempt that ended with its worker, by no known fault of the task. It reports
// whether the job goes on.
func (s *Scheduler) countLoss(r ref, why string) bool {
	t := r.task()
	if t.losses++; t.losses < maxLosses {
		return true
	}
	s.failJob(r, job.Failure{Kind: job.WorkerLost, Message: fmt.Sprintf("%s of one task ended with a worker, the last: %s", report.Plural(t.losses, "attempt"), why)})
	return false
}

// failJob ends the job of a task as failed.
func (s *Scheduler) failJob(r ref, f job.Failure) {
	s.endJob(r.j, Ended{Job: r.j.spec.ID, Outcome: Failed, Failure: &f, Task: r.t})
}
