package worker

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/segment"
	"github.com/layshaft/layshaft/worker/internal/attempt"
)

// runSlot runs one attempt after another until the worker drains.
func (w *Worker) runSlot(ctx context.Context, slot int) {
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.draining {
			w.changed.Wait()
		}
		if w.draining {
			w.mu.Unlock()
			return
		}
		x := w.queue[0]
		w.queue = w.queue[1:]
		work, cancel := context.WithCancelCause(ctx)
		x.cancel, x.since = cancel, time.Now()
		w.mu.Unlock()

		m, busy, err := w.runAttempt(work, slot, x)
		cancel(nil)
		w.log.Debug("attempt ended", "job", x.Attempt.Job, "attempt", x.Attempt, "took", time.Since(x.since), "err", err)
		w.report(x)(m, err)
		if codeRuns(busy) {
			w.log.Warn("user code abandoned: it ignores its context", "job", x.Attempt.Job, "attempt", x.Attempt)
			w.dropProgram(x.Attempt.Job, slot) // the abandoned code keeps it
		}
	}
}

// codeRuns reports whether user code has not returned.
func codeRuns(busy <-chan struct{}) bool {
	select {
	case <-busy:
		return false
	default:
		return busy != nil
	}
}

// runAttempt runs x. busy is nil if user code was not called.
func (w *Worker) runAttempt(ctx context.Context, slot int, x *launched) (*job.Manifest, <-chan struct{}, error) {
	cfg, err := w.prepare(x.Launch, slot)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Output, err = w.store.Create(x.Attempt); err != nil {
		return nil, nil, err
	}
	cfg.Progress, cfg.SetAside = &x.progress, func(line []byte) { w.aside.add(x.Attempt, line) }
	return attempt.Run(ctx, cfg)
}

// prepare returns the configuration of an attempt, without its output.
func (w *Worker) prepare(l job.Launch, slot int) (attempt.Config, error) {
	id := l.Attempt.Job
	spec, program, err := w.codeOf(id, slot)
	if err != nil {
		return attempt.Config{}, err
	}
	stage := l.Attempt.Task.Stage
	if stage < 0 || stage >= len(spec.Stages) {
		return attempt.Config{}, &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("job %s has no stage %d, only %d", id, stage, len(spec.Stages))}
	}
	memory := cmp.Or(spec.Memory, w.cfg.Memory/int64(w.cfg.Slots))
	return attempt.Config{
		Launch: l, Stage: spec.Stages[stage], Program: program, Fetch: w.fetcher(), Dir: w.scratch(), Check: w.store.CheckSpace,
		Memory: memory, Slots: w.cfg.Slots, Grace: w.cfg.Grace,
	}, nil
}

// codeOf returns a job as data and the slot's instance of its code.
func (w *Worker) codeOf(id job.ID, slot int) (*job.Spec, *job.Program, error) {
	w.mu.Lock()
	c := w.code[id]
	if c == nil {
		c = &code{programs: make(map[int]*job.Program)}
		w.code[id] = c
	}
	spec, program := c.spec, c.programs[slot]
	w.mu.Unlock()
	var err error
	if spec == nil {
		if spec, err = w.cfg.Spec(id); err != nil {
			return nil, nil, fmt.Errorf("job %s: %w", id, err)
		}
	}
	if program == nil {
		if program, err = w.build(id, slot); err != nil {
			return nil, nil, fmt.Errorf("code of job %s: %w", id, err)
		}
	}
	w.mu.Lock()
	c.spec, c.programs[slot] = spec, program
	w.mu.Unlock()
	return spec, program, nil
}

// build makes an instance of a job's code. It turns a panic into an error.
func (w *Worker) build(id job.ID, slot int) (program *job.Program, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("panic: %v", v), Detail: string(debug.Stack())}
		}
	}()
	return w.cfg.Program(id, slot)
}

// RunAgain runs a task once more, for comparison with an earlier run. It keeps only the manifest
// with its Sum, counters and sink parts. It blocks while user code runs and while another
// RunAgain does; it takes no slot. A task with sinks writes to them again, under the launch's
// attempt number.
func (w *Worker) RunAgain(ctx context.Context, l job.Launch) (*job.Manifest, error) {
	select {
	case w.rerun <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-w.rerun }()
	cfg, err := w.prepare(l, w.cfg.Slots)
	if err != nil {
		return nil, err
	}
	cfg.Output = &sumOutput{attempt: l.Attempt}
	m, busy, err := attempt.Run(ctx, cfg)
	if codeRuns(busy) {
		w.dropProgram(l.Attempt.Job, w.cfg.Slots)
	}
	return m, err
}

// dropProgram makes the next attempt of a job in a slot build the program again.
func (w *Worker) dropProgram(id job.ID, slot int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.code[id]; c != nil {
		delete(c.programs, slot)
	}
}

// sumOutput is an output that only computes its hash.
type sumOutput struct {
	segment.Sum
	attempt job.Attempt
}

func (o *sumOutput) Seal(_ context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error) {
	return &job.Manifest{Attempt: o.attempt, Counters: counters, Sink: sink, Sum: o.Sum64()}, nil
}

func (o *sumOutput) Discard() {}
