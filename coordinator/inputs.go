package coordinator

import (
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// The inputs of failed attempts are remembered, so that a person can run such an attempt again
// elsewhere. When a job fails, the outputs that these attempts have read stay on their workers for
// Config.KeepFailed. Nothing of this is in the journal: after a restart the scheduler does not know
// these outputs, and drops them when a worker reports them.

const (
	// maxInputs is how many failed attempts of a job are remembered, the latest ones.
	maxInputs = 64
	// maxInputJobs is how many jobs with failed attempts are remembered, the latest ones.
	maxInputJobs = 1000
	// maxHeldJobs is how many failed jobs hold outputs on the workers, the latest ones.
	maxHeldJobs = 4
)

// inputs are the launches of attempts. Coordinator.mu guards it.
type inputs struct {
	running map[job.Attempt]job.Launch
	failed  map[job.ID]*failedInputs
	order   []job.ID // of failed
}

// failedInputs are the failed attempts of a job.
type failedInputs struct {
	launches []job.Launch          // the latest last
	keep     map[job.Producer]bool // outputs to keep; nil while the job runs
	held     []job.Producer        // outputs that were released, but are not dropped yet
	until    time.Time             // when held is dropped; zero while the job runs
}

// noteLaunch remembers the input of a running attempt.
func (c *Coordinator) noteLaunch(l *job.Launch) {
	if c.cfg.KeepFailed == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inputs.running == nil {
		c.inputs.running, c.inputs.failed = map[job.Attempt]job.Launch{}, map[job.ID]*failedInputs{}
	}
	c.inputs.running[l.Attempt] = *l
}

// noteEnd remembers the input of an attempt that failed, and forgets the input of any other one.
func (c *Coordinator) noteEnd(e *sched.AttemptEnded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := &c.inputs
	l, ok := in.running[e.Attempt]
	delete(in.running, e.Attempt)
	if _, known := c.core.Hash(e.Attempt.Job); !ok || !known || e.End != sched.EndFailed && e.End != sched.EndLost {
		return
	}
	f := in.failed[e.Attempt.Job]
	if f == nil {
		if len(in.order) >= maxInputJobs {
			old := slices.IndexFunc(in.order, func(id job.ID) bool { return len(in.failed[id].held) == 0 })
			if old < 0 {
				return // dropKept has work to do first
			}
			in.forget(in.order[old])
		}
		f = &failedInputs{}
		in.failed[e.Attempt.Job], in.order = f, append(in.order, e.Attempt.Job)
	}
	f.launches = append(f.launches, l)
	if n := len(f.launches) - maxInputs; n > 0 {
		f.launches = slices.Delete(f.launches, 0, n)
	}
}

// forget removes what is remembered of a job. It does not drop its outputs.
func (in *inputs) forget(id job.ID) {
	if in.failed[id] != nil {
		delete(in.failed, id)
		in.order = slices.DeleteFunc(in.order, func(x job.ID) bool { return x == id })
	}
}

// forgetInputs is forget for a dropped job.
func (c *Coordinator) forgetInputs(id job.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inputs.forget(id)
}

// noteJobEnd decides which outputs stay after the end of a job. A job that did not fail is
// forgotten. A job that fails drops what the oldest of several failed jobs holds, because a job may
// fail again and again.
func (c *Coordinator) noteJobEnd(e *sched.JobEnded) {
	for _, p := range c.keepInputs(e) {
		c.drop(p.Worker, p.Attempt)
	}
}

// keepInputs returns the outputs that noteJobEnd drops.
func (c *Coordinator) keepInputs(e *sched.JobEnded) (drop []job.Producer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.inputs.failed[e.Job]
	if f == nil {
		return nil
	}
	if e.Outcome != report.JobFailed {
		c.inputs.forget(e.Job)
		return nil
	}
	f.keep, f.until = map[job.Producer]bool{}, time.Now().Add(c.cfg.KeepFailed)
	for i := range f.launches {
		for _, producers := range f.launches[i].Producers {
			for _, p := range producers {
				f.keep[p] = true
			}
		}
	}
	var oldest *failedInputs
	holding := 0
	for _, id := range c.inputs.order {
		if old := c.inputs.failed[id]; !old.until.IsZero() && len(old.keep) > 0 {
			if holding++; oldest == nil || old.until.Before(oldest.until) {
				oldest = old
			}
		}
	}
	if holding <= maxHeldJobs {
		return nil
	}
	return oldest.release()
}

// release returns the outputs that were held, and holds no others from now on.
func (f *failedInputs) release() []job.Producer {
	drop := f.held
	// a split is its own input
	f.launches = slices.DeleteFunc(f.launches, func(l job.Launch) bool { return len(l.Producers) > 0 })
	f.keep, f.held, f.until = nil, nil, time.Time{}
	return drop
}

// keepInput returns the outputs of a release that are dropped now.
func (c *Coordinator) keepInput(r *sched.Release) []job.Producer {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.inputs.failed[r.Job]
	if f == nil || f.until.IsZero() {
		return r.Outputs
	}
	var now []job.Producer
	for _, p := range r.Outputs {
		if f.keep[p] {
			f.held = append(f.held, p)
		} else {
			now = append(now, p)
		}
	}
	return now
}

// dropKept drops outputs whose time has passed, and returns when the next ones follow.
func (c *Coordinator) dropKept(now time.Time) (next time.Time) {
	c.mu.Lock()
	var drop []job.Producer
	for _, id := range c.inputs.order {
		f := c.inputs.failed[id]
		switch {
		case f.until.IsZero():
		case now.Before(f.until):
			if next.IsZero() || f.until.Before(next) {
				next = f.until
			}
		default:
			drop = append(drop, f.release()...)
		}
	}
	c.mu.Unlock()
	for _, p := range drop {
		c.drop(p.Worker, p.Attempt)
	}
	return next
}

// Input returns the launch of an attempt. Number zero means the latest failed attempt of the task,
// else the input that an attempt of the task would get now.
func (c *Coordinator) Input(a job.Attempt) (job.Launch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spec, ok := c.core.Spec(a.Job)
	t := a.Task
	switch {
	case !ok:
		return job.Launch{}, fmt.Errorf("job %s: %w", a.Job, ErrUnknownJob)
	case t.Stage < 0 || t.Stage >= len(spec.Stages):
		return job.Launch{}, fmt.Errorf("job %s has no stage %d, only %d", a.Job, t.Stage, len(spec.Stages))
	case t.Index < 0 || t.Index >= spec.Stages[t.Stage].Tasks:
		return job.Launch{}, fmt.Errorf("job %s has no task %s; its stage has %s", a.Job, t, report.Plural(spec.Stages[t.Stage].Tasks, "task"))
	}
	if f := c.inputs.failed[a.Job]; f != nil {
		for _, l := range slices.Backward(f.launches) {
			if l.Attempt.Task == t && (a.N == 0 || l.Attempt.N == a.N) {
				return l, nil
			}
		}
	}
	if l, ok := c.inputs.running[a]; ok {
		return l, nil
	}
	if l, ok := c.core.LaunchOf(a); ok {
		l.Attempt.N = max(l.Attempt.N, 1)
		return l, nil
	}
	why := "it is not complete yet"
	if st, _ := c.core.Status(a.Job); st.Outcome != report.JobRunning {
		why = fmt.Sprintf("the job is %s; only a failed job keeps the inputs of its failed attempts, for %v (-keep-failed of the coordinator) and until the coordinator restarts; run the job again", st.Outcome, c.cfg.KeepFailed)
	}
	return job.Launch{}, fmt.Errorf("the input of task %s of job %s cannot be read: %s", t, a.Job, why)
}
