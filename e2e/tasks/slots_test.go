//go:build unix

package tasks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
)

// A worker of pipelines runs commands for tasks in its own slots: one is reserved for high tasks, a
// coordinator that is killed finds those that run in them, and SIGTERM lets them end.
func TestFunctionsInSlots(t *testing.T) {
	t.Parallel()
	gossip, dir := porttest.Free(t), t.TempDir()
	c := &cluster{address: porttest.Free(t), dir: t.TempDir()}
	begin := func() {
		c.coordinator = launch(t, "layshaft", "coordinator", "-data", c.dir, "-listen", c.address, "-http", "none", "-gossip", gossip)
	}
	begin()
	client, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: patience, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c.Client = client
	open := filepath.Join(dir, "open")
	worker := launch(t, "layshaft", "worker", "-join", gossip, "-data", filepath.Join(dir, "worker"), "-slots", "2", "-reserved", "1",
		"-function", "up=tr a-z A-Z", "-function", "hold=while [ ! -e '"+open+"' ]; do sleep 0.05; done; echo held")
	hold, err := tasks.EnqueueAll(within(t), c.Client, "hold", [][]byte{nil, nil}, tasks.Keep(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	// busy waits until the worker's slots are used like that.
	busy := func(queued int) {
		t.Helper()
		type view struct {
			Slots   int `json:"slots"`
			Running int `json:"running"`
			Queued  int `json:"queued_tasks"`
		}
		var got []view
		for deadline := time.Now().Add(patience); ; {
			if err := json.Unmarshal([]byte(run(t, "layshaft", "worker", "list", "-cluster", c.address, "-timeout", "30s", "-o", "json")), &got); err != nil {
				t.Fatal(err)
			}
			if len(got) == 1 && got[0] == (view{Slots: 2, Queued: queued}) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("workers %+v, want tasks in %d slots", got, queued)
			}
		}
	}
	running := func() {
		t.Helper()
		c.await(t, "one task in the slot that is not reserved", func(o tasks.Overview) bool {
			f := function(o, "hold")
			return f.Counts.Running == 1 && f.Counts.Waiting == 1
		})
		busy(1)
	}
	running()
	if got, err := tasks.Do[[]byte](within(t), c.Client, "up", []byte("now"), tasks.High); err != nil || string(got) != "NOW" {
		t.Errorf("a high task: %q, %v", got, err)
	}

	c.coordinator.Kill()
	begin()
	running()

	if err := worker.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.await(t, "the worker to take no more", func(o tasks.Overview) bool {
		workers, err := c.Workers(within(t))
		return err == nil && len(workers) == 1 && workers[0].Slots == 0
	})
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code := worker.Wait(t); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
	c.await(t, "the task that ran to be done, the other to wait", func(o tasks.Overview) bool {
		f := function(o, "hold")
		return f.Counts.Done == 1 && f.Counts.Waiting == 1 && f.Counts.Running == 0
	})
	if len(hold) != 2 {
		t.Errorf("tasks %v", hold)
	}
}

// A command in the only slot of a worker calls its own function with the command line, and gets the
// result, also through task wait.
func TestCommandCallsItself(t *testing.T) {
	t.Parallel()
	gossip := porttest.Free(t)
	c := &cluster{address: porttest.Free(t), dir: t.TempDir()}
	c.coordinator = launch(t, "layshaft", "coordinator", "-data", c.dir, "-listen", c.address, "-http", "none", "-gossip", gossip)
	task := "'" + filepath.Join(binDir, "layshaft") + "' task"
	launch(t, "layshaft", "worker", "-join", gossip, "-data", filepath.Join(t.TempDir(), "worker"), "-slots", "1",
		"-function", `down=read n; case $n in 0) echo end;; 1) id=$(`+task+` submit -cluster `+c.address+` -input 0 down); `+task+` wait -cluster `+c.address+` $id;; `+
			`*) `+task+` do -cluster `+c.address+` -input $((n-1)) down;; esac`)
	if got := run(t, "layshaft", "task", "do", "-cluster", c.address, "-timeout", "30s", "-deadline", "30s", "-input", "3", "down"); got != "end\n" {
		t.Errorf("%q", got)
	}
}
