package mapreduce

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/machine"
)

// Main must be the first line of main in a program that defines pipelines, behind nothing but package variables: on a cluster the workers start
// the same program as their child, and then Main runs the pipelines' functions for them and never returns. Otherwise it
// prepares the process for batch work: unless GOMEMLIMIT is set, the garbage collector works harder, rather than let the process be killed, when
// nine tenths of the machine's or cgroup's memory are in use.
func Main() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(machine.Memory() / 10 * 9)
	}
	address, set := os.LookupEnv(child.Env)
	if !set {
		return
	}
	_ = os.Unsetenv(child.Env) // programs that user code starts are not the worker's children
	if err := child.Serve(address, newRebuilder().build); err != nil {
		fmt.Fprintf(os.Stderr, "layshaft: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}
