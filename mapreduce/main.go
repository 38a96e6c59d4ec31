package mapreduce

import (
	"fmt"
	"os"
	"runtime/debug"

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
// works harder before the process is killed for its memory.
func Main() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(machine.Memory() / 10 * 9)
	}
	address, set := os.LookupEnv(child.Env)
	if !set {
		return
	}
	_ = os.Unsetenv(child.Env) // a program started by user code is not a child of the worker
	if err := child.Serve(address, newRebuilder().build); err != nil {
		fmt.Fprintln(os.Stderr, "layshaft:", plain.Lines(err.Error()))
		os.Exit(1)
	}
	os.Exit(0)
}
