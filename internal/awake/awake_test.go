package awake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		go c.Run(ctx)
		time.Sleep(time.Hour)
		if d := c.Slept(time.Now()); d != 0 || !c.Woke().IsZero() {
			t.Fatalf("an hour awake counts as a pause of %v", d)
		}
		cancel()
		synctest.Wait()
		time.Sleep(15 * time.Second) // nobody looks: as if the process had been stopped
		now := time.Now()
		if d := c.Slept(now); d < 14*time.Second || d > 16*time.Second || c.Woke() != now {
			t.Errorf("a pause of 15s counts as %v until %v", d, c.Woke())
		}
		if again := c.Slept(time.Now()); again != c.Slept(now) {
			t.Errorf("one pause counts twice: %v", again)
		}
	})
}

// On a sleeping laptop the monotonic clock stands still.
func TestWallClock(t *testing.T) {
	c := New(2 * time.Second)
	c.look(time.Now(), true)
	c.seen.Load().wall -= int64(time.Minute)
	if d := c.Slept(time.Now()); d < time.Minute {
		t.Errorf("a minute of sleep counts as %v", d)
	}
}
