package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for range 2 {
		for i, pause := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000} {
			pause *= time.Millisecond
			if got := b.Next(); got < pause/2 || got >= pause/2+pause {
				t.Errorf("pause %d: %v, want %v to %v", i, got, pause/2, pause/2+pause)
			}
		}
		b.Reset()
	}
	random := false
	for b := (Backoff{Min: time.Hour, Max: time.Hour}); !random; {
		first := b.Next()
		random = first != b.Next()
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{Min: time.Minute, Max: time.Hour}
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil || time.Since(start) < 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start = time.Now()
		if err := b.Wait(ctx); err != cause || time.Since(start) != time.Second {
			t.Errorf("%v after %v, want the cause after 1s", err, time.Since(start))
		}
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Patience
		if d := p.Spent(); d != 0 {
			t.Errorf("before anything: %v", d)
		}
		time.Sleep(10 * time.Second)
		p.Spent()
		time.Sleep(time.Hour) // this process was stopped
		if d, want := p.Spent(), 10*time.Second+maxTry; d != want {
			t.Errorf("spent %v, want %v", d, want)
		}
		p.Reset()
		time.Sleep(time.Second)
		if d := p.Spent(); d != time.Second {
			t.Errorf("after a success: %v, want 1s", d)
		}
	})
}
