// Package coordinator accepts jobs, assigns their attempts to workers, and remembers its
// decisions.
//
// It is the shell around the pure core in internal/sched. One goroutine, in Run, owns the core,
// writes each decision to the journal and then carries it out. Workers and clients in the same
// process call its methods; package jobserver offers the same methods over the network. It runs no
// user code and moves no data.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// Policy holds the knobs of scheduling; see its fields.
type Policy = sched.Config

// Config configures a coordinator. The zero value works, but keeps everything in memory only.
type Config struct {
	// Journal stores the decisions; nil means memory only. The caller closes it after Run.
	Journal Journal
	// Succeeds means that another process may have coordinated with the same journal and still run:
	// the epoch grows at the start, even if the journal is empty.
	Succeeds bool
	// Log receives log messages; nil means silence.
	Log *slog.Logger
	// Policy configures scheduling: leases, retries, locality, stragglers, block list.
	Policy

	// Budgets are the sizes of outside resources that attempts need. A budget without a size never
	// runs out. SetTaskSide makes them void: then tasks and attempts share the budgets of the task
	// side.
	Budgets map[string]int

	// Recorder gets the histories of jobs; nil means that nobody keeps them.
	Recorder Recorder

	// KeepFailed is how long the outputs that the failed attempts of a failed job have read stay on
	// their workers, so that Input can name them. A restart of the coordinator ends that time. Zero
	// drops them at the end of the job, and Input remembers no failed attempt.
	KeepFailed time.Duration

	// SnapshotEvery is how many events the journal takes before a snapshot replaces it. Zero means
	// 200,000.
	SnapshotEvery int
}

func (c Config) withDefaults() (Config, error) {
	if c.LeaseTTL > 0 && c.LeaseTTL < time.Second {
		return c, fmt.Errorf("coordinator: LeaseTTL %v is below 1s; heartbeats could not keep it", c.LeaseTTL)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Settle", int64(c.Settle)}, {"MaxAttempts", int64(c.MaxAttempts)}, {"MaxInputLost", int64(c.MaxInputLost)}, {"RetryDelay", int64(c.RetryDelay)},
		{"SpeculateAfter", int64(c.SpeculateAfter)}, {"BlockFor", int64(c.BlockFor)}, {"KeepFailed", int64(c.KeepFailed)}, {"SnapshotEvery", int64(c.SnapshotEvery)},
	} {
		if f.value < 0 {
			return c, fmt.Errorf("coordinator: %s %d is negative; zero means the default", f.name, f.value)
		}
	}
	if c.StragglerRatio > 0 && c.StragglerRatio < 1 {
		return c, fmt.Errorf("coordinator: StragglerRatio %v is below 1; every attempt would be a straggler", c.StragglerRatio)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 200_000
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = 10 * time.Second
	}
	return c, nil
}

var (
	// ErrStopped means that the coordinator has stopped.
	ErrStopped = wire.ErrStopped
	// ErrUnknownJob means that the coordinator has no job with this ID: it was never submitted, or
	// was dropped.
	ErrUnknownJob = wire.ErrUnknownJob
	// ErrLeaseLost means that the worker has no lease. It should join again, with its outputs.
	ErrLeaseLost = wire.ErrLeaseLost
)

// Coordinator schedules jobs. Make one with New. All methods are safe for many goroutines, also
// before Run. A method blocks only if it takes a context.
type Coordinator struct {
	cfg   Config
	clock *awake.Clock
	// wake has capacity 1: the inbox has messages.
	wake chan struct{}
	// stopped is closed when Run returns.
	stopped chan struct{}

	tasks   TaskSide          // set before Run
	workers map[string]Worker // owned by Run
	written int               // events in the journal since the last snapshot; owned by Run
	last    uint64            // number of the last event in the journal; owned by Run
	slept   time.Duration     // the part of clock already given to the scheduler; owned by Run
	blocked time.Duration     // how long the last write took, if that was long; owned by Run

	// readRecords and readBytes count what committed attempts have read in this life.
	readRecords, readBytes atomic.Int64

	// mu guards the fields below.
	mu      sync.Mutex
	core    *sched.Scheduler
	inbox   []message
	joining map[string]int // joins in the inbox, by worker
	watches map[job.ID]*watch
	inputs  inputs
	started bool
	cause   error // why Run returned
}

// message is an event for the scheduler, with its sender's channels.
type message struct {
	ev sched.Event
	// worker is the joining worker of a sched.WorkerJoined.
	worker Worker
	// reply gets the answer; capacity 1, nil when the sender does not wait.
	reply chan error
	// done is called when the event has been processed and is durable. It must not block, and may
	// be nil.
	done func()
}

// Recorder gets what happens to jobs, for people. Its methods must not block. Package recorder has
// one.
type Recorder interface {
	// Submitted gets each new job, and after a restart each job that has not ended. kinds are the
	// kinds of its stages.
	Submitted(spec *job.Spec, kinds []string, opt *report.Options)
	// Ended gets each attempt that has ended. f is nil without a failure, and keys without output.
	Ended(id job.ID, a report.Attempt, f *job.Failure, keys []job.KeySample)
	// JobEnded gets the final state of a job.
	JobEnded(st *report.Job)
	// Reopened reports that an ended job runs again.
	Reopened(id job.ID)
	// Forget reports that a job was dropped.
	Forget(id job.ID)
}

// TaskSide is the side of queued tasks: the scheduler grants them slots of workers, and the task
// side keeps the budgets for tasks and attempts.
type TaskSide interface {
	// Do takes a GrantQueued, AcquireBudgets or ReleaseBudgets. It must not block.
	Do(cmd sched.Command)
}

// watch is what the callers of Wait and Watch wait for, for one job.
type watch struct {
	done chan struct{} // closed when the job has ended
	// changed is closed and replaced at every change; it stays closed after the end of the job.
	changed chan struct{}
	end     error // what Wait returns, once done is closed
}

// New returns a coordinator that does nothing until Run. An error names the wrong field of cfg.
func New(cfg Config) (*Coordinator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, core: sched.New(cfg.Policy), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		workers: map[string]Worker{}, joining: map[string]int{}, watches: map[job.ID]*watch{},
	}
	c.clock = awake.New(c.maxGap())
	c.tasks = newLimits(c, cfg.Budgets)
	return c, nil
}

// maxGap is how long the scheduler may get no events before leases start anew.
func (c *Coordinator) maxGap() time.Duration { return max(c.cfg.LeaseTTL, time.Second) / 4 }

// Run replays the journal, then coordinates until ctx ends or the journal fails. It returns the
// cause of ctx, or the journal's error. Call it once. Calls that still wait when it returns get
// ErrStopped.
func (c *Coordinator) Run(ctx context.Context) (err error) {
	c.mu.Lock()
	alreadyRan := c.started
	c.started = true
	c.mu.Unlock()
	if alreadyRan {
		return errors.New("coordinator: Run was called before; make a new coordinator")
	}
	defer func() {
		c.mu.Lock()
		c.cause, c.inbox = err, nil
		c.mu.Unlock()
		close(c.stopped)
	}()
	if err := c.replay(ctx); err != nil {
		return err
	}
	var clock sync.WaitGroup
	defer clock.Wait()
	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	clock.Go(func() { c.clock.Run(looking) })
	return c.loop(ctx)
}

// loop takes messages from the inbox, passes them to the scheduler, writes the decisions in one
// append, and then carries them out.
func (c *Coordinator) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.wake:
		case <-timer.C:
		}
		for first := true; ctx.Err() == nil; first = false {
			batch := c.take()
			if len(batch) == 0 && !first {
				break
			}
			if err := c.handle(ctx, batch); err != nil {
				return err
			}
		}
		c.mu.Lock()
		next := c.core.Next()
		c.mu.Unlock()
		if keep := c.dropKept(time.Now()); next.IsZero() || !keep.IsZero() && keep.Before(next) {
			next = keep
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// take returns messages that can share one append. Submits go alone, because the journal can still
// refuse them; all other messages up to the next submit go together.
func (c *Coordinator) take() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.inbox) && isSubmit(c.inbox[n]) == isSubmit(c.inbox[0]) {
		n++
	}
	batch := c.inbox[:n:n]
	if c.inbox = c.inbox[n:]; len(c.inbox) == 0 {
		c.inbox = nil
	}
	return batch
}

func isSubmit(m message) bool {
	_, ok := m.ev.(sched.Submitted)
	return ok
}

// handle passes one batch through the scheduler and the journal, and carries out the decisions. An
// empty batch is a tick.
func (c *Coordinator) handle(ctx context.Context, batch []message) error {
	began := time.Now()
	if len(batch) == 0 {
		batch = []message{{ev: sched.Tick{}}}
	}
	if isSubmit(batch[0]) {
		var err error
		if batch, err = c.admit(ctx, batch); err != nil {
			return err
		}
	}
	var cmds []sched.Command
	ends := make([]int, len(batch)) // where the commands of each message end
	c.mu.Lock()
	now := time.Now()
	if slept := c.clock.Slept(now); slept != c.slept || c.blocked > 0 {
		c.cfg.Log.Warn("this process did not run for a while: all leases start anew", "for", slept-c.slept+c.blocked)
		c.slept, c.blocked = slept, 0
		cmds = append(cmds, c.core.Step(now, sched.Woke{})...)
	}
	for i, m := range batch {
		if ev, ok := m.ev.(sched.WorkerJoined); ok {
			if c.joining[ev.Worker]--; c.joining[ev.Worker] == 0 {
				delete(c.joining, ev.Worker)
			}
		}
		cmds = append(cmds, c.core.Step(now, m.ev)...)
		ends[i] = len(cmds)
	}
	c.mu.Unlock()
	if err := c.write(ctx, cmds); err != nil {
		return err
	}
	if took := time.Since(began); took > c.maxGap() { // heartbeats have been waiting since
		c.blocked = took
	}
	begin := 0
	for i, m := range batch {
		c.note(m.ev)
		if ev, ok := m.ev.(sched.WorkerJoined); ok {
			c.workers[ev.Worker] = m.worker
		}
		for _, cmd := range cmds[begin:ends[i]] {
			c.act(cmd)
		}
		begin = ends[i]
	}
	for _, m := range batch {
		if m.reply != nil {
			m.reply <- nil
		}
		if m.done != nil {
			m.done()
		}
	}
	return c.snapshot()
}

// forgetOutputs makes all workers delete everything of a job.
func (c *Coordinator) forgetOutputs(id job.ID) {
	for _, name := range slices.Sorted(maps.Keys(c.workers)) {
		if w, ok := c.workers[name].(RemoteWorker); ok {
			w.DropJob(id)
		}
	}
}

// act carries out one command. It does not block.
func (c *Coordinator) act(cmd sched.Command) {
	switch cmd := cmd.(type) {
	case sched.Write:
		switch d := cmd.Record.(type) {
		case sched.JobDropped:
			c.forget(d.Job)
			c.forgetOutputs(d.Job)
			c.forgetInputs(d.Job)
			if c.cfg.Recorder != nil {
				c.cfg.Recorder.Forget(d.Job)
			}
		case sched.JobReleased:
			c.forgetOutputs(d.Job)
		case sched.Reopened:
			c.reopened(d.Job)
		}
	case sched.AttemptEnded:
		if cmd.End == sched.EndDone {
			c.readRecords.Add(cmd.Summary.Counters[readRecords])
			c.readBytes.Add(cmd.Summary.Counters[readBytes])
		}
		c.record(&cmd)
		c.noteEnd(&cmd)
	case sched.Launch:
		a := cmd.Launch.Attempt
		c.cfg.Log.Debug("attempt launched", "job", a.Job, "attempt", a, "worker", cmd.Worker, "speculative", cmd.Speculative)
		c.noteLaunch(&cmd.Launch)
		if w := c.workers[cmd.Worker]; w != nil {
			w.Launch(cmd.Launch)
		}
	case sched.CancelAttempt:
		if w := c.workers[cmd.Worker]; w != nil {
			w.Cancel(cmd.Attempt)
		}
	case sched.Refuse:
		c.drop(cmd.Worker, cmd.Attempt)
	case sched.Release:
		for _, p := range c.keepInput(&cmd) {
			c.drop(p.Worker, p.Attempt)
		}
	case sched.Commit:
		c.changed(cmd.Attempt.Job)
	case sched.GrantQueued, sched.AcquireBudgets, sched.ReleaseBudgets:
		c.tasks.Do(cmd)
	case sched.WorkerGone:
		c.cfg.Log.Warn("worker lost", "worker", cmd.Worker)
		if w, ok := c.workers[cmd.Worker].(RemoteWorker); ok {
			w.LoseLease()
		}
		delete(c.workers, cmd.Worker)
	case sched.Copy:
		if w, ok := c.workers[cmd.To].(RemoteWorker); ok {
			w.Copy(cmd.Output)
		}
	case sched.Drained:
		c.cfg.Log.Info("worker drained", "worker", cmd.Worker)
		if w, ok := c.workers[cmd.Worker].(RemoteWorker); ok {
			w.Drained()
		}
	case sched.JobEnded:
		if cmd.Empty {
			c.forgetOutputs(cmd.Job)
		}
		c.noteJobEnd(&cmd)
		c.ended(cmd)
	}
}

// drop deletes an output on a worker.
func (c *Coordinator) drop(worker string, a job.Attempt) {
	if w := c.workers[worker]; w != nil {
		w.Drop(a)
	}
}

// note logs an event, and sends Drain to a worker.
func (c *Coordinator) note(ev sched.Event) {
	log := c.cfg.Log
	switch ev := ev.(type) {
	case sched.Submitted:
		c.recordJob(&ev.Spec, &ev.Options)
	case sched.WorkerJoined:
		log.Info("worker joined", "worker", ev.Worker, "slots", ev.Slots, "zone", ev.Zone, "held", len(ev.Outputs))
	case sched.AttemptDone:
		log.Debug("attempt done", "job", ev.Attempt.Job, "attempt", ev.Attempt, "worker", ev.Worker, "bytes", ev.Summary.Bytes)
	case sched.AttemptFailed:
		if ev.Failure.Kind != job.Cancelled {
			log.Warn("attempt failed", "job", ev.Attempt.Job, "attempt", ev.Attempt, "worker", ev.Worker, "kind", ev.Failure.Kind, "err", ev.Failure.Error())
		}
	case sched.DrainWorker:
		log.Info("worker drains", "worker", ev.Worker)
		if w, ok := c.workers[ev.Worker].(RemoteWorker); ok {
			w.Drain()
		}
	case sched.WorkerWithdrawn:
		log.Info("no longer waiting for the files of a worker", "worker", ev.WorkerID)
	case sched.OutputWanted:
		log.Warn("client cannot read an output", "job", ev.Attempt.Job, "attempt", ev.Attempt, "worker", ev.Worker)
	case sched.OutputLost:
		log.Warn("output lost", "job", ev.Attempt.Job, "attempt", ev.Attempt)
	}
}

// post puts a message into the inbox. It returns ErrStopped after Run has returned.
func (c *Coordinator) post(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.stopped:
		return c.stopError()
	default:
	}
	c.inbox = append(c.inbox, m)
	if ev, ok := m.ev.(sched.WorkerJoined); ok {
		c.joining[ev.Worker]++
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// Post hands an event to the scheduler and returns at once, with ErrStopped when Run has returned.
// done is called when the event has been processed and is durable; it must not block, and may be
// nil.
func (c *Coordinator) Post(ev sched.Event, done func()) error {
	return c.post(message{ev: ev, done: done})
}

// SetTaskSide makes t use the slots of the workers for queued tasks, and keep the budgets. Call it
// before Run.
func (c *Coordinator) SetTaskSide(t TaskSide) { c.tasks = t }

// LeaseTTL is how long a worker may be silent before it loses its lease.
func (c *Coordinator) LeaseTTL() time.Duration { return c.cfg.LeaseTTL }

// Woke returns the end of the last pause of this process, in which nobody could reach it; zero when
// there was none.
func (c *Coordinator) Woke() time.Time { return c.clock.Woke() }

// Stopped returns a channel that is closed when Run has returned.
func (c *Coordinator) Stopped() <-chan struct{} { return c.stopped }

// Err returns an error that wraps ErrStopped and the reason, once Stopped is closed; nil before.
func (c *Coordinator) Err() error {
	select {
	case <-c.stopped:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.stopError()
	default:
		return nil
	}
}

// ask posts an event and waits until it has been processed.
func (c *Coordinator) ask(ctx context.Context, ev sched.Event) error {
	reply := make(chan error, 1)
	if err := c.post(message{ev: ev, reply: reply}); err != nil {
		return err
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.stopped:
		select {
		case err := <-reply:
			return err
		default:
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.stopError()
	}
}

// stopError returns the reason for the stop. The caller holds c.mu.
func (c *Coordinator) stopError() error {
	if c.cause == nil || errors.Is(c.cause, context.Canceled) {
		return ErrStopped
	}
	return fmt.Errorf("%w: %w", ErrStopped, c.cause)
}
