// Package worker owns the slots and the data of one machine. It runs attempts, keeps their
// outputs, and serves the outputs to readers. The coordinator decides where attempts run and
// which attempt counts; a worker executes and reports.
//
// A Worker is joined to its coordinator by direct calls. A Node is a whole worker process: a
// Worker with datasets and programs behind a network. Its stream to the coordinator is opened
// again whenever it breaks. Remote reads the outputs of other workers.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/worker/internal/attempt"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// Reporter receives the results of attempts, one call for each launch, from several goroutines.
// It may launch and cancel, but must not call DropJob. The manifest is shared and must not be
// changed.
type Reporter interface {
	Done(worker string, m *job.Manifest)
	Failed(worker string, a job.Attempt, f job.Failure)
}

// Config configures a Worker. Name, Dir, Spec, Program and Reporter are required; the rest has
// defaults.
type Config struct {
	// Name is the worker's name in producers and reports.
	Name string
	// Dir holds outputs and scratch files. It belongs to this worker alone, and is created if it
	// does not exist.
	Dir string
	// Slots is the number of attempts that run at once. Zero means one for each processor that
	// the process may use.
	Slots int
	// Memory is how many bytes the attempts of all slots may hold before they spill. A job can
	// set another limit for each of its attempts. Zero means 256 MiB per slot.
	Memory int64
	// Sync makes outputs survive a crash of the machine, not only of the process.
	Sync bool
	// Temporary is for a directory whose outputs are not needed after Close. It must be new.
	Temporary bool
	// Compress stores outputs compressed where that pays. Use it for workers that serve others
	// over a network.
	Compress bool
	// Reserve is how many bytes of the disk to keep free. Zero means 256 MiB; a negative number
	// means none.
	Reserve int64
	// Quota is how many bytes the outputs may take. Beyond it, no attempt begins. Zero means no
	// limit but the disk.
	Quota int64
	// Drain is how long attempts may continue after Run's context ended. Zero means not at all.
	Drain time.Duration
	// Grace is how long user code may ignore the end of its context before the worker abandons
	// the attempt. Zero means 10 s. The slot stays occupied until the code returns.
	Grace time.Duration
	// Spec returns a job as data. The worker calls it before the first attempt of a job and keeps
	// the result until DropJob.
	Spec func(id job.ID) (*job.Spec, error)
	// Program returns an instance of a job's code. The worker calls it once per job and slot and
	// keeps the instance until DropJob. RunAgain uses the slot number Slots.
	Program func(id job.ID, slot int) (*job.Program, error)
	// Reporter receives the results of attempts.
	Reporter Reporter
	// Peer returns the outputs of another worker, or nil for an unknown worker. A nil Peer means
	// that there are no other workers.
	Peer func(worker string) Outputs
	// Log receives warnings and errors. Nil means no log.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name == "":
		return c, errors.New("worker: Name is empty")
	case c.Dir == "":
		return c, errors.New("worker: Dir is empty")
	case c.Spec == nil || c.Program == nil || c.Reporter == nil:
		return c, errors.New("worker: Spec, Program and Reporter must all be set")
	case c.Slots < 0 || c.Memory < 0 || c.Drain < 0 || c.Grace < 0:
		return c, fmt.Errorf("worker: Slots %d, Memory %d, Drain %v, Grace %v: none may be negative", c.Slots, c.Memory, c.Drain, c.Grace)
	}
	c.Slots = cmp.Or(c.Slots, machine.Processors())
	c.Memory = cmp.Or(c.Memory, int64(c.Slots)*256<<20)
	c.Grace = cmp.Or(c.Grace, attempt.DefaultGrace)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Worker runs attempts. Its methods may be called concurrently.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	store *shuffle.Store
	aside *asideStore
	rerun chan struct{} // held by RunAgain

	// mu guards the fields below. changed is signalled when a change may unblock a goroutine of
	// Run.
	mu       sync.Mutex
	changed  *sync.Cond
	attempts map[job.Attempt]*launched // launched, not reported yet
	spilled  int64                     // by attempts that were reported
	queue    []*launched               // waiting for a slot, oldest first
	chores   []func()                  // for runChores
	code     map[job.ID]*code
	draining bool // slots take no new work
	ended    bool // the slots have ended
}

// code is the part of a job that the worker keeps between attempts.
type code struct {
	spec     *job.Spec
	programs map[int]*job.Program // by slot
}

// New opens the worker's directory, with the outputs that were sealed there before. It fails if
// the directory is in use or its disk is full. Call Run to work, then Close.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	store, err := shuffle.Open(cfg.Dir, shuffle.Options{Sync: cfg.Sync, Temporary: cfg.Temporary, Compress: cfg.Compress, Reserve: cfg.Reserve, Quota: cfg.Quota, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", cfg.Name, err)
	}
	w := &Worker{
		cfg: cfg, log: cfg.Log.With("worker", cfg.Name), store: store, aside: newAsideStore(), rerun: make(chan struct{}, 1),
		attempts: make(map[job.Attempt]*launched), code: make(map[job.ID]*code),
	}
	w.changed = sync.NewCond(&w.mu)
	err = os.RemoveAll(w.scratch())
	if err == nil {
		err = os.Mkdir(w.scratch(), 0o700)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker %s: %w", cfg.Name, err), store.Close())
	}
	return w, nil
}

func (w *Worker) scratch() string { return filepath.Join(w.cfg.Dir, "scratch") }

// Close closes the directory. Call it after Run has returned and all readers of outputs are done.
func (w *Worker) Close() error { return w.store.Close() }

// Run runs launched attempts until ctx ends, then drains. Attempts in the queue fail with
// job.WorkerLost. Running attempts get Config.Drain to finish; then they are cancelled. Run
// returns nil after all attempts are reported. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var slots, keeper errgroup.Group
	for slot := range w.cfg.Slots {
		slots.Go(func() error { w.runSlot(work, slot); return nil })
	}
	keeper.Go(func() error { w.runChores(); return nil })

	<-ctx.Done()
	w.Drain()

	drained := make(chan struct{})
	var timer errgroup.Group
	timer.Go(func() error {
		late, stop := awake.After(w.cfg.Drain)
		defer stop()
		select {
		case <-late:
			cancel(lostWithWorker())
		case <-drained:
		}
		return nil
	})
	_ = slots.Wait()
	close(drained)
	_ = timer.Wait()
	w.mu.Lock()
	w.ended = true
	w.changed.Broadcast()
	w.mu.Unlock()
	return keeper.Wait()
}

// Drain stops the worker from starting attempts, without blocking. Attempts in the queue, and
// later launches, fail with job.WorkerLost. Running attempts continue.
func (w *Worker) Drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	for _, l := range w.queue {
		w.reportLater(l, lostWithWorker())
	}
	w.queue = nil
	w.changed.Broadcast()
}

func lostWithWorker() *job.Failure {
	return &job.Failure{Kind: job.WorkerLost, Message: "worker is shutting down"}
}

// runChores does the work that callers of the worker must not wait for.
func (w *Worker) runChores() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.chores) == 0 {
			if w.ended {
				return
			}
			w.changed.Wait()
		}
		chores := w.chores
		w.chores = nil
		w.mu.Unlock()
		for _, chore := range chores {
			chore()
		}
		w.mu.Lock()
	}
}

// enqueueChore queues a chore for runChores. The caller holds mu. After the end of Run, the chore
// is dropped.
func (w *Worker) enqueueChore(chore func()) {
	if !w.ended {
		w.chores = append(w.chores, chore)
		w.changed.Broadcast()
	}
}
