//go:build unix

package tasks

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// The coordinator is killed again and again while tasks are submitted, run, fail over and are
// followed by others. Those that were acknowledged end well, and each result is committed once:
// what follows a task is one task, whatever ran how often.
func TestKillCoordinator(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.storm(t, scale(12, 120), func() {
		c.coordinator.Kill()
		c.start(t)
	})
}

// storm submits tasks while the coordinator is upset so many times, and a worker is killed now and
// then. It checks that what was acknowledged is done.
func (c *cluster) storm(t *testing.T, times int, upset func()) {
	t.Helper()
	record := filepath.Join(t.TempDir(), "record")
	workers := []*process{c.worker(t, "-concurrency", "4", "-record", record), c.worker(t, "-concurrency", "4", "-record", record)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var submitters sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[tasks.ID]string{}
	more := make(chan struct{}, 1) // tasks were acknowledged
	for s := range 4 {
		submitters.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				in := fmt.Sprintf("%d.%d", s, i)
				id, err := tasks.Enqueue(ctx, c.Client, "record", in, tasks.Unique(in), tasks.Backoff(10*time.Millisecond, 0), tasks.Keep(time.Hour), tasks.Attempts(100),
					tasks.Then("tally", tasks.Keep(time.Hour), tasks.Attempts(100), tasks.Backoff(10*time.Millisecond, 0)))
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged[id] = in
				mu.Unlock()
				select {
				case more <- struct{}{}:
				default:
				}
			}
		})
	}
	for range times {
		select {
		case <-more:
		case <-time.After(patience):
			t.Fatal("no task was acknowledged")
		}
		<-time.After(rand.N(300 * time.Millisecond)) // anywhere in what it does
		mu.Lock()
		some := maps.Clone(acknowledged)
		mu.Unlock()
		given := c.results(t, some)
		upset()
		for _, id := range given {
			if s, err := c.Status(within(t), id); err != nil || s.State != tasks.StateDone {
				t.Errorf("task %s has given a result, and is %v (%v)", id, s.State, err)
			}
		}
		if r.IntN(4) == 0 { // a worker too
			i := r.IntN(len(workers))
			workers[i].Kill()
			workers[i] = c.launchWorker(t, "-concurrency", "4", "-record", record)
		}
	}
	stop()
	submitters.Wait()
	t.Logf("%d tasks", len(acknowledged))
	for _, id := range slices.Sorted(maps.Keys(acknowledged)) {
		in := acknowledged[id]
		if out, err := tasks.Attach[string](within(t), c.Client, id); err != nil || out != in {
			t.Errorf("task %s (%s) was acknowledged: %q, %v", id, in, out, err)
		}
	}
	c.await(t, "all to end", func(o tasks.Overview) bool { return o.Totals.Waiting+o.Totals.Delayed+o.Totals.Running == 0 })
	ran := readRecord(t, record)
	for _, in := range acknowledged {
		if len(ran["record"][in]) == 0 || len(ran["tally"][in]) == 0 {
			t.Errorf("%s ran as %v, and was followed by %v", in, ran["record"][in], ran["tally"][in])
		}
		// A submit whose answer was lost is made again: it is another task if the first had ended
		// by then. Each of them is followed once.
		if len(ran["tally"][in]) > len(ran["record"][in]) {
			t.Errorf("%s ran as %v and was followed by %v: a result was committed twice", in, ran["record"][in], ran["tally"][in])
		}
	}
}

// results waits for the results of a few acknowledged tasks.
func (c *cluster) results(t *testing.T, acknowledged map[tasks.ID]string) (given []tasks.ID) {
	t.Helper()
	for id, in := range acknowledged {
		if len(given) == 5 {
			break
		}
		if out, err := tasks.Attach[string](within(t), c.Client, id); err != nil || out != in {
			t.Errorf("task %s (%s) was acknowledged: %q, %v", id, in, out, err)
		}
		given = append(given, id)
	}
	return given
}
