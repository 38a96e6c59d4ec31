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
	queuedClasses
)

var queuedOptions = [queuedClasses]Options{QueuedHigh: {Priority: 10, Interactive: true}, QueuedLow: {Priority: -10}}

// share is what calls have and want of one worker, by its lasting name.
type share struct {
	name             string
	w                *worker // nil when it has no lease
	waiting, granted [queuedClasses]int
}

func newQueuedJob(c QueuedClass) *jobState {
	return &jobState{isQueued: true, queuedClass: c, options: queuedOptions[c], need: &need{met: true}}
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

// dropEmptyShare forgets a share that says nothing.
func (s *Scheduler) dropEmptyShare(sh *share) {
	if sh.w == nil && sh.waiting == [queuedClasses]int{} && sh.granted == [queuedClasses]int{} {
		delete(s.shares, sh.name)
	}
}

// attachShare lets calls take slots of w, in which those are that run already.
func (s *Scheduler) attachShare(w *worker, name string) {
	sh := s.shareOf(name)
	if sh.w != nil {
		old := sh.w
		s.detachShare(old)
		s.offerWorker(old)
		sh = s.shareOf(name)
	}
	sh.w, w.share = w, sh
	for c := range queuedClasses {
		w.countQueued(c, sh.granted[c])
		s.updateLine(s.queuedJobs[c], sh.waiting[c], 0)
	}
}

// detachShare takes the slots of w from calls.
func (s *Scheduler) detachShare(w *worker) {
	sh := w.share
	if sh == nil {
		return
	}
	for c := range queuedClasses {
		w.countQueued(c, -sh.granted[c])
		s.updateLine(s.queuedJobs[c], -sh.waiting[c], 0)
	}
	sh.w, w.share = nil, nil
	s.dropEmptyShare(sh)
}

// countQueued counts calls in the slots of w.
func (w *worker) countQueued(c QueuedClass, n int) {
	w.queuedTasks += n
	if !queuedOptions[c].Interactive {
		w.ordinary += n
	}
}

func (s *Scheduler) queuedWaiting(ev QueuedWaiting) {
	if ev.Class >= queuedClasses {
		return
	}
	sh := s.shareOf(ev.WorkerID)
	n := max(ev.N, 0)
	if sh.w != nil {
		s.updateLine(s.queuedJobs[ev.Class], n-sh.waiting[ev.Class], 0)
		if n > sh.waiting[ev.Class] && sh.w.idle != nil {
			s.freed = append(s.freed, sh.w)
		}
	}
	sh.waiting[ev.Class] = n
	s.dropEmptyShare(sh)
}

func (s *Scheduler) queuedStarted(ev QueuedStarted) {
	if ev.Class < queuedClasses {
		s.countGranted(s.shareOf(ev.WorkerID), ev.Class, 1)
	}
}

func (s *Scheduler) queuedEnded(ev QueuedEnded) {
	if sh := s.shares[ev.WorkerID]; sh != nil && ev.Class < queuedClasses && sh.granted[ev.Class] > 0 {
		s.countGranted(sh, ev.Class, -1)
	}
}

// countGranted counts a slot that calls got, by 1, or gave back, by -1.
func (s *Scheduler) countGranted(sh *share, c QueuedClass, by int) {
	sh.granted[c] += by
	s.updateLine(s.queuedJobs[c], 0, by)
	if w := sh.w; w != nil {
		w.countQueued(c, by)
		if by < 0 {
			s.offerWorker(w)
		} else {
			s.listWorker(w)
		}
	}
	s.dropEmptyShare(sh)
}

// grantQueued gives calls a slot of w, which fits them.
func (s *Scheduler) grantQueued(w *worker, j *jobState) bool {
	sh := w.share
	sh.waiting[j.queuedClass]--
	s.updateLine(j, -1, 0)
	s.countGranted(sh, j.queuedClass, 1)
	s.starts++
	j.served = s.starts
	s.emit(GrantQueued{sh.name, j.queuedClass})
	return true
}
