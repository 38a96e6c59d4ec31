// Package journal owns the ordered list of events that a coordinator has accepted, on Badger in one directory.
//
// An event is a string of bytes; the journal knows nothing of its meaning. Events are numbered from 1 without gaps.
// An acknowledged event survives the end of the process, and of the machine unless Options.NoSync is set. Whatever
// can not be given back as it was written (a flipped bit, a gap, a tail that is gone) is a *DamageError, never
// silence. A full disk is ErrDiskFull, before Badger notices: Badger writes through a memory map, and a full disk would
// kill the process.
//
// One goroutine gathers what concurrent callers append into one frame, one transaction and one sync. A frame costs little
// more than a sync, however many events are in it, so the rate grows with the number of callers: see BenchmarkAppend.
//
// In the directory: badger/ holds the frames, head the number and hash of the last acknowledged frame, snapshot the
// newest snapshot, ballast some space that is given up when the disk fills.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/tally"
)

var (
	// ErrDiskFull means that nothing was written because too little disk space is left. Appending again may work later.
	ErrDiskFull = state.ErrDiskFull
	// ErrLocked means that another process has the directory open.
	ErrLocked = state.ErrLocked
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("journal closed")
)

// maxEvent is the size limit of one event, in bytes.
const maxEvent = 1 << 30

// DamageError says that the journal can not give back everything that it acknowledged.
type DamageError struct {
	Dir  string // directory of the journal
	Seq  uint64 // first event that is affected, all before it are whole; zero when all are gone
	What string // what is wrong, for people
}

func (e *DamageError) Error() string {
	out := "restore a copy of the directory, or move it away and submit the jobs again"
	if e.Seq == 0 {
		return fmt.Sprintf("journal %s: %s; %s", e.Dir, e.What, out)
	}
	return fmt.Sprintf("journal %s: event %d: %s; %s, or give up that event and all later ones (Options.AcceptLoss)", e.Dir, e.Seq, e.What, out)
}

// Options are the knobs of a journal. The zero value is a good default.
type Options struct {
	// NoSync leaves it to the operating system when to write. Acknowledged events then survive the end of the process but
	// not that of the machine, after which Open reports the lost ones as damage. The default is to sync.
	NoSync bool
	// Reserve is how many bytes of disk must stay free for Append to go on; zero means 256 MiB, negative means no limit.
	// A quarter as much again is held in the file ballast. Only Linux is checked.
	Reserve int64
	// AcceptLoss makes Open drop the damaged event and all after it, once, instead of returning a *DamageError.
	AcceptLoss bool
	// Log takes what the operator should see; nil means silence.
	Log *slog.Logger
}

// Journal is an open journal. Its methods may be called from many goroutines.
type Journal struct {
	dir   string
	opt   Options
	log   *slog.Logger
	db    *state.DB
	head  state.Head
	acked atomic.Uint64 // last acknowledged event
	wake  chan struct{} // capacity 1: calls are pending, or closed is set
	sync  chan struct{} // capacity 1: the head was written and should be synced; closed after the last commit
	ends  sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	pending []*call
	closed  bool
	syncs   tally.Durations

	// writing guards the fields below. It is held while something is written to Badger, which refuses transactions while
	// it drops a prefix.
	writing sync.Mutex
	end     cursor       // where the next frame goes
	gens    []generation // oldest first; the last one takes the next frame
	failed  error        // the write error that ended writing

	// snapshots guards the field below and is held while a snapshot is made or events are replayed: dropped frames would
	// look like lost ones. It is taken before writing.
	snapshots sync.Mutex
	snapshot  uint64 // events up to this one are covered by the snapshot
}

// cursor is a place between two frames.
type cursor struct {
	next uint64 // event that the next frame begins with
	part uint32 // part of it that the next frame begins with
	prev hash   // of the frame before; zero before the first
}

// pass moves c behind f.
func (c *cursor) pass(f *frame) {
	if f.flags()&flagPart != 0 {
		c.part++
	} else {
		c.next, c.part = f.last+1, 0
	}
	c.prev = f.hash()
}

// generation is a run of frames that are dropped together, because Badger gives space back only for whole key prefixes.
type generation struct {
	n    uint32
	last uint64 // last event in it; zero when it is empty
}

// Open opens the journal in dir, which is made when missing, and verifies every frame in it. It blocks while it reads
// all events since the last snapshot. It returns an error that wraps ErrLocked when another process has it open,
// ErrDiskFull when Badger could not even open, and a *DamageError when something is missing or changed.
// It starts goroutines that Close ends.
func Open(dir string, opt Options) (*Journal, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{dir: dir, opt: opt, log: opt.Log, wake: make(chan struct{}, 1), sync: make(chan struct{}, 1)}
	if j.db, err = state.Open(dir, "badger", state.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log}); err != nil {
		err = fmt.Errorf("journal %s: %w", dir, err)
		if errors.Is(err, state.ErrDamaged) {
			err = fmt.Errorf("%w; restore a copy of the directory, or move it away and submit the jobs again", err)
		}
		return nil, err
	}
	if err := j.load(); err != nil {
		_ = j.head.Close()
		_ = j.db.Close()
		return nil, err
	}
	j.ends.Go(j.commitLoop)
	j.ends.Go(j.headLoop)
	return j, nil
}

// Append adds events, in order and next to each other, and returns the number of the last one when all are durable.
// It blocks for one or two syncs. Either all of the events are kept or none.
//
// An error that wraps ErrDiskFull means that nothing was written. When ctx ends first, the events may or may not be
// kept, at the place where they would have been; they must not be changed even then. Any other error ends all
// writing: the journal must be opened again to learn what is kept.
func (j *Journal) Append(ctx context.Context, events ...[]byte) (last uint64, err error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("journal: %w", context.Cause(ctx))
	}
	if len(events) == 0 {
		return j.Last(), nil
	}
	c := &call{events: events, bytes: len(events) * lengthSize, done: make(chan struct{})}
	for _, ev := range events {
		if len(ev) > maxEvent {
			return 0, fmt.Errorf("journal: event of %d bytes is over the limit of %d; cut the job into several", len(ev), maxEvent)
		}
		c.bytes += len(ev)
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return 0, ErrClosed
	}
	j.pending = append(j.pending, c)
	j.mu.Unlock()
	j.signal()
	select {
	case <-c.done:
		return c.last, c.err
	case <-ctx.Done():
		return 0, fmt.Errorf("journal: the events may or may not be kept: %w", context.Cause(ctx))
	}
}

// CheckSpace returns an error that wraps ErrDiskFull when n more bytes on the journal's disk would touch the reserve.
func (j *Journal) CheckSpace(n int64) error { return j.db.Check(n) }

// Syncs returns how long it took to make frames durable, since Open.
func (j *Journal) Syncs() tally.Durations {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncs
}

// Last returns the number of the last acknowledged event, zero when there is none.
func (j *Journal) Last() uint64 { return j.acked.Load() }

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Close writes what was appended, ends the goroutines and releases the directory. Later calls return ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.mu.Unlock()
	j.signal()
	j.snapshots.Lock()
	defer j.snapshots.Unlock()
	j.ends.Wait()
	if err := errors.Join(j.head.Close(), j.db.Close()); err != nil {
		return fmt.Errorf("journal %s: close: %w", j.dir, err)
	}
	return nil
}
