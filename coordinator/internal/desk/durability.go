package desk

import (
	"context"
	"sync"
	"sync/atomic"
)

// durability tracks the latest durable batch and wakes callers that wait for later ones.
type durability struct {
	// durable is the number of the latest durable batch.
	durable atomic.Uint64

	// mu guards the fields below.
	mu       sync.Mutex
	waiting  []func()
	nextDone chan struct{} // closed when the next batch is durable; nil if nobody waits
	err      error
}

// committed is the callback of the store: all batches up to n are durable.
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

// callAfterBatch returns false if batch n is durable. Otherwise it returns true and arranges one
// call of wake when any later batch becomes durable; the caller then has to check again.
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

// nextBatch returns a channel that is closed when the next batch is durable, or when the store
// fails.
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

// fail ends all waiting with err.
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

// Durable blocks until a batch is durable. It returns the cause of ctx, or the error of the
// store. It needs no lock.
func (d *Desk) Durable(ctx context.Context, batch uint64) error {
	c := &d.durability
	for {
		next := c.nextBatch()
		if batch <= c.durable.Load() {
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
