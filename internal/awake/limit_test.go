package awake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAfterFunc(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Millisecond, 33 * time.Millisecond, time.Second, 10*time.Second + 7} {
		synctest.Test(t, func(t *testing.T) {
			start, calls := time.Now(), 0
			AfterFunc(d, func() { calls++ })
			stop := AfterFunc(d, func() { t.Errorf("%v: called after stop", d) })
			stop()
			passed, end := After(d)
			defer end()
			<-passed
			synctest.Wait()
			if took := time.Since(start); calls != 1 || took < d || took > d+time.Millisecond {
				t.Errorf("%v: %d calls after %v", d, calls, took)
			}
		})
	}
}

// A pause counts two steps at most, whenever it is.
func TestPauseDoesNotCount(t *testing.T) {
	now := time.Now()
	l := &limit{left: 10 * time.Second}
	for _, c := range []struct{ step, left time.Duration }{{time.Second, 9 * time.Second}, {time.Hour, 7 * time.Second}, {time.Second, 6 * time.Second}, {time.Minute, 4 * time.Second}} {
		l.begin(now, longestStep)
		now = now.Add(c.step)
		if l.count(now) || l.left != c.left {
			t.Errorf("after %v: %v left, want %v", c.step, l.left, c.left)
		}
	}
}

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("too slow")
		ctx, cancel := WithTimeoutCause(t.Context(), 3*time.Second, cause)
		defer cancel()
		derived, end := context.WithCancel(ctx)
		defer end()
		if ctx.Err() != nil || derived.Err() != nil {
			t.Fatal(ctx.Err(), derived.Err())
		}
		start := time.Now()
		<-derived.Done()
		if took := time.Since(start); took != 3*time.Second || ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != cause {
			t.Errorf("ends after %v with %v, cause %v", took, ctx.Err(), context.Cause(ctx))
		}
		if derived.Err() != context.DeadlineExceeded || context.Cause(derived) != cause {
			t.Errorf("a derived context ends with %v, cause %v", derived.Err(), context.Cause(derived))
		}

		ctx, cancel = WithTimeout(t.Context(), time.Hour)
		cancel()
		if <-ctx.Done(); ctx.Err() != context.Canceled {
			t.Errorf("cancelled: %v", ctx.Err())
		}

		parent, stop := context.WithCancelCause(t.Context())
		ctx, cancel = WithTimeout(parent, time.Hour)
		defer cancel()
		stop(cause)
		if <-ctx.Done(); ctx.Err() != context.Canceled || context.Cause(ctx) != cause {
			t.Errorf("with its parent: %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
		ended, cancel := WithTimeout(parent, time.Hour)
		defer cancel()
		if <-ended.Done(); ended.Err() != context.Canceled {
			t.Errorf("after its parent: %v", ended.Err())
		}
	})
}

// TestCancelAtOnce checks that a context has ended when its CancelFunc returns.
func TestCancelAtOnce(t *testing.T) {
	ctx, cancel := WithTimeout(t.Context(), time.Hour)
	cancel()
	if err := ctx.Err(); err != context.Canceled {
		t.Errorf("after cancel: %v", err)
	}
}

// TestWithDeadline checks that a deadline is reported, moves with a pause, and ends nothing.
func TestWithDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, stop := WithDeadline(t.Context(), 10*time.Second)
		defer stop()
		for range 20 {
			if at, ok := ctx.Deadline(); !ok || at != start.Add(10*time.Second) {
				t.Errorf("after %v the deadline is %v from the start", time.Since(start), at.Sub(start))
			}
			time.Sleep(300 * time.Millisecond)
		}
		near, end := context.WithTimeout(ctx, time.Second)
		defer end()
		if at, _ := near.Deadline(); at != time.Now().Add(time.Second) {
			t.Errorf("a nearer deadline is %v away", time.Until(at))
		}
		time.Sleep(time.Hour)
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
	})
	now := time.Now()
	l := &limit{left: 10 * time.Second}
	l.begin(now, longestStep)
	now = now.Add(time.Minute) // a pause
	if left := l.deadline(now).Sub(now); left != 8*time.Second {
		t.Errorf("after a pause %v are left", left)
	}
}
