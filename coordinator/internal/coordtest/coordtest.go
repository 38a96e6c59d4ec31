// Package coordtest has a worker and a journal in memory, for tests of the coordinator and its
// servers.
package coordtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Worker runs attempts for a second each. Fail may fail one.
type Worker struct {
	C    *coordinator.Coordinator // the coordinator under test
	Name string                   // name of the worker
	// Fail returns the failure of an attempt, or nil for success. A nil Fail means success.
	Fail func(a job.Attempt) *job.Failure

	// Mu guards the fields below.
	Mu      sync.Mutex
	Running map[job.Attempt]context.CancelFunc
	Store   map[job.Attempt]bool
	Runs    []string // all attempts, in order of launch
	Silent  bool
	Dead    bool
	Takes   time.Duration // an attempt; zero means a second
}

// NewWorker returns a worker that has not joined.
func NewWorker(name string) *Worker {
	return &Worker{Name: name, Running: map[job.Attempt]context.CancelFunc{}, Store: map[job.Attempt]bool{}}
}

// Join lets the worker join c, with its outputs and its running attempts.
func (w *Worker) Join(t *testing.T, c *coordinator.Coordinator, slots int) {
	t.Helper()
	w.Mu.Lock()
	w.C = c
	outputs := slices.Collect(maps.Keys(w.Store))
	running := slices.Collect(maps.Keys(w.Running))
	w.Mu.Unlock()
	if err := c.JoinAs(sched.WorkerJoined{Worker: w.Name, Slots: slots, Outputs: outputs, Running: running}, w); err != nil {
		t.Fatal(err)
	}
}

// Beat sends heartbeats until the coordinator stops.
func (w *Worker) Beat() {
	for {
		time.Sleep(2 * time.Second)
		w.Mu.Lock()
		silent, c := w.Silent, w.C
		w.Mu.Unlock()
		if !silent {
			if err := c.Heartbeat(w.Name); errors.Is(err, coordinator.ErrStopped) {
				return
			}
		} else if errors.Is(c.Err(), coordinator.ErrStopped) {
			return
		}
	}
}

// Launch starts an attempt.
func (w *Worker) Launch(l job.Launch) {
	ctx, cancel := context.WithCancel(context.Background())
	w.Mu.Lock()
	w.Running[l.Attempt] = cancel
	w.Runs = append(w.Runs, l.Attempt.String())
	takes := cmp.Or(w.Takes, time.Second)
	w.Mu.Unlock()
	go func() {
		defer cancel()
		var f *job.Failure
		select {
		case <-time.After(takes):
			if w.Fail != nil {
				f = w.Fail(l.Attempt)
			}
		case <-ctx.Done():
			f = &job.Failure{Kind: job.Cancelled, Message: "cancelled"}
		}
		w.Mu.Lock()
		delete(w.Running, l.Attempt)
		w.Store[l.Attempt] = f == nil
		c, dead := w.C, w.Dead
		w.Mu.Unlock()
		switch {
		case dead:
		case f != nil:
			c.Failed(w.Name, l.Attempt, *f)
		default:
			c.Done(w.Name, &job.Manifest{Attempt: l.Attempt, Counters: map[string]int64{"rows": 10}, Extents: []job.Extent{{Bytes: 5, Records: 3}}})
		}
	}()
}

// Cancel ends an attempt.
func (w *Worker) Cancel(a job.Attempt) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if cancel := w.Running[a]; cancel != nil {
		cancel()
	}
}

// Drop deletes an output.
func (w *Worker) Drop(a job.Attempt) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	delete(w.Store, a)
}

// Launched returns all attempts in order of their launch.
func (w *Worker) Launched() string {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return strings.Join(w.Runs, " ")
}

// Holds returns how many outputs the worker has.
func (w *Worker) Holds() int {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return len(w.Store)
}

// Outputs returns how many sealed outputs the worker has.
func (w *Worker) Outputs() (n int) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	for _, sealed := range w.Store {
		if sealed {
			n++
		}
	}
	return n
}

// Journal keeps events in memory. Full makes Append refuse.
type Journal struct {
	Mu     sync.Mutex // guards the fields below
	Broken error      // what every Append returns, unless nil
	Events [][]byte   // events after the snapshot
	Seq    uint64     // number of the last event in the snapshot
	State  []byte     // the snapshot
	Full   bool
}

// Append is coordinator.Journal.
func (j *Journal) Append(_ context.Context, events ...[]byte) (uint64, error) {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	if j.Broken != nil {
		return 0, j.Broken
	}
	if j.Full {
		return 0, fmt.Errorf("fake: %w", journal.ErrDiskFull)
	}
	j.Events = append(j.Events, events...)
	return j.Seq + uint64(len(j.Events)), nil
}

// Replay is coordinator.Journal.
func (j *Journal) Replay(fn func(uint64, []byte) error) error {
	for i, ev := range j.Events {
		if err := fn(j.Seq+uint64(i)+1, ev); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot is coordinator.Journal.
func (j *Journal) Snapshot(seq uint64, state []byte) error {
	j.Events = j.Events[seq-j.Seq:]
	j.Seq, j.State = seq, state
	return nil
}

// LoadSnapshot is coordinator.Journal.
func (j *Journal) LoadSnapshot() (uint64, []byte, error) { return j.Seq, j.State, nil }

// SetFull fills the disk, or frees it.
func (j *Journal) SetFull(full bool) {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	j.Full = full
}

// Start runs a coordinator until stop is called or the test ends.
func Start(t *testing.T, cfg coordinator.Config) (c *coordinator.Coordinator, stop func()) {
	t.Helper()
	c, err := coordinator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		synctest.Wait()
		if bad := coordinator.Audit(c); bad != nil {
			t.Errorf("audit: %q", bad)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return c, stop
}

// TwoStages returns a job with a stage of maps and a stage of reduces.
func TwoStages(maps, reduces int) job.Spec {
	return job.Spec{ID: "j", Name: "two stages", Hash: "abc", Stages: []job.Stage{
		{Name: "map", Tasks: maps}, {Name: "reduce", Tasks: reduces, Inputs: []job.Edge{{From: 0}}},
	}}
}

// Submit submits a job.
func Submit(t *testing.T, c *coordinator.Coordinator, spec job.Spec) {
	t.Helper()
	if err := c.Submit(t.Context(), spec, report.Options{}); err != nil {
		t.Fatal(err)
	}
}

// Bubble runs f under a fake clock.
func Bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }
