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
// full disk the kernel sends SIGBUS, and the process dies. The guard has three lines of defence:
//
//   - allocateBlocks gives each file its blocks before Badger writes to it. On a full disk, Badger
//     waits there. Only Linux has it.
//   - check refuses writes that would touch the reserve. Half of the reserve is for writes of
//     what was decided before. The rest is for Badger, which flushes and compacts in the
//     background.
//   - Other programs may use up the reserve too. When Badger is about to write a table then, the
//     ballast file is removed to make room. It is kept until that moment, so that other programs
//     cannot use its space. Without room and ballast, Badger waits.
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
	hasBallast bool      // the ballast file exists
	opening    bool      // Badger is being opened
	tableAt    time.Time // when Badger last began to write a table
	waiting    int       // tables that wait for room
	wrote      bool      // Badger has something to write when it is closed

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

// check returns an error that wraps ErrDiskFull if writing n more bytes would leave less than keep,
// which is the reserve or a part of it.
func (g *guard) check(n, keep int64) error {
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
	return checkFree(g.dir, free, n, keep)
}

func checkFree(dir string, free, n, keep int64) error {
	if free-n >= keep {
		return nil
	}
	return fmt.Errorf("%w: %s has %s free, %s are needed and %s kept in reserve; free space there, drop finished jobs, or choose a directory on a larger disk",
		ErrDiskFull, dir, bytesize.Format(free), bytesize.Format(n), bytesize.Format(keep))
}

// CheckRoom is DB.Check for a directory whose store is not open. free is Options.Free, and reserve
// Options.Reserve, both set.
func CheckRoom(dir string, free func(dir string) (int64, error), n, reserve int64) error {
	if reserve <= 0 {
		return nil
	}
	left, err := free(dir)
	if err != nil {
		return err
	}
	return checkFree(dir, left, n, reserve)
}

// checkOpen makes room for opening Badger, if need be by removing the ballast. When it opens,
// Badger writes the tables that a killed process left unwritten.
func (g *guard) checkOpen() error {
	if g.reserve <= 0 {
		return nil
	}
	g.adjustBallast(g.room)
	free, err := g.free(g.dir)
	if err != nil {
		return err
	}
	if free < g.room {
		return fmt.Errorf("%w: %s has %s free and %s are needed to open it; free space there, or choose a directory on a larger disk", ErrDiskFull, g.dir, bytesize.Format(free), bytesize.Format(g.room))
	}
	return nil
}

// tableTime is how long Badger takes at most to write a table that it has begun.
const tableTime = time.Second

// beforeTable makes Badger wait until a table fits. Badger calls it, by a line of its log, in the
// goroutine that begins to write one.
func (g *guard) beforeTable() {
	if g.reserve <= 0 {
		return
	}
	_ = g.awaitRoom(func() (bool, error) {
		_, ok := g.hasRoom()
		return ok, nil
	})
}

// awaitRoom calls try until it succeeds, with pauses, and notes the table that follows. It returns
// the first error of try.
func (g *guard) awaitRoom(try func() (bool, error)) error {
	for logged := false; ; {
		ok, err := try()
		if err != nil {
			return err
		}
		if ok {
			g.mu.Lock()
			g.tableAt = time.Now()
			g.mu.Unlock()
			g.noteWork()
			return nil
		}
		if !logged {
			logged = true
			g.mu.Lock()
			g.waiting++
			g.mu.Unlock()
			defer func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.waiting--
			}()
			free, _ := g.free(g.dir)
			g.log.Error("disk full: the store waits for room before it writes a table", "dir", g.dir, "free", free, "needed", g.room)
		}
		time.Sleep(pause)
	}
}

// setOpening notes whether Badger is being opened: a full disk is an error then.
func (g *guard) setOpening(opening bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening = opening
}

func (g *guard) isOpening() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opening
}

// removeBallast makes room on a full disk, and reports whether there was a ballast to remove.
func (g *guard) removeBallast() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hasBallast {
		return false
	}
	g.hasBallast = false
	g.log.Warn("disk full, ballast removed", "dir", g.dir)
	return os.Remove(filepath.Join(g.dir, "ballast")) == nil
}

// hasRoom reports whether a table fits, and removes the ballast if that helps.
func (g *guard) hasRoom() (free int64, ok bool) {
	g.adjustBallast(g.room)
	free, err := g.free(g.dir)
	return free, err != nil || free >= g.room
}

// adjustBallast removes the ballast when less than least bytes are free, and restores it when there
// is room again.
func (g *guard) adjustBallast(least int64) {
	free, err := g.free(g.dir)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	path := filepath.Join(g.dir, "ballast")
	switch {
	case g.hasBallast && free < least:
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

const (
	pause      = 100 * time.Millisecond // between looks at the disk
	tablePause = 5 * time.Millisecond   // the same while Badger writes a table
)

// loop watches the disk while Badger has work and for ten more seconds, since Badger flushes and
// compacts in the background. Then it returns the memory of Badger's tables to the system.
func (g *guard) loop() {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for left := 0; ; {
		select {
		case <-g.done:
			return
		case <-g.work:
			if left == 0 || g.writesTable() {
				timer.Reset(tablePause)
			}
			left = 100
		case <-timer.C:
			if g.writesTable() {
				g.adjustBallast(g.room)
				timer.Reset(tablePause)
				continue
			}
			g.adjustBallast(0)
			if left--; left > 0 {
				timer.Reset(pause)
			} else if left == 0 {
				pageOut(g.dir)
			}
			left = max(left, 0)
		}
	}
}

// writesTable reports whether Badger may be writing a table.
func (g *guard) writesTable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Since(g.tableAt) < tableTime
}

// closeWait is how long a store waits for room for its last tables.
const closeWait = 5 * time.Second

// close ends the loop. It waits for room for the tables that Badger writes when it is closed, and
// returns an error that wraps ErrDiskFull if there is none.
func (g *guard) close() error {
	close(g.done)
	if g.reserve <= 0 {
		return nil
	}
	for waited := time.Duration(0); ; waited += pause {
		free, ok := g.hasRoom()
		g.mu.Lock()
		ok = ok || !g.wrote && g.waiting == 0
		g.mu.Unlock()
		if ok {
			return nil
		}
		if waited >= closeWait {
			return fmt.Errorf("%w: %s has %s free and %s are needed to close it; nothing is lost, the next start repeats its last writes", ErrDiskFull, g.dir, bytesize.Format(free), bytesize.Format(g.room))
		}
		time.Sleep(pause)
	}
}
