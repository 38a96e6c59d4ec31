package gearman

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

// errBusy means that too many large packets were on their way.
var errBusy = errors.New("too many large packets arrive at once; try again")

// slowest is how many bytes a second a large packet arrives with at least, beside the time for a start.
const slowest = 64 << 10

// arrivalLimit bounds the memory of packets that have begun to arrive, on all connections together: each has a place for all of its bytes before it is read, so none waits
// for another that waits too, and a time to be there.
type arrivalLimit struct {
	room  *semaphore.Weighted
	stall time.Duration
}

func newArrivalLimit(bytes int, stall time.Duration) *arrivalLimit {
	return &arrivalLimit{semaphore.NewWeighted(int64(bytes)), stall}
}

// enter waits for a place, and returns until when the packet must have come. The error wraps errBusy.
func (a *arrivalLimit) reserve(size int) (deadline time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.stall)
	defer cancel()
	if err := a.room.Acquire(ctx, int64(size)); err != nil {
		return time.Time{}, fmt.Errorf("%w (%d bytes)", errBusy, size)
	}
	return time.Now().Add(a.stall + time.Duration(size)*time.Second/slowest), nil
}

func (a *arrivalLimit) free(size int) { a.room.Release(int64(size)) }
