package tasks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// attempt names an attempt.
type attempt struct {
	task   ID
	number int64
}

// call is one attempt at a task, as its handler sees it.
type call struct {
	attempt
	function string
	last     bool          // there will be no other attempt
	hurry    chan struct{} // closed at the soft limit
	cancel   context.CancelCauseFunc
	worker   *Worker

	// Worker.state.mu guards the fields below.
	hurried bool
	stopped error         // ErrTimedOut or ErrCancelled: the coordinator wants the attempt no more
	held    chan struct{} // closed when partial results may be sent again; nil when they may
	sentTo  *session      // where partial results went
	torn    bool          // that session broke
}

// workerState is what a worker knows while it runs.
type workerState struct {
	jobs  chan func()  // for goroutines that wait for their next task
	spare atomic.Int64 // how many do

	// mu guards the fields below.
	mu        sync.Mutex
	ctx       context.Context // of handlers
	offered   int             // slots that the coordinator knows of, or is about to
	started   int
	calls     map[attempt]*call
	ends      map[attempt]*layshaftv1.TaskReport // that were not acknowledged
	idleSince time.Time
	watched   bool               // who waits wants to know of changes
	changed   chan struct{}      // has room for one
	idle      chan struct{}      // has room for one: there is nothing to run any more
	stopIdle  context.CancelFunc // of Worker.Idle, while it runs
	session   *session           // nil while there is none
	left      bool               // the coordinator is told that the worker goes
	joined    chan struct{}      // closed and replaced when there is one
	handlers  sync.WaitGroup
}

var (
	errStopped = errors.New("the attempt is not wanted any more")
	errTorn    = errors.New("the connection broke after partial results had been sent, and nobody knows which of them arrived")
	errEnding  = errors.New("the worker ends")
	errGoexit  = errors.New("the handler ended its goroutine")
)

const (
	// stopWait is how long handlers have to notice that their context has ended, when the worker ends.
	stopWait = time.Second
	// ackWait is how long a worker that ends waits for each of the coordinator's answers.
	ackWait = 2 * time.Second
)

// Run connects to the coordinator and runs tasks until ctx ends; it then finishes what it has begun (see Drain) and returns nil. It also returns nil after
// MaxTasks and IdleExit. A coordinator that cannot be reached is tried again for ever, with pauses up to 10 s; running tasks go on meanwhile. Errors are
// those of the fields, of the certificates, of a coordinator that refuses the worker when it comes first, and of handlers that do not return when they should,
// whose goroutines are left. It is called once.
func (w *Worker) Run(ctx context.Context) error {
	name, slots, drain, err := w.withDefaults()
	if err != nil {
		return err
	}
	cluster, err := w.cluster.withDefaults()
	if err != nil {
		return err
	}
	member, cluster, err := w.Gossip.member(name, cluster)
	if err != nil {
		return err
	}
	conn, err := cluster.dial()
	if err != nil {
		return err
	}
	within, stopHandlers := context.WithCancelCause(context.WithoutCancel(ctx))
	if w.MaxTasks > 0 {
		slots = min(slots, w.MaxTasks)
	}
	w.slots = slots
	w.state = workerState{jobs: make(chan func()), ctx: within, offered: slots, calls: map[attempt]*call{}, ends: map[attempt]*layshaftv1.TaskReport{}, idleSince: time.Now(),
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
		refused <- w.connect(connected, &link{name: name, cluster: cluster, rpc: layshaftv1.NewTasksServiceClient(conn)})
	})
	family.Go(func() { w.idleLoop(idling) })

	if err = w.wait(ctx, refused); err == nil {
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

// wait blocks until it is time to go.
func (w *Worker) wait(ctx context.Context, refused <-chan error) error {
	s := &w.state
	patience := w.IdleExit + rand.N(w.IdleExit/4+1)
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for {
		s.mu.Lock()
		running, used, left := len(s.calls), w.MaxTasks > 0 && s.started >= w.MaxTasks, time.Until(s.idleSince.Add(patience))
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

// drain takes no more tasks and lets those that run finish, for as long as they may. The coordinator then knows how they ended, and that the worker
// goes for good. The error names handlers that go on although their context has ended.
func (w *Worker) drain(limit time.Duration, stopHandlers context.CancelCauseFunc) (err error) {
	s := &w.state
	none := func() bool { return len(s.calls) == 0 }
	s.mu.Lock()
	s.watched = true
	s.offered = 0
	// An end of no task is acknowledged like others. Tasks that were sent before the coordinator knew that there should be no more have come by then.
	s.ends[attempt{}] = &layshaftv1.TaskReport{Attempt: &layshaftv1.TaskAttempt{}, What: &layshaftv1.TaskReport_Failed{}}
	if s.session != nil {
		s.session.abilities = true
		s.session.queue = append(s.session.queue, s.ends[attempt{}])
		s.session.send()
	}
	s.mu.Unlock()
	w.until(ackWait, func() bool { return s.ends[attempt{}] == nil || s.session == nil })
	if limit < 0 || !w.until(limit, none) {
		stopHandlers(errEnding)
		if !w.until(stopWait, none) {
			err = w.stuck()
		}
	}
	w.until(ackWait, func() bool { return len(s.ends) == 0 })
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

// stuck is the error of handlers that do not return.
func (w *Worker) stuck() error {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	functions := map[string]int{}
	for _, c := range w.state.calls {
		functions[c.function]++
	}
	if len(functions) == 0 {
		return nil
	}
	return fmt.Errorf("handlers of %v go on although their context has ended; their tasks are given to others", functions)
}

// until waits until ok, which is called with mu held, is true or d has passed, and returns which.
func (w *Worker) until(d time.Duration, ok func() bool) bool {
	s := &w.state
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-t.C:
			return false
		case <-s.changed:
		}
	}
}

// idleLoop calls Idle.
func (w *Worker) idleLoop(ctx context.Context) {
	s := &w.state
	for w.Idle != nil && ctx.Err() == nil {
		within, cancel := context.WithCancel(ctx)
		s.mu.Lock()
		free := len(s.calls) == 0
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
