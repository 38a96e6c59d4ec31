package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/records"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// Submit accepts a job. When it returns nil, the job is in the journal. If the ID and Hash of spec
// are known, nothing changes, even when that job has ended: Drop it first to run it again. The same
// ID with another Hash is an error. A known job keeps its options; opt.Submitted is now if it is
// zero. After an error that wraps journal.ErrDiskFull, nothing was accepted. The caller must not
// change spec afterwards.
func (c *Coordinator) Submit(ctx context.Context, spec job.Spec, opt report.Options) error {
	if opt.Submitted.IsZero() {
		opt.Submitted = time.Now()
	}
	if err := sched.Check(&spec); err != nil {
		return fmt.Errorf("submit: %w: %w", wire.ErrInvalid, err)
	}
	if err := c.ask(ctx, sched.Submitted{Spec: spec, Options: opt}); err != nil {
		return fmt.Errorf("submit job %s: %w", spec.ID, err)
	}
	return nil
}

// Cancel ends a job. When it returns nil, the end is in the journal. A job that has ended stays as
// it is.
func (c *Coordinator) Cancel(ctx context.Context, id job.ID, why string) error {
	if err := c.ask(ctx, sched.Cancelled{Job: id, Reason: why}); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	if _, ok := c.Status(id); !ok {
		return fmt.Errorf("cancel job %s: %w", id, ErrUnknownJob)
	}
	return nil
}

// Detach lets a job continue without its client. When it returns nil, this is in the journal.
func (c *Coordinator) Detach(ctx context.Context, id job.ID) error {
	if err := c.ask(ctx, sched.Detached{Job: id}); err != nil {
		return fmt.Errorf("detach job %s: %w", id, err)
	}
	if _, ok := c.Status(id); !ok {
		return fmt.Errorf("detach job %s: %w", id, ErrUnknownJob)
	}
	return nil
}

// Drop deletes a job and its outputs, and cancels the job first if it still runs. An unknown job
// is no error.
func (c *Coordinator) Drop(ctx context.Context, id job.ID) error {
	if err := c.ask(ctx, sched.JobDropped{Job: id}); err != nil {
		return fmt.Errorf("drop job %s: %w", id, err)
	}
	return nil
}

// Release deletes the outputs of a job, and cancels the job first if it still runs. The status of
// the job stays for Policy.Retain. An unknown job is no error.
func (c *Coordinator) Release(ctx context.Context, id job.ID) error {
	if err := c.ask(ctx, sched.JobReleased{Job: id}); err != nil {
		return fmt.Errorf("release job %s: %w", id, err)
	}
	return nil
}

// Ready blocks until the journal has been replayed and all earlier posts, including joins and
// reports, have been processed.
func (c *Coordinator) Ready(ctx context.Context) error {
	return c.ask(ctx, sched.JobDropped{}) // of no job: it changes nothing
}

// Wait blocks until a job has ended. It returns nil when the job is done, a *report.JobError when
// it failed or was cancelled, and an error that wraps ErrUnknownJob, ErrStopped or the cause of
// ctx.
func (c *Coordinator) Wait(ctx context.Context, id job.ID) error {
	c.mu.Lock()
	w := c.watches[id]
	c.mu.Unlock()
	if w == nil {
		return fmt.Errorf("job %s: %w", id, ErrUnknownJob)
	}
	select {
	case <-w.done:
		return w.end
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.stopped:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.stopError()
	}
}

// Ended returns a channel that is closed when a job has ended; nil when the job is unknown.
func (c *Coordinator) Ended(id job.ID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[id]; w != nil {
		return w.done
	}
	return nil
}

// Watch returns a channel that is closed when the next attempt of the job commits, or when the job
// ends. Call it before Commits or Status, look, wait, and call it again. For a job that is unknown
// or has ended the channel is already closed.
func (c *Coordinator) Watch(id job.ID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[id]; w != nil {
		return w.changed
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Status returns the state of a job; ok is false when the job is unknown.
func (c *Coordinator) Status(id job.ID) (status report.Job, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Status(id)
}

// Spec returns a job as submitted, without its splits when its output was deleted. ok is false
// when the job is unknown. The caller must not change the contents.
func (c *Coordinator) Spec(id job.ID) (spec job.Spec, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Spec(id)
}

// Options returns the options of a job's submit; ok is false when the job is unknown.
func (c *Coordinator) Options(id job.ID) (opt report.Options, ok bool) {
	st, ok := c.Status(id)
	return st.Options, ok
}

// Commits returns the committed attempt of each task of a stage with the holder of its output, in
// task order; the zero Producer for a task without a commit. It returns nil when the job is
// unknown or the stage's output is gone. A job that is done keeps its client's outputs until
// Release or Drop; a failed or cancelled job keeps none.
func (c *Coordinator) Commits(id job.ID, stage int) []job.Producer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Commits(id, stage)
}

// Commit returns the committed attempt of one task with the holder of its output; the zero
// Producer when there is none.
func (c *Coordinator) Commit(id job.ID, stage, task int) job.Producer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Commit(id, stage, task)
}

// Jobs returns the IDs of all known jobs, in order of submission.
func (c *Coordinator) Jobs() []job.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Jobs()
}

// Epoch returns how often the coordinator was restarted. Call it after Ready.
func (c *Coordinator) Epoch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Epoch()
}

// Hash returns the fingerprint of a job; ok is false when the job is unknown.
func (c *Coordinator) Hash(id job.ID) (hash string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Hash(id)
}

// Audit returns broken promises of the scheduler, in words for people; nil when there are none. It
// looks at every task.
func Audit(c *Coordinator) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sched.Audit(c.core)
}

// admit writes submitted jobs to the journal before the scheduler gets them, because the journal
// can still refuse them. It answers the refused ones and returns the others.
func (c *Coordinator) admit(ctx context.Context, batch []message) (accepted []message, err error) {
	var events [][]byte
	var fresh []message           // accepted when the journal takes events
	hashes := map[job.ID]string{} // of fresh
	for _, m := range batch {
		ev := m.ev.(sched.Submitted)
		id := ev.Spec.ID
		before, known := c.Hash(id)
		now, twice := hashes[id]
		switch {
		case known && before != ev.Spec.Hash || twice && now != ev.Spec.Hash:
			m.reply <- fmt.Errorf("%w: a job with this ID and hash %s is known, not %s: its plan, parameters or input changed; drop it, or use another ID", wire.ErrConflict, before+now, ev.Spec.Hash)
		case known:
			accepted = append(accepted, m)
		case twice:
			fresh = append(fresh, m)
		default:
			event, err := records.Encode(ev)
			if err != nil {
				m.reply <- err
				continue
			}
			hashes[id] = ev.Spec.Hash
			events, fresh = append(events, event), append(fresh, m)
		}
	}
	if err := c.appendJobs(ctx, events); err != nil {
		ended := errors.Is(err, errJournal)
		answer := err
		if ended { // the next coordinator takes the job, or knows it
			answer = fmt.Errorf("%w: %w", ErrStopped, err)
		}
		for _, m := range fresh {
			m.reply <- answer
		}
		if ended {
			return nil, err
		}
		return accepted, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range fresh {
		spec := m.ev.(sched.Submitted).Spec
		if c.watches[spec.ID] == nil {
			c.cfg.Log.Info("job submitted", "job", spec.ID, "name", spec.Name, "stages", len(spec.Stages), "tasks", spec.Tasks())
			c.watches[spec.ID] = newWatch()
		}
	}
	return append(accepted, fresh...), nil
}

// appendJobs adds new jobs to the journal. Unlike decisions about known jobs, they may not use the
// reserve of the disk.
func (c *Coordinator) appendJobs(ctx context.Context, events [][]byte) error {
	if disk, ok := c.cfg.Journal.(interface{ CheckSpace(n int64) error }); ok && len(events) > 0 {
		size := 0
		for _, ev := range events {
			size += len(ev)
		}
		if err := disk.CheckSpace(int64(size)); err != nil {
			return err
		}
	}
	return c.append(ctx, events...)
}

func newWatch() *watch { return &watch{done: make(chan struct{}), changed: make(chan struct{})} }

// finish wakes all waiting callers.
func (w *watch) finish(id job.ID, outcome report.Outcome, f *job.Failure) {
	if f != nil {
		w.end = &report.JobError{ID: id, Outcome: outcome, Failure: *f}
	}
	close(w.done)
	close(w.changed)
}

func (c *Coordinator) forget(id job.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, id)
}

// changed wakes the callers that watch a job.
func (c *Coordinator) changed(id job.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[id]; w != nil {
		select {
		case <-w.done:
		default:
			close(w.changed)
			w.changed = make(chan struct{})
		}
	}
}

// reopened lets callers wait again for a job that was done.
func (c *Coordinator) reopened(id job.ID) {
	c.cfg.Log.Warn("job runs again: outputs were lost before its client read them", "job", id)
	if c.cfg.Recorder != nil {
		c.cfg.Recorder.Reopened(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches[id] = newWatch()
}

// ended wakes the callers that wait for the end of a job.
func (c *Coordinator) ended(e sched.JobEnded) {
	if e.Failure != nil {
		c.cfg.Log.Info("job ended", "job", e.Job, "outcome", e.Outcome, "err", e.Failure.Error())
	} else {
		c.cfg.Log.Info("job ended", "job", e.Job, "outcome", e.Outcome)
	}
	if st, ok := c.Status(e.Job); ok && c.cfg.Recorder != nil {
		c.cfg.Recorder.JobEnded(&st)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[e.Job]; w != nil {
		w.finish(e.Job, e.Outcome, e.Failure)
	}
}
