package sched

import (
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// A worker drains before it leaves: it gets no new attempts, finishes its running ones, and its
// outputs are copied to other workers as long as a stage or client needs them. Workers of its zone
// are preferred. Until it leaves, it serves the readers that were launched with its address. An
// example:
//
//	DrainWorker w1               -> Copy 0/3#1 from w1 to w2
//	OutputMoved 0/3#1 to w2      -> Write OutputMoved, Commit 0/3#1 on w2
//	last reader of w1 ends       -> Drained w1

const (
	// copies is how many outputs of one draining worker are copied at once.
	copies = 16
	// copyWait is how long a worker may take for a copy before another worker is asked too.
	copyWait = 5 * time.Minute
	// drainEvery is the interval between looks at draining workers.
	drainEvery = time.Second
)

// draining is the state of a draining worker.
type draining struct {
	outputs     []ref                // to copy; entries may be out of date
	moves       map[job.Attempt]move // requested copies
	targets     []*worker            // possible makers of copies; some may have left
	next        int                  // index into targets
	lastMoved   map[*stage]time.Time // when the last output of a stage moved away
	outputsLeft int                  // length of outputs after the last sweep
	exampleJob  *jobState            // one of the jobs with outputs left
	isReported  bool                 // Drained was emitted
	permanent   bool                 // see DrainWorker
}

type move struct {
	ref
	to    *worker
	until time.Time
}

func (s *Scheduler) startDrain(w *worker, permanent bool) {
	if w == nil {
		return
	}
	if w.drain != nil {
		w.drain.permanent = w.drain.permanent || permanent
		return
	}
	w.drain = &draining{moves: map[job.Attempt]move{}, lastMoved: map[*stage]time.Time{}, permanent: permanent}
	s.countTaker(w.kind, -1)
	s.listWorker(w)
	s.drains = append(s.drains, w)
	s.drainAt = s.now
}

// stepDrains sweeps the draining workers, at most once per drainEvery.
func (s *Scheduler) stepDrains() {
	switch {
	case len(s.drains) == 0:
		s.drainAt = time.Time{}
	case !s.now.Before(s.drainAt):
		s.drainAt = s.now.Add(drainEvery)
		for _, w := range s.drains {
			if !s.settling { // while settling, the readers are not known
				s.sweepDrain(w)
			}
		}
	}
}

// mustMove reports whether a draining worker holds the output of a task and somebody needs it.
func (w *worker) mustMove(r ref) bool {
	return r.stage().tasks != nil && r.task().holder == w && r.stage().isNeeded()
}

// sweepDrain lists the outputs to move away from a draining worker, and requests copies. If none is
// left, it checks whether the worker can leave.
func (s *Scheduler) sweepDrain(w *worker) {
	d := w.drain
	for id, m := range d.moves {
		if !w.mustMove(m.ref) || m.task().committed != id.N || s.workers[m.to.name] != m.to || !s.now.Before(m.until) {
			delete(d.moves, id)
		}
	}
	d.outputs = d.outputs[:0]
	for _, j := range s.order {
		for _, t := range j.outputsAt[w] {
			if r := (ref{j, t}); w.mustMove(r) {
				d.outputs = append(d.outputs, r)
			}
		}
	}
	var zone, all []*worker
	for e := s.leases.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*worker); x.drain == nil {
			all = append(all, x)
			if w.zone != "" && x.zone == w.zone {
				zone = append(zone, x)
			}
		}
	}
	if d.targets = zone; zone == nil {
		d.targets = all
	}
	// Outputs for a client stay on the worker's disk for its return, and can be made again.
	if len(d.targets) == 0 {
		d.outputs = slices.DeleteFunc(d.outputs, func(r ref) bool { return r.j.outcome == Done })
	}
	if d.outputsLeft = len(d.outputs); d.outputsLeft > 0 {
		d.exampleJob = d.outputs[0].j
	}
	if len(d.outputs) == 0 {
		if !d.isReported && len(w.running) == 0 && !d.hasReaders() {
			d.isReported = true
			s.emit(Drained{w.name})
		}
		return
	}
	s.requestCopies(w)
}

// explainDrain returns the reason why a draining worker cannot leave yet, for people. It is empty
// when the worker does not drain or has nothing to wait for.
func (s *Scheduler) explainDrain(w *worker) string {
	d := w.drain
	switch {
	case d == nil || d.isReported:
		return ""
	case len(w.running) == 1:
		return "1 attempt still runs"
	case len(w.running) > 1:
		return "still running: " + report.Plural(len(w.running), "attempt")
	case s.settling:
		return "the coordinator restarted and waits for workers to report their outputs"
	case d.outputsLeft > 0 && len(d.targets) == 0:
		return fmt.Sprintf("no other worker can take its %s, for example of job %s: start another worker, or cancel the job", report.Plural(d.outputsLeft, "output"), d.exampleJob.spec.ID)
	case d.outputsLeft > 0:
		return fmt.Sprintf("%s must be copied first, for example of job %s", report.Plural(d.outputsLeft, "output"), d.exampleJob.spec.ID)
	case d.hasReaders():
		return "other workers still read from it"
	}
	return ""
}

// hasReaders reports whether readers run that were launched before the last of their input moved
// away.
func (d *draining) hasReaders() bool {
	for st, at := range d.lastMoved {
		for _, r := range st.readers {
			if e := r.running.Front(); e != nil && !e.Value.(*attempt).started.After(at) {
				return true
			}
		}
	}
	return false
}

// requestCopies requests copies until enough are under way.
func (s *Scheduler) requestCopies(w *worker) {
	d := w.drain
	for ; len(d.outputs) > 0 && len(d.moves) < copies; d.outputs = d.outputs[1:] {
		r := d.outputs[0]
		if !w.mustMove(r) {
			continue
		}
		id := r.attempt(r.task().committed)
		if _, asked := d.moves[id]; asked {
			continue
		}
		for range d.targets {
			to := d.targets[d.next%len(d.targets)]
			d.next++
			if s.workers[to.name] == to && to.drain == nil {
				d.moves[id] = move{r, to, s.now.Add(copyWait)}
				s.emit(Copy{To: to.name, Output: job.Producer{Attempt: id, Worker: w.name}})
				break
			}
		}
	}
}

// outputMoved makes another worker the holder of an output after the old holder began to drain or
// was lost.
func (s *Scheduler) outputMoved(ev OutputMoved) {
	w := s.workers[ev.Worker]
	r, ok := s.findTask(ev.Attempt)
	if w == nil || !ok || ev.Attempt.N <= 0 || r.task().committed != ev.Attempt.N || r.task().holder != nil && r.task().holder != w && r.task().holder.drain == nil {
		s.emit(Refuse(ev))
		return
	}
	from, st := r.task().holder, r.stage()
	if from == w {
		return
	}
	s.emit(Write{ev})
	s.confirmCommit(r, w)
	if from == nil {
		return
	}
	if st.movedAt == nil {
		st.movedAt = map[int]time.Time{}
	}
	d := from.drain
	st.movedAt[r.t.Index], d.lastMoved[st] = s.now, s.now
	delete(d.moves, ev.Attempt)
	if s.requestCopies(from); len(d.moves) == 0 {
		s.drainAt = s.now // the worker may be able to leave now
	}
}

// copyFailed removes a request after a worker failed to make the copy. The next sweep chooses
// another worker.
func (s *Scheduler) copyFailed(w *worker, id job.Attempt) {
	for _, from := range s.drains {
		if m, ok := from.drain.moves[id]; ok && m.to == w {
			delete(from.drain.moves, id)
		}
	}
}

// outputMovedSince reports whether an output got another holder after its reader was launched. Then
// the reader looked for it in the wrong place.
func (s *Scheduler) outputMovedSince(id job.Attempt, reader *attempt) bool {
	r, ok := s.findTask(id)
	if !ok {
		return false
	}
	at, ok := r.stage().movedAt[r.t.Index]
	return ok && !reader.started.After(at)
}
