package mapreduce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/worker"
)

// stageOutputs are the committed outputs of one stage, as far as this process has received them.
type stageOutputs struct {
	first chan struct{} // closed when the first message has arrived
	last  chan struct{} // closed when the last message has arrived
	by    []job.Producer
}

// commits returns the known outputs of a stage. The first call waits for the first message. After
// the end of the job it waits for all messages.
func (e *cluster) commits(stage int) []job.Producer {
	c := e.awaitOutputs(stage)
	e.mu.Lock()
	defer e.mu.Unlock()
	by := slices.Clone(c.by)
	for i := range by {
		// also for tasks without a commit
		by[i].Attempt.Job, by[i].Attempt.Task = e.spec.ID, job.Task{Stage: stage, Index: i}
	}
	return by
}

func (e *cluster) commit(stage, task int) job.Producer {
	c := e.awaitOutputs(stage)
	e.mu.Lock()
	defer e.mu.Unlock()
	p := c.by[task]
	p.Attempt.Job, p.Attempt.Task = e.spec.ID, job.Task{Stage: stage, Index: task}
	return p
}

// awaitOutputs waits for the first message about the outputs of a stage; after the end of the job,
// for all messages.
func (e *cluster) awaitOutputs(stage int) *stageOutputs {
	e.mu.Lock()
	c := e.stages[stage]
	if c == nil {
		c = &stageOutputs{first: make(chan struct{}), last: make(chan struct{}), by: make([]job.Producer, e.spec.Stages[stage].Tasks)}
		e.stages[stage] = c
		e.group.Go(func() { e.followCommits(stage, c) })
	}
	over := e.last.Outcome != report.JobRunning
	e.mu.Unlock()
	<-c.first
	if over {
		<-c.last
	}
	return c
}

func (e *cluster) followCommits(stage int, c *stageOutputs) {
	markFirst := sync.OnceFunc(func() { close(c.first) })
	defer close(c.last)
	defer markFirst()
	for m, err := range e.client.Commits(e.ctx, e.spec.ID, stage) {
		if err != nil {
			return // the end of the job carries the reason
		}
		e.mu.Lock()
		if m.All {
			clear(c.by)
		}
		for _, p := range m.Changed {
			if i := p.Attempt.Task.Index; i >= 0 && i < len(c.by) {
				c.by[i] = job.Producer{}
				if p.Attempt.N > 0 {
					c.by[i] = p
				}
			}
		}
		maps.Copy(e.address, m.Addresses)
		e.changedLocked()
		e.mu.Unlock()
		markFirst()
	}
}

// outputsOf returns the outputs of the worker that made p.
func (e *cluster) outputsOf(p job.Producer) (worker.Outputs, error) {
	w, err := e.connect(p.Worker)
	if err != nil {
		return nil, &job.Failure{Kind: job.InputLost, Message: fmt.Sprintf("output of %s: %v", p.Attempt, err), Lost: []job.Attempt{p.Attempt}}
	}
	return w, nil
}

func (e *cluster) manifest(p job.Producer) (*job.Manifest, error) {
	o, err := e.outputsOf(p)
	if err != nil {
		return nil, err
	}
	return o.Manifest(p.Attempt)
}

func (e *cluster) open(p job.Producer, port int) ([]job.RunReader, error) {
	o, err := e.outputsOf(p)
	if err != nil {
		return nil, err
	}
	return o.All(p.Attempt, port)
}

func (e *cluster) findOutput(p job.Producer) (job.Producer, error) {
	id, t := e.spec.ID, p.Attempt.Task
	ctx, cancel := context.WithCancel(e.ctx)
	var attending sync.WaitGroup
	defer attending.Wait()
	defer cancel()
	for tries := 0; ; tries++ {
		if err := e.client.ReportLost(ctx, p); err != nil {
			return p, err
		}
		attending.Go(func() { // the job runs as long as a client attends it
			for range e.client.Attend(ctx, id) {
			}
		})
		for m, err := range e.client.Commits(ctx, id, t.Stage) { // ends when the stage is complete
			if err != nil {
				return p, err
			}
			e.mu.Lock()
			maps.Copy(e.address, m.Addresses)
			e.mu.Unlock()
			for _, now := range m.Changed {
				if now.Attempt.Task == t && now.Worker != "" && now != p {
					return now, nil
				}
			}
		}
		st, err := e.client.Status(ctx, id)
		switch {
		case err != nil:
			return p, err
		case st.Released:
			return p, fmt.Errorf("job %s was released by another run of the same command, which has read it", id)
		case st.Outcome == report.JobFailed, st.Outcome == report.JobCancelled:
			return p, &report.JobError{ID: id, Outcome: st.Outcome, Failure: *cmp.Or(st.Failure, &job.Failure{})}
		case tries >= maxWant:
			return p, fmt.Errorf("output still on worker %s after %d tries; check that this machine can reach it", p.Worker, tries)
		}
		select { // for example, a restarted coordinator waits for its workers
		case <-time.After(time.Second):
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
}

func (e *cluster) reportLost(p job.Producer) { _ = e.client.ReportLost(e.ctx, p) }

func (e *cluster) setAside(ctx context.Context) (all []worker.SetAside, err error) {
	ctx, cancel := awake.WithTimeout(ctx, asideLimit)
	defer cancel()
	names, err := e.workerNames(ctx)
	if err != nil {
		return nil, err
	}
	each := make([][]worker.SetAside, len(names))
	errs := make([]error, len(names))
	var calls sync.WaitGroup
	for i, name := range names {
		calls.Go(func() {
			w, err := e.connect(name)
			if err == nil {
				each[i], err = worker.RemoteSetAside(ctx, w.conn, e.spec.ID)
			}
			if err != nil {
				errs[i] = fmt.Errorf("worker %s: %w", name, err)
			}
		})
	}
	calls.Wait()
	return slices.Concat(each...), errors.Join(errs...)
}
