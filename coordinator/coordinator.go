// Package coordinator accepts jobs, decides which worker runs what, and remembers.
//
// It is the shell around the pure core in internal/sched: one goroutine, in Run, owns the core, writes what was decided
// to the journal and then acts on it. Workers and clients in the same process call its methods directly; they reach it
// over the network through the same methods. It runs no user code and moves no data.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
)

// Policy holds the knobs of scheduling; see its fields.
type Policy = sched.Config

// Config is what a coordinator needs. The zero value works: it remembers in memory only.
type Config struct {
	Journal Journal      // where decisions are kept; nil means nowhere. The caller closes it after Run
	Log     *slog.Logger // nil means silence
	Policy               // leases, retries, locality, stragglers, block list

	// Budgets are how much there is of outside resources that attempts need; of those that are not named there is enough. They count for nothing when
	// SetTaskSide was called: then tasks and attempts share the budgets that people set.
	Budgets map[string]int

	// SnapshotEvery is how many events the journal takes before it is replaced by a snapshot. Zero means 200,000.
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
		{"SpeculateAfter", int64(c.SpeculateAfter)}, {"BlockFor", int64(c.BlockFor)}, {"SnapshotEvery", int64(c.SnapshotEvery)},
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
	// ErrStopped means that the coordinator does not run any more.
	ErrStopped = wire.ErrStopped
	// ErrUnknownJob means that the coordinator knows no job of that ID: never submitted, or dropped.
	ErrUnknownJob = wire.ErrUnknownJob
	// ErrLeaseLost means that the worker has no lease. It joins again, with the outputs it holds.
	ErrLeaseLost = wire.ErrLeaseLost
)

// Coordinator is made by New. All methods may be called from many goroutines, also before Run, and do not block unless
// they take a context.
type Coordinator struct {
	cfg     Config
	wake    chan struct{} // capacity 1: the inbox has messages
	stopped chan struct{} // closed when Run returns

	tasks   TaskSide          // set before Run
	workers map[string]Worker // owned by Run
	written int               // events in the journal since the last snapshot; owned by Run
	last    uint64            // number of the last event in the journal; owned by Run

	// mu guards the fields below.
	mu      sync.Mutex
	core    *sched.Scheduler
	inbox   []message
	joining map[string]int // joins in the inbox, by worker
	watches map[job.ID]*watch
	started bool
	cause   error // why Run returned
}

// message is an event for the core, and who waits for it.
type message struct {
	ev     sched.Event
	worker Worker     // that joins
	reply  chan error // capacity 1; nil when nobody waits
	done   func()     // called when the event has been taken in, durably; it must not block. Nil when nobody wants to know
}

// TaskSide is the side of queued tasks: it uses slots that the scheduler grants to tasks, and keeps
// the budgets that tasks and attempts share.
type TaskSide interface {
	// Do takes a GrantQueued, AcquireBudgets or ReleaseBudgets. It must not block.
	Do(cmd sched.Command)
}

// watch is what callers wait on for one job.
type watch struct {
	done    chan struct{} // closed when the job has ended
	changed chan struct{} // closed and replaced at every change; stays closed when the job has ended
	end     error         // what Wait returns, once done is closed
}

// New returns a coordinator that does nothing until Run. The error names the field of cfg that is wrong.
func New(cfg Config) (*Coordinator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, core: sched.New(cfg.Policy), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		workers: map[string]Worker{}, joining: map[string]int{}, watches: map[job.ID]*watch{},
	}
	c.tasks = newLimits(c, cfg.Budgets)
	return c, nil
}

// Run replays the journal and then coordinates until ctx ends, whose cause it returns, or until the journal fails. It may
// be called once. Calls that still wait when it returns get ErrStopped.
func (c *Coordinator) Run(ctx context.Context) (err error) {
	c.mu.Lock()
	again := c.started
	c.started = true
	c.mu.Unlock()
	if again {
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
	return c.loop(ctx)
}

// loop takes what waits in the inbox, lets the core decide, writes the decisions in one append, and then acts.
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
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// take returns the messages that can share one append: submits, because they can be refused, or all up to the next submit.
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

// handle takes one batch through the core, the journal and the world. An empty batch is a tick.
func (c *Coordinator) handle(ctx context.Context, batch []message) error {
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

// forgetOutputs tells all workers that nothing of a job is needed any more.
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
		case sched.JobReleased:
			c.forgetOutputs(d.Job)
		case sched.Reopened:
			c.reopened(d.Job)
		}
	case sched.Launch:
		a := cmd.Launch.Attempt
		c.cfg.Log.Debug("attempt launched", "job", a.Job, "attempt", a, "worker", cmd.Worker, "speculative", cmd.Speculative)
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
		for _, p := range cmd.Outputs {
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
		c.ended(cmd)
	}
}

func (c *Coordinator) drop(worker string, a job.Attempt) {
	if w := c.workers[worker]; w != nil {
		w.Drop(a)
	}
}

// note logs what happened, and tells a worker that it drains.
func (c *Coordinator) note(ev sched.Event) {
	log := c.cfg.Log
	switch ev := ev.(type) {
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
		log.Info("files of worker not waited for any more", "worker", ev.WorkerID)
	case sched.OutputWanted:
		log.Warn("client cannot read an output", "job", ev.Attempt.Job, "attempt", ev.Attempt, "worker", ev.Worker)
	case sched.OutputLost:
		log.Warn("output lost", "job", ev.Attempt.Job, "attempt", ev.Attempt)
	}
}

// post puts a message into the inbox. It returns ErrStopped when nobody will read it.
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

// Post hands an event to the scheduler and returns at once, with ErrStopped when Run has returned. done
// is called when the event has been processed and is durable; it must not block, and may be nil.
func (c *Coordinator) Post(ev sched.Event, done func()) error {
	return c.post(message{ev: ev, done: done})
}

// SetTaskSide makes t use the slots of the workers for queued tasks, and keep the budgets. Call it
// before Run.
func (c *Coordinator) SetTaskSide(t TaskSide) { c.tasks = t }

// LeaseTTL is how long a worker may be silent before it loses its lease.
func (c *Coordinator) LeaseTTL() time.Duration { return c.cfg.LeaseTTL }

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

// ask posts an event and waits until it has been dealt with.
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

// stopError says why the coordinator stopped. c.mu is held.
func (c *Coordinator) stopError() error {
	if c.cause == nil || errors.Is(c.cause, context.Canceled) {
		return ErrStopped
	}
	return fmt.Errorf("%w: %w", ErrStopped, c.cause)
}
