// Package desk is the shell around the task queue. It feeds events and the time to the core,
// package queue, and executes the commands that the core returns: it stores payloads and records
// in package bodies, and delivers notes to clients and workers.
//
// Two kinds of peer use it. A Session is one client or task worker of the native protocol; its
// owner takes notes from its Outbox and sends them over gRPC. A Broker is the queue behind
// package gearman, with one gearman.Session per connection. A worker of either kind can run tasks
// from clients of either kind. The desk itself uses neither gRPC nor sockets.
//
// # Turns
//
// One mutex guards the core. Callers hold it from Lock to Unlock: this is a turn. A turn may
// contain many calls, such as all packets of one read, and all of them see the same time. Unlock
// blocks, after it has released the mutex, while a peer has too many bytes waiting, so a fast
// producer waits for a slow reader. Methods without such a note in their comment are called
// within a turn.
//
// # Batches
//
// Each call gives the core one event (step). All records written for that event form one batch
// with a number; batches become durable in the order of their numbers. The store writes in the
// background (Run): while one write is on its way to the disk, later batches collect, and the
// next write takes all of them together. So the number of writes per second does not limit the
// number of tasks (group commit). After each write the store calls Desk.committed with the
// highest durable number.
//
// # Answers
//
// Every note carries the number of the batch that must be durable before its peer may see it, or
// 0. An Outbox keeps its notes in order and stops at the first one whose batch is not yet
// durable. Hence:
//
//   - a client receives Accepted after its task is durable, and a result after the result is
//     durable;
//   - a client that attaches to a task waits for the latest batch, although its own event wrote
//     nothing;
//   - a worker may start its next task at once, but receives the acknowledgement of a finished
//     attempt only when the end is durable;
//   - tasks in memory never wait, because they write no records.
//
// Callers without a session pass Note.Batch to Desk.Durable, which blocks. If the store fails,
// nothing can become durable: all sessions end with the error, and Run returns it.
package desk

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/schedule"
	"github.com/layshaft/layshaft/internal/awake"
)

// Config configures a desk. The zero value keeps everything in memory.
type Config struct {
	// Dir is the directory for tasks and records; Open creates it. Empty means memory only: tasks
	// are lost with the process.
	Dir string
	// Memory limits the memory for payloads that need not survive a restart, in bytes,
	// approximately. Zero means 32 MiB with Dir, and 1 GiB without, where every payload counts.
	Memory int64
	// NoSync skips fsync; the operating system decides when to write.
	NoSync bool
	// Reserve is the disk space to leave free, in bytes; see state.Options.
	Reserve int64
	// AcceptLoss drops damaged data, once, instead of refusing to open; see bodies.Options.
	AcceptLoss bool
	// Replica, if set, takes the place of Dir; see bodies.Options.
	Replica bodies.Replica
	// Queue configures the core.
	Queue queue.Config
	// MaxBody is the largest input or result, in bytes. Zero means 64 MiB.
	MaxBody int
	// MaxPending is the number of bytes that may wait for one session before producers block.
	// Zero means 4 MiB.
	MaxPending int
	// Stall is how long a session with a full Outbox may take nothing before it is ended. Zero
	// means 30 s.
	Stall time.Duration
	// Slots lends slots of other work to sessions. Nil means that sessions cannot share slots.
	Slots Slots
	// OnGranted is called when Acquire has got all its budgets. It runs with the lock held and
	// must not block. It may be nil if Acquire is never called.
	OnGranted func(ref uint64)
	// OnShort is called when Acquire needs more than a whole budget, with the reason in words. The
	// reason is empty when the budget has become large enough. Otherwise OnShort is like OnGranted.
	OnShort func(ref uint64, why string)
	// Log receives messages for the operator; nil disables logging.
	Log *slog.Logger
}

// Slots divides the slots of workers between tasks and other work. The desk calls it in order
// with the lock held, so methods must not block. Granted slots arrive later through Desk.Grant.
type Slots interface {
	// RequestSlots reports how many more tasks of priority p could start in slots of the share.
	RequestSlots(share string, p queue.Priority, n int)
	// OccupySlot reports a task that already runs in an ungranted slot, after a restart.
	OccupySlot(share string, p queue.Priority)
	// FreeSlot returns a slot.
	FreeSlot(share string, p queue.Priority)
}

var (
	// ErrFull means that a queue, the memory or the disk is full. A retry may succeed.
	ErrFull = errors.New("no room for the task")
	// ErrInvalid means that a field is out of bounds.
	ErrInvalid = errors.New("invalid task")
	// ErrUnknown means that the task does not exist, or no longer exists.
	ErrUnknown = errors.New("unknown task")
	// ErrBusy means that the function still has workers or tasks.
	ErrBusy = errors.New("function has workers or tasks")
	// ErrStalled ends a session after it has taken nothing for Config.Stall.
	ErrStalled = errors.New("the receiver read nothing for too long")
	// ErrStopped means that the desk stopped before a change was durable. A retry at the next desk
	// may succeed.
	ErrStopped = errors.New("the coordinator shuts down")
)

// Desk is the shell of the queue. See the package comment for locking.
type Desk struct {
	cfg        Config
	store      *bodies.Store
	durability durability
	clock      *awake.Clock
	// rearm wakes tick before its timer fires.
	rearm chan struct{}
	// gatherReady wakes runGathers: gathering is not empty.
	gatherReady chan struct{}

	// mu guards the fields below, with Lock and Unlock.
	mu   sync.Mutex
	core *queue.Queue
	// now is the start of the turn.
	now time.Time
	// slept is the part of clock already given to the core.
	slept time.Duration
	// nextTick is when the timer of tick fires.
	nextTick time.Time
	peers    map[queue.Peer]peer
	lastPeer queue.Peer
	// schedules submits tasks at their times.
	schedules *schedules
	// beforeCommit, if set, adds records to the batch of a step.
	beforeCommit func(cmds []queue.Command)
	// lastBatch is the number of the latest batch.
	lastBatch uint64
	// reservedIn is the number of the latest batch that reserves IDs.
	reservedIn uint64
	// failures are the latest failures of attempts.
	failures failures
	// full lists the outboxes that this turn filled beyond MaxPending.
	full []*Outbox
	// roomWaiters lists the Gearman connections that received bodies in this turn.
	roomWaiters []roomWaiter
	// inGearmanTurn is set in turns of package gearman, which waits for its own connections.
	inGearmanTurn bool
	// payloadReused means that the caller overwrites the payload after the event.
	payloadReused bool
	// gathering lists the inputs for runGathers to assemble.
	gathering []gathering
	// groups holds the groups without an outcome.
	groups map[queue.ID]*group
	// followUps holds tasks that follow others and have not started, with the batch that recorded
	// their input.
	followUps map[queue.ID]uint64
	// groupFollowers lists the sessions to attach to the successor of an ended group.
	groupFollowers []follower
	// broken is the error that ended the store; afterwards the desk refuses everything. It wraps
	// ErrStopped.
	broken error
	// stopping is set by Stop.
	stopping bool

	// The fields below are scratch space, to save allocations.
	submit queue.Submit
	report queue.Report
	body   []byte
	key    []byte
	note   Note // the note on its way
}

// peer is a connected party, as the desk sees it. receive is called with the lock held and must
// not keep n.
type peer interface {
	receive(n *Note)
}

// Open opens a desk and restores its tasks. Call Run to operate it, and Close after Run has
// returned.
func Open(cfg Config) (*Desk, error) {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 4 << 20
	}
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Queue.MaxGathered = cfg.MaxBody
	d := &Desk{cfg: cfg, core: queue.New(cfg.Queue), schedules: newSchedules(), clock: awake.New(maxGap), now: time.Now(), peers: map[queue.Peer]peer{}, groups: map[queue.ID]*group{}, followUps: map[queue.ID]uint64{},
		rearm: make(chan struct{}, 1), gatherReady: make(chan struct{}, 1)}
	var err error
	d.store, err = bodies.Open(cfg.Dir, bodies.Options{Memory: cfg.Memory, NoSync: cfg.NoSync, Reserve: cfg.Reserve, AcceptLoss: cfg.AcceptLoss, Replica: cfg.Replica, Log: cfg.Log, Committed: d.committed})
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	if err := d.restore(); err != nil {
		return nil, errors.Join(fmt.Errorf("tasks: %w", err), d.store.Close())
	}
	return d, nil
}

// isDurable reports whether tasks survive the process.
func (d *Desk) isDurable() bool { return d.cfg.Dir != "" || d.cfg.Replica != nil }

// restore loads the records of the previous process.
func (d *Desk) restore() error {
	if !d.isDurable() { // task IDs must differ from IDs of an earlier process: start at a random count below 2^37
		var b [8]byte
		_, _ = crand.Read(b[3:])
		b[3] &= 0x1f
		if err := d.core.Restore([]byte{'n'}, b[:]); err != nil {
			return err
		}
		d.begin()
		return nil
	}
	err := d.store.Restore(func(key, value []byte) error {
		if len(key) == 9 && key[0] == 'g' {
			d.groups[queue.ID(binary.BigEndian.Uint64(key[1:]))] = &group{}
		}
		if schedule.IsRecord(key) {
			return d.schedules.core.Restore(key, value)
		}
		return d.core.Restore(key, value)
	})
	if err == nil {
		d.begin()
	}
	return err
}

// begin ends the restore.
func (d *Desk) begin() {
	var b [8]byte
	_, _ = crand.Read(b[:])
	d.Lock()
	d.step(queue.Restarted{Origin: binary.LittleEndian.Uint64(b[:])}, nil)
	d.beginSchedules()
	d.Unlock()
}

// maxGap is how long the process may not run before the time limits of tasks move. It is below the
// shortest useful limit.
const maxGap = 2 * time.Second

// Run operates the desk until ctx ends; then it returns nil. It returns an error if the store
// fails. Everything that waits for a timer or for the disk needs Run.
func (d *Desk) Run(ctx context.Context) error {
	family, within := errgroup.WithContext(ctx)
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan error, 1)
	go func() {
		err := d.store.Run(writing)
		if err != nil && writing.Err() != nil { // the last batches cannot be written
			err = fmt.Errorf("%w: %w", ErrStopped, err)
		}
		if err != nil {
			d.fail(err)
		}
		written <- err
	}()
	family.Go(func() error { d.clock.Run(within); return nil })
	family.Go(func() error { return d.tick(within) })
	family.Go(func() error { return d.runGathers(within) })
	failed := error(nil)
	select {
	case <-ctx.Done():
		stopWriting()
		failed = <-written
	case failed = <-written:
		stopWriting()
	case <-within.Done():
		stopWriting()
		failed = <-written
	}
	d.durability.fail(ErrStopped)
	if failed != nil {
		d.fail(failed)
	}
	if err := family.Wait(); failed == nil && ctx.Err() == nil {
		failed = err
	}
	return failed
}

// Close closes the store. Call it after Run has returned.
func (d *Desk) Close() error { return d.store.Close() }

// tick sends Tick to the core at the times that the core requests.
func (d *Desk) tick(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.rearm:
		case <-t.C:
		}
		d.Lock()
		d.step(queue.Tick{}, nil)
		d.runSchedules()
		d.nextTick = d.nextWake()
		wait, broken := time.Hour, d.broken
		if !d.nextTick.IsZero() {
			wait = time.Until(d.nextTick)
		}
		d.full, d.roomWaiters = nil, nil
		d.mu.Unlock()
		if broken != nil {
			return broken
		}
		t.Reset(wait)
	}
}

// fail records that the store is broken and ends all sessions. It needs no lock.
func (d *Desk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failLocked(err)
}

// failLocked is fail with the lock held.
func (d *Desk) failLocked(err error) {
	if d.broken != nil {
		return
	}
	if errors.Is(err, bodies.ErrSuperseded) {
		d.cfg.Log.Info("tasks continue at another coordinator", "err", err)
	} else {
		d.cfg.Log.Error("task store failed: tasks are no longer durable", "err", err)
	}
	if !errors.Is(err, ErrStopped) {
		err = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	d.broken = err
	for _, p := range d.peers {
		if s, ok := p.(*Session); ok {
			s.close(err)
		}
	}
	d.durability.fail(err)
	d.wakeTick()
}

func (d *Desk) wakeTick() {
	select {
	case d.rearm <- struct{}{}:
	default:
	}
}

// Lock begins a turn.
func (d *Desk) Lock() {
	d.mu.Lock()
	d.now = time.Now()
	if slept := d.clock.Slept(d.now); slept != d.slept {
		pause := slept - d.slept
		d.slept = slept
		d.step(queue.Woke{For: pause}, nil)
	}
}

// Clock returns the clock that measures pauses of this process while Run runs.
func (d *Desk) Clock() *awake.Clock { return d.clock }

// Unlock ends a turn. It blocks while a session that the turn sent to has too much waiting.
func (d *Desk) Unlock() {
	d.runSchedules()
	if next := d.nextWake(); !next.IsZero() && (d.nextTick.IsZero() || next.Before(d.nextTick)) {
		d.nextTick = next
		d.wakeTick()
	}
	full, roomWaiters := d.full, d.roomWaiters
	d.full, d.roomWaiters = nil, nil
	d.mu.Unlock()
	for _, o := range full {
		o.waitForRoom(d.cfg.MaxPending, d.cfg.Stall)
	}
	for _, r := range roomWaiters {
		r.WaitForRoom()
	}
}

// nextWake returns when a core needs the time next; zero means never.
func (d *Desk) nextWake() time.Time {
	next := d.core.Next()
	if at := d.schedules.core.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
}

// step passes one event and its payload to the core, stores payloads and records, and delivers
// notes to the peers. It returns the command that answers the event. The payload must not change
// during the call.
func (d *Desk) step(ev queue.Event, payload []byte) (answer Note) {
	cmds := d.core.Step(d.now, ev)
	for i := range cmds {
		d.keep(&cmds[i], payload)
	}
	if d.beforeCommit != nil {
		d.beforeCommit(cmds)
	}
	batch := uint64(0)
	if n := d.store.Commit(); n != 0 {
		d.lastBatch, batch = n, n
	}
	if batch == 0 {
		batch = d.unwrittenBatch(ev, cmds)
	}
	if g, ok := ev.(*queue.Gathered); ok && batch != 0 {
		d.followUps[g.Task] = batch
	}
	for i := range cmds {
		if c := &cmds[i]; c.Op == queue.Write && len(c.Key) == 1 && c.Key[0] == 'n' {
			d.reservedIn = batch
		}
		if c := &cmds[i]; c.Op == queue.Stop && c.Notice == queue.TimedOut {
			if info, ok := d.core.Status(c.Task); ok {
				d.failures.add(Failure{Task: c.Task, N: info.Attempts, At: d.now, Worker: d.PeerName(c.Peer), Error: "took longer than its hard limit"})
			}
		}
	}
	for i := range cmds {
		c, n := &cmds[i], &d.note
		*n = Note{Op: c.Op, Notice: c.Notice, Task: c.Task, Ref: c.Ref, N: c.N, M: c.M, Function: c.Function, Batch: batch}
		if c.Payload == queue.FromEvent {
			n.Body = payload
		}
		switch c.Op {
		case queue.Rejected, queue.Unknown, queue.NoTask:
			answer = *n
		case queue.Accepted:
			answer = *n
			d.deliver(c.Peer, n)
		case queue.Assign, queue.Wake, queue.Stop:
			if _, next := ev.(*queue.Report); next {
				n.Batch = 0 // the worker's next task does not depend on the end of the last one
			}
			if at, follows := d.followUps[c.Task]; follows && c.Op == queue.Assign {
				n.Batch = at // a crash before this batch would create another successor
				delete(d.followUps, c.Task)
			}
			// Until the ID is durably reserved, the next process could give it to another task.
			// The worker would then claim that one.
			n.Batch = max(n.Batch, d.reservedIn)
			d.deliver(c.Peer, n)
		case queue.Notify:
			n.Stored = c.Payload == queue.FromResult
			if c.Notice == queue.Failed && queue.Notice(c.M) == queue.Circular {
				n.Body = []byte(heldBack)
			}
			d.deliver(c.Peer, n)
		case queue.Gather:
			d.gathering = append(d.gathering, gathering{task: c.Task, from: c.Tasks, group: c.M == 1})
			select {
			case d.gatherReady <- struct{}{}:
			default:
			}
		case queue.Drop:
			delete(d.followUps, c.Task)
		case queue.GroupEnded:
			d.groupEnded(n)
		case queue.Want:
			d.cfg.Slots.RequestSlots(c.Function, queue.Priority(c.M), int(c.N))
		case queue.Occupied:
			d.cfg.Slots.OccupySlot(c.Function, queue.Priority(c.M))
		case queue.Vacated:
			d.cfg.Slots.FreeSlot(c.Function, queue.Priority(c.M))
		case queue.Granted:
			d.cfg.OnGranted(c.Ref)
		case queue.Short:
			d.cfg.OnShort(c.Ref, c.Function)
		}
	}
	for len(d.groupFollowers) > 0 {
		f := d.groupFollowers[0]
		d.groupFollowers = d.groupFollowers[1:]
		d.step(&queue.Attach{Peer: f.peer, Task: f.task, Ref: NoRef, Parent: f.parent}, nil)
	}
	return answer
}

// unwrittenBatch returns the batch to wait for when an event wrote nothing. A client that joins or
// attaches to a durable task or group, or repeats a submit, must not see a state that a crash could
// undo: the next coordinator would not know the follower of a group, for example.
func (d *Desk) unwrittenBatch(ev queue.Event, cmds []queue.Command) uint64 {
	if d.lastBatch <= d.durability.durable.Load() {
		return 0
	}
	switch ev.(type) {
	case *queue.Submit, *queue.Attach, *queue.OpenGroup:
		for i := range cmds {
			if c := &cmds[i]; (c.Op == queue.Accepted || c.Op == queue.Notify) && d.core.Durable(c.Task) {
				return d.lastBatch
			}
		}
	}
	return 0
}

// stableCopy returns b, or a copy if the caller will overwrite b.
func (d *Desk) stableCopy(b []byte) []byte {
	if d.payloadReused && len(b) > 0 {
		return slices.Clone(b)
	}
	return b
}

// NoRef is the Ref of notes that answer no request of the session.
const NoRef = math.MaxUint64

// deliver passes n to a peer, if it is still connected.
func (d *Desk) deliver(to queue.Peer, n *Note) {
	if p := d.peers[to]; p != nil {
		p.receive(n)
	}
}
