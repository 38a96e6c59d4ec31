package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// attempt identifies an attempt.
type attempt struct {
	task   ID
	number int64
}

// attemptRun is a running attempt at a task, from the view of its handler.
type attemptRun struct {
	attempt
	function  string
	last      bool          // no other attempt follows
	origin    uint64        // part of the idempotency key
	cluster   string        // name of the coordinator's cluster
	softLimit chan struct{} // closed at the soft limit
	cancel    context.CancelCauseFunc
	worker    *Worker
	batch     *batchItems // set before its batch handler runs
	replay    bool        // it runs for a person; see Worker.replay

	// Worker.state.mu guards the fields below.
	softLimitPassed bool
	// stopped is ErrTimedOut or ErrCancelled after the coordinator has stopped the attempt.
	stopped error
	// stuck calls warnStuck some time after that.
	stuck *time.Timer
	// blocked is closed when partial results may be sent again. It is nil while they may be sent.
	blocked chan struct{}
	sentTo  *session // session with its partial results
	torn    bool     // that session broke
	leader  ID       // first task of the batch, once it is announced
}

// workerState is the state of a running worker.
type workerState struct {
	log   *slog.Logger
	jobs  chan func()  // for spare goroutines
	spare atomic.Int64 // number of spare goroutines

	// mu guards the fields below.
	mu  sync.Mutex
	ctx context.Context // parent context of handlers
	// offered is the number of slots reported, or about to be reported, to the coordinator.
	offered   int
	started   int
	attempts  map[attempt]*attemptRun
	ends      map[attempt]*tasksv1.TaskReport // ends not acknowledged yet
	idleSince time.Time
	watched   bool               // a goroutine waits for changed
	changed   chan struct{}      // capacity 1
	idle      chan struct{}      // capacity 1: the last task has ended
	stopIdle  context.CancelFunc // ends Worker.Idle while it runs
	session   *session           // nil without a connection
	cluster   string             // name of the coordinator's cluster
	left      bool               // the coordinator was informed of the leave
	joined    chan struct{}      // closed and replaced on each new session
	handlers  sync.WaitGroup
}

var (
	errStopped = errors.New("the attempt was stopped")
	errTorn    = errors.New("the connection broke after partial results were sent; it is unknown which of them arrived")
	errEnding  = errors.New("the worker ends")
	errGoexit  = errors.New("the handler ended its goroutine")
)

const (
	// stopWait is how long the end of a worker waits for handlers after their contexts have ended.
	stopWait = time.Second
	// stuckAfter is how long a handler may run on after the end of its context before the log has a
	// warning.
	stuckAfter = 10 * time.Second
	// ackWait is how long the end of a worker waits for each answer of the coordinator.
	ackWait = 2 * time.Second
)

// Run connects to the coordinator and runs tasks until ctx ends. It then finishes the running tasks
// (see Drain) and returns nil. It also returns nil after MaxTasks and IdleExit. Call it once.
//
// If the coordinator cannot be reached, Run tries again without limit, with pauses of up to 10 s;
// running tasks continue meanwhile. It returns an error for invalid fields or certificates, and if
// the coordinator refuses the first connection. It also returns an error if handlers do not return
// in time; their goroutines keep running.
func (w *Worker) Run(ctx context.Context) error {
	name, slots, drain, err := w.withDefaults()
	if err != nil {
		return err
	}
	if file := os.Getenv(report.ReplayEnv); file != "" {
		return w.replay(ctx, file)
	}
	cluster, err := w.cluster.withDefaults()
	if err != nil {
		return err
	}
	member, cluster, err := w.Gossip.member(name, cluster)
	if err != nil {
		return err
	}
	conn, certs, err := cluster.dial()
	if err != nil {
		return err
	}
	within, stopHandlers := context.WithCancelCause(context.WithoutCancel(ctx))
	if w.MaxTasks > 0 {
		slots = min(slots, w.MaxTasks)
	}
	w.slots = slots
	w.state = workerState{log: cluster.Log, jobs: make(chan func()), ctx: within, offered: slots, attempts: map[attempt]*attemptRun{}, ends: map[attempt]*tasksv1.TaskReport{}, idleSince: time.Now(),
		watched: w.MaxTasks > 0 || w.IdleExit > 0, changed: make(chan struct{}, 1), idle: make(chan struct{}, 1), joined: make(chan struct{})}
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	idling, stopIdling := context.WithCancel(ctx)
	refused := make(chan error, 2)
	var family sync.WaitGroup
	if member != nil {
		family.Go(func() {
			if err := member.Run(connected); err != nil {
				refused <- err
			}
		})
	}
	family.Go(func() {
		refused <- w.connect(connected, &link{name: name, cluster: cluster, conn: conn, rpc: tasksv1.NewTasksServiceClient(conn)})
	})
	family.Go(func() { w.idleLoop(idling) })
	if certs != nil {
		family.Go(func() { certs.Watch(idling) })
	}

	if err = w.waitForEnd(ctx, refused); err == nil {
		err = w.drain(drain, stopHandlers)
	}
	stopIdling()
	disconnect()
	stopHandlers(errEnding)
	family.Wait()
	if err == nil {
		w.state.handlers.Wait()
	}
	return errors.Join(err, conn.Close())
}

// waitForEnd blocks until the worker should end.
func (w *Worker) waitForEnd(ctx context.Context, refused <-chan error) error {
	s := &w.state
	patience := w.IdleExit + rand.N(w.IdleExit/4+1)
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for {
		s.mu.Lock()
		running, used, left := len(s.attempts), w.MaxTasks > 0 && s.started >= w.MaxTasks, time.Until(s.idleSince.Add(patience))
		s.mu.Unlock()
		if running == 0 && (used || w.IdleExit > 0 && left <= 0) {
			return nil
		}
		idle.Reset(max(left, 0))
		expired := idle.C
		if running > 0 || w.IdleExit == 0 {
			expired = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-refused:
			return err
		case <-expired:
		case <-s.changed:
		}
	}
}

// drain takes no more tasks and waits up to limit for the running ones. Then the coordinator has
// received all ends and the leave of the worker. The error lists handlers still running after the
// end of their context.
func (w *Worker) drain(limit time.Duration, stopHandlers context.CancelCauseFunc) (err error) {
	s := &w.state
	none := func() bool { return len(s.attempts) == 0 }
	s.mu.Lock()
	s.watched = true
	s.offered = 0
	// An end without a task is acknowledged like others. Its acknowledgement comes after all tasks
	// assigned before the coordinator received the offer of zero slots.
	s.ends[attempt{}] = &tasksv1.TaskReport{Attempt: &tasksv1.TaskAttempt{}, Content: &tasksv1.TaskReport_Failed{}}
	if s.session != nil {
		s.session.abilities = true
		s.session.queue = append(s.session.queue, s.ends[attempt{}])
		s.session.send()
	}
	s.mu.Unlock()
	w.waitUntil(ackWait, func() bool { return s.ends[attempt{}] == nil || s.session == nil })
	if limit < 0 || !w.waitUntil(limit, none) {
		stopHandlers(errEnding)
		if !w.waitUntil(stopWait, none) {
			err = w.stuckError()
		}
	}
	w.waitUntil(ackWait, func() bool { return len(s.ends) == 0 })
	s.mu.Lock()
	gone := s.session
	if gone != nil {
		s.left = true
		gone.leaving = true
		gone.send()
	}
	s.mu.Unlock()
	if gone != nil {
		select {
		case <-gone.over:
		case <-time.After(ackWait):
		}
	}
	return err
}

// stuckError returns the error of handlers that do not return.
func (w *Worker) stuckError() error {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	functions := map[string]int{}
	for _, c := range w.state.attempts {
		functions[c.function]++
	}
	if len(functions) == 0 {
		return nil
	}
	return fmt.Errorf("handlers of %v still run after the end of their context; other workers get their tasks", functions)
}

// waitUntil waits until ok returns true or d has passed, and reports whether ok returned true. ok
// is called with mu held.
func (w *Worker) waitUntil(d time.Duration, ok func() bool) bool {
	s := &w.state
	late, stop := awake.After(d)
	defer stop()
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-late:
			return false
		case <-s.changed:
		}
	}
}

// idleLoop calls Idle whenever nothing runs.
func (w *Worker) idleLoop(ctx context.Context) {
	s := &w.state
	for w.Idle != nil && ctx.Err() == nil {
		within, cancel := context.WithCancel(ctx)
		s.mu.Lock()
		free := len(s.attempts) == 0
		if free {
			s.stopIdle = cancel
		}
		s.mu.Unlock()
		if free {
			w.Idle(within)
		}
		cancel()
		select {
		case <-s.idle:
		case <-ctx.Done():
		}
	}
}
