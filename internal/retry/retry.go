// Package retry paces attempts to reach something again: an RPC, a stream, a connection.
package retry

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Backoff is a series of pauses between attempts. They double from Min up to Max. Each is
// multiplied with a random factor from 0.5 to 1.5; otherwise all clients of a restarted server
// would return at once. Backoff belongs to one goroutine.
type Backoff struct {
	Min, Max time.Duration // both positive
	pause    time.Duration // the last pause without its factor; zero before the first
}

// Reset makes the next pause Min. Call it after a success.
func (b *Backoff) Reset() { b.pause = 0 }

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	if b.pause = min(2*b.pause, b.Max); b.pause == 0 {
		b.pause = min(b.Min, b.Max)
	}
	return b.pause/2 + rand.N(b.pause)
}

// Patience measures for how long tries have failed. A try, with the pause before it, counts at most
// maxTry: the rest is time in which this process itself was stopped or asleep. The zero value
// begins with the first Spent. Patience belongs to one goroutine.
type Patience struct {
	spent time.Duration
	last  time.Time
}

// maxTry is longer than any try and the pause before it.
const maxTry = 25 * time.Second

// Reset begins anew. Call it before the first try and after a success.
func (p *Patience) Reset() { p.spent, p.last = 0, time.Now() }

// Spent returns how long tries have failed. Call it after each try.
func (p *Patience) Spent() time.Duration {
	now := time.Now()
	if !p.last.IsZero() {
		p.spent += min(now.Sub(p.last), maxTry)
	}
	p.last = now
	return p.spent
}

// Wait waits for the next pause. It returns the cause of ctx if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error { return b.WaitAtMost(ctx, b.Max*2) }

// WaitAtMost is Wait with a limit of the pause.
func (b *Backoff) WaitAtMost(ctx context.Context, limit time.Duration) error {
	t := time.NewTimer(min(b.Next(), limit))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// longestTry is the limit of one attempt to connect.
const longestTry = 3 * time.Second

// Try returns the limit of one attempt to connect, so that a whole number of attempts takes limit.
// It is at most three seconds.
func Try(limit time.Duration) time.Duration {
	return limit / max((limit+longestTry-1)/longestTry, 1)
}

// Connections makes a gRPC client repeat failed connection attempts, with pauses from least to
// most. One attempt takes at most timeout.
func Connections(timeout, least, most time.Duration) grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{
		MinConnectTimeout: timeout,
		Backoff:           backoff.Config{BaseDelay: least, Multiplier: 1.6, Jitter: 0.2, MaxDelay: most},
	})
}
