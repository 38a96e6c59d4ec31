package simulation

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/coordinator/replica"
)

// faults injects faults and heals them.
type faults struct {
	c       *cluster
	healing sync.WaitGroup
	// rng is used by one goroutine, so that a seed means a plan of faults.
	rng *rand.Rand
	// replacing means that a member has lost its directory and is not whole again. A second loss
	// could take the last copy of something.
	replacing atomic.Bool
}

// run injects a number of faults, one after another; several may last at the same time.
func (f *faults) run(ctx context.Context, n int) {
	for range n {
		if sleep(ctx, f.between(20*time.Millisecond, 1200*time.Millisecond)) != nil {
			return
		}
		f.inject(ctx)
	}
	f.healing.Wait()
}

// between returns a random duration.
func (f *faults) between(low, high time.Duration) time.Duration {
	return low + time.Duration(f.rng.Int64N(int64(high-low)))
}

// victim returns a random node, or often the leader.
func (f *faults) victim() *node {
	lead, any := f.rng.IntN(2) == 0, f.c.nodes[f.rng.IntN(len(f.c.nodes))]
	if l := f.c.leader(); l != nil && lead {
		return l
	}
	return any
}

// for runs heal after a random time.
func (f *faults) later(ctx context.Context, low, high time.Duration, heal func()) {
	d := f.between(low, high)
	f.healing.Go(func() {
		_ = sleep(ctx, d)
		heal()
	})
}

func (f *faults) inject(ctx context.Context) {
	c := f.c
	v := f.victim()
	other := c.nodes[f.rng.IntN(len(c.nodes))]
	short, long := 50*time.Millisecond, 3*time.Second
	switch f.rng.IntN(17) {
	case 0, 1: // all links of one member
		c.log.note("FAULT %s is cut off", v.address)
		f.cutOff(ctx, v, short, long)
	case 2: // half of the links of one member
		out := f.rng.IntN(2) == 0
		c.log.note("FAULT %s cannot send (%v) or receive", v.address, out)
		for _, o := range c.nodes {
			if o == v {
				continue
			}
			from, to := v.address, o.address
			if !out {
				from, to = to, from
			}
			c.net.cut(from, to, 1)
			f.later(ctx, short, long, func() { c.net.cut(from, to, -1) })
		}
	case 3: // one direction of one link
		if other != v {
			c.log.note("FAULT %s cannot reach %s", v.address, other.address)
			c.net.cut(v.address, other.address, 1)
			f.later(ctx, short, long, func() { c.net.cut(v.address, other.address, -1) })
		}
	case 4:
		by := f.between(10*time.Millisecond, 600*time.Millisecond)
		c.log.note("FAULT %s is slow by %v", v.address, by)
		for _, o := range c.nodes {
			if o != v {
				c.net.slow(v.address, o.address, by)
				c.net.slow(o.address, v.address, by)
			}
		}
		f.later(ctx, short, long, func() {
			for _, o := range c.nodes {
				c.net.slow(v.address, o.address, 0)
				c.net.slow(o.address, v.address, 0)
			}
		})
	case 5:
		c.log.note("FAULT connections of %s break", v.address)
		for _, o := range c.nodes {
			c.net.reset(v.address, o.address)
		}
	case 6, 7:
		c.log.note("FAULT kill -9 of %s", v.address)
		v.kill(false)
		f.later(ctx, short, long, v.start)
	case 8, 9:
		c.log.note("FAULT power cut of %s", v.address)
		f.powerCut(ctx, v, short, long)
	case 10:
		c.log.note("FAULT power cut of %s in a sync", v.address)
		after := f.between(short, long)
		v.killAtSync(1+f.rng.IntN(6), func() {
			c.ended.Go(func() {
				_ = sleep(ctx, after)
				v.start()
			})
		})
	case 11:
		c.log.note("FAULT power cut of all")
		for _, n := range c.nodes {
			f.powerCut(ctx, n, short, long)
		}
	case 12:
		c.log.note("FAULT %s is paused", v.address)
		v.pause()
		f.cutOff(ctx, v, short, long)
		f.later(ctx, short, long, v.resume)
	case 13:
		c.log.note("FAULT the disk of %s is full", v.address)
		v.setFull(true)
		f.later(ctx, short, long, func() {
			v.setFull(false)
			v.start()
		})
	case 14:
		if s := v.serving(); s != nil {
			c.log.note("FAULT %s is to hand over", v.address)
			c.ended.Go(func() { _ = s.t.Transfer("") })
		}
	case 16:
		if s := v.serving(); s != nil && other != v {
			c.log.note("FAULT %s hands over to %s and back, and its servers end late", v.address, other.address)
			v.setLate(f.between(time.Second, long))
			pause := f.between(short, 600*time.Millisecond)
			c.ended.Go(func() {
				_ = s.t.Transfer(other.address)
				_ = sleep(ctx, pause)
				if s := other.serving(); s != nil {
					_ = s.t.Transfer(v.address)
				}
			})
			f.later(ctx, long, 2*long, func() { v.setLate(0) })
		}
	case 15:
		if !c.led.Load() || f.replacing.Swap(true) { // before, one member alone may have the group
			return
		}
		after, rest := f.between(0, long), f.between(short, long)
		if f.rng.IntN(2) == 0 {
			c.log.note("FAULT the directory of %s is destroyed", v.address)
			v.kill(true)
			v.mu.Lock()
			v.disk, v.damaged = newDisk(v.rng), false
			v.mu.Unlock()
		} else {
			running := f.rng.IntN(2) == 0
			c.log.note("FAULT a byte in the log of %s flips, while it runs: %v", v.address, running)
			if !running {
				v.kill(f.rng.IntN(2) == 0)
			}
			v.mu.Lock()
			v.damaged = v.disk.flip() || v.damaged
			v.mu.Unlock()
		}
		f.healing.Go(func() {
			_ = sleep(ctx, after)
			v.start()
			_ = sleep(ctx, rest)
			v.kill(false)
			v.start()
			f.awaitMember(ctx, v)
			f.replacing.Store(false)
		})
	}
}

func (f *faults) powerCut(ctx context.Context, v *node, low, high time.Duration) {
	v.mu.Lock()
	v.disk.mark()
	v.mu.Unlock()
	before, after := f.between(0, 200*time.Millisecond), f.between(low, high)
	f.healing.Go(func() {
		_ = sleep(ctx, before)
		v.kill(true)
		_ = sleep(ctx, after)
		v.start()
	})
}

// cutOff cuts all links of a node for a while.
func (f *faults) cutOff(ctx context.Context, v *node, low, high time.Duration) {
	change := func(by int) {
		for _, o := range f.c.nodes {
			if o != v {
				f.c.net.cut(v.address, o.address, by)
				f.c.net.cut(o.address, v.address, by)
			}
		}
	}
	change(1)
	f.later(ctx, low, high, func() { change(-1) })
}

func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resumed == nil {
		n.resumed = make(chan struct{})
	}
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resumed != nil {
		close(n.resumed)
		n.resumed = nil
	}
}

func (n *node) setLate(by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late = by
}

func (n *node) setFull(full bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.full = full
}

// serving returns what a node serves as the leader, or nil.
func (n *node) serving() *server {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serves
}

// awaitMember waits until the process of a node counts as a member.
func (f *faults) awaitMember(ctx context.Context, v *node) {
	for sleep(ctx, 100*time.Millisecond) == nil {
		v.mu.Lock()
		p := v.process
		v.mu.Unlock()
		members, err := f.c.members()
		if err == nil && p != nil && slices.ContainsFunc(members, func(m replica.Member) bool { return m.ID == p.r.ID() && m.Voter }) {
			f.c.log.note("%s is a member as %s", v.address, p.r.ID())
			return
		}
	}
}

// members returns the members as the leader knows them.
func (c *cluster) members() ([]replica.Member, error) {
	l := c.leader()
	if l == nil {
		return nil, errConnection
	}
	l.mu.Lock()
	p := l.process
	l.mu.Unlock()
	if p == nil {
		return nil, errConnection
	}
	return p.r.Members()
}

// heal ends all faults that still last.
func (f *faults) heal() {
	for _, n := range f.c.nodes {
		n.resume()
		n.setFull(false)
		n.mu.Lock()
		n.disk.mu.Lock()
		n.disk.onSync = nil
		n.disk.mu.Unlock()
		n.mu.Unlock()
		n.start()
	}
}
