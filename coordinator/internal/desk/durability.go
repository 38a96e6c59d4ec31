package desk

import (
	"context"
	"sync"
	"sync/atomic"
)

// commits knows what is durable, and wakes those who wait for more.
type durability struct {
	durable atomic.Uint64 // number of the last batch

	// mu guards the fields below.
	mu       sync.Mutex
	waiting  []func()
	nextDone chan struct{} // closed by the next commit; nil when nobody waits
	err      error
}

// committed is called by the store.
func (d *Desk) committed(n uint64) {
	c := &d.durability
	c.mu.Lock()
	c.durable.Store(n)
	waiting := c.waiting
	c.waiting = nil
	if c.nextDone != nil {
		close(c.nextDone)
		c.nextDone = nil
	}
	c.mu.Unlock()
	for _, wake := range waiting {
		wake()
	}
}

// later tells whether batch n is not durable yet; if so, wake is called with the next commit, which may not be the one.
func (c *durability) callAfterBatch(n uint64, wake func()) bool {
	if n <= c.durable.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n <= c.durable.Load() {
		return false
	}
	c.waiting = append(c.waiting, wake)
	return true
}

// next returns a channel that is closed by the next commit.
func (c *durability) nextBatch() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nextDone == nil {
		c.nextDone = make(chan struct{})
		if c.err != nil {
			close(c.nextDone)
		}
	}
	return c.nextDone
}

// fail ends all waiting.
func (c *durability) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		if c.nextDone != nil {
			close(c.nextDone)
		}
		c.nextDone = nil
	}
}

func (c *durability) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Durable blocks until a commit is durable. It returns the cause of ctx, or what broke the store.
func (d *Desk) Durable(ctx context.Context, commit uint64) error {
	c := &d.durability
	for {
		next := c.nextBatch()
		if commit <= c.durable.Load() {
			return nil
		}
		if err := c.failure(); err != nil {
			return err
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
