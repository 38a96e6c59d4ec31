package sched

import (
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// A worker that is to leave drains: it gets no new attempts, ends those it runs, and its outputs that somebody still needs are
// copied to others, in its zone if there are any. Meanwhile it serves the readers that were sent to it.

const (
	// copies is how many outputs of one draining worker are on their way at once.
	copies = 16
	// copyWait is how long a worker may take for a copy before another one is asked too.
	copyWait = 5 * time.Minute
	// drainEvery is how often draining workers are looked at again.
	drainEvery = time.Second
)

// draining is what is known of a worker that drains.
type draining struct {
	todo    []ref                // outputs to copy; entries may be out of date
	moves   map[job.Attempt]move // that were asked for
	targets []*worker            // that can be asked; some may have left
	next    int                  // which of them is next
	gave    map[*stage]time.Time // when the last output of a stage moved away
	owed    int                  // outputs that were to copy at the last sweep
	of      *jobState            // a job of theirs
	ended   bool                 // Drained was said
}

type move struct {
	ref
	to    *worker
	until time.Time
}

func (s *Scheduler) startDrain(w *worker) {
	if w == nil || w.drain != nil {
		return
	}
	w.drain = &draining{moves: map[job.Attempt]move{}, gave: map[*stage]time.Time{}}
	s.taking(w.kind, -1)
	s.place(w)
	s.drains = append(s.drains, w)
	s.drainAt = s.now
}

// drain looks after the workers that drain.
func (s *Scheduler) drain() {
	switch {
	case len(s.drains) == 0:
		s.drainAt = time.Time{}
	case !s.now.Before(s.drainAt):
		s.drainAt = s.now.Add(drainEvery)
		for _, w := range s.drains {
			if !s.settling { // else it is not known who reads from it
				s.sweep(w)
			}
		}
	}
}

// owes says whether a draining worker holds the output of a task, and somebody needs it.
func (w *worker) owes(r ref) bool {
	return r.stage().tasks != nil && r.task().at == w && r.stage().needed()
}

// sweep lists what a draining worker must give away.
func (s *Scheduler) sweep(w *worker) {
	d := w.drain
	for id, m := range d.moves {
		if !w.owes(m.ref) || m.task().kept != id.N || s.workers[m.to.id] != m.to || !s.now.Before(m.until) {
			delete(d.moves, id)
		}
	}
	d.todo = d.todo[:0]
	for _, j := range s.order {
		for _, t := range j.held[w] {
			if r := (ref{j, t}); w.owes(r) {
				d.todo = append(d.todo, r)
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
	if len(d.targets) == 0 { // rows that wait for a client are on the worker's disk when it comes back, and can be made again
		d.todo = slices.DeleteFunc(d.todo, func(r ref) bool { return r.j.outcome == Done })
	}
	if d.owed = len(d.todo); d.owed > 0 {
		d.of = d.todo[0].j
	}
	if len(d.todo) == 0 {
		if !d.ended && len(w.running) == 0 && !d.serves() {
			d.ended = true
			s.emit(Drained{w.id})
		}
		return
	}
	s.feed(w)
}

// waits says what a worker that drains waits for, for people; nothing when it does not, or does not drain.
func (s *Scheduler) waits(w *worker) string {
	d := w.drain
	switch {
	case d == nil || d.ended:
		return ""
	case len(w.running) > 0:
		return fmt.Sprintf("%d attempts run", len(w.running))
	case s.settling:
		return "the coordinator has restarted and waits for workers to say what they hold"
	case d.owed > 0 && len(d.targets) == 0:
		return fmt.Sprintf("no other worker can take its %d outputs, which job %s still needs: start another worker, or cancel the job", d.owed, d.of.spec.ID)
	case d.owed > 0:
		return fmt.Sprintf("%d outputs are to be copied, such as those of job %s", d.owed, d.of.spec.ID)
	case d.serves():
		return "others still read from it"
	}
	return ""
}

// serves says whether attempts run that were launched before the last of their input moved away.
func (d *draining) serves() bool {
	for st, at := range d.gave {
		for _, r := range st.readers {
			if e := r.running.Front(); e != nil && !e.Value.(*attempt).since.After(at) {
				return true
			}
		}
	}
	return false
}

// feed asks for copies until enough are on their way.
func (s *Scheduler) feed(w *worker) {
	d := w.drain
	for ; len(d.todo) > 0 && len(d.moves) < copies; d.todo = d.todo[1:] {
		r := d.todo[0]
		if !w.owes(r) {
			continue
		}
		id := r.attempt(r.task().kept)
		if _, asked := d.moves[id]; asked {
			continue
		}
		for range d.targets {
			to := d.targets[d.next%len(d.targets)]
			d.next++
			if s.workers[to.id] == to && to.drain == nil {
				d.moves[id] = move{r, to, s.now.Add(copyWait)}
				s.emit(Copy{To: to.id, Output: job.Producer{Attempt: id, Worker: w.id}})
				break
			}
		}
	}
}

// moved makes another worker the holder of an output whose holder drains or has gone.
func (s *Scheduler) moved(ev OutputMoved) {
	w := s.workers[ev.Worker]
	r, ok := s.find(ev.Attempt)
	if w == nil || !ok || ev.Attempt.N <= 0 || r.task().kept != ev.Attempt.N || r.task().at != nil && r.task().at != w && r.task().at.drain == nil {
		s.emit(Refuse(ev))
		return
	}
	from, st := r.task().at, r.stage()
	if from == w {
		return
	}
	s.emit(Write{ev})
	s.claim(r, w)
	if from == nil {
		return
	}
	if st.moved == nil {
		st.moved = map[int]time.Time{}
	}
	d := from.drain
	st.moved[r.t.Index], d.gave[st] = s.now, s.now
	delete(d.moves, ev.Attempt)
	if s.feed(from); len(d.moves) == 0 {
		s.drainAt = s.now // is that all?
	}
}

// notMoved says that a worker could not make a copy. Another one is asked a little later.
func (s *Scheduler) notMoved(w *worker, id job.Attempt) {
	for _, from := range s.drains {
		if m, ok := from.drain.moves[id]; ok && m.to == w {
			delete(from.drain.moves, id)
		}
	}
}

// movedSince says whether an output got another holder after an attempt that reads it was launched: it was looked for in
// the wrong place.
func (s *Scheduler) movedSince(id job.Attempt, reader *attempt) bool {
	r, ok := s.find(id)
	if !ok {
		return false
	}
	at, ok := r.stage().moved[r.t.Index]
	return ok && !reader.since.After(at)
}
