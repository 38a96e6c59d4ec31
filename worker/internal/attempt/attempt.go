// Package attempt runs one attempt of a job.Program: it opens the inputs, calls the stage function, catches what goes
// wrong in user code, and seals the output or leaves nothing of it. It knows neither sockets nor other attempts.
package attempt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// DefaultGrace is how long a stage function may go on after its context ended before the attempt is abandoned.
const DefaultGrace = 10 * time.Second

// Fetcher reads the outputs of committed attempts, wherever they are held. An error that wraps a *job.Failure is
// passed on, so that a lost input can name the attempt that must run again.
type Fetcher interface {
	// Prefetch says that Runs of one partition will be called for all of these producers or, when port is negative, Manifest,
	// All or Range: what is elsewhere can be asked for together. What goes wrong is reported by those.
	Prefetch(ps []job.Producer, port, part int)
	// Manifest returns the manifest of a producer's output.
	Manifest(p job.Producer) (*job.Manifest, error)
	// Runs returns the runs of one partition of an output port, in run order.
	Runs(p job.Producer, port, part int) ([]job.RunReader, error)
	// All returns the runs of all partitions of an output port, in order of run, then partition.
	All(p job.Producer, port int) ([]job.RunReader, error)
	// Range returns the runs of All, without blocks that hold no key in [lo, hi); nil is the start or the end.
	Range(p job.Producer, port int, lo, hi []byte) ([]job.RunReader, error)
}

// Output takes the blocks of the attempt and makes them exist, or not.
type Output interface {
	job.Output
	// Seal makes the output exist, with these counters and sink parts.
	Seal(ctx context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error)
	// Discard removes the output. After Seal it does nothing.
	Discard()
}

// Config is what one attempt needs.
type Config struct {
	Launch   job.Launch
	Stage    job.Stage // the stage of Launch.Attempt
	Program  *job.Program
	Fetch    Fetcher
	Output   Output
	Dir      string                 // for scratch files; must exist
	Check    func(need int64) error // asked before need bytes of scratch are written; nil means there is always space
	Memory   int64                  // bytes that the attempt may hold
	Slots    int                    // attempts that may hold as much at the same time, in one process
	Progress *job.Progress          // nil means that no one watches
	Grace    time.Duration          // zero means DefaultGrace
}

type result struct {
	m   *job.Manifest
	err error
}

// Run runs the attempt and returns its manifest, or a *job.Failure: the cause of ctx when ctx ended (cancelled, unless the
// cause is itself a failure), transient for panics, time-outs and errors that do not say otherwise. The output is sealed or discarded in any case.
//
// A stage function that goes on for longer than Grace after its context ended is abandoned: Run returns and the function keeps a
// goroutine, and the program instance, until it ends by itself. busy is closed then; normally it is when Run returns.
func Run(ctx context.Context, cfg Config) (m *job.Manifest, busy <-chan struct{}, err error) {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Progress == nil {
		cfg.Progress = new(job.Progress)
	}
	var cancel context.CancelFunc
	limit := cfg.Launch.Timeout
	if limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	done := make(chan result, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m, err := runStage(ctx, cfg)
		done <- result{m, err}
	}()
	select {
	case r := <-done:
		<-ended
		return r.m, ended, toFailure(ctx, r.err, cfg.Stage.Name, limit)
	case <-ctx.Done():
	}
	grace := time.NewTimer(cfg.Grace)
	defer grace.Stop()
	select {
	case r := <-done:
		<-ended
		return r.m, ended, toFailure(ctx, r.err, cfg.Stage.Name, limit)
	case <-grace.C:
		f := toFailure(ctx, context.Cause(ctx), cfg.Stage.Name, limit).(*job.Failure)
		f.Message += fmt.Sprintf("; user code ignored its context for %v and still runs", cfg.Grace)
		return nil, ended, f
	}
}

var errTimeout = errors.New("timed out")

// toFailure turns an error into a *job.Failure and keeps nil.
func toFailure(ctx context.Context, err error, stage string, limit time.Duration) error {
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var f *job.Failure
	switch {
	case cause == nil && errors.As(err, &f):
		if err != error(f) { // keep what wrapping added
			c := *f
			c.Message = err.Error()
			return &c
		}
		return f
	case cause == nil:
		return &job.Failure{Kind: job.Transient, Message: err.Error()}
	}
	out := &job.Failure{Kind: job.Cancelled, Message: cause.Error()}
	if errors.Is(cause, errTimeout) {
		out = &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("an attempt of stage %q did not finish within its time limit of %v", stage, limit)}
	} else if errors.As(cause, &f) {
		c := *f
		out = &c
	}
	if errors.As(err, &f) && out.Detail == "" { // such as the stacks of user code that had to be killed
		out.Detail = f.Detail
	}
	if f != nil && out.Kind == job.Transient { // as it took a record too long
		out.Record, out.Number, out.Crashed = f.Record, f.Number, f.Crashed
		if f.Kind == job.Poison {
			out.Kind = job.Poison
		}
	}
	return out
}

// runStage does the work in the goroutine that the stage function may keep.
func runStage(ctx context.Context, cfg Config) (*job.Manifest, error) {
	defer cfg.Output.Discard()
	scratch := &call.Scratch{Dir: cfg.Dir, Check: cfg.Check, Progress: cfg.Progress}
	defer scratch.Close()
	a := cfg.Launch.Attempt
	if a.Task.Stage < 0 || a.Task.Stage >= len(cfg.Program.Stages) {
		return nil, &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("program has no stage %d, only %d: coordinator and worker run different code", a.Task.Stage, len(cfg.Program.Stages))}
	}
	inputs, err := openInputs(cfg)
	defer closeRuns(inputs)
	if err != nil {
		return nil, err
	}
	sinks, err := sinkParts(cfg)
	if err != nil {
		return nil, err
	}
	r := &job.Run{
		Attempt: a, Tasks: cfg.Stage.Tasks, Split: cfg.Launch.Split, Inputs: inputs, Output: cfg.Output, Sinks: sinks,
		Alone: cfg.Launch.Alone, Skips: cfg.Launch.Skips, Memory: cfg.Memory, Slots: cfg.Slots, Temp: scratch.Temp, Counters: make(map[string]int64), Progress: cfg.Progress,
	}
	if slices.ContainsFunc(cfg.Stage.Inputs, func(e job.Edge) bool { return e.Mode == job.Group }) {
		group := &groupInputs{cfg: cfg}
		defer group.close()
		r.Part = group.openPartition
	}
	if err := call.Run(ctx, cfg.Program.Stages[a.Task.Stage], r); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return cfg.Output.Seal(ctx, r.Counters, r.Sink)
}

func closeRuns(inputs [][]job.RunReader) {
	for _, runs := range inputs {
		for _, r := range runs {
			_ = r.Close()
		}
	}
}
