//go:build unix

package tasks

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/tasks"
)

// TestDamagedTasks flips a byte of the last task in both logs of a coordinator that was killed: it
// refuses to start and says what to do, and continues without that task when it is told to.
func TestDamagedTasks(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, in := range []string{"the first of two", "the second of two"} {
		if _, err := tasks.Enqueue(within(t), c.Client, "nobody", in); err != nil {
			t.Fatal(err)
		}
	}
	c.coordinator.Kill()
	for _, pattern := range []string{"tasks/bodies/*.mem", "tasks/redo-*"} {
		logs, err := filepath.Glob(filepath.Join(c.dir, pattern))
		if err != nil || len(logs) != 1 {
			t.Fatalf("logs %q, %v", logs, err)
		}
		log, err := os.ReadFile(logs[0])
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.LastIndex(log, []byte("second"))
		if at < 0 { // Badger gets it later
			continue
		}
		log[at] ^= 1
		if err := os.WriteFile(logs[0], log, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"coordinator", "-data", c.dir, "-listen", c.address, "-gearman", c.gearman, "-http", "none", "-gossip", "127.0.0.1:0"}
	p := launch(t, "layshaft", args...)
	if code := p.Wait(t); code == 0 || !strings.Contains(p.Err.String(), "restore a backup") || !strings.Contains(p.Err.String(), "-accept-loss") {
		t.Fatalf("exit code %d, want an error that names the way out", code)
	}
	c.coordinator = launch(t, "layshaft", append(args, "-accept-loss")...)
	c.await(t, "the first task to be there alone", func(o tasks.Overview) bool { return function(o, "nobody").Counts.Waiting == 1 })
	c.coordinator.Kill()
	c.start(t) // and it is no news any more
	c.await(t, "the first task to be there still", func(o tasks.Overview) bool { return function(o, "nobody").Counts.Waiting == 1 })
}
