//go:build unix

// Package tasks tests calls of functions as people use them: real processes, real signals, real
// sockets and disks.
package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	// What the programs are made of, so that a change of it ends the go command's cache of the
	// results.
	_ "github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/e2e/internal/port"
	"github.com/layshaft/layshaft/e2e/internal/programs"
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

// process is a program that runs, or ran.
type process struct {
	name   string
	cmd    *exec.Cmd
	ended  chan struct{}
	stdout output
	stderr output
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// launch starts a program. It does not outlive the test, and what it said is shown when the test
// fails.
func launch(t testing.TB, program string, args ...string) *process {
	t.Helper()
	p := &process{name: program + " " + args[0], cmd: exec.Command(filepath.Join(binDir, program), args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			said := p.stderr.String()
			t.Logf("---- %s (pid %d, %v):\n%s%s", p.name, p.cmd.Process.Pid, p.cmd.ProcessState, said[max(0, len(said)-1500):], p.stdout.String())
		}
	})
	return p
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// wait waits for the end of the process and returns its exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s did not end in %v", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// run runs a program to its end and returns what it wrote to standard output.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	p := launch(t, program, args...)
	if code := p.wait(t); code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s", program, args, code, p.stderr.String())
	}
	return p.stdout.String()
}

// cluster is a coordinator and its address.
type cluster struct {
	*tasks.Client
	address, gearman string
	coordinator      *process
	dir              string
	outbox           string // database whose outbox the coordinator forwards
}

// newCluster starts a coordinator.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterIn(t, t.TempDir())
}

// newClusterIn starts a coordinator whose data is in dir.
func newClusterIn(t testing.TB, dir string) *cluster {
	t.Helper()
	c := &cluster{address: port.Free(t), gearman: port.Free(t), dir: dir}
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
	return c
}

// start starts the coordinator, again after a kill.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	args := []string{"coordinator", "-data", c.dir, "-listen", c.address, "-gearman", c.gearman, "-http", "none", "-gossip", "127.0.0.1:0"}
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
