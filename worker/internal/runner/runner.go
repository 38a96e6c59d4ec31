// Package runner runs user code in child processes. So a crash, os.Exit, full memory, an endless
// loop or a flood of output ends an attempt, but not the worker.
//
// There is one child per job, shared by all slots of the worker. The first attempt starts it; after
// its death, the next attempt starts a new one. The child is the user's own program: in it,
// mapreduce.Main serves the other end of internal/child.
//
// Runner.Program returns a Program whose stage functions run in the child. Inputs, outputs and
// manifests of attempts stay in the worker. A child ends with its job (End), with the runner
// (Close), and with the worker's process, even after a crash or kill of the worker. End and Close
// leave no process, socket or file of it.
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

// Config configures a Runner. Dir is required.
type Config struct {
	// Dir is a directory for scratch files and sockets, used only by this Runner. New empties it;
	// Close removes it.
	Dir string
	// Env lists more variables of the worker's environment for children; see child.Environment.
	Env []string
	// Check is called before need bytes of scratch are written. Nil means unlimited space.
	Check func(need int64) error
	// Connect is the maximum time from the start of a child until it is ready. Zero means 10 s.
	Connect time.Duration
	// Grace is the maximum time for user code to return after its attempt was cancelled. Zero means
	// 5 s. Then its process is killed, and the kill takes up to 3 s more. Keep the sum below the
	// worker's own Grace, or the worker loses a slot.
	Grace time.Duration
	// Idle is how long an attempt may read no record and use no processor before it is reported as
	// idle, with its stacks. Zero means 30 s.
	Idle time.Duration
	// StderrLimit is the number of bytes kept of a child's output for reports of its death. It
	// applies to the start of the output and to its end, each. Zero means 32 KiB.
	StderrLimit int
	// Lines is called for each line of a child's standard output and error. It must not block. Nil
	// means that nobody wants them.
	Lines func(id job.ID, l Line)
	// Log receives messages about the end of children, and their output, at most 20 lines per child
	// and second. Nil disables logging.
	Log *slog.Logger
}

// Line is a line that user code wrote to its standard output or error, or to its log.
type Line struct {
	At time.Time // when the worker read it
	// Attempts are the attempts that may have written it: one if it is known, else all attempts of
	// the process, and none between attempts.
	Attempts []string
	Text     []byte // valid during the call; at most 4 KiB, and any bytes
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
	mu       sync.Mutex
	ended    error             // reason for starting no more children; nil before the end
	p        *process          // nil before the first child; may be dead
	isolated map[*process]bool // children for a single attempt
}

// New empties cfg.Dir and returns a Runner. It starts no child.
func New(cfg Config) (*Runner, error) {
	if cfg.Dir == "" {
		return nil, errors.New("runner: Dir is empty")
	}
	if cfg.Connect < 0 || cfg.Grace < 0 || cfg.StderrLimit < 0 {
		return nil, fmt.Errorf("runner: Connect %v, Grace %v, StderrLimit %d: none may be negative", cfg.Connect, cfg.Grace, cfg.StderrLimit)
	}
	cfg.Connect = cmp.Or(cfg.Connect, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	cfg.Idle = cmp.Or(cfg.Idle, 30*time.Second)
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

// Program returns the program of a job for one slot. Its stage functions run in the job's child,
// the executable at path. The child gets env and some of the worker's variables, see
// child.Environment.
//
// The spec, path and env of the first call for a job stay in effect until End. Program starts no
// child.
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

// End kills the children of a job, and so ends its running attempts. It blocks until their
// processes and files are removed. It does nothing for a job unknown to the runner.
func (r *Runner) End(id job.ID) {
	r.mu.Lock()
	c := r.jobs[id]
	delete(r.jobs, id)
	r.mu.Unlock()
	if c != nil {
		c.end(errEnded)
	}
}

// Memory returns the number of children and the memory that they hold now, in bytes. The memory is
// zero where the system does not report it.
func (r *Runner) Memory() (children int, bytes int64) {
	r.mu.Lock()
	var all []*code
	for _, c := range r.jobs {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		n, b := c.memory()
		children, bytes = children+n, bytes+b
	}
	return children, bytes
}

func (c *code) memory() (children int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add := func(p *process) {
		child := p.proc.Load()
		select {
		case <-p.exited:
			return
		default:
		}
		if child != nil {
			now, _ := memoryOf(child.Pid)
			children, bytes = children+1, bytes+now
		}
	}
	if c.p != nil {
		add(c.p)
	}
	for p := range c.isolated {
		add(p)
	}
	return children, bytes
}

// Close kills all children and blocks until their processes and files are removed, with Config.Dir.
// Later attempts fail.
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
	for p := range c.isolated {
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

// run runs one attempt in the child of the job or, if run.Isolated is set, in a child of its own.
func (c *code) run(ctx context.Context, slot int, run *job.Run) error {
	p, err := c.process(run.Isolated)
	if err != nil {
		return err
	}
	if run.Isolated {
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
	if run.Isolated {
		if mark, err = child.NewMark(scratch); err != nil {
			return err
		}
		defer mark.Close()
	}
	p.enter(run.Attempt)
	defer p.leave(run.Attempt)
	err = p.conn.Run(ctx, child.Call{Run: run, Slot: slot, Scratch: scratch, Check: c.r.cfg.Check, Grace: c.r.cfg.Grace, Idle: c.r.cfg.Idle,
		Stuck: func() { p.killStuck(run.Attempt) }})
	if errors.Is(err, child.ErrGone) {
		return p.withDeath(p.postMortem(run, mark, err), run)
	}
	return p.withDeath(err, run)
}

// process returns the child of the job and starts it if needed. If alone is set, it returns a child
// for a single attempt.
func (c *code) process(alone bool) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	if alone {
		p := newProcess(c)
		if c.isolated == nil {
			c.isolated = map[*process]bool{}
		}
		c.isolated[p] = true
		return p, nil
	}
	if c.p == nil || c.p.isDying() {
		c.p = newProcess(c)
	}
	return c.p, nil
}

// leave kills the child of a single attempt and blocks until it is removed.
func (c *code) leave(p *process) {
	p.end(errAttempted)
	<-p.done
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.isolated, p)
}

// await blocks until the child is ready. It returns an error if the child refused the job or died,
// or if ctx ends first.
func (p *process) await(ctx context.Context) error {
	select {
	case <-p.ready:
		return p.refused
	case <-p.done:
		return p.describeDeath(0)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
