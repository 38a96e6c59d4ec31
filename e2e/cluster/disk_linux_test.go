package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// small mounts a small file system at dir.
func small(t testing.TB, dir, bytes string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+bytes); err != nil {
		t.Skipf("a small file system cannot be mounted: %v; run as root, where mounting is allowed", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestWorkerDiskFull runs a job whose output does not fit on the disk of one of two workers: the
// other one does it.
func TestWorkerDiskFull(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 1, worker: []string{"-no-sync"}})
	small(t, m.workerDir(1), "60m")
	m.startWorker()
	m.awaitWorkers(2)
	r := m.prepare("-maps", "24", "-each", "30000", "-size", "200", "-keys", "8", "-parts", "2").start()
	r.succeeds()
	if !m.workers[1].IsAlive() || strings.Contains(m.workers[1].Err.String(), "SIGBUS") {
		t.Error("the worker with the full disk died")
	}
	failed := 0
	for _, s := range m.job().Stages {
		failed += s.FailedAttempts
	}
	t.Logf("%d attempts failed", failed)
}

// TestAllDisksFull runs a job that fits nowhere: it fails with a reason, and the cluster continues
// with a smaller one.
func TestAllDisksFull(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 0, worker: []string{"-no-sync"}})
	small(t, m.workerDir(0), "60m")
	m.startWorker()
	m.awaitWorkers(1)
	r := m.prepare("-maps", "8", "-each", "30000", "-size", "200", "-keys", "8", "-parts", "2").start()
	if code := r.Wait(t); code != 1 || !strings.Contains(r.Err.String(), "disk full") {
		t.Errorf("exit code %d, want 1 and an error that says that the disk is full", code)
	}
	m.prepare().start().awaitDone()
}

// TestCoordinatorDiskFull fills the disk of the coordinator in the middle of a job. New jobs are
// refused with a reason; the one that runs waits, and continues when there is room again. Nothing
// runs twice.
func TestCoordinatorDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small(t, filepath.Join(dir, "coordinator"), "120m")
	m := startMembers(t, config{dir: dir, workers: 2})
	r := m.prepare().do("map-5", "hold").start()
	r.at("map-5", 1)
	m.committed(5)
	filler := filepath.Join(dir, "coordinator", "filler")
	if err := os.WriteFile(filler, make([]byte, 120<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	refused := m.prepare("-maps", "3").start()
	if code := refused.Wait(t); code != 1 || !strings.Contains(refused.Err.String(), "disk full") {
		t.Errorf("exit code %d, want 1 and an error that says that the disk is full", code)
	}
	r.release("map-5")
	until(t, "the last map has ended", func() bool {
		n := 0
		for _, w := range m.workers {
			n += w.Count(`"attempt ended"`)
		}
		return n >= 6
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.succeeds()
	r.onceEach("map", "reduce")
	if !m.coord.IsAlive() {
		t.Error("the coordinator died")
	}
	m.prepare("-maps", "3").start().awaitDone() // it takes jobs again
}
