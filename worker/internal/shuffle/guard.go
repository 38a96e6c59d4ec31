package shuffle

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

const (
	// stateRoom is what Badger needs to open and to flush what it has in memory. It writes through mmap, where a
	// full disk is a SIGBUS that no one can catch.
	stateRoom = 64 << 20
	// ballastBytes are given up when the disk is full, so that Badger can finish what it has begun, or open again.
	ballastBytes = 64 << 20
)

// guard keeps part of the disk free.
type guard struct {
	dir     string
	reserve int64
	free    func(dir string) (int64, error)

	// mu guards the field below.
	mu      sync.Mutex
	ballast bool
}

func newGuard(dir string, reserve int64, free func(string) (int64, error)) *guard {
	return &guard{dir: dir, reserve: max(0, reserve), free: free}
}

func (g *guard) ballastPath() string { return filepath.Join(g.dir, "ballast") }

// check returns an error when writing need bytes would leave less than the reserve.
func (g *guard) check(need int64) error {
	if g.reserve == 0 {
		return nil
	}
	free, err := g.free(g.dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", g.dir, err)
	}
	if free-need >= g.reserve {
		return nil
	}
	if free < stateRoom {
		g.dropBallast()
	}
	return g.full(free, need, g.reserve)
}

func (g *guard) full(free, need, reserve int64) error {
	return fmt.Errorf("%w: %s has %.1f MB free, %.1f MB are needed and %.1f MB kept in reserve: free space there, drop finished jobs, or give the worker a directory on a larger disk",
		ErrDiskFull, g.dir, float64(free)/1e6, float64(need)/1e6, float64(reserve)/1e6)
}

// beforeOpen makes sure that Badger can be opened, at the cost of the ballast.
func (g *guard) beforeOpen() error {
	if g.reserve == 0 {
		return nil
	}
	for again := true; ; again = false {
		free, err := g.free(g.dir)
		if err != nil {
			return fmt.Errorf("free space of %s: %w", g.dir, err)
		}
		if free >= stateRoom {
			return nil
		}
		if !again {
			return g.full(free, stateRoom, 0)
		}
		g.ballast = true
		g.dropBallast()
	}
}

// layBallast puts the ballast into place when there is plenty of space.
func (g *guard) layBallast() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ballast || g.reserve == 0 {
		return
	}
	if free, err := g.free(g.dir); err == nil && free > g.reserve+4*ballastBytes {
		g.ballast = allocate(g.ballastPath(), ballastBytes) == nil
	}
}

func (g *guard) dropBallast() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ballast {
		_ = os.Remove(g.ballastPath())
		g.ballast = false
	}
}
