// Package journal stores the ordered list of events accepted by a coordinator, in a Badger database
// in one directory.
//
// An event is a string of bytes; the journal does not interpret it. Events are numbered from 1
// without gaps. An acknowledged event survives a crash of the process and, unless Options.NoSync is
// set, a crash of the machine.
//
// If acknowledged data was changed or lost (a flipped bit, a gap, a missing tail), the journal
// always returns a *DamageError. When the disk is nearly full, Append returns ErrDiskFull before
// Badger writes: Badger writes through a memory map, and a full disk would kill the process.
//
// One goroutine collects the events of concurrent callers into one frame, one transaction and one
// sync. A frame costs little more than a sync, for any number of events. So the rate grows with the
// number of callers: see BenchmarkAppend.
//
// The directory contains:
//
//	badger/   the frames
//	head      number of the last acknowledged event, and the hash of its frame
//	snapshot  the newest snapshot
//	ballast   reserved disk space, released when the disk fills
package journal

import (
	"cmp"
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
	// ErrDiskFull is returned if too little disk space is left. Nothing was written. A later Append
	// may succeed.
	ErrDiskFull = state.ErrDiskFull
	// ErrLocked is returned by Open if another process has the directory open.
	ErrLocked = state.ErrLocked
	// ErrClosed is returned by a closed journal.
	ErrClosed = errors.New("journal closed")
)

// maxEvent is the size limit of one event, in bytes.
const maxEvent = 1 << 30

// DamageError reports acknowledged data lost or changed on disk.
type DamageError struct {
	Dir string // directory of the journal
	// Seq is the first affected event. All events before it are intact. If zero, all events are
	// lost.
	Seq    uint64
	Damage string // description of the damage
	Help   string // see Options
}

func (e *DamageError) Error() string {
	if e.Seq == 0 {
		return fmt.Sprintf("journal %s: %s; %s", e.Dir, e.Damage, e.Help)
	}
	return fmt.Sprintf("journal %s: event %d: %s; %s", e.Dir, e.Seq, e.Damage, e.Help)
}

// Options configures a journal. The zero value is a good default.
type Options struct {
	// NoSync leaves the time of writing to the operating system. Acknowledged events then survive a
	// crash of the process, but not of the machine. After a crash of the machine, Open reports lost
	// events as damage. The default is to sync.
	NoSync bool
	// Reserve is the free disk space in bytes required by Append. Zero means 256 MiB, negative
	// means no limit. The file ballast occupies a quarter of Reserve in addition. The space is
	// checked only on Linux.
	Reserve int64
	// AcceptLoss makes Open drop the damaged event and all later ones, once, instead of returning a
	// *DamageError. It also drops damaged tables of Badger; see state.Options.
	AcceptLoss bool
	// Help is the way out of damage, for errors. Empty means to restore a copy of the directory.
	Help string
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
	// sync has capacity 1. A value means that the head was written and should be synced. commitLoop
	// closes it after the last commit.
	sync chan struct{}
	ends sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	pending []*call
	closed  bool
	syncs   tally.Durations

	// writing guards the fields below. Writers to Badger hold it, because Badger rejects
	// transactions during DropPrefix.
	writing sync.Mutex
	end     cursor       // position of the next frame
	gens    []generation // oldest first; the last one receives the next frame
	failed  error        // the write error that ended writing

	// snapshots guards the field below. Snapshot and Replay hold it, because Replay would mistake
	// frames dropped by Snapshot for lost frames. Lock it before writing.
	snapshots sync.Mutex
	snapshot  uint64 // last event covered by the snapshot
}

// cursor is a position between two frames.
type cursor struct {
	next uint64 // first event of the next frame
	part uint32 // part of that event at the start of the next frame
	prev hash   // hash of the previous frame; zero before the first
}

// pass moves c to the position after f.
func (c *cursor) pass(f *frame) {
	if f.flags()&flagPart != 0 {
		c.part++
	} else {
		c.next, c.part = f.last+1, 0
	}
	c.prev = f.hash()
}

// generation is a sequence of frames with a common key prefix. They are dropped together, because
// Badger frees disk space only for whole key prefixes.
type generation struct {
	n    uint32
	last uint64 // last event of the generation; zero if it is empty
}

// format is the format of a journal's directory.
var format = state.Format{Kind: "journal", Version: 1}

// Open opens the journal in dir and verifies every frame in it. It creates dir if needed, and
// blocks while it reads all events since the last snapshot. It starts goroutines; Close ends them.
//
// The error wraps ErrLocked if another process has the journal open, and ErrDiskFull if Badger
// needs more space to open. It is a *DamageError if events are missing or changed, wraps
// state.ErrDamaged if Badger cannot open its files, and wraps state.ErrFormat if another release
// wrote the journal.
func Open(dir string, opt Options) (*Journal, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	opt.Help = cmp.Or(opt.Help, "restore a copy of the directory")
	j := &Journal{dir: dir, opt: opt, log: opt.Log, wake: make(chan struct{}, 1), sync: make(chan struct{}, 1)}
	if j.db, err = state.Open(dir, "badger", format, state.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, AcceptLoss: opt.AcceptLoss, Log: opt.Log}); err != nil {
		err = fmt.Errorf("journal %s: %w", dir, err)
		if errors.Is(err, state.ErrDamaged) {
			err = fmt.Errorf("%w; %s", err, opt.Help)
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

// Append appends events, in order and without other callers' events between them. It blocks for one
// or two syncs, until all of them are durable, and returns the number of the last one. The journal
// keeps either all of the events or none.
//
// If the error wraps ErrDiskFull, nothing was written. If ctx ends first, the events may or may not
// be kept, at their position, and the caller must still not change their bytes. After a failed
// write, all further writes fail. Open the journal again to find out which events it kept.
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

// CheckSpace returns an error wrapping ErrDiskFull if n more bytes on the journal's disk would use
// the reserve.
func (j *Journal) CheckSpace(n int64) error { return j.db.Check(n) }

// Syncs returns the durations of frame writes since Open, including the syncs. A call longer than
// one frame counts once for each of its frames.
func (j *Journal) Syncs() tally.Durations {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncs
}

// Last returns the number of the last acknowledged event, or zero if there is none.
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
