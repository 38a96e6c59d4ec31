package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// guard keeps Badger away from a full disk. Badger extends its files through memory maps, so the kernel answers a full
// disk with SIGBUS, which no Go program survives. So nothing is written below the reserve; what Badger still does on its
// own then (it flushes and compacts) has the reserve to do it in; and when others eat that too, the ballast file is removed.
type guard struct {
	dir     string
	reserve int64                           // bytes; not above zero when nothing is checked
	free    func(dir string) (int64, error) // bytes that are free
	log     *slog.Logger
	work    chan struct{} // capacity 1: Badger has something to do
	done    chan struct{} // closed to end the loop

	// mu guards the fields below.
	mu   sync.Mutex
	held bool // the ballast file is there
}

func newGuard(dir string, reserve int64, log *slog.Logger) *guard {
	_, err := os.Stat(filepath.Join(dir, "ballast"))
	return &guard{dir: dir, reserve: reserve, free: freeBytes, log: log, held: err == nil,
		work: make(chan struct{}, 1), done: make(chan struct{})}
}

// check returns an error that wraps ErrDiskFull when writing n more bytes would touch the reserve.
func (g *guard) check(n int64) error {
	if g.reserve <= 0 {
		return nil
	}
	free, err := g.free(g.dir)
	if err != nil {
		return err
	}
	if free < g.reserve+n {
		return fmt.Errorf("%w: %d MiB are free and %d MiB must stay free; make room on that disk",
			ErrDiskFull, free>>20, g.reserve>>20)
	}
	return nil
}

// beforeOpen makes sure that Badger has room to open: it writes the tables that a killed process left unwritten.
func (g *guard) beforeOpen() error {
	if g.reserve <= 0 {
		return nil
	}
	g.watch()
	free, err := g.free(g.dir)
	if err != nil {
		return err
	}
	if free < g.reserve/4 {
		return fmt.Errorf("%w: %d MiB are free and %d MiB are needed to open; make room on that disk", ErrDiskFull, free>>20, g.reserve/4>>20)
	}
	return nil
}

// watch removes the ballast when half of the reserve is gone, and puts it back when there is room again.
func (g *guard) watch() {
	if g.reserve <= 0 {
		return
	}
	free, err := g.free(g.dir)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	path, size := filepath.Join(g.dir, "ballast"), g.reserve/4
	switch {
	case g.held && free < g.reserve/2:
		g.log.Warn("disk almost full, ballast removed", "dir", g.dir, "free", free)
		err = os.Remove(path)
		g.held = false
	case !g.held && free > g.reserve+2*size:
		g.held = true
		err = allocate(path, size)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		g.log.Warn("ballast", "path", path, "err", err)
	}
}

// used tells the loop that Badger was given work.
func (g *guard) used() {
	select {
	case g.work <- struct{}{}:
	default:
	}
}

// loop watches the disk while Badger has work and ten seconds longer: it flushes and compacts in the background.
func (g *guard) loop() {
	const pause = 100 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for left := 0; ; {
		select {
		case <-g.done:
			return
		case <-g.work:
			if left == 0 {
				timer.Reset(pause)
			}
			left = 100
		case <-timer.C:
			g.watch()
			if left--; left > 0 {
				timer.Reset(pause)
			}
			left = max(left, 0)
		}
	}
}

// close ends the loop. Badger writes its last tables when it is closed, so the ballast goes when there is little room.
func (g *guard) close() {
	close(g.done)
	if free, err := g.free(g.dir); err == nil && free < g.reserve {
		_ = os.Remove(filepath.Join(g.dir, "ballast"))
	}
}
