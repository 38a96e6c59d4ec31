//go:build unix

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// waiting is a run of probe's job wait that has come to its first closed gate: four of twelve tasks
// are done.
type waiting struct {
	process  *os.Process
	end      func() result
	dir, out string
	args     []string
}

// startWaiting starts the job wait with two slots and more flags, and blocks until its fifth and
// sixth task run.
func startWaiting(t *testing.T, flags ...string) *waiting {
	t.Helper()
	w := &waiting{dir: t.TempDir()}
	w.out = filepath.Join(w.dir, "out")
	w.args = append([]string{"-slots", "2", "-dir", w.dir, "-out", w.out}, append(flags, "wait")...)
	w.process, w.end = startProcess(t, "probe", w.args...)
	for _, i := range []int{4, 5} {
		await(t, filepath.Join(w.dir, fmt.Sprint("reached-", i)))
	}
	return w
}

// open ends the wait of all tasks.
func (w *waiting) open(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "open"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// interrupt sends what ^C sends, and waits for the end.
func (w *waiting) interrupt(t *testing.T) result {
	t.Helper()
	if err := w.process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	return w.end()
}

// await waits until a file exists.
func await(t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not appear", path)
		}
	}
}

// visible returns the names in dir that do not begin with a dot.
func visible(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestInterrupt ends a run in the middle. Without a state nothing of it stays.
func TestInterrupt(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	w := startWaiting(t)
	w.interrupt(t).failed(t, "interrupt")
	if entries, err := os.ReadDir(w.out); err != nil || len(entries) > 0 {
		t.Errorf("the output directory holds %v (%v)", entries, err)
	}
	if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
		t.Errorf("the temporary directory holds %v (%v)", entries, err)
	}
}

// TestInterrupt_state ends a run in the middle that keeps its state, and starts it again: it
// continues with what was done.
func TestInterrupt_state(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	w := startWaiting(t, "-state", state)
	w.interrupt(t).failed(t, "interrupt")
	if names := visible(t, w.out); len(names) > 0 {
		t.Errorf("the output directory shows %v", names)
	}
	w.open(t)
	r := run(t, "probe", w.args...).succeeded(t)
	if done := already(t, r.stderr); done != 4 {
		t.Errorf("%d tasks were found done, want 4\n%s", done, r.stderr)
	}
	if r.stdout != "12\n" {
		t.Errorf("the run that went on printed %q, want 12 rows", r.stdout)
	}
	if names := visible(t, w.out); len(names) != 13 {
		t.Errorf("the output directory shows %v, want 12 parts and the manifest", names)
	}
	if entries, err := os.ReadDir(w.out); err != nil || len(entries) != 13 {
		t.Errorf("the output directory holds temporary files: %v (%v)", entries, err)
	}
}

// TestStopped stops a run for longer than the time limit of its attempts, as a sleeping laptop does.
// They go on: only time in which the process runs counts. A machine that needs the whole limit for
// the rest of the run shows nothing, so the test repeats with a longer limit.
func TestStopped(t *testing.T) {
	t.Parallel()
	for limit := 8 * time.Second; ; limit *= 2 {
		begun := time.Now()
		w := startWaiting(t, "-limit", limit.String())
		if err := w.process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		<-time.After(limit + 2*time.Second)
		running := stopped.Sub(begun)
		begun = time.Now()
		if err := w.process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		w.open(t)
		r := w.end()
		if running += time.Since(begun); r.code != 0 && running >= limit && limit < time.Minute {
			continue
		}
		if r.succeeded(t).stdout != "12\n" {
			t.Errorf("printed %q, want 12 rows", r.stdout)
		}
		return
	}
}

// TestSharedState starts a second process on the state of a running one. It is refused, and the
// first does not notice.
func TestSharedState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	w := startWaiting(t, "-state", state)
	run(t, "probe", w.args...).failed(t, state, "in use by another process", fmt.Sprint(w.process.Pid), "use another directory")
	other := filepath.Join(t.TempDir(), "other.txt")
	if err := os.WriteFile(other, []byte("another job"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "wordcount", "-state", state, other).succeeded(t)
	w.open(t)
	if r := w.end().succeeded(t); r.stdout != "12\n" {
		t.Errorf("the first run printed %q, want 12 rows", r.stdout)
	}
	// The lock ends with the process, not with a file.
	if _, err := os.Stat(state); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "probe", w.args...).succeeded(t); already(t, r.stderr) == 0 {
		t.Errorf("the state cannot be used again: %s", r.stderr)
	}
}

// TestDroppedState runs a second job in one state, which has no room for the first any longer.
func TestDroppedState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	size := func() (n int64) {
		err := filepath.WalkDir(state, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			fi, err := e.Info()
			n += fi.Size()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	run(t, "probe", "-state", state, "-bytes", "20000000", "sort").succeeded(t)
	large := size()
	r := run(t, "probe", "-state", state, "-state-size", "1MB", "-bytes", "1000000", "sort").succeeded(t)
	if !strings.Contains(r.stderr, "was removed, by -state-age or -state-size") {
		t.Errorf("the dropped job is not told: %s", r.stderr)
	}
	if small := size(); large < 20_000_000 || small > large/4 {
		t.Errorf("the state holds %d bytes, and held %d of the large job before", small, large)
	}
}
