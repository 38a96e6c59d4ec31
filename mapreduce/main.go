package mapreduce

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/plain"
)

// Main must be the first line of main in a program that defines pipelines; only package variables
// may run before it. On a cluster, workers start the same program as a child process. In such a
// child, Main runs the functions of the pipelines for the worker and never returns.
//
// Otherwise Main prepares the process for batch work: it sets the soft memory limit to nine tenths
// of the memory of the machine or cgroup, unless GOMEMLIMIT is set. The garbage collector then
// works harder before the process is killed for its memory. While a pipeline runs, ^C (SIGINT) ends
// the run in order, as the end of its context does; on a cluster a user at a terminal is asked
// whether the job continues. A second ^C ends the program.
func Main() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(machine.Memory() / 10 * 9)
	}
	address, set := os.LookupEnv(child.Env)
	if !set {
		catchInterrupts.Store(true)
		flagsBeforeMain = map[string]bool{}
		flag.VisitAll(func(f *flag.Flag) { flagsBeforeMain[f.Name] = true })
		return
	}
	replays.Store(os.Getenv(child.ReplayEnv) != "")
	_ = os.Unsetenv(child.Env) // a program started by user code is not a child of the worker
	if err := child.Serve(address, newRebuilder().build); err != nil {
		fmt.Fprintln(os.Stderr, "layshaft:", plain.Lines(err.Error()))
		os.Exit(1)
	}
	os.Exit(0)
}

// flagsBeforeMain are the flags that package variables registered, which functions of pipelines can
// read. Nil means that Main was not called.
var flagsBeforeMain map[string]bool

// noteUnsentFlags prints which flags of package variables have a value here that is not in the
// parameters. A child does not parse flags, so a function that reads one gets its default there.
func (t *settings) noteUnsentFlags(fs *flag.FlagSet, params []byte) {
	own := slices.Concat(localFlags, clusterFlags, reportingFlags)
	fs.Visit(func(f *flag.Flag) {
		value := f.Value.String()
		if flagsBeforeMain[f.Name] && !slices.Contains(own, f.Name) && value != f.DefValue && !bytes.Contains(params, []byte(value)) {
			t.note("-%s %s counts in this process only: on the workers a function that reads the flag gets %q; if one does, make it a parameter of Define; layshaft vet ./... finds such functions", f.Name, value, f.DefValue)
		}
	})
}

// replays is set by Main in a program that runs one attempt again for a person. Then sinks write
// nothing.
var replays atomic.Bool

// catchInterrupts is set by Main: the program is one for pipelines, which ends after ^C.
var catchInterrupts atomic.Bool

// withInterrupt returns a context that ends at SIGINT, until stop is called. The next SIGINT ends
// the program.
func withInterrupt(ctx context.Context) (_ context.Context, stop func()) {
	if !catchInterrupts.Load() || signal.Ignored(os.Interrupt) {
		return ctx, func() {}
	}
	ctx, stop = signal.NotifyContext(ctx, os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
