//go:build unix

// Package chaos injects faults into a cluster under load, from outside: kill -9, stopped
// processes, drains, lost children, cut connections. Afterwards it compares all results with the
// inputs.
//
//	go test ./e2e/chaos -faults 500 -v
package chaos

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

var (
	faultCount   = flag.Int("faults", 0, "inject `N` faults; 0 means 12, or 200 with "+programs.HeavyEnv)
	seedFlag     = flag.Uint64("seed", 1, "`seed` of the choice of faults")
	coordinators = flag.Int("coordinators", 1, "`N` coordinators with the same state")
	keepLogs     = flag.String("logs", "", "keep all logs and data in `DIR`")
)

// patience limits the wait for each event that should happen at once.
const patience = time.Minute

// settle limits the wait for all work to end after the last fault.
const settle = 5 * time.Minute

// binDir contains the programs, built once by TestMain.
var binDir string

func TestMain(m *testing.M) {
	programs.Main(m, &binDir, "cmd/layshaft", "examples/wordcount", "e2e/chaos/internal/ledger")
}

// TestChaos runs jobs with dataset:// sinks, queued tasks, waited tasks, scatters, groups and
// Gearman jobs on a coordinator and three workers with certificates, while faults occur. Where
// Python can be had, one client and one task worker are in Python. No
// acknowledged work may be lost, no result may be wrong, and no process may exit unasked.
func TestChaos(t *testing.T) {
	n := *faultCount
	if n == 0 {
		n = 12
		if os.Getenv(programs.HeavyEnv) != "" {
			n = 200
		}
	}
	s := newSite(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loads := []load{newJobs(s), newQueue(s), newWaiters(s), newScatters(s), newGroups(s), newGearman(s)}
	if s.python != nil {
		loads = append(loads, newPythonClients(s))
	}
	var group sync.WaitGroup
	for _, l := range loads {
		group.Go(func() { l.run(ctx) })
	}
	s.inject(rand.New(rand.NewPCG(*seedFlag, 0)), n)
	stop()
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(settle):
		t.Fatalf("work in progress at the last fault did not end within %v", settle)
	}
	for _, l := range loads {
		t.Log(l.check())
	}
	s.checkAudit()
	s.shutdown()
}

// A load is one kind of work.
type load interface {
	// run submits work until ctx ends, and returns when all submitted work has ended. It reports
	// wrong results to the test.
	run(ctx context.Context)
	// check compares the records of the work with its inputs, and returns a summary.
	check() string
}
