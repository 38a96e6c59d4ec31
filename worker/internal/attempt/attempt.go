// Package attempt runs one attempt of a job.Program: it opens the inputs, calls the stage function,
// catches errors and panics of user code, and then seals the output or removes it. It has no access
// to sockets or to other attempts.
package attempt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// DefaultGrace is how long a stage function may run after the end of its context before the attempt
// is abandoned.
const DefaultGrace = 10 * time.Second

// Fetcher reads the outputs of committed attempts, from any worker. A *job.Failure wrapped in an
// error is passed on, so a lost input can name the attempt to repeat.
type Fetcher interface {
	// Prefetch announces calls of Runs for one partition of all these producers or, when port is
	// negative, of Manifest, All or Range. Outputs on other workers can then be requested together.
	// The later calls report any errors.
	Prefetch(ps []job.Producer, port, part int)
	// Manifest returns the manifest of a producer's output.
	Manifest(p job.Producer) (*job.Manifest, error)
	// Runs returns the runs of one partition of an output port, in run order.
	Runs(p job.Producer, port, part int) ([]job.RunReader, error)
	// All returns the runs of all partitions of an output port, in order of run, then partition.
	All(p job.Producer, port int) ([]job.RunReader, error)
	// Range returns the runs of All without blocks outside [lo, hi). A nil lo is the start and a
	// nil hi the end of all keys.
	Range(p job.Producer, port int, lo, hi []byte) ([]job.RunReader, error)
}

// Output stores the blocks of the attempt.
type Output interface {
	job.Output
	// Seal makes the output exist, with these counters and sink parts.
	Seal(ctx context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error)
	// Discard removes the output. After Seal it does nothing.
	Discard()
}

// Config describes one attempt.
type Config struct {
	Launch  job.Launch   // the coordinator's request
	Stage   job.Stage    // the stage of Launch.Attempt
	Program *job.Program // code of the job
	Fetch   Fetcher      // reads the outputs of other attempts
	Output  Output       // stores the attempt's output
	Dir     string       // for scratch files; must exist
	// Check is called before each write of need bytes to scratch files. An error stops the write.
	// Nil means there is always space.
	Check    func(need int64) error
	Memory   int64         // bytes that the attempt may use
	Slots    int           // attempts of this size that share the process
	Progress *job.Progress // nil when nobody reads it
	Grace    time.Duration // zero means DefaultGrace
	// SetAside receives the records that the attempt sets aside; nil when nobody keeps them.
	SetAside func(line []byte)
}

type result struct {
	m   *job.Manifest
	err error
}

// Run runs the attempt and returns its manifest or a *job.Failure. When ctx ended, the failure is
// the cause of ctx: its kind is Cancelled unless the cause is itself a failure. Panics, time-outs
// and errors without a kind are transient failures. The output is sealed or discarded in any case.
//
// If a stage function runs for longer than Grace, or than its time limit if that is shorter but at
// least a second, after the end of its context, it is abandoned: Run
// returns, and the function keeps a goroutine and the program instance until it ends by itself.
// Only then busy is closed; normally it is closed when Run returns.
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
		ctx, cancel = awake.WithTimeoutCause(ctx, limit, errTimeout)
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
	wait := cfg.Grace
	if limit > 0 {
		wait = min(wait, max(limit, time.Second)) // an attempt ends in about the stated time
	}
	late, stop := awake.After(wait)
	defer stop()
	select {
	case r := <-done:
		<-ended
		return r.m, ended, toFailure(ctx, r.err, cfg.Stage.Name, limit)
	case <-late:
		f := toFailure(ctx, context.Cause(ctx), cfg.Stage.Name, limit).(*job.Failure)
		f.Message += fmt.Sprintf("; user code ignored its context for %v, so its goroutine is abandoned and runs on; return when the context of TryMap and its kin ends", wait)
		return nil, ended, f
	}
}

var errTimeout = errors.New("timed out")

// toFailure converts an error to a *job.Failure; nil stays nil.
func toFailure(ctx context.Context, err error, stage string, limit time.Duration) error {
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var f *job.Failure
	switch {
	case cause == nil && errors.As(err, &f):
		if err != error(f) { // keep the text added by wrapping
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
	// for example the stacks of user code that was killed
	if errors.As(err, &f) && out.Detail == "" {
		out.Detail = f.Detail
	}
	if f != nil && out.Kind != job.Cancelled && out.Death == nil {
		out.Death = f.Death
	}
	if f != nil && out.Kind == job.Transient { // for example, one record took too long
		out.Record, out.Number, out.Crashed = f.Record, f.Number, f.Crashed
		if f.Kind == job.Poison {
			out.Kind = job.Poison
		}
	}
	return out
}

// runStage does the work of Run, in the goroutine that an abandoned stage function keeps.
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
		Isolated: cfg.Launch.Isolated, Skips: cfg.Launch.Skips, SetAside: cfg.SetAside, Memory: cfg.Memory, Slots: cfg.Slots, Temp: scratch.Temp, Counters: make(map[string]int64), Progress: cfg.Progress,
	}
	if slices.ContainsFunc(cfg.Stage.Inputs, func(e job.Edge) bool { return e.Mode == job.Group }) {
		group := &groupInputs{cfg: cfg}
		defer group.close()
		r.OpenPartition = group.openPartition
	}
	if err := call.Run(ctx, cfg.Program.Stages[a.Task.Stage], r); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m, err := cfg.Output.Seal(ctx, r.Counters, r.Sink)
	if err == nil && len(r.Keys) > 0 {
		sealed := *m // the store has m, too
		sealed.Keys = r.Keys
		m = &sealed
	}
	return m, err
}

func closeRuns(inputs [][]job.RunReader) {
	for _, runs := range inputs {
		for _, r := range runs {
			_ = r.Close()
		}
	}
}
