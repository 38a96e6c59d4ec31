//go:build unix

// Package cluster tests clusters as people run them: real processes, real signals, real sockets and
// disks. Every result must equal, to the byte, the result of a run inside one process, and no more may run
// again than the loss explains.
package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/e2e/internal/programs"
)

// patience is how long an event may take that should come at once. Tests with a limit of their own
// measure it.
const patience = 40 * time.Second

// binDir holds the programs, which TestMain builds once.
var binDir string

func TestMain(m *testing.M) {
	programs.Main(m, &binDir, "cmd/layshaft", "examples/wordcount", "examples/catalog", "e2e/cluster/internal/probe", "e2e/cluster/internal/tables", "e2e/cluster/internal/documents")
}

// heavy skips a test that takes long.
func heavy(t testing.TB) {
	t.Helper()
	if testing.Short() || os.Getenv(programs.HeavyEnv) == "" {
		t.Skipf("takes long; %s=1 without -short runs it", programs.HeavyEnv)
	}
}

type process = proc.Process

// launch starts a program; see proc.Start.
func launch(t testing.TB, name, program string, args ...string) *process {
	t.Helper()
	return launchCmd(t, name, exec.Command(filepath.Join(binDir, program), args...))
}

func launchCmd(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	return proc.Start(t, patience, name, cmd)
}

// until waits until something is true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
