package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull runs a job on a disk that is too small, and again when the disk has been enlarged:
// it continues.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fills a file system in memory")
	}
	disk := t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=500m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v; run as root, where mounting is allowed", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	state := filepath.Join(disk, "state")
	args := []string{"-state", state, "-slots", "2", "-memory", "64MiB", "-bytes", "150000000", "sort"}

	run(t, "probe", args...).failed(t, "disk full", state, "MiB free", "free space there", "the same command continues")

	if err := syscall.Mount("none", disk, "tmpfs", syscall.MS_REMOUNT, "size=1g"); err != nil {
		t.Fatal(err)
	}
	r := run(t, "probe", args...).succeeded(t)
	if done := already(t, r.stderr); done == 0 {
		t.Error("what was done on the small disk was done again")
	}
	if !strings.HasPrefix(r.stdout, "1500000 ") {
		t.Errorf("printed %q, want 1,500,000 lines", r.stdout)
	}
}
