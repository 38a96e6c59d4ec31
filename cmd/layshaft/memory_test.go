package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/layshaft/layshaft/internal/machine"
)

// The limit of memory that follows from the machine, or from the cgroup, counts after the first
// collection too.
func TestMemoryLimitStays(t *testing.T) {
	if os.Getenv("GOMEMLIMIT") != "" {
		t.Skip("GOMEMLIMIT is set")
	}
	limit, percent := debug.SetMemoryLimit(math.MaxInt64), debug.SetGCPercent(100)
	defer debug.SetMemoryLimit(limit)
	defer debug.SetGCPercent(percent)
	collected := begin()
	runtime.GC()
	<-collected
	if got, want := debug.SetMemoryLimit(-1), machine.Memory()/10*9; got != want {
		t.Errorf("the limit is %d bytes, want %d", got, want)
	}
}
