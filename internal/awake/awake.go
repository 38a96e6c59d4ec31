// Package awake notices when this process did not run for a while: it was stopped by SIGSTOP, its
// virtual machine was paused, or its laptop slept. A process that judges others by the time of
// their last message must not count such a pause: the others could not reach it.
package awake

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock measures pauses of this process while Run runs. It is safe for concurrent use.
type Clock struct {
	max  time.Duration
	seen atomic.Pointer[sight] // nil before Run
}

// sight is what the clock knew at its last look.
type sight struct {
	at    time.Time
	wall  int64 // Unix nanoseconds of at; a sleeping laptop stops the monotonic clock only
	slept time.Duration
	woke  time.Time // end of the last pause; zero when there was none
}

// New returns a clock. A pause is longer than max, which must be positive.
func New(max time.Duration) *Clock { return &Clock{max: max} }

// Run looks at the clock until ctx ends, often enough that a longer gap is a pause.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(c.max / 2)
	defer tick.Stop()
	for {
		c.look(time.Now(), true)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Slept returns the length of all pauses up to now. A judge calls it before each judgement: the
// call itself finds a pause that has just ended.
func (c *Clock) Slept(now time.Time) time.Duration { return c.look(now, false).slept }

// Woke returns the end of the last pause, or zero when there was none.
func (c *Clock) Woke() time.Time { return c.look(time.Now(), false).woke }

// look returns what is known at now. If there was a pause, or if store is set, it remembers now.
func (c *Clock) look(now time.Time, store bool) *sight {
	for {
		old, wall := c.seen.Load(), now.UnixNano()
		if old == nil {
			old = &sight{at: now, wall: wall}
			if store {
				c.seen.Store(old)
			}
			return old
		}
		gap := max(now.Sub(old.at), time.Duration(wall-old.wall))
		if gap <= c.max && !store {
			return old
		}
		s := &sight{at: now, wall: wall, slept: old.slept, woke: old.woke}
		if gap > c.max {
			s.slept, s.woke = old.slept+gap, now
		}
		if c.seen.CompareAndSwap(old, s) {
			return s
		}
	}
}
