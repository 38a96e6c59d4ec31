package desk

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// gathering is the input of a successor, to be assembled from results.
type gathering struct {
	task  queue.ID
	from  []queue.ID
	group bool
	// ends holds the states of the group's tasks.
	ends []queue.State
}

// runGathers assembles inputs until ctx ends. The core requests unfinished ones again after a
// restart.
func (d *Desk) runGathers(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.gatherReady:
		}
		d.Lock()
		todo := d.gathering
		d.gathering = nil
		for i := range todo {
			for _, id := range todo[i].from {
				info, _ := d.core.Status(id)
				todo[i].ends = append(todo[i].ends, info.State)
			}
		}
		d.Unlock()
		for _, g := range todo {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			body, err := d.gather(g)
			d.Lock()
			d.finishGather(g, body, err)
			d.Unlock()
		}
	}
}

// gather reads the results and encodes the input. It runs without the lock: the core keeps
// results until the successor has its input.
func (d *Desk) gather(g gathering) ([]byte, error) {
	if !g.group {
		body := appendInput(nil, 0, "", "", nil)
		return d.store.Get(body, bodies.Result, uint64(g.from[0]))
	}
	body := appendInput(nil, gatheredBit, "", "", nil)
	var left, one []byte
	for i, id := range g.from {
		err := bodies.ErrNotFound
		if left = left[:0]; id != 0 {
			left, err = d.store.Get(left, bodies.Result, uint64(id))
		}
		if err != nil && !errors.Is(err, bodies.ErrNotFound) {
			return nil, err
		}
		one = one[:0]
		field := protowire.Number(5) // the stored text of a failed task is its error
		if g.ends[i] == queue.WasDone && err == nil {
			field = 2
			one = protowire.AppendVarint(protowire.AppendTag(one, 1, protowire.VarintType), 1)
		}
		if field == 2 || len(left) > 0 {
			one = protowire.AppendBytes(protowire.AppendTag(one, field, protowire.BytesType), left)
		}
		one = protowire.AppendVarint(protowire.AppendTag(one, 3, protowire.VarintType), uint64(id))
		one = protowire.AppendVarint(protowire.AppendTag(one, 4, protowire.VarintType), uint64(g.ends[i]))
		body = protowire.AppendBytes(protowire.AppendTag(body, 1, protowire.BytesType), one)
		if len(body) > d.cfg.MaxBody {
			return nil, fmt.Errorf("the results of the group exceed %d bytes, the limit; let the tasks store them elsewhere and return their places", d.cfg.MaxBody)
		}
	}
	return body, nil
}

// finishGather makes the successor ready, unless it no longer exists.
func (d *Desk) finishGather(g gathering, body []byte, err error) {
	if info, ok := d.core.Status(g.task); !ok || info.State != queue.Delayed {
		return
	}
	if err != nil {
		d.cfg.Log.Warn("task failed: its input cannot be assembled", "task", g.task, "err", err)
		d.step(&queue.GatherFailed{Task: g.task}, []byte(err.Error()))
		return
	}
	d.store.Keep(bodies.Input, uint64(g.task), body)
	d.step(&queue.Gathered{Task: g.task, Size: len(body) - 3}, nil)
}

// group is a group without an outcome.
type group struct {
	waiting []groupWaiter
}

// OpenGroup creates a group, or finds the group of an earlier try with the same token. The error
// wraps ErrInvalid or ErrStopped.
func (d *Desk) OpenGroup(then []queue.Next, partial, durable bool, token uint64, repeated bool) (Note, error) {
	if d.broken != nil {
		return Note{}, d.broken
	}
	n := d.step(&queue.OpenGroup{Then: then, Partial: partial, Durable: durable && d.isDurable(), Token: token, Repeated: repeated}, nil)
	if n.Op != queue.Accepted {
		return n, fmt.Errorf("group: %w: the name of a following function must have 1 to 512 bytes, and limits must not be negative", ErrInvalid)
	}
	if n.N == 0 && d.groups[n.Task] == nil {
		d.groups[n.Task] = &group{}
	}
	return n, nil
}

// CloseGroup declares the group complete: no task can join it. It returns the latest batch.
func (d *Desk) CloseGroup(id queue.ID) uint64 {
	d.step(&queue.CloseGroup{Group: id}, nil)
	return d.lastBatch
}

func (d *Desk) groupEnded(n *Note) {
	if g := d.groups[n.Task]; g != nil {
		for _, w := range g.waiting {
			w.s.notifyGroupEnd(*n, w.parent)
		}
	}
	delete(d.groups, n.Task)
}

// attachGroup makes the session wait for the outcome of a group. It returns false if id is no
// group.
func (s *Session) attachGroup(id, parent queue.ID) bool {
	if g := s.d.groups[id]; g != nil {
		g.waiting = append(g.waiting, groupWaiter{s, parent})
		s.groups = append(s.groups, id)
		return true
	}
	notice, ok := s.d.core.GroupOutcome(id)
	if ok {
		n := Note{Task: id, Notice: notice}
		if s.d.core.Durable(id) {
			n.Batch = s.d.lastBatch
		}
		s.notifyGroupEnd(n, parent)
	}
	return ok
}

// follower is a session to attach to the successor of its group.
type follower struct {
	peer         queue.Peer
	task, parent queue.ID
}

// groupWaiter is a session that waits for a group, on behalf of the task parent, if not zero.
type groupWaiter struct {
	s      *Session
	parent queue.ID
}

// notifyGroupEnd reports the outcome of a group like the outcome of a task: Done, Failed, or
// Followed. After Followed the session waits for the successor.
func (s *Session) notifyGroupEnd(n Note, parent queue.ID) {
	n.Op = queue.Notify
	if n.Notice == queue.Done && n.N != 0 {
		n.Notice = queue.Followed
		s.d.groupFollowers = append(s.d.groupFollowers, follower{s.id, queue.ID(n.N), parent})
	}
	s.put(&n)
}
