//go:build unix

package tasks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// enqueue queues n tasks and returns their IDs. The result of task i is i.
func (g *group) enqueue(t *testing.T, n int) (ids []tasks.ID) {
	t.Helper()
	for i := range n {
		id, err := tasks.Enqueue(within(t), g.Client, "echo", fmt.Append(nil, i), tasks.Keep(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// checkResults waits for the results of enqueue.
func (g *group) checkResults(t *testing.T, ids []tasks.ID) {
	t.Helper()
	for i, id := range ids {
		if out, err := tasks.Attach[[]byte](within(t), g.Client, id); err != nil || string(out) != fmt.Sprint(i) {
			t.Errorf("task %s: %q, %v", id, out, err)
		}
	}
}

// fails runs a command that is to fail, and returns its standard error.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "layshaft"), args...)
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil {
		t.Errorf("layshaft %q succeeded", args)
	}
	return errs.String()
}

// The steps in docs/cluster.md, "When the majority is lost for good": one of three coordinators is
// left, becomes the only one with all that was confirmed, and gets two new ones.
func TestRecover(t *testing.T) {
	g := newGroup(t)
	ids := g.enqueue(t, 100)
	g.leader(t)
	for _, i := range []int{1, 2} {
		g.processes[i].Kill()
		if err := os.RemoveAll(g.dirs[i]); err != nil {
			t.Fatal(err)
		}
	}
	g.processes[0].Signal(t, syscall.SIGTERM)
	if code := g.processes[0].Wait(t); code != 0 {
		t.Errorf("the last coordinator ended with %d", code)
	}

	g.startMember(t, 1) // it could be one that is only away
	g.processes[1].AwaitMatch(t, "waiting for the other coordinators")
	if text := fails(t, "coordinator", "recover", "-data", g.dirs[0]); !strings.Contains(text, "something answers at "+g.peers[1]) {
		t.Errorf("while another coordinator runs: %s", text)
	}
	g.processes[1].Kill()
	if text := fails(t, "coordinator", "recover", "-data", g.dirs[1]); !strings.Contains(text, "no group to recover") {
		t.Errorf("in a new directory: %s", text)
	}
	if err := os.RemoveAll(g.dirs[1]); err != nil {
		t.Fatal(err)
	}
	if text := run(t, "layshaft", "coordinator", "recover", "-data", g.dirs[0], "-dry-run"); !strings.Contains(text, g.peers[0]+" of a group with "+g.peers[1]+" and "+g.peers[2]) {
		t.Errorf("dry run: %s", text)
	}
	if text := run(t, "layshaft", "coordinator", "recover", "-data", g.dirs[0]); !strings.Contains(text, "is the only one of its group") {
		t.Errorf("recovery: %s", text)
	}
	for i := range g.peers {
		g.startMember(t, i)
	}
	for _, i := range []int{1, 2} {
		g.processes[i].AwaitMatch(t, "this one is not in it")
		run(t, "layshaft", "coordinator", "members", "add", g.peers[i], "-cluster", g.peers[0])
		g.awaitMember(t, i, len(g.peers)+i-2)
	}
	g.processes[0].Kill()
	if err := os.RemoveAll(g.dirs[0]); err != nil {
		t.Fatal(err)
	}
	g.worker(t)
	g.checkResults(t, ids)
}

// Three coordinators become one while tasks run. The removed ones say so. The last one restarts
// with its own address as -peers, and a backup of it starts without -peers.
func TestShrink(t *testing.T) {
	g := newGroup(t)
	ids := g.enqueue(t, 100)
	worker := g.worker(t)
	last := g.leader(t)
	for i := range g.peers {
		if i == last {
			continue
		}
		run(t, "layshaft", "coordinator", "members", "remove", g.peers[i], "-cluster", g.address)
		g.processes[i].AwaitMatch(t, "this coordinator was removed from the group")
		g.processes[i].Signal(t, syscall.SIGTERM)
		if code := g.processes[i].Wait(t); code != 0 {
			t.Errorf("a removed coordinator ended with %d", code)
		}
	}
	g.checkResults(t, ids)
	more := g.enqueue(t, 100)
	g.processes[last].Signal(t, syscall.SIGTERM)
	if code := g.processes[last].Wait(t); code != 0 {
		t.Errorf("the last coordinator ended with %d", code)
	}
	if text := fails(t, "coordinator", "-data", g.dirs[last], "-listen", g.peers[last], "-http", "none", "-gossip", "127.0.0.1:0"); !strings.Contains(text, "restore a backup of the group into a new directory") {
		t.Errorf("without -peers: %s", text)
	}
	alone := launch(t, "layshaft", "coordinator", "-data", g.dirs[last], "-listen", g.peers[last], "-http", "none", "-gossip", "127.0.0.1:0", "-peers", g.peers[last])
	g.checkResults(t, more)

	backup, dir := filepath.Join(g.dir, "backup"), filepath.Join(g.dir, "single")
	run(t, "layshaft", "coordinator", "backup", backup, "-cluster", g.peers[last])
	alone.Signal(t, syscall.SIGTERM)
	if code := alone.Wait(t); code != 0 {
		t.Errorf("the coordinator ended with %d", code)
	}
	run(t, "layshaft", "coordinator", "restore", backup, "-data", dir)
	launch(t, "layshaft", "coordinator", "-data", dir, "-listen", g.peers[last], "-http", "none", "-gossip", "127.0.0.1:0")
	g.checkResults(t, more)
	g.checkResults(t, g.enqueue(t, 10))
	if !worker.IsAlive() {
		t.Error("the worker has ended")
	}
}
