package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// guard keeps Badger away from a full disk. Badger extends its files through memory maps, so on a
// full disk the kernel sends SIGBUS, and the process dies. The guard has two lines of defence:
//
//   - check refuses writes that would touch the reserve. Badger still flushes and compacts in the
//     background; it uses the reserve for that.
//   - If other programs use up the reserve too, the ballast file is removed to make room.
type guard struct {
	dir     string
	reserve int64 // bytes; if not positive, nothing is checked
	// room is the size of the ballast, and the number of bytes needed by Badger to open and to
	// flush.
	room int64
	free func(dir string) (int64, error) // free bytes on the disk of dir
	log  *slog.Logger
	work chan struct{} // capacity 1: Badger has work
	done chan struct{} // closed to end the loop

	// mu guards the fields below.
	mu         sync.Mutex
	hasBallast bool // the ballast file exists

	// credits guards the fields below.
	credits sync.Mutex
	credit  int64     // bytes that may be written without measuring the disk
	until   time.Time // end of the credit
}

// Measuring the disk takes a system call, and every task needs room. With ample room, one
// measurement gives credit for many tasks.
const (
	ample     = 256 << 20             // bytes above the reserve
	credit    = 16 << 20              // bytes allowed by one measurement
	creditFor = 10 * time.Millisecond // validity of the credit
)

// spendCredit reports whether n bytes are covered by the last measurement, and subtracts them.
func (g *guard) spendCredit(n int64) bool {
	g.credits.Lock()
	defer g.credits.Unlock()
	if n > g.credit || time.Now().After(g.until) {
		return false
	}
	g.credit -= n
	return true
}

func (g *guard) giveCredit() {
	g.credits.Lock()
	defer g.credits.Unlock()
	g.credit, g.until = credit, time.Now().Add(creditFor)
}

func newGuard(dir string, opt Options) *guard {
	_, err := os.Stat(filepath.Join(dir, "ballast"))
	return &guard{dir: dir, reserve: opt.Reserve, room: min(opt.Reserve/4, 64<<20), free: opt.Free, log: opt.Log, hasBallast: err == nil,
		work: make(chan struct{}, 1), done: make(chan struct{})}
}

// check returns an error that wraps ErrDiskFull if writing n more bytes would touch the reserve.
func (g *guard) check(n int64) error {
	if g.reserve <= 0 {
		return nil
	}
	free, err := g.free(g.dir)
	if err != nil {
		return err
	}
	if free-n >= g.reserve+ample {
		g.giveCredit()
	}
	if free-n >= g.reserve {
		return nil
	}
	g.adjustBallast()
	return fmt.Errorf("%w: %s has %s free, %s are needed and %s kept in reserve; free space there, drop finished jobs, or choose a directory on a larger disk",
		ErrDiskFull, g.dir, bytesize.Format(free), bytesize.Format(n), bytesize.Format(g.reserve))
}

// checkOpen makes room for opening Badger, if need be by removing the ballast. When it opens,
// Badger writes the tables that a killed process left unwritten.
func (g *guard) checkOpen() error {
	if g.reserve <= 0 {
		return nil
	}
	g.adjustBallast()
	free, err := g.free(g.dir)
	if err != nil {
		return err
	}
	if free < g.room {
		return fmt.Errorf("%w: %s has %s free and %s are needed to open it; free space there, or choose a directory on a larger disk", ErrDiskFull, g.dir, bytesize.Format(free), bytesize.Format(g.room))
	}
	return nil
}

// adjustBallast removes the ballast when most of the reserve is gone, and restores it when there is
// room again.
func (g *guard) adjustBallast() {
	free, err := g.free(g.dir)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	path := filepath.Join(g.dir, "ballast")
	switch {
	case g.hasBallast && free < 2*g.room:
		g.log.Warn("disk almost full, ballast removed", "dir", g.dir, "free", free)
		err = os.Remove(path)
		g.hasBallast = false
	case !g.hasBallast && free > g.reserve+2*g.room:
		g.hasBallast = true
		err = allocate(path, g.room)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		g.log.Warn("cannot adjust the ballast file", "path", path, "err", err)
	}
}

// noteWork makes the loop watch the disk, as Badger has new work.
func (g *guard) noteWork() {
	select {
	case g.work <- struct{}{}:
	default:
	}
}

// loop watches the disk while Badger has work and for ten more seconds, since Badger flushes and
// compacts in the background. Then it returns the memory of Badger's tables to the system.
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
			g.adjustBallast()
			if left--; left > 0 {
				timer.Reset(pause)
			} else if left == 0 {
				pageOut(g.dir)
			}
			left = max(left, 0)
		}
	}
}

// close ends the loop. If the disk is nearly full, it removes the ballast, because Badger writes
// its last tables when it is closed.
func (g *guard) close() {
	close(g.done)
	if free, err := g.free(g.dir); err == nil && free < g.reserve {
		_ = os.Remove(filepath.Join(g.dir, "ballast"))
	}
}
