package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/spans"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// handleMessage carries out a message of the coordinator.
func (s *session) handleMessage(m *tasksv1.WorkTasksResponse) {
	state := &s.w.state
	state.mu.Lock()
	defer state.mu.Unlock()
	for _, a := range m.GetAcks() {
		delete(state.ends, attemptOf(a))
	}
	if len(m.GetAcks()) > 0 && len(state.ends) == 0 {
		state.signal()
	}
	for _, stop := range m.GetStops() {
		c := state.attempts[attemptOf(stop.GetAttempt())]
		switch {
		case c == nil:
		case !stop.GetSoft():
			if c.stopped = reasons[stop.GetReason()]; c.stuck == nil {
				c.stuck = time.AfterFunc(stuckAfter, func() { s.w.warnStuck(c) })
			}
			c.cancel(fmt.Errorf("%w: %w", errStopped, reasons[stop.GetReason()]))
		case !c.softLimitPassed:
			c.softLimitPassed = true
			close(c.softLimit)
		}
	}
	for i, a := range m.GetAssigns() {
		if i == 0 && len(s.piece) > 0 && len(m.GetPiece()) == 0 {
			a.Input = append(s.piece, a.GetInput()...)
			s.piece = nil
		}
		s.w.start(a)
	}
	s.piece = append(s.piece, m.GetPiece()...)
	for _, id := range m.GetPauses() {
		for _, c := range state.attempts {
			if uint64(c.task) == id && c.blocked == nil {
				c.blocked = make(chan struct{})
			}
		}
	}
	for _, id := range m.GetResumes() {
		for _, c := range state.attempts {
			if uint64(c.task) == id && c.blocked != nil {
				close(c.blocked)
				c.blocked = nil
			}
		}
	}
}

// signal wakes the goroutine waiting for a change. mu is held.
func (s *workerState) signal() {
	if !s.watched {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// start runs a task. mu is held.
func (w *Worker) start(a *tasksv1.TaskAssign) {
	state := &w.state
	name := attemptOf(a.GetAttempt())
	if state.attempts[name] != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(state.ctx)
	c := &attemptRun{attempt: name, function: a.GetFunction(), last: a.GetLast(), origin: a.GetOrigin(), cluster: state.cluster, softLimit: make(chan struct{}), cancel: cancel, worker: w}
	state.attempts[name] = c
	state.started++
	if state.stopIdle != nil {
		state.stopIdle()
		state.stopIdle = nil
	}
	state.signal()
	job := func() {
		begun := time.Now()
		var out []byte
		err := errGoexit
		defer func() {
			if cause := context.Cause(ctx); cause != nil && err != nil {
				err = fmt.Errorf("%w (%w)", err, cause)
			}
			cancel(nil)
			w.reportEnd(c, out, err, time.Since(begun))
		}()
		user := context.WithValue(ctx, attemptKey{}, c)
		if a.GetHardNanos() > 0 {
			limited, stop := awake.WithDeadline(user, time.Duration(a.GetHardNanos()))
			defer stop()
			user = limited
		}
		if t := spans.Of(user); t != nil {
			traced, end := t.Attempt(user, a.GetTrace(), c.function, c.task.String(), c.number)
			defer func() { end(err) }() // before the errors of a cancelled context are added
			user = traced
		}
		out, err = w.runHandler(user, a)
	}
	select {
	case state.jobs <- job:
	default:
		state.handlers.Go(func() { state.runJobs(job) })
	}
}

// maxSpare limits the goroutines kept for later tasks. Their stacks have already grown; growing a
// new one costs more than a small task.
const maxSpare = 64

// runJobs runs job and then further jobs, until enough goroutines are spare or the worker ends.
func (s *workerState) runJobs(job func()) {
	for {
		job()
		if s.spare.Add(1) > maxSpare {
			s.spare.Add(-1)
			return
		}
		select {
		case job = <-s.jobs:
			s.spare.Add(-1)
		case <-s.ctx.Done():
			return
		}
	}
}

// runHandler runs the handler of a task.
func (w *Worker) runHandler(ctx context.Context, a *tasksv1.TaskAssign) ([]byte, error) {
	h := w.handlers[a.GetFunction()]
	if h == nil {
		return nil, fmt.Errorf("this worker has no function %q", a.GetFunction())
	}
	in := input{payload: a.GetInput()}
	if a.GetGathered() {
		var all tasksv1.GatheredResults
		if err := proto.Unmarshal(in.payload, &all); err != nil {
			return nil, Fatal(fmt.Errorf("results of a group: %w", err))
		}
		in.done = []bool{}
		for _, r := range all.GetResults() {
			result := r.GetResult()
			if !r.GetDone() {
				result = nil // it may be an error text
			}
			in.results, in.done = append(in.results, result), append(in.done, r.GetDone())
		}
	}
	out, err := h.runSafely(ctx, in)
	if large := checkSize("a result", out); err == nil && large != nil {
		return nil, Fatal(fmt.Errorf("%w; send it in parts, or return its location", large))
	}
	return out, err
}

// maxError limits the error text sent for an attempt, in bytes.
const maxError = 64 << 10

// reportEnd reports the end of an attempt.
func (w *Worker) reportEnd(c *attemptRun, out []byte, err error, took time.Duration) {
	state := &w.state
	state.mu.Lock()
	torn, stopped := c.torn, c.stopped
	state.mu.Unlock()
	if err == nil && torn {
		err = errTorn
	}
	p := &tasksv1.TaskReport{Attempt: c.proto()}
	var text []byte
	if err != nil {
		text = []byte(err.Error())
		text = text[:min(len(text), maxError)]
	}
	switch {
	case err == nil:
		p.Content = &tasksv1.TaskReport_Result{Result: out}
	case isFatal(err):
		p.Content = &tasksv1.TaskReport_Fatal{Fatal: text}
	default:
		p.Content = &tasksv1.TaskReport_Failed{Failed: text}
	}
	if err == nil && stopped != nil { // the coordinator ignores the handler's result
		err = fmt.Errorf("%w: %w", errStopped, stopped)
	}
	event := Event{Task: c.task, Function: c.function, Attempt: int(c.number), Took: took, Err: err}
	switch {
	case stopped == ErrCancelled:
	case err == nil:
		w.Hooks.call(w.Hooks.Done, event)
	case isFatal(err) && stopped == nil, c.last:
		w.Hooks.call(w.Hooks.Failed, event)
	default:
		w.Hooks.call(w.Hooks.Retry, event)
	}
	// The end of the worker is no failure of the task: without a report, another worker gets it.
	returned := stopped == nil && errors.Is(err, errEnding)
	state.mu.Lock()
	defer state.mu.Unlock()
	if c.stuck != nil {
		c.stuck.Stop()
	}
	delete(state.attempts, c.attempt)
	if !returned {
		state.ends[c.attempt] = p
	}
	offer := state.offered
	if w.MaxTasks > 0 {
		offer = max(0, min(offer, w.MaxTasks-state.started+len(state.attempts)))
	}
	fewer := offer < state.offered // sent before the end, because the end frees a slot
	state.offered = offer
	if len(state.attempts) == 0 {
		state.idleSince = time.Now()
		select {
		case state.idle <- struct{}{}:
		default:
		}
	}
	state.signal()
	if s := state.session; s != nil && !returned {
		s.abilities = s.abilities || fewer
		s.queue = append(s.queue, p)
		s.send()
	}
}

// warnStuck logs that the handler of a stopped attempt does not return.
func (w *Worker) warnStuck(c *attemptRun) {
	w.state.log.Warn("a handler ignores the end of its context: its slot stays in use until it returns", "function", c.function, "task", c.task)
}

// call calls a hook unless it is nil.
func (Hooks) call(hook func(Event), e Event) {
	if hook != nil {
		hook(e)
	}
}

// report sends a partial result, a warning or progress. It blocks while the coordinator cannot take
// it.
func (c *attemptRun) report(ctx context.Context, p *tasksv1.TaskReport) error {
	if err := checkSize("a partial result", bodyOf(p)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.replay {
		return replayed(p)
	}
	state := &c.worker.state
	partial := p.GetProgress() == nil
	for {
		state.mu.Lock()
		s := state.session
		var wait <-chan struct{}
		switch {
		case ctx.Err() != nil:
			state.mu.Unlock()
			return context.Cause(ctx)
		case state.attempts[c.attempt] != c:
			state.mu.Unlock()
			return fmt.Errorf("%w: its handler has returned", errStopped)
		case s == nil:
			wait = state.joined
		case partial && c.blocked != nil:
			wait = c.blocked
		case partial && s.bytes > 0 && s.bytes+len(bodyOf(p)) > maxQueued:
			if s.room == nil {
				s.room = make(chan struct{})
			}
			wait = s.room
		default:
			if p.GetWarning() == nil && partial {
				c.sentTo = s
			}
			s.bytes += len(bodyOf(p))
			s.queue = append(s.queue, p)
			s.send()
			state.mu.Unlock()
			return nil
		}
		state.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

func (c *attemptRun) send(ctx context.Context, data []byte) error {
	return c.report(ctx, &tasksv1.TaskReport{Attempt: c.proto(), Content: &tasksv1.TaskReport_Data{Data: data}})
}

func (c *attemptRun) warn(ctx context.Context, text []byte) error {
	return c.report(ctx, &tasksv1.TaskReport{Attempt: c.proto(), Content: &tasksv1.TaskReport_Warning{Warning: text}})
}

func (c *attemptRun) progress(ctx context.Context, n, m uint64) error {
	return c.report(ctx, &tasksv1.TaskReport{Attempt: c.proto(), Content: &tasksv1.TaskReport_Progress{Progress: &tasksv1.TaskProgress{Done: n, Total: m}}})
}
