// Package desk is the shell around the queue of tasks: it gives the core of package queue its events and the time, keeps payloads and records
// in package bodies, and brings what the core wishes to clients and workers. It knows neither gRPC nor sockets: a Session is one connection of
// those who use it, and Broker makes it a queue for package gearman. So a worker of either kind serves the tasks of clients of either kind.
//
// One lock encloses the core, and is taken for a whole batch of calls. What a Step says to somebody waits, in the order in which it was said,
// until the records of that Step are durable.
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
)

// Config says what a desk is. The zero value is one in memory.
type Config struct {
	// Dir is where tasks are remembered; it is made when missing. Empty means memory only: nothing survives the process.
	Dir string
	// Memory is how many bytes of payloads that need not survive a restart are kept in memory, about. Zero means 32 MiB; without Dir it is the
	// limit, and zero means 1 GiB.
	Memory int64
	// NoSync leaves it to the operating system when to write.
	NoSync bool
	// Reserve is how many bytes of the disk stay free; see state.Options.
	Reserve int64
	// AcceptLoss drops what is damaged, once; see bodies.Options.
	AcceptLoss bool
	// Queue are the knobs of the core.
	Queue queue.Config
	// MaxBody is the largest input or result, in bytes. Zero means 64 MiB.
	MaxBody int
	// Pending is how many bytes may wait for one session before those who produce them are held up. Zero means 4 MiB.
	MaxPending int
	// Stall is how long a session may take nothing of what waits for it, while others are held up, before it is ended. Zero means 30 s.
	Stall time.Duration
	// Slots are those of other work, which sessions may share; nil when there are none.
	Slots Slots
	// Granted is told that Acquire has what it asked for. It is called with the lock held, and must not block. Nil when nobody acquires.
	OnGranted func(ref uint64)
	// Log takes what the operator should see; nil means silence.
	Log *slog.Logger
}

// Slots shares out slots between tasks and other work. Its methods are called with the lock held, in order, and must not block; what they grant comes
// through Grant, later.
type Slots interface {
	// Wanted says how many more tasks of a priority could start in slots of a share.
	RequestSlots(share string, p queue.Priority, n int)
	// Started says that a task runs in a slot that was not granted, from before a restart.
	OccupySlot(share string, p queue.Priority)
	// Ended gives a slot back.
	FreeSlot(share string, p queue.Priority)
}

var (
	// ErrFull means that a queue, memory or the disk is full. Trying later may help.
	ErrFull = errors.New("no room for the task")
	// ErrInvalid means that a field is out of bounds.
	ErrInvalid = errors.New("invalid task")
	// ErrUnknown means that there is no such task, or no more.
	ErrUnknown = errors.New("unknown task")
	// ErrBusy means that a function has workers or tasks.
	ErrBusy = errors.New("function has workers or tasks")
	// ErrStalled ends a session that takes nothing.
	ErrStalled = errors.New("nothing was taken for too long")

	errStopped = errors.New("the coordinator goes down")
)

// Desk is the shell. Its methods that say so want to be called between Lock and Unlock.
type Desk struct {
	cfg         Config
	store       *bodies.Store
	durability  durability
	rearm       chan struct{} // Run must wake up sooner
	gatherReady chan struct{} // there is something in gathering

	// mu guards the fields below, with Lock and Unlock.
	mu             sync.Mutex
	core           *queue.Queue
	now            time.Time // of the batch
	nextTick       time.Time // when Run wakes up
	peers          map[queue.Peer]peer
	lastPeer       queue.Peer
	lastBatch      uint64              // number of the last that was written
	full           []*Outbox           // were filled up by this batch
	roomWaiters    []roomWaiter        // connections that this batch had something for
	inGearmanTurn  bool                // the batch is that of a Gearman connection, which looks after others of its kind itself
	payloadReused  bool                // the payload of the event changes after it
	gathering      []gathering         // to be done by Run
	groups         map[queue.ID]*group // that are not over
	followUps      map[queue.ID]uint64 // tasks that follow others and did not start yet, with the batch that remembers them
	groupFollowers []follower          // of groups, for those who wait
	broken         error               // of the store; nothing is right after it

	submit queue.Submit // used again and again
	report queue.Report
	body   []byte
	key    []byte
	note   Note // that is being told
}

// peer is who hears notes. hear is called with the lock held, and keeps no pointer.
type peer interface {
	receive(n *Note)
}

// Open opens a desk. It starts little; Run does the work. Close it after Run.
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
	d := &Desk{cfg: cfg, core: queue.New(cfg.Queue), now: time.Now(), peers: map[queue.Peer]peer{}, groups: map[queue.ID]*group{}, followUps: map[queue.ID]uint64{},
		rearm: make(chan struct{}, 1), gatherReady: make(chan struct{}, 1)}
	var err error
	d.store, err = bodies.Open(cfg.Dir, bodies.Options{Memory: cfg.Memory, NoSync: cfg.NoSync, Reserve: cfg.Reserve, AcceptLoss: cfg.AcceptLoss, Log: cfg.Log, Committed: d.committed})
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	if err := d.restore(); err != nil {
		return nil, errors.Join(fmt.Errorf("tasks: %w", err), d.store.Close())
	}
	return d, nil
}

// restore takes up where an earlier life ended.
func (d *Desk) restore() error {
	if d.cfg.Dir == "" { // IDs must not be those of an earlier life: it begins somewhere among 137,000 million
		var b [8]byte
		_, _ = crand.Read(b[3:])
		b[3] &= 0x1f
		return d.core.Restore([]byte{'n'}, b[:])
	}
	err := d.store.Restore(func(key, value []byte) error {
		if len(key) == 9 && key[0] == 'g' {
			d.groups[queue.ID(binary.BigEndian.Uint64(key[1:]))] = &group{}
		}
		return d.core.Restore(key, value)
	})
	if err == nil {
		d.Lock()
		d.step(queue.Restarted{}, nil)
		d.Unlock()
	}
	return err
}

// Run works until ctx ends, and returns nil then, or what broke the store: nothing can be durable any more after that. It must run while
// the desk is used.
func (d *Desk) Run(ctx context.Context) error {
	family, within := errgroup.WithContext(ctx)
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan error, 1)
	go func() {
		err := d.store.Run(writing)
		if err != nil {
			d.fail(err)
		}
		written <- err
	}()
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
	d.durability.fail(errStopped)
	if failed != nil {
		d.fail(failed)
	}
	if err := family.Wait(); failed == nil && ctx.Err() == nil {
		failed = err
	}
	return failed
}

// Close closes the store, after Run.
func (d *Desk) Close() error { return d.store.Close() }

// tick gives the core the time when it asks for it.
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
		d.nextTick = d.core.Next()
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

// fail notes that nothing is right any more. Sessions end.
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
	d.broken = err
	d.cfg.Log.Error("tasks are not remembered any more", "err", err)
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

// Lock begins a batch of calls.
func (d *Desk) Lock() {
	d.mu.Lock()
	d.now = time.Now()
}

// Unlock ends a batch of calls. It blocks while sessions that the batch had something for have too much waiting: so who produces faster than
// others read is slowed down.
func (d *Desk) Unlock() {
	if next := d.core.Next(); !next.IsZero() && (d.nextTick.IsZero() || next.Before(d.nextTick)) {
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

// step gives the core an event with its payload, which never changes, keeps what is to be kept, tells everybody what concerns them, and returns
// the command that answers the event.
func (d *Desk) step(ev queue.Event, payload []byte) (answer Note) {
	cmds := d.core.Step(d.now, ev)
	for i := range cmds {
		d.keep(&cmds[i], payload)
	}
	commit := uint64(0)
	if n := d.store.Commit(); n != 0 {
		d.lastBatch, commit = n, n
	}
	if commit == 0 {
		commit = d.unwrittenBatch(ev, cmds)
	}
	if g, ok := ev.(*queue.Gathered); ok && commit != 0 {
		d.followUps[g.Task] = commit
	}
	for i := range cmds {
		c, n := &cmds[i], &d.note
		*n = Note{Op: c.Op, Notice: c.Notice, Task: c.Task, Ref: c.Ref, N: c.N, M: c.M, Function: c.Function, Batch: commit}
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
				n.Batch = 0 // a worker's next task has nothing to do with what the last one wrote
			}
			if at, follows := d.followUps[c.Task]; follows && c.Op == queue.Assign {
				n.Batch = at // after a crash before, another task would follow instead
				delete(d.followUps, c.Task)
			}
			d.deliver(c.Peer, n)
		case queue.Notify:
			n.Stored = c.Payload == queue.FromResult
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
		}
	}
	for len(d.groupFollowers) > 0 {
		f := d.groupFollowers[0]
		d.groupFollowers = d.groupFollowers[1:]
		d.step(&queue.Attach{Peer: f.peer, Task: f.task, Ref: NoRef}, nil)
	}
	return answer
}

// behind returns the commit that the answers to an event must wait for which wrote nothing itself, but tells of tasks whose last change may
// not be durable yet: whoever joins or attaches to one would know of what a crash undoes.
func (d *Desk) unwrittenBatch(ev queue.Event, cmds []queue.Command) uint64 {
	if d.lastBatch <= d.durability.durable.Load() {
		return 0
	}
	switch ev.(type) {
	case *queue.Submit, *queue.Attach:
		for i := range cmds {
			if c := &cmds[i]; (c.Op == queue.Accepted || c.Op == queue.Notify) && d.core.Durable(c.Task) {
				return d.lastBatch
			}
		}
	}
	return 0
}

// lasting returns a payload that never changes.
func (d *Desk) stableCopy(b []byte) []byte {
	if d.payloadReused && len(b) > 0 {
		return slices.Clone(b)
	}
	return b
}

// NoRef is the Ref of answers to what nobody asked.
const NoRef = math.MaxUint64

func (d *Desk) deliver(to queue.Peer, n *Note) {
	if p := d.peers[to]; p != nil {
		p.receive(n)
	}
}
