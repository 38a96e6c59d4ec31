package tasks

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/porttest"
)

// A local cluster that is killed leaves no process: not its own, although they are stopped, and not
// children of a command that has a session of its own and ignores signals.
func TestKillDev(t *testing.T) {
	dir, listen := t.TempDir(), porttest.Free(t)
	begun := filepath.Join(dir, "begun")
	loop := `sh -c 'trap "" TERM HUP INT; while :; do sleep 0.1; done' ` + dir + " & "
	dev := launch(t, "layshaft", "dev", "-workers", "1", "-data", filepath.Join(dir, "data"), "-listen", listen, "-http", "none", "-gossip", "127.0.0.1:0",
		"-function", "hold="+loop+"setsid "+loop+"touch "+begun+"; wait")
	// left returns the processes whose command lines name dir: the lines by ID.
	left := func() map[int]string {
		all := map[int]string{}
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(dir)) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				all[pid] = string(bytes.ReplaceAll(b, []byte{0}, []byte(" ")))
			}
		}
		return all
	}
	run(t, "layshaft", "task", "submit", "-cluster", listen, "-timeout", "30s", "-input", "x", "hold")
	deadline := time.Now().Add(patience)
	for _, err := os.Stat(begun); err != nil; _, err = os.Stat(begun) {
		if time.Now().After(deadline) {
			t.Fatal("the task does not begin")
		}
	}
	if n := len(left()); n < 5 { // dev, coordinator, worker, two loops
		t.Errorf("%d processes run: %v", n, left())
	}
	for pid := range left() {
		if pid != dev.Cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // so that no process ends by itself
		}
	}
	dev.Kill()
	for deadline := time.Now().Add(patience); len(left()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left())
		}
	}
}
