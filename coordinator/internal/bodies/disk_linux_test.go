package bodies

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/internal/state"
)

// leave creates a file that leaves only some bytes of the disk free.
func leave(t *testing.T, path string, bytes int64) {
	t.Helper()
	var s syscall.Statfs_t
	err := syscall.Statfs(filepath.Dir(path), &s)
	file, created := os.Create(path)
	if err = errors.Join(err, created); err == nil {
		err = errors.Join(syscall.Fallocate(int(file.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-bytes), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The end of a task cannot be refused. It uses the reserve of a full disk; beyond half of it, it
// waits for room. Neither ends Run.
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
	filler := filepath.Join(dir, "filler")
	synctest.Test(t, func(t *testing.T) {
		s, wait, stop := open(t, filepath.Join(dir, "store"), Options{NoSync: true, Reserve: 32 << 20})
		defer stop()
		end := func(id uint64) uint64 {
			s.WriteTask(id, taskKey(id), []byte("record"), []byte("input"))
			return s.Commit()
		}
		wait(end(1))
		leave(t, filler, 24<<20)
		if err := s.CheckRoom(1); !errors.Is(err, state.ErrDiskFull) {
			t.Errorf("a new task on a full disk: %v", err)
		}
		wait(end(2)) // from the reserve
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		leave(t, filler, 8<<20)
		written := func() uint64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.lastLogged
		}
		before, n := written(), end(3)
		synctest.Wait()
		if written() != before {
			t.Error("half of the reserve was used up")
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		wait(n)
	})
}
