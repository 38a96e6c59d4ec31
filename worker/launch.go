package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// launched is an attempt from its launch to its report.
type launched struct {
	job.Launch
	progress job.Progress
	since    time.Time               // when it got its slot; zero before
	cancel   context.CancelCauseFunc // nil before it has a slot
	reported chan struct{}           // closed after the report
}

// Launch starts an attempt, or queues it until a slot is free, without blocking. Its end is
// reported once. Launch has no effect on an attempt that was launched already. If the worker
// holds the attempt's output, it reports that again.
func (w *Worker) Launch(l job.Launch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := l.Attempt
	if w.attempts[a] != nil || w.ended {
		return
	}
	x := &launched{Launch: l, reported: make(chan struct{})}
	w.attempts[a] = x
	switch {
	case w.store.Holds(a):
		w.enqueueChore(func() { w.report(x)(w.store.Manifest(a)) })
	case w.draining:
		w.reportLater(x, lostWithWorker())
	default:
		w.queue = append(w.queue, x)
		w.changed.Broadcast()
	}
}

// Cancel cancels an attempt without blocking. The attempt is reported when it has ended. Cancel
// has no effect on other attempts than waiting and running ones.
func (w *Worker) Cancel(a job.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.attempts[a]; x != nil {
		w.cancelLocked(x)
	}
}

// cancelLocked cancels an attempt. The caller holds mu.
func (w *Worker) cancelLocked(x *launched) {
	cause := &job.Failure{Kind: job.Cancelled, Message: "cancelled"}
	if x.cancel != nil {
		x.cancel(cause)
	} else if i := slices.Index(w.queue, x); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
		w.reportLater(x, cause)
	}
}

// Drop removes the output of an attempt. It does not block.
func (w *Worker) Drop(a job.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enqueueChore(func() {
		if err := w.store.Drop(a); err != nil {
			w.log.Warn("output not dropped", "job", a.Job, "attempt", a, "err", err)
		}
	})
}

// DropJob cancels the attempts of a job, waits for their reports, and removes the job's outputs
// and code. Records set aside stay for some minutes. It blocks for up to Grace if user code ignores
// its context. If attempts were launched before Run, it blocks until Run runs.
func (w *Worker) DropJob(id job.ID) error {
	w.mu.Lock()
	var wait []*launched
	for a, x := range w.attempts {
		if a.Job == id {
			w.cancelLocked(x)
			wait = append(wait, x)
		}
	}
	w.mu.Unlock()
	for _, x := range wait {
		<-x.reported
	}
	w.mu.Lock()
	delete(w.code, id)
	w.mu.Unlock()
	w.aside.drop(id)
	return w.store.DropJob(id)
}

// Jobs returns the IDs of the jobs with outputs on this worker, sorted.
func (w *Worker) Jobs() []job.ID { return w.store.Jobs() }

// SealedAttempts returns the attempts of a job whose outputs the worker holds, in task order.
func (w *Worker) SealedAttempts(id job.ID) []job.Attempt { return w.store.SealedAttempts(id) }

// Running is the progress of an attempt that was launched and not reported yet.
type Running struct {
	Attempt                 job.Attempt   // the launched attempt
	Since                   time.Time     // when it got its slot; zero before
	Records, Bytes, Spilled int64         // so far; see job.Progress
	Idle                    time.Duration // how long it makes no progress; zero while it does
	Stacks                  string        // of its goroutines while it is idle
}

// Progress returns the attempts that were launched and not reported yet, sorted by job and task.
func (w *Worker) Progress() []Running {
	w.mu.Lock()
	defer w.mu.Unlock()
	rs := make([]Running, 0, len(w.attempts))
	for _, a := range slices.SortedFunc(maps.Keys(w.attempts), job.Attempt.Compare) {
		x := w.attempts[a]
		p := &x.progress
		r := Running{Attempt: a, Since: x.since, Records: p.Records.Load(), Bytes: p.Bytes.Load(), Spilled: p.Spilled.Load(), Idle: time.Duration(p.Idle.Load())}
		if s := p.Stacks.Load(); s != nil {
			r.Stacks = *s
		}
		rs = append(rs, r)
	}
	return rs
}

// Spilled returns how many bytes all attempts have spilled so far, including attempts that failed.
func (w *Worker) Spilled() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.spilled
	for _, x := range w.attempts {
		n += x.progress.Spilled.Load()
	}
	return n
}

// report returns a function that reports the result of x. The function must not be called with mu
// held.
func (w *Worker) report(x *launched) func(*job.Manifest, error) {
	return func(m *job.Manifest, err error) {
		if err == nil {
			w.cfg.Reporter.Done(w.cfg.Name, m)
		} else {
			var f *job.Failure
			if !errors.As(err, &f) {
				f = &job.Failure{Kind: job.Transient, Message: err.Error()}
			}
			w.cfg.Reporter.Failed(w.cfg.Name, x.Attempt, *f)
		}
		w.mu.Lock()
		delete(w.attempts, x.Attempt)
		w.spilled += x.progress.Spilled.Load()
		w.mu.Unlock()
		close(x.reported)
	}
}

// reportLater reports a failure from runChores. The caller holds mu.
func (w *Worker) reportLater(x *launched, f *job.Failure) {
	w.enqueueChore(func() { w.report(x)(nil, f) })
}
