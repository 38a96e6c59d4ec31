package gearman

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

// errBusy refuses a large packet when too many are arriving.
var errBusy = errors.New("too many large packets are arriving; try again later")

// slowest is the minimum speed of a large packet in bytes per second, after a grace time.
const slowest = 64 << 10

// arrivalLimit bounds the memory for arriving large packets of all connections together. Each
// packet reserves room for all of its bytes before it is read, so packets cannot block each
// other, and each has a deadline.
type arrivalLimit struct {
	room  *semaphore.Weighted
	stall time.Duration
}

func newArrivalLimit(bytes int, stall time.Duration) *arrivalLimit {
	return &arrivalLimit{semaphore.NewWeighted(int64(bytes)), stall}
}

// reserve waits for room, and returns the deadline for the packet. The error wraps errBusy.
func (a *arrivalLimit) reserve(size int) (deadline time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.stall)
	defer cancel()
	if err := a.room.Acquire(ctx, int64(size)); err != nil {
		return time.Time{}, fmt.Errorf("%w (%d bytes)", errBusy, size)
	}
	return time.Now().Add(a.stall + time.Duration(size)*time.Second/slowest), nil
}

func (a *arrivalLimit) free(size int) { a.room.Release(int64(size)) }
