package coordinator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/coordinator/internal/records"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/report"
)

// Journal is an ordered list of events that outlives the process. Package journal stores it on
// Badger.
type Journal interface {
	// Append adds events next to each other, all or none, and returns the number of the last one
	// when they are durable. After an error that wraps journal.ErrDiskFull nothing was added, and a
	// later try may work.
	Append(ctx context.Context, events ...[]byte) (last uint64, err error)
	// Replay calls fn for every event after the last snapshot, in order.
	Replay(fn func(seq uint64, ev []byte) error) error
	// Snapshot replaces all events up to seq by state.
	Snapshot(seq uint64, state []byte) error
	// LoadSnapshot returns the last snapshot, or zero and nil.
	LoadSnapshot() (seq uint64, state []byte, err error)
}

// errJournal means that the journal failed for good. Run returns it.
var errJournal = errors.New("journal failed")

// diskFullWait is the pause before a decision is written again to a full disk.
const diskFullWait = time.Second

// replay rebuilds the scheduler from the journal.
func (c *Coordinator) replay(ctx context.Context) error {
	if c.cfg.Journal == nil {
		return nil
	}
	seq, state, err := c.cfg.Journal.LoadSnapshot()
	if err != nil {
		return fmt.Errorf("coordinator: %w", err)
	}
	c.last = seq
	restore := func(seq uint64, ev []byte) error {
		rec, err := records.Decode(ev)
		if err != nil {
			return fmt.Errorf("coordinator: journal: event %d: %w", seq, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.core.Restore(rec)
		return nil
	}
	if err := SplitState(state, func(ev []byte) error { return restore(seq, ev) }); err != nil {
		return err
	}
	err = c.cfg.Journal.Replay(func(seq uint64, ev []byte) error {
		c.last = seq
		c.written++
		return restore(seq, ev)
	})
	if err != nil || c.last == 0 && !c.cfg.Succeeds {
		return err
	}
	c.mu.Lock()
	for _, id := range c.core.Jobs() {
		w := newWatch()
		if status, _ := c.core.Status(id); status.Outcome != report.JobRunning {
			w.finish(id, status.Outcome, status.Failure)
		}
		c.watches[id] = w
	}
	cmds := append([]sched.Command(nil), c.core.Step(time.Now(), sched.Restarted{})...)
	jobs, epoch := len(c.watches), c.core.Epoch()
	c.mu.Unlock()
	c.recordRestored()
	c.cfg.Log.Info("coordinator restarted", "jobs", jobs, "epoch", epoch, "event", c.last)
	if err := c.write(ctx, cmds); err != nil {
		return err
	}
	for _, cmd := range cmds {
		c.act(cmd)
	}
	return c.snapshot()
}

// write makes all records among cmds durable at once. While the disk is full it waits, because a
// decision cannot be refused.
func (c *Coordinator) write(ctx context.Context, cmds []sched.Command) error {
	var events [][]byte
	for _, cmd := range cmds {
		w, ok := cmd.(sched.Write)
		if _, admitted := w.Record.(sched.Submitted); !ok || admitted || c.cfg.Journal == nil {
			continue
		}
		event, err := records.Encode(w.Record)
		if err != nil {
			return fmt.Errorf("coordinator: %w: %w", errJournal, err)
		}
		events = append(events, event)
	}
	for logged := false; ; {
		err := c.append(ctx, events...)
		if err == nil || errors.Is(err, errJournal) {
			return err
		}
		if !logged {
			logged = true
			c.cfg.Log.Error("coordinator waits: free some disk space", "err", err)
		}
		select {
		case <-time.After(diskFullWait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// append adds events to the journal. An error wraps errJournal, unless it wraps
// journal.ErrDiskFull.
func (c *Coordinator) append(ctx context.Context, events ...[]byte) error {
	if c.cfg.Journal == nil || len(events) == 0 {
		return nil
	}
	last, err := c.cfg.Journal.Append(ctx, events...)
	switch {
	case err == nil:
		c.last = last
		c.written += len(events)
		return nil
	case errors.Is(err, journal.ErrDiskFull):
		return err
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("coordinator: %w: %w", errJournal, err)
}

// snapshot replaces a long journal by the state that it leads to. A failed snapshot does no harm.
func (c *Coordinator) snapshot() error {
	if c.cfg.Journal == nil || c.written < c.cfg.SnapshotEvery {
		return nil
	}
	c.written = 0
	state, err := c.encodeState()
	if err != nil {
		return fmt.Errorf("coordinator: %w: %w", errJournal, err)
	}
	if err := c.cfg.Journal.Snapshot(c.last, state); err != nil {
		c.cfg.Log.Warn("journal keeps growing: no snapshot", "err", err)
	}
	return nil
}

// encodeState returns all records that rebuild the scheduler, each after its length. Only the
// goroutine of Run may call it.
func (c *Coordinator) encodeState() (state []byte, err error) {
	for rec := range c.core.Records() { // no lock: nobody else changes what it reads
		ev, err := records.Encode(rec)
		if err != nil {
			return nil, err
		}
		state = binary.AppendUvarint(state, uint64(len(ev)))
		state = append(state, ev...)
	}
	return state, nil
}

// SplitState calls fn for each event in a state from State.
func SplitState(state []byte, fn func(ev []byte) error) error {
	for len(state) > 0 {
		n, k := binary.Uvarint(state)
		if k <= 0 || n > uint64(len(state)-k) {
			return errors.New("coordinator: journal: the snapshot ends in the middle; restore a copy of the directory")
		}
		if err := fn(state[k : k+int(n)]); err != nil {
			return err
		}
		state = state[k+int(n):]
	}
	return nil
}

// State returns a snapshot of the scheduler, as the journal would store it; see SplitState.
func (c *Coordinator) State(ctx context.Context) ([]byte, error) {
	done := make(chan struct{})
	var encoded []byte
	var failed error
	post := c.post(message{ev: sched.Tick{}, done: func() {
		encoded, failed = c.encodeState()
		close(done)
	}})
	if post != nil {
		return nil, post
	}
	select {
	case <-done:
		return encoded, failed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.stopped:
		return nil, ErrStopped
	}
}
