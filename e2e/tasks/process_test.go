//go:build unix

// Package tasks tests calls of functions as people use them: real processes, real signals, real
// sockets and disks.
package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/e2e/internal/programs"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
)

// patience is how long an event may take that should come at once. Tests with a limit of their own
// measure it.
const patience = 40 * time.Second

// binDir holds the programs, which TestMain builds once.
var binDir string

func TestMain(m *testing.M) {
	programs.Main(m, &binDir, "cmd/layshaft", "examples/scatter", "e2e/tasks/internal/probe")
}

// scale returns small, or large when the environment asks for it.
func scale(small, large int) int {
	if os.Getenv(programs.HeavyEnv) != "" {
		return large
	}
	return small
}

type process = proc.Process

// launch starts a program; see proc.Start.
func launch(t testing.TB, program string, args ...string) *process {
	t.Helper()
	return proc.Start(t, patience, program+" "+args[0], exec.Command(filepath.Join(binDir, program), args...))
}

// run runs a program to its end and returns what it wrote to standard output.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	p := launch(t, program, args...)
	if code := p.Wait(t); code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s", program, args, code, p.Err.String())
	}
	return p.Out.String()
}

// cluster is a coordinator and its address.
type cluster struct {
	*tasks.Client
	address, gearman string
	coordinator      *process
	dir              string
	outbox           string // database whose outbox the coordinator forwards
	http             string // address of the pages and the HTTP API; empty means none
}

// newCluster starts a coordinator.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterIn(t, t.TempDir())
}

// newClusterIn starts a coordinator whose data is in dir.
func newClusterIn(t testing.TB, dir string) *cluster {
	t.Helper()
	c := &cluster{dir: dir}
	c.launch(t)
	return c
}

// launch gives c its addresses, starts it and connects to it.
func (c *cluster) launch(t testing.TB) {
	t.Helper()
	c.address, c.gearman = porttest.Free(t), porttest.Free(t)
	c.start(t)
	client, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: patience, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
}

// start starts the coordinator, again after a kill.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	args := []string{"coordinator", "-data", c.dir, "-listen", c.address, "-gearman", c.gearman, "-http", cmp.Or(c.http, "none"), "-gossip", "127.0.0.1:0"}
	if c.outbox != "" {
		args = append(args, "-outbox", c.outbox)
	}
	c.coordinator = launch(t, "layshaft", args...)
}

// worker starts a worker, and waits until the coordinator has it.
func (c *cluster) worker(t *testing.T, args ...string) *process {
	t.Helper()
	before, err := c.Workers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	p := c.launchWorker(t, args...)
	c.await(t, "a worker", func(o tasks.Overview) bool {
		now, err := c.Workers(within(t))
		return err == nil && len(now) > len(before)
	})
	return p
}

func (c *cluster) launchWorker(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, "probe", append([]string{"-cluster", c.address}, args...)...)
}

// cli runs a task command of layshaft and decodes what it prints.
func (c *cluster) cli(t *testing.T, into any, args ...string) {
	t.Helper()
	out := run(t, "layshaft", append(append([]string{"task"}, args...), "-cluster", c.address, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("layshaft task %q printed %q: %v", args, out, err)
	}
}

// await waits until ok is true for an overview, which is looked at again and again.
func (c *cluster) await(t testing.TB, what string, ok func(tasks.Overview) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		o, err := c.Overview(within(t))
		if err == nil && ok(o) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %+v, %v", what, o, err)
		}
	}
}

// function returns how a function stands.
func function(o tasks.Overview, name string) tasks.Function {
	for _, f := range o.Functions {
		if f.Name == name {
			return f
		}
	}
	return tasks.Function{}
}

// within returns a context with the patience of the test as its limit.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the patience of the test is at its end"))
	t.Cleanup(cancel)
	return ctx
}
