package awake

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// longestStep is how often a limit looks at the clock at least. Of a pause of this process, at most
// twice as much counts.
const longestStep = time.Second

// limit is a duration of which only the time counts in which this process runs. It waits in steps:
// a step that takes much longer than planned contains a pause.
type limit struct {
	f func()

	// mu guards the fields below.
	mu      sync.Mutex
	left    time.Duration
	step    time.Duration // of the running timer
	last    time.Time     // begin of the step
	timer   *time.Timer
	stopped bool
}

// AfterFunc is time.AfterFunc for d of the time in which this process runs. stop prevents the call
// of f unless it has begun.
func AfterFunc(d time.Duration, f func()) (stop func()) {
	l := &limit{f: f, left: d}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(time.Now(), min(d/8, longestStep))
	l.timer = time.AfterFunc(l.step, l.tick)
	return l.end
}

// begin begins a step. mu is held.
func (l *limit) begin(now time.Time, step time.Duration) {
	l.last, l.step = now, max(min(step, l.left), 0)
}

// count ends a step and returns whether the limit is over. mu is held.
func (l *limit) count(now time.Time) bool {
	l.left -= min(now.Sub(l.last), 2*max(l.step, time.Millisecond))
	return l.left <= 0
}

func (l *limit) tick() {
	l.mu.Lock()
	now := time.Now()
	over := !l.stopped && l.count(now)
	if !l.stopped && !over {
		l.begin(now, max(l.step, time.Millisecond))
		l.timer.Reset(l.step)
	}
	l.mu.Unlock()
	if over {
		l.f()
	}
}

func (l *limit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.timer.Stop()
}

// After returns a channel that is closed after d of the time in which this process runs. stop
// releases the timer.
func After(d time.Duration) (passed <-chan struct{}, stop func()) {
	c := make(chan struct{})
	return c, AfterFunc(d, func() { close(c) })
}

// WithDeadline returns a context that reports a deadline and does not end at it: somebody else ends
// parent after about d of the time in which this process runs. Pauses of this process move the
// deadline. The CancelFunc releases the timer.
func WithDeadline(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	l := &limit{f: func() {}, left: d}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(time.Now(), min(d/8, longestStep))
	l.timer = time.AfterFunc(l.step, l.tick)
	return withDeadline{parent, l}, l.end
}

// withDeadline is a context with the deadline of a limit.
type withDeadline struct {
	context.Context
	limit *limit
}

// Deadline implements context.Context.
func (c withDeadline) Deadline() (time.Time, bool) {
	own := c.limit.deadline(time.Now())
	if other, ok := c.Context.Deadline(); ok && other.Before(own) {
		return other, true
	}
	return own, true
}

// deadline returns when the limit is over if this process does not pause.
func (l *limit) deadline(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Add(l.left - min(now.Sub(l.last), 2*max(l.step, time.Millisecond)))
}

// WithTimeout is context.WithTimeout, but only the time counts in which this process runs. The
// context has the Deadline of parent, if any, so that no server measures the time for this process.
// It ends at once when its CancelFunc is called, and a moment after parent ends.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return WithTimeoutCause(parent, d, nil)
}

// WithTimeoutCause is WithTimeout with the cause of the context when the time has passed.
func WithTimeoutCause(parent context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	inner, end := context.WithCancelCause(parent)
	c := &limited{Context: inner, done: make(chan struct{})}
	finish := sync.OnceFunc(func() { close(c.done) })
	stop := AfterFunc(d, func() {
		c.expired.Store(inner.Err() == nil)
		end(cause)
		finish()
	})
	context.AfterFunc(inner, func() {
		stop()
		finish()
	})
	return c, func() {
		end(nil)
		finish()
	}
}

// limited is a context that ends like another one, but returns the error of a deadline after the
// limit has passed. A channel of its own makes derived contexts take this error.
type limited struct {
	context.Context
	done    chan struct{}
	expired atomic.Bool
}

// Done implements context.Context.
func (c *limited) Done() <-chan struct{} { return c.done }

// Err implements context.Context.
func (c *limited) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if c.expired.Load() {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// AfterFunc spares derived contexts a goroutine.
func (c *limited) AfterFunc(f func()) (stop func() bool) {
	return context.AfterFunc(c.Context, func() {
		<-c.done
		f()
	})
}
