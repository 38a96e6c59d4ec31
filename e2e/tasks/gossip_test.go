//go:build unix

package tasks

import (
	"testing"

	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
)

// TestGossip has workers that know one gossip address and nothing else. They find the coordinator,
// also when it comes back at another address, and when one ends for want of tasks, with exit code
// 0, the cluster is notified that it has left.
func TestGossip(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.coordinator.Kill()
	gossip := porttest.Free(t)
	start := func() {
		t.Helper()
		c.coordinator = launch(t, "layshaft", "coordinator", "-data", c.dir, "-listen", c.address, "-http", "none", "-gossip", gossip, "-log-level", "debug")
	}
	call := func(in string) {
		t.Helper()
		client, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if out, err := tasks.Do[string](within(t), client, "echo", in); err != nil || out != in {
			t.Fatalf("%q, %v", out, err)
		}
	}
	start()
	launch(t, "probe", "-cluster", "127.0.0.1:1", "-join", gossip)
	call("found")

	c.coordinator.Kill()
	c.address = porttest.Free(t)
	start()
	call("found again")

	idle := launch(t, "probe", "-cluster", "127.0.0.1:1", "-join", gossip, "-idle-exit", "300ms")
	if code := idle.Wait(t); code != 0 {
		t.Errorf("exit code %d for want of tasks, want 0", code)
	}
	name := idle.AwaitMatch(t, `msg="worker joined" worker=(\S+)`)
	c.coordinator.AwaitMatch(t, `msg="gossip: member left" member=`+name+` role=task-worker`)
}
