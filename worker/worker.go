// Package worker owns the slots and the data of one machine: it runs the attempts it is asked to run, keeps their outputs
// and serves them to whoever reads them. What runs where, and which attempt counts, is decided elsewhere; a worker obeys
// and reports.
//
// A Worker is joined to its coordinator by direct calls. A Node is a whole worker process: a Worker behind a network, with a session
// to a coordinator that it finds again whenever it is lost, and with datasets and programs. Remote reads what other workers hold.
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

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/worker/internal/attempt"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// Reporter hears how attempts end. It is called once per launch, from several goroutines; it may launch and cancel, but must
// not call DropJob. The manifest is shared and must not be changed.
type Reporter interface {
	Done(worker string, m *job.Manifest)
	Failed(worker string, a job.Attempt, f job.Failure)
}

// Config says what a worker is. Name, Dir, Spec, Program and Reporter are needed; the rest has defaults.
type Config struct {
	// Name names the worker in producers and reports.
	Name string
	// Dir holds outputs and scratch files. It belongs to this worker alone and is made when it does not exist.
	Dir string
	// Slots is how many attempts run at once; zero means one per CPU.
	Slots int
	// Memory is how many bytes the attempts of all slots may hold before they spill, for jobs that do not say how much one
	// attempt may; zero means 256 MiB per slot.
	Memory int64
	// Sync makes outputs survive a crash of the machine, not only of the process.
	Sync bool
	// Compress stores outputs compressed where that pays: for workers that serve others over a network.
	Compress bool
	// Reserve is how many bytes of the disk to keep free; zero means 256 MiB, less than zero none.
	Reserve int64
	// Quota is how many bytes the outputs may take; zero means no limit but the disk. Beyond it, no attempt begins.
	Quota int64
	// Drain is how long running attempts may go on after Run's context ended; zero means not at all.
	Drain time.Duration
	// Grace is how long user code may ignore the end of its context before its attempt is given up; zero means 10 s. A
	// slot whose user code still runs is lost until that code returns.
	Grace time.Duration
	// Spec returns a job as data. It is called before the first attempts of a job, and what it returns is kept until DropJob.
	Spec func(id job.ID) (*job.Spec, error)
	// Program returns the code of a job, of which every slot gets an instance of its own. It is called once per job and slot;
	// instances are kept until DropJob. RunAgain uses the slot number Slots.
	Program func(id job.ID, slot int) (*job.Program, error)
	// Reporter hears how attempts end.
	Reporter Reporter
	// Peer returns the outputs that another worker holds, or nil when it does not know that worker. Nil means that there
	// are no others.
	Peer func(worker string) Outputs
	// Log hears of what the worker coped with; nil means silence.
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
	rerun chan struct{} // held by RunAgain

	// mu guards the fields below; changed is signalled when one of them may let a goroutine of Run go on.
	mu       sync.Mutex
	changed  *sync.Cond
	attempts map[job.Attempt]*launched // launched, end not yet reported
	queue    []*launched               // those that wait for a slot, oldest first
	chores   []func()                  // for the housekeeper
	code     map[job.ID]*code
	draining bool // no slot takes new work
	ended    bool // the slots are gone
}

// code is what the worker keeps of a job between attempts.
type code struct {
	spec     *job.Spec
	programs map[int]*job.Program // by slot
}

// New opens the worker's directory; outputs that were sealed there before are held again. It fails when the directory
// is in use or its disk is full. Run then does the work, and Close ends it.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	store, err := shuffle.Open(cfg.Dir, shuffle.Options{Sync: cfg.Sync, Compress: cfg.Compress, Reserve: cfg.Reserve, Quota: cfg.Quota, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", cfg.Name, err)
	}
	w := &Worker{
		cfg: cfg, log: cfg.Log.With("worker", cfg.Name), store: store, rerun: make(chan struct{}, 1),
		attempts: make(map[job.Attempt]*launched), code: make(map[job.ID]*code),
	}
	w.changed = sync.NewCond(&w.mu)
	err = os.RemoveAll(w.scratch())
	if err == nil {
		err = os.Mkdir(w.scratch(), 0o755)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker %s: %w", cfg.Name, err), store.Close())
	}
	return w, nil
}

func (w *Worker) scratch() string { return filepath.Join(w.cfg.Dir, "scratch") }

// Close closes the directory. Call it after Run has returned and outputs are no longer read.
func (w *Worker) Close() error { return w.store.Close() }

// Run runs launched attempts until ctx ends. Then it drains: attempts that wait for a slot fail as lost with the worker,
// those that run get Drain to finish and are cancelled after that. It returns nil when all are reported. It is called
// once.
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
		t := time.NewTimer(w.cfg.Drain)
		defer t.Stop()
		select {
		case <-t.C:
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

// Drain has the worker take no more attempts: those that wait for a slot, and those launched from now on, fail as lost with
// the worker. It does not block; attempts that run go on.
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

// runChores does what callers of the worker must not wait for.
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

// later gives the housekeeper a chore. The caller holds mu. After Run has ended no one would do it.
func (w *Worker) enqueueChore(chore func()) {
	if !w.ended {
		w.chores = append(w.chores, chore)
		w.changed.Broadcast()
	}
}
