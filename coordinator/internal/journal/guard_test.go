package journal

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

var nopLog = slog.New(slog.DiscardHandler)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestGuard(t *testing.T) {
	dir := t.TempDir()
	ballast := filepath.Join(dir, "ballast")
	var free atomic.Int64
	g := newGuard(dir, 4<<20, nopLog)
	g.free = func(string) (int64, error) { return free.Load(), nil }
	steps := []struct {
		name    string
		free    int64 // MiB
		write   error
		open    error
		ballast bool
	}{
		{"room for all", 100, nil, nil, true},
		{"at the reserve", 4, ErrDiskFull, nil, true},
		{"half of it gone", 1, ErrDiskFull, nil, false},
		{"next to nothing", 0, ErrDiskFull, ErrDiskFull, false},
		{"some room again", 5, nil, nil, false},
		{"much room again", 9, nil, nil, true},
	}
	for _, s := range steps {
		free.Store(s.free << 20)
		if err := g.beforeOpen(); !errors.Is(err, s.open) {
			t.Errorf("%s: open: %v", s.name, err)
		}
		if err := g.check(1); !errors.Is(err, s.write) {
			t.Errorf("%s: write: %v", s.name, err)
		}
		if got := exists(ballast); got != s.ballast && runtime.GOOS == "linux" {
			t.Errorf("%s: ballast is there: %v", s.name, got)
		}
	}
}

// On a real file system that fills up while the journal writes: a clear error, then room, then it goes on.
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
	if err := j.Close(); err != nil { // Badger writes what it holds
		t.Fatal(err)
	}
	j = open(t, filepath.Join(dir, "journal"), opt)
	ballast := filepath.Join(dir, "journal", "ballast")
	filler := filepath.Join(dir, "filler")
	fill := func() { // somebody else takes all that is left
		t.Helper()
		free, err := freeBytes(dir)
		if err == nil {
			err = allocate(filler, free)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fill()
	for j.guard.used(); exists(ballast); runtime.Gosched() {
		if t.Context().Err() != nil {
			t.Fatal("the ballast stays")
		}
	}
	if _, err := j.Append(t.Context(), []byte("small")); !errors.Is(err, ErrDiskFull) {
		t.Errorf("small event on a full disk: %v", err)
	}
	if err := j.Snapshot(j.Last(), make([]byte, 64<<20)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("snapshot on a full disk: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	fill()
	if _, err := Open(filepath.Join(dir, "journal"), opt); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("open on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	j = open(t, filepath.Join(dir, "journal"), opt)
	if err := j.Snapshot(j.Last(), []byte("state")); err != nil {
		t.Fatal(err)
	}
	if last := appendEvents(t, j, "goes on"); last != uint64(count+1) {
		t.Errorf("last = %d, want %d", last, count+1)
	}
}
