//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// load are callers that enqueue durable tasks one by one.
type load struct {
	client *tasks.Client
	cancel context.CancelFunc
	family sync.WaitGroup
	begun  time.Time
	done   atomic.Int64

	// mu guards the fields below.
	mu   sync.Mutex
	took []call
	err  error
}

// call is one call of a caller.
type call struct{ begin, end time.Time }

func (c call) took() time.Duration { return c.end.Sub(c.begin) }

// body returns a body that is half random.
func body(size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 2 {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// startLoad starts callers that pause after each call. They go on until stop.
func startLoad(address string, callers, size int, pause time.Duration) (*load, error) {
	c, err := tasks.Dial(tasks.Cluster{Address: address})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{client: c, cancel: cancel}
	for range 100 {
		if _, err := tasks.Enqueue(ctx, c, "bench", body(size)); err != nil {
			cancel()
			c.Close()
			return nil, err
		}
	}
	l.begun = time.Now()
	for range callers {
		l.family.Go(func() {
			input := body(size)
			var took []call
			for ctx.Err() == nil {
				begin := time.Now()
				if _, err := tasks.Enqueue(ctx, c, "bench", input); err != nil {
					if ctx.Err() == nil {
						l.mu.Lock()
						l.err = err
						l.mu.Unlock()
					}
					break
				}
				l.done.Add(1)
				took = append(took, call{begin, time.Now()})
				time.Sleep(pause)
			}
			l.mu.Lock()
			l.took = append(l.took, took...)
			l.mu.Unlock()
		})
	}
	return l, nil
}

// stop ends the callers and returns their calls, in order of their ends.
func (l *load) stop() (calls []call, elapsed time.Duration, err error) {
	elapsed = time.Since(l.begun)
	l.cancel()
	l.family.Wait()
	l.client.Close()
	slices.SortFunc(l.took, func(a, b call) int { return a.end.Compare(b.end) })
	if l.err != nil {
		return nil, 0, fmt.Errorf("a caller failed: %w", l.err)
	}
	return l.took, elapsed, nil
}

// quantile returns the q-th of the durations of calls, in milliseconds.
func quantile(calls []call, q float64) float64 {
	if len(calls) == 0 {
		return 0
	}
	all := make([]time.Duration, len(calls))
	for i, c := range calls {
		all[i] = c.took()
	}
	slices.Sort(all)
	return float64(all[min(int(float64(len(all))*q), len(all)-1)].Microseconds()) / 1e3
}

// between returns the calls that were open at some time from begin to end.
func between(calls []call, begin, end time.Time) (out []call) {
	for _, c := range calls {
		if c.end.After(begin) && c.begin.Before(end) {
			out = append(out, c)
		}
	}
	return out
}

// spread formats the median, the least and the most of some figures.
func spread(all []float64, format string) string {
	all = slices.Sorted(slices.Values(all))
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", all[len(all)/2], all[0], all[len(all)-1])
}
