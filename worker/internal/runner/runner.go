// Package runner runs user code in child processes, so that a crash, os.Exit, a full memory, an endless loop or a flood of output ends an
// attempt and never the worker. There is one child per job, started by the first attempt that needs it and again after it died; all slots of
// the worker share it. The child is the user's own program, which package mapreduce turns into the other end of internal/child.
//
// The Program of a job that this package makes stands in for the compiled one: the worker's attempts keep their inputs, outputs and
// manifests, and the child runs the stage functions. A child ends with its job (End), with the runner (Close), and
// with the process of the worker, however that ends. Nothing is left of it then: no process, socket or file.
package runner

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

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// Config says how children are run. Dir must be set.
type Config struct {
	// Dir is the runner's own directory, for scratch files and sockets. New empties it.
	Dir string
	// Check is asked before need bytes of scratch are written. Nil means that there is always space.
	Check func(need int64) error
	// Connect is how long a child may take from its start until it is ready. Zero means 10 s.
	Connect time.Duration
	// Grace is how long user code may go on after its attempt was cancelled before its process is killed, which takes up to 3 s more. Together
	// they should be shorter than the worker's own Grace, so that no slot is lost. Zero means 5 s.
	Grace time.Duration
	// StderrLimit is how many bytes of a child's output are kept of its beginning, and as many of its end, for reports of its death.
	// Zero means 32 KiB.
	StderrLimit int
	// Log takes what children print, at most 20 lines a second of each, and how they end. Nil means silence.
	Log *slog.Logger
}

// Runner starts and ends children. Its methods may be called concurrently.
type Runner struct {
	cfg Config

	// mu guards the fields below.
	mu     sync.Mutex
	closed bool
	jobs   map[job.ID]*code
}

// code is the program of one job.
type code struct {
	r    *Runner
	id   job.ID
	spec *job.Spec
	path string
	env  []string

	// mu guards the fields below.
	mu    sync.Mutex
	ended error             // why no child is started any more
	p     *process          // nil before the first; may be dead
	alone map[*process]bool // children of one attempt each
}

// New empties cfg.Dir and returns a Runner. Nothing is started before the first attempt.
func New(cfg Config) (*Runner, error) {
	if cfg.Dir == "" {
		return nil, errors.New("runner: Dir is empty")
	}
	if cfg.Connect < 0 || cfg.Grace < 0 || cfg.StderrLimit < 0 {
		return nil, fmt.Errorf("runner: Connect %v, Grace %v, StderrLimit %d: none may be negative", cfg.Connect, cfg.Grace, cfg.StderrLimit)
	}
	cfg.Connect = cmp.Or(cfg.Connect, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	cfg.StderrLimit = cmp.Or(cfg.StderrLimit, 32<<10)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir) // children have another working directory
	if cfg.Dir = dir; err == nil {
		err = os.RemoveAll(cfg.Dir)
	}
	if err == nil {
		err = os.MkdirAll(cfg.Dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	return &Runner{cfg: cfg, jobs: make(map[job.ID]*code)}, nil
}

// Program returns the program of a job for one slot. Its stage functions run in the job's child, which is the program at path. The child
// gets env and, of the worker's environment, what does not begin with LAYSHAFT_, object stores aside. spec, path and env of the first call for a
// job hold until End. Program starts nothing.
func (r *Runner) Program(id job.ID, slot int, spec *job.Spec, path string, env []string) (*job.Program, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	c := r.jobs[id]
	if c == nil {
		c = &code{r: r, id: id, spec: spec, path: path, env: env}
		r.jobs[id] = c
	}
	p := &job.Program{}
	for range spec.Stages {
		p.Stages = append(p.Stages, func(ctx context.Context, run *job.Run) error { return c.run(ctx, slot, run) })
	}
	return p, nil
}

var (
	errEnded     = &job.Failure{Kind: job.Cancelled, Message: "the job has ended"}
	errAttempted = &job.Failure{Kind: job.Cancelled, Message: "its attempt has ended"}
	errClosed    = &job.Failure{Kind: job.WorkerLost, Message: "worker is shutting down"}
)

// End ends the child of a job, and attempts that still run in it, and blocks until nothing is left of it. For a job without a child it does
// nothing.
func (r *Runner) End(id job.ID) {
	r.mu.Lock()
	c := r.jobs[id]
	delete(r.jobs, id)
	r.mu.Unlock()
	if c != nil {
		c.end(errEnded)
	}
}

// Close ends all children and blocks until nothing is left of them. Attempts fail from then on.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	jobs := r.jobs
	r.jobs = nil
	r.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range jobs {
		all.Go(func() { c.end(errClosed) })
	}
	all.Wait()
	return os.RemoveAll(r.cfg.Dir)
}

func (c *code) end(why error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = why
	}
	var all []*process
	for p := range c.alone {
		all = append(all, p)
	}
	if c.p != nil {
		all = append(all, c.p)
	}
	c.mu.Unlock()
	for _, p := range all {
		p.end(why)
	}
	for _, p := range all {
		<-p.done
	}
}

// run runs one attempt in the child of the job or, when it is to be alone, in one of its own.
func (c *code) run(ctx context.Context, slot int, run *job.Run) error {
	p, err := c.process(run.Alone)
	if err != nil {
		return err
	}
	if run.Alone {
		slot = 0
		defer c.leave(p)
	}
	if err := p.await(ctx); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(p.dir, "attempt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var mark *child.Mark
	if run.Alone {
		if mark, err = child.NewMark(scratch); err != nil {
			return err
		}
		defer mark.Close()
	}
	p.enter(run.Attempt)
	defer p.leave(run.Attempt)
	err = p.conn.Run(ctx, child.Call{Run: run, Slot: slot, Scratch: scratch, Check: c.r.cfg.Check, Grace: c.r.cfg.Grace,
		Stuck: func() { p.stuck(run.Attempt) }})
	if errors.Is(err, child.ErrGone) {
		return p.postMortem(run, mark, err)
	}
	return err
}

// process returns the child of the job, which it starts when there is none, or one for a single attempt.
func (c *code) process(alone bool) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	if alone {
		p := newProcess(c)
		if c.alone == nil {
			c.alone = map[*process]bool{}
		}
		c.alone[p] = true
		return p, nil
	}
	if c.p == nil || c.p.dying() {
		c.p = newProcess(c)
	}
	return c.p, nil
}

// leave ends the child of a single attempt.
func (c *code) leave(p *process) {
	p.end(errAttempted)
	<-p.done
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.alone, p)
}

// await blocks until the child is ready.
func (p *process) await(ctx context.Context) error {
	select {
	case <-p.ready:
		return p.refused
	case <-p.done:
		return p.obituary(0)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
