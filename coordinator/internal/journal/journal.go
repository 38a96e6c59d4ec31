// Package journal stores the ordered list of events accepted by a coordinator, in Badger in one
// directory.
//
// An event is a string of bytes without meaning for the journal. Events are numbered from 1 without
// gaps. An acknowledged event survives the end of the process and, unless Options.NoSync is set, of
// the machine. If acknowledged data was changed or lost (a flipped bit, a gap, a missing tail), the
// journal always returns a *DamageError. A full disk is ErrDiskFull, before Badger detects it:
// Badger writes through a memory map, and a full disk would kill the process.
//
// One goroutine collects the events of concurrent callers into one frame, one transaction and one
// sync. A frame costs little more than a sync, for any number of events. So the rate grows with the
// number of callers: see BenchmarkAppend.
//
// The directory contains badger/ with the frames, head with the number and hash of the last
// acknowledged frame, snapshot with the newest snapshot, and ballast, space that is released when
// the disk fills.
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
	// ErrDiskFull means that nothing was written because too little disk space is left. A later
	// Append may work.
	ErrDiskFull = state.ErrDiskFull
	// ErrLocked means that another process has the directory open.
	ErrLocked = state.ErrLocked
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("journal closed")
)

// maxEvent is the size limit of one event, in bytes.
const maxEvent = 1 << 30

// DamageError means that the journal cannot return everything that it acknowledged.
type DamageError struct {
	Dir string // directory of the journal
	// Seq is the first affected event. All events before it are intact. Zero means that all are
	// lost.
	Seq  uint64
	What string // description of the damage
}

func (e *DamageError) Error() string {
	out := "restore a copy of the directory, or move it away and submit the jobs again"
	if e.Seq == 0 {
		return fmt.Sprintf("journal %s: %s; %s", e.Dir, e.What, out)
	}
	return fmt.Sprintf("journal %s: event %d: %s; %s, or give up that event and all later ones (Options.AcceptLoss)", e.Dir, e.Seq, e.What, out)
}

// Options configures a journal. The zero value is a good default.
type Options struct {
	// NoSync leaves the time of writing to the operating system. Acknowledged events then survive
	// the end of the process, but not of the machine; after that, Open reports the lost ones as
	// damage. The default is to sync.
	NoSync bool
	// Reserve is the disk space in bytes that must stay free for Append; zero means 256 MiB,
	// negative means no limit. A quarter of it is added in the file ballast. Only Linux is checked.
	Reserve int64
	// AcceptLoss makes Open drop the damaged event and all later ones, once, instead of returning a
	// *DamageError.
	AcceptLoss bool
	// Log receives messages for the operator; nil disables logging.
	Log *slog.Logger
}

// Journal is an open journal. Its methods may be called concurrently.
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

	// writing guards the fields below. It is held during writes to Badger, because Badger refuses
	// transactions while it drops a prefix.
	writing sync.Mutex
	end     cursor       // position of the next frame
	gens    []generation // oldest first; the last one receives the next frame
	failed  error        // the write error that ended writing

	// snapshots guards the field below. It is held during snapshots and replays, because dropped
	// frames would look like lost ones. It is locked before writing.
	snapshots sync.Mutex
	snapshot  uint64 // the snapshot covers events up to this one
}

// cursor is a position between two frames.
type cursor struct {
	next uint64 // first event of the next frame
	part uint32 // part of that event at the start of the next frame
	prev hash   // hash of the previous frame; zero before the first
}

// pass moves c after f.
func (c *cursor) pass(f *frame) {
	if f.flags()&flagPart != 0 {
		c.part++
	} else {
		c.next, c.part = f.last+1, 0
	}
	c.prev = f.hash()
}

// generation is a sequence of frames that are dropped together, because Badger frees space only for
// whole key prefixes.
type generation struct {
	n    uint32
	last uint64 // its last event; zero when it is empty
}

// Open opens the journal in dir and verifies every frame in it. It creates dir if needed, and
// blocks while it reads all events since the last snapshot. It returns an error that wraps
// ErrLocked when another process has it open, ErrDiskFull when there is too little space for Badger
// to open, and a *DamageError when something is missing or changed. It starts goroutines; Close
// ends them.
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

// Append adds events, in order and without others between them, and returns the number of the last
// one when all are durable. It blocks for one or two syncs. Either all of the events are kept or
// none.
//
// An error that wraps ErrDiskFull means that nothing was written. If ctx ends first, the events may
// or may not be kept, at their position; they must not be changed even then. Any other error ends
// all writing. The journal must then be opened again to find out what is kept.
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

// CheckSpace returns an error that wraps ErrDiskFull when n more bytes on the journal's disk would
// use the reserve.
func (j *Journal) CheckSpace(n int64) error { return j.db.Check(n) }

// Syncs returns the durations of making frames durable, since Open.
func (j *Journal) Syncs() tally.Durations {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncs
}

// Last returns the number of the last acknowledged event, or zero when there is none.
func (j *Journal) Last() uint64 { return j.acked.Load() }

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Close writes pending events, ends the goroutines and releases the directory. Later calls return
// ErrClosed.
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
