// Package state opens Badger for the small state that must survive everything: the coordinator's journal, a worker's manifests.
//
// Badger alone is not enough for that. Killed while it makes or removes a log, it cannot open any more; a damaged table makes it
// panic in a goroutine of its own; without its manifest it removes all tables; a full disk ends the process, because it writes
// through memory maps; and its defaults take gigabytes of memory. This package looks at the files before Badger does, keeps part
// of the disk free, and opens Badger small. What the values hold, and whether they are whole, is for the callers: Badger hands out
// flipped bytes of its logs in silence, so they keep a checksum in every value.
//
// In the directory: a folder named by the caller holds Badger's files, lock says who has it open, and ballast is some space that
// is given up when the disk fills.
package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

var (
	// ErrDiskFull means that too little disk space is left. Trying again may work later.
	ErrDiskFull = errors.New("disk full")
	// ErrLocked means that another process has the directory open.
	ErrLocked = errors.New("in use by another process")
	// ErrDamaged means that Badger's files are missing, cut or changed, so that they cannot be opened as they are.
	ErrDamaged = errors.New("damaged")
)

// Options are the knobs of a store. The zero value is a good default.
type Options struct {
	// NoSync leaves it to the operating system when to write. Transactions then survive the end of the process but not that
	// of the machine. The default is to sync each of them.
	NoSync bool
	// Reserve is how many bytes of the disk DB.Check keeps free; zero means 256 MiB, negative means none. A quarter as much
	// again, up to 64 MiB, is held in the file ballast. Only Linux is checked.
	Reserve int64
	// Cache is how many bytes of values that were read are kept; zero means none.
	Cache int64
	// Disposable says that what the store holds can be made again: when it is damaged, an empty one takes its place.
	Disposable bool
	// Free returns how many bytes can still be written to the disk of dir. Nil asks the operating system.
	Free func(dir string) (int64, error)
	// Log hears of a disk that fills up and what Badger has to say; nil means silence.
	Log *slog.Logger
}

// LockName is the name of the file by which Lock locks a directory.
const LockName = "lock"

// Locks says whether Lock keeps others out. Where it does not, Badger still does so for its own directories.
const Locks = !badgerLocks

// DB is an open store.
type DB struct {
	*badger.DB
	guard  *guard
	watch  sync.WaitGroup
	unlock func() error // lets another process have the directory
}

// Open opens the store in the folder name of dir; both are made when missing. It returns an error that wraps ErrLocked when another
// process has dir open, ErrDiskFull when there is no room to open it, and ErrDamaged when its files are not whole and not
// Disposable; then nothing was changed but empty logs, which carry nothing. It starts a goroutine that Close ends.
func Open(dir, name string, opt Options) (_ *DB, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Reserve == 0 {
		opt.Reserve = 256 << 20
	}
	if opt.Free == nil {
		opt.Free = freeBytes
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w; choose a directory that can be made and written", err)
	}
	db := &DB{guard: newGuard(dir, opt)}
	if db.unlock, err = Lock(dir); err != nil {
		return nil, err
	}
	if err = db.guard.checkOpen(); err == nil {
		files := filepath.Join(dir, name)
		db.DB, err = openBadger(files, opt)
		if errors.Is(err, ErrDamaged) && opt.Disposable {
			opt.Log.Error("store damaged, starting empty", "dir", files, "err", err)
			if err = os.RemoveAll(files); err == nil {
				db.DB, err = openBadger(files, opt)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.unlock())
	}
	if opt.Reserve > 0 {
		db.guard.adjustBallast()
		db.watch.Go(db.guard.loop)
	}
	return db, nil
}

// Check returns an error that wraps ErrDiskFull when writing n more bytes, anywhere on that disk, would touch the reserve. It comes before
// every write to Badger, which does not survive a full disk.
func (db *DB) Check(n int64) error { return db.guard.check(n) }

// CheckAhead is Check for what will be written later, which is checked again then. It may go by what the disk had a moment ago.
func (db *DB) CheckAhead(n int64) error {
	if db.guard.spendCredit(n) {
		return nil
	}
	return db.Check(n)
}

// NoteWrite says that Badger was given work: the disk is watched while it flushes and compacts.
func (db *DB) NoteWrite() { db.guard.noteWork() }

// Close writes what Badger holds in memory and lets go of the directory. It is called once.
func (db *DB) Close() error {
	db.guard.close()
	db.watch.Wait()
	return errors.Join(db.DB.Close(), db.unlock())
}

// openBadger opens Badger small: its defaults take gigabytes. Values are below its value threshold, so none goes to the value log,
// whose space never comes back.
func openBadger(dir string, opt Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open: %w: %v", ErrDamaged, p)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(removeEmpty(dir), verifyTables(dir)); err != nil {
		return nil, fmt.Errorf("open: %w", wrapDamaged(err))
	}
	db, err = badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(!opt.NoSync).
		WithMemTableSize(16 << 20).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(opt.Cache).
		WithIndexCacheSize(opt.Cache).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithBypassLockGuard(!badgerLocks).
		WithLogger(badgerLog{opt.Log}))
	if err != nil {
		return nil, fmt.Errorf("open: %w", wrapDamaged(err))
	}
	if err := db.VerifyChecksum(); err != nil {
		_ = db.Close() // nothing was written
		return nil, fmt.Errorf("verify tables: %w", wrapDamaged(err))
	}
	return db, nil
}

// wrapDamaged wraps ErrDamaged around an error of opening, unless the files may be whole and the trouble is elsewhere.
func wrapDamaged(err error) error {
	for _, elsewhere := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.EIO, syscall.ENOSPC} {
		if strings.Contains(err.Error(), elsewhere.Error()) { // Badger drops what it wraps
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// badgerLog hands Badger's messages on; what it calls information is for debugging.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error("badger", "message", message(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn("badger", "message", message(f, a)) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug("badger", "message", message(f, a)) }
func (l badgerLog) Debugf(string, ...any)       {}

func message(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
