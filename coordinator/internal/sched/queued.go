package sched

// Package queue decides about queued tasks, but if they run in the slots of a worker, the slots
// come from here. So there is one order for both: each class of queued tasks stands in the line
// like a job.
//
// The queue sets how many tasks could start on a worker, gets a grant for each slot, and returns
// the slot at the end:
//
//	QueuedWaiting w1 normal 2    -> GrantQueued w1 normal, GrantQueued w1 normal
//	QueuedEnded w1 normal
//
// The queue keeps its grants when the worker is lost, since the process with the tasks may be
// alive. When the worker joins again, as the same process or another with its ID, those tasks take
// their slots from the start.

// QueuedClass is the priority of queued tasks.
type QueuedClass uint8

// The classes are indexes of arrays.
const (
	QueuedHigh   QueuedClass = iota // like an interactive job of priority 10
	QueuedNormal                    // like a job of priority 0
	QueuedLow                       // like a job of priority -10
	queuedClasses
)

var queuedOptions = [queuedClasses]Options{QueuedHigh: {Priority: 10, Interactive: true}, QueuedLow: {Priority: -10}}

// share is the part of queued tasks in the slots of one worker, by worker ID.
type share struct {
	name             string
	w                *worker // nil when the worker has no lease
	waiting, granted [queuedClasses]int
}

func newQueuedJob(c QueuedClass) *jobState {
	return &jobState{isQueued: true, queuedClass: c, options: queuedOptions[c], need: &need{met: true}}
}

// shareOf returns the share of a worker. It makes one if there is none.
func (s *Scheduler) shareOf(name string) *share {
	sh := s.shares[name]
	if sh == nil {
		sh = &share{name: name}
		s.shares[name] = sh
	}
	return sh
}

// dropEmptyShare deletes a share without worker, waiting tasks and grants.
func (s *Scheduler) dropEmptyShare(sh *share) {
	if sh.w == nil && sh.waiting == [queuedClasses]int{} && sh.granted == [queuedClasses]int{} {
		delete(s.shares, sh.name)
	}
}

// attachShare lets queued tasks use slots of w, beginning with the running tasks.
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

// detachShare ends the use of the slots of w by queued tasks.
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

// countQueued adds n queued tasks to the slots of w.
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

// countGranted counts a slot as granted (by is 1) or returned (by is -1).
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

// grantQueued gives a slot of w to a queued task. The caller has checked w.fits.
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
