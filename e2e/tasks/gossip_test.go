//go:build unix

package tasks

import (
	"regexp"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/port"
	"github.com/layshaft/layshaft/tasks"
)

// said waits until a process has written a line that fits, and returns the submatch.
func (p *process) said(t *testing.T, line string) string {
	t.Helper()
	re := regexp.MustCompile(line)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if m := re.FindStringSubmatch(p.stderr.String()); m != nil {
			return m[len(m)-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not say %s", p.name, line)
		}
	}
}

// TestGossip has workers that know one gossip address and nothing else. They find the coordinator,
// also when it comes back at another address, and when one ends for want of tasks, with exit code
// 0, the cluster is notified that it has left.
func TestGossip(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.coordinator.kill()
	gossip := port.Free(t)
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

	c.coordinator.kill()
	c.address = port.Free(t)
	start()
	call("found again")

	idle := launch(t, "probe", "-cluster", "127.0.0.1:1", "-join", gossip, "-idle-exit", "300ms")
	if code := idle.wait(t); code != 0 {
		t.Errorf("exit code %d for want of tasks, want 0", code)
	}
	name := idle.said(t, `msg="worker joined" worker=(\S+)`)
	c.coordinator.said(t, `msg="gossip: member left" member=`+name+` role=task-worker`)
}
