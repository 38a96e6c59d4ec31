package journal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// takeAll creates a file that fills the rest of the disk.
func takeAll(path string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(file.Fd()), 0, 0, int64(s.Bavail)*s.Bsize), file.Close())
}

// On a full file system, Append fails with a clear error. After space is freed, it works again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs a small file system, and mount says: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	opt := Options{NoSync: true, Reserve: 32 << 20}
	j := open(t, filepath.Join(dir, "journal"), opt)
	event := make([]byte, 100<<10)
	count := 0
	var err error
	for err == nil && count < 5000 {
		if _, err = j.Append(t.Context(), event); err == nil {
			count++
		}
	}
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("after %d events: %v", count, err)
	}
	if err := j.Close(); err != nil { // Badger writes its memory table to disk
		t.Fatal(err)
	}
	j = open(t, filepath.Join(dir, "journal"), opt)
	// Badger maps the tables that it writes. A compaction in progress would end the process if the
	// disk filled up meanwhile, so all compactions end first.
	if err := j.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	fill := func() { // another program fills the disk
		t.Helper()
		if err := takeAll(filler); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if _, err := j.Append(t.Context(), []byte("small")); !errors.Is(err, ErrDiskFull) {
		t.Errorf("small event on a full disk: %v", err)
	}
	if err := j.Snapshot(j.Last(), make([]byte, 64<<20)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("snapshot on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil { // a compaction may have used the ballast, and Close needs room
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, filepath.Join(dir, "journal"), opt)
	// A compaction in progress needs room for what it has read and written.
	if err := errors.Join(j.db.Flatten(1), j.Snapshot(j.Last(), []byte("state"))); err != nil {
		t.Fatal(err)
	}
	if last := appendEvents(t, j, "goes on"); last != uint64(count+1) {
		t.Errorf("last = %d, want %d", last, count+1)
	}
}
