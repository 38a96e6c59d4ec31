package tasks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/loopdisk"
	"github.com/layshaft/layshaft/tasks"
)

// grab allocates whatever is free on the disk of file, again and again until stop is closed. idle
// counts its looks at a full disk since it last found something.
func grab(t *testing.T, file string, idle *atomic.Int64, stop <-chan struct{}) {
	f, err := os.Create(file)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for size := int64(0); ; {
		select {
		case <-stop:
			return
		default:
		}
		var s syscall.Statfs_t
		if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil {
			t.Error(err)
			return
		}
		more := int64(s.Bavail) * s.Bsize
		if more == 0 {
			idle.Add(1)
			continue
		}
		idle.Store(0)
		if syscall.Fallocate(int(f.Fd()), 0, size, more) == nil {
			size += more
		}
	}
}

// Another program takes every byte of the coordinator's disk, as fast as it can, whenever the
// coordinator begins to write a table. The coordinator waits, and loses nothing.
func TestDiskFilledByOthers(t *testing.T) {
	disk := loopdisk.New(t, filepath.Join(t.TempDir(), "disk"), 640<<20) // 256 MiB are kept in reserve
	c := newClusterIn(t, filepath.Join(disk.Dir, "coordinator"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	acknowledged := make(chan tasks.ID, 1<<16)
	if _, err := tasks.Enqueue(within(t), c.Client, "nobody", "the coordinator is open"); err != nil {
		t.Fatal(err)
	}
	var submitters sync.WaitGroup
	for range 4 {
		submitters.Go(func() {
			for ctx.Err() == nil && c.coordinator.IsAlive() {
				// without room it waits, or is refused
				if id, err := tasks.Enqueue(ctx, c.Client, "nobody", strings.Repeat("x", 64<<10)); err == nil {
					acknowledged <- id
				}
			}
		})
	}
	logs := func() string {
		found, err := filepath.Glob(filepath.Join(disk.Dir, "coordinator", "*", "*", "*.mem"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(found)
	}
	filler := filepath.Join(disk.Dir, "filler")
	for round := range scale(3, 20) {
		before := logs()
		until(t, "the next log", func() bool { return !c.coordinator.IsAlive() || logs() != before })
		stop := make(chan struct{})
		var filling sync.WaitGroup
		var idle atomic.Int64
		filling.Go(func() { grab(t, filler, &idle, stop) })
		func() {
			defer filling.Wait()
			defer close(stop)
			until(t, "a disk that stays full", func() bool { return !c.coordinator.IsAlive() || idle.Load() > 100_000 })
		}()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if !c.coordinator.IsAlive() {
			t.Fatalf("round %d: the coordinator died\n%.2000s", round, c.coordinator.Err.String())
		}
	}
	cancel()
	submitters.Wait()
	close(acknowledged)
	n := 0
	for id := range acknowledged {
		n++
		if s, err := c.Status(within(t), id); err != nil || s.State != tasks.StateWaiting {
			t.Errorf("task %s is %v, %v", id, s.State, err)
		}
	}
	t.Logf("%d tasks", n)
}

// until looks again and again until ok is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no sign of %s", what)
		}
	}
}
