// Package dev keeps the processes of a local cluster running. It starts them, prefixes their
// output with their names, restarts processes that end by themselves, and ends all of them
// together. The caller defines the processes.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/retry"
)

const (
	// The pause before a restart grows from minPause to maxPause. It is reset after a process has
	// run for steady.
	minPause, maxPause = 200 * time.Millisecond, 10 * time.Second
	steady             = 30 * time.Second
	// endWait is how long a process may take to end before it is killed.
	endWait = 15 * time.Second
)

// Process is a process to keep running. It must end when its standard input ends.
type Process struct {
	Name string   // name in the log
	Args []string // without the program name
}

// Config configures Run.
type Config struct {
	// Program is the path of the program of all processes.
	Program string
	// First start first and end last; the others need them.
	First []Process
	// Others run beside First.
	Others []Process
	// Ready blocks until all processes work together. If a process ends earlier, Run fails.
	Ready func(ctx context.Context) error
	// Welcome is called after Ready.
	Welcome func()
	// Out receives the output of the processes and messages about them.
	Out io.Writer
}

// Run runs the processes until ctx ends, and returns nil after all have ended. It fails if a
// process ends before Ready returns.
func Run(ctx context.Context, cfg Config) error {
	d := &dev{cfg: cfg}
	for _, p := range slices.Concat(cfg.First, cfg.Others) {
		d.width = max(d.width, len(p.Name))
	}
	failing, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d.fail = fail
	firstCtx, endFirst := context.WithCancel(context.WithoutCancel(ctx))
	defer endFirst()
	var first, others errgroup.Group
	for _, p := range cfg.First {
		first.Go(func() error { d.keepRunning(firstCtx, failing.Done(), p, false); return nil })
	}
	for _, p := range cfg.Others {
		others.Go(func() error { d.keepRunning(failing, failing.Done(), p, true); return nil })
	}
	others.Go(func() error {
		if err := cfg.Ready(failing); err != nil {
			fail(err)
			return nil
		}
		d.ready.Store(true)
		cfg.Welcome()
		return nil
	})
	<-failing.Done()
	if ctx.Err() != nil {
		d.print("ending")
	}
	_ = others.Wait()
	endFirst()
	_ = first.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(failing)
}

type dev struct {
	cfg   Config
	width int
	fail  context.CancelCauseFunc
	ready atomic.Bool

	// mu is held while a line is written to cfg.Out.
	mu sync.Mutex
}

// keepRunning restarts a process until ctx ends, or until over is closed and it has ended: a signal
// may reach the process before it reaches this one. If leaves is set, a process that ends without
// an error, such as a drained worker, is not restarted.
func (d *dev) keepRunning(ctx context.Context, over <-chan struct{}, p Process, leaves bool) {
	pauses := retry.Backoff{Min: minPause, Max: maxPause}
	for {
		began := time.Now()
		err := d.runOnce(ctx, p)
		switch {
		case ctx.Err() != nil:
			return
		case !d.ready.Load():
			d.fail(fmt.Errorf("%s ended before the cluster was ready: %s; see its last lines", p.Name, describeEnd(err)))
			return
		case leaves && err == nil:
			d.print("%s has left, as it was asked to", p.Name)
			return
		case time.Since(began) > steady:
			pauses.Reset()
		}
		select {
		case <-over:
			return
		default:
		}
		pause := pauses.Next().Round(10 * time.Millisecond)
		d.print("%s ended by itself (%s); it starts again in %v", p.Name, describeEnd(err), pause)
		select {
		case <-time.After(pause):
		case <-over:
			return
		}
	}
}

func describeEnd(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// runOnce runs a process until it ends.
func (d *dev) runOnce(ctx context.Context, p Process) error {
	cmd := exec.CommandContext(ctx, d.cfg.Program, p.Args...)
	cmd.Env = append(environment(), keeper.Env()...)
	out := &lines{d: d, prefix: fmt.Sprintf("%-*s | ", d.width, p.Name)}
	defer out.end()
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = in.Close
	cmd.WaitDelay = endWait
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return fmt.Errorf("killed: it did not end within %v", endWait)
}

// environment returns the environment of the processes. All flags are passed as arguments, so
// LAYSHAFT_ variables must not apply a second time. Variables of object stores, search servers and
// databases stay.
func environment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LAYSHAFT_") || strings.HasPrefix(v, "LAYSHAFT_S3_") || strings.HasPrefix(v, "LAYSHAFT_SEARCH_") || strings.HasPrefix(v, "LAYSHAFT_PG_") {
			env = append(env, v)
		}
	}
	return env
}

func (d *dev) print(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.cfg.Out, "%-*s | %s\n", d.width, "dev", plain.Text(fmt.Sprintf(format, args...)))
}

// lines writes whole lines with a prefix.
type lines struct {
	d      *dev
	prefix string
	rest   []byte
}

// maxLine is the length at which a line is split.
const maxLine = 64 << 10

func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	l.rest = append(l.rest, b...)
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for {
		line, rest, found := strings.Cut(string(l.rest), "\n")
		if !found && len(l.rest) < maxLine {
			return n, nil
		}
		fmt.Fprintf(l.d.cfg.Out, "%s%s\n", l.prefix, plain.Lines(strings.TrimSuffix(line, "\r")))
		l.rest = []byte(rest)
	}
}

// end writes an incomplete last line.
func (l *lines) end() {
	if len(l.rest) > 0 {
		_, _ = l.Write([]byte("\n"))
	}
}
