package sched

// Single calls of functions are another core's business, but those that run in the slots of a worker take them from this one, so that there is
// one order for both: a class of calls stands in the line like a job. The other core says how many calls want to start on a worker, is granted a slot
// for each, and gives it back. It keeps what it was granted when the worker is lost, since whoever runs the calls may live; when the worker, or its
// next process, joins, the calls are there already.

// QueuedClass is the priority of calls.
type QueuedClass uint8

// The classes, as indexes.
const (
	QueuedHigh   QueuedClass = iota // like an interactive job of priority 10
	QueuedNormal                    // like a job of priority 0
	QueuedLow                       // like a job of priority -10
	classes
)

var callOptions = [classes]Options{QueuedHigh: {Priority: 10, Interactive: true}, QueuedLow: {Priority: -10}}

// share is what calls have and want of one worker, by its lasting name.
type share struct {
	name       string
	w          *worker // nil when it has no lease
	want, held [classes]int
}

func newCaller(c QueuedClass) *jobState {
	return &jobState{calls: true, class: c, options: callOptions[c], need: &need{met: true}}
}

// shareOf returns the share of a worker, a new one if need be.
func (s *Scheduler) shareOf(name string) *share {
	sh := s.shares[name]
	if sh == nil {
		sh = &share{name: name}
		s.shares[name] = sh
	}
	return sh
}

// tidy forgets a share that says nothing.
func (s *Scheduler) tidy(sh *share) {
	if sh.w == nil && sh.want == [classes]int{} && sh.held == [classes]int{} {
		delete(s.shares, sh.name)
	}
}

// joinShare lets calls take slots of w, in which those are that run already.
func (s *Scheduler) joinShare(w *worker, name string) {
	sh := s.shareOf(name)
	if sh.w != nil {
		old := sh.w
		s.leaveShare(old)
		s.offer(old)
		sh = s.shareOf(name)
	}
	sh.w, w.share = w, sh
	for c := range classes {
		w.hold(c, sh.held[c])
		s.adjust(s.callers[c], sh.want[c], 0)
	}
}

// leaveShare takes the slots of w from calls.
func (s *Scheduler) leaveShare(w *worker) {
	sh := w.share
	if sh == nil {
		return
	}
	for c := range classes {
		w.hold(c, -sh.held[c])
		s.adjust(s.callers[c], -sh.want[c], 0)
	}
	sh.w, w.share = nil, nil
	s.tidy(sh)
}

// hold counts calls in the slots of w.
func (w *worker) hold(c QueuedClass, n int) {
	w.calls += n
	if !callOptions[c].Interactive {
		w.ordinary += n
	}
}

func (s *Scheduler) callsWanted(ev QueuedWaiting) {
	if ev.Class >= classes {
		return
	}
	sh := s.shareOf(ev.WorkerID)
	n := max(ev.N, 0)
	if sh.w != nil {
		s.adjust(s.callers[ev.Class], n-sh.want[ev.Class], 0)
		if n > sh.want[ev.Class] && sh.w.idle != nil {
			s.freed = append(s.freed, sh.w)
		}
	}
	sh.want[ev.Class] = n
	s.tidy(sh)
}

func (s *Scheduler) callStarted(ev QueuedStarted) {
	if ev.Class < classes {
		s.holds(s.shareOf(ev.WorkerID), ev.Class, 1)
	}
}

func (s *Scheduler) callEnded(ev QueuedEnded) {
	if sh := s.shares[ev.WorkerID]; sh != nil && ev.Class < classes && sh.held[ev.Class] > 0 {
		s.holds(sh, ev.Class, -1)
	}
}

// holds counts a slot that calls got, by 1, or gave back, by -1.
func (s *Scheduler) holds(sh *share, c QueuedClass, by int) {
	sh.held[c] += by
	s.adjust(s.callers[c], 0, by)
	if w := sh.w; w != nil {
		w.hold(c, by)
		if by < 0 {
			s.offer(w)
		} else {
			s.place(w)
		}
	}
	s.tidy(sh)
}

// grant gives calls a slot of w, which fits them.
func (s *Scheduler) grant(w *worker, j *jobState) bool {
	sh := w.share
	sh.want[j.class]--
	s.adjust(j, -1, 0)
	s.holds(sh, j.class, 1)
	s.starts++
	j.served = s.starts
	s.emit(GrantQueued{sh.name, j.class})
	return true
}
