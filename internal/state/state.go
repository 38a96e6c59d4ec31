// Package state opens Badger for small state that must survive crashes: the coordinator's journal,
// the tasks, a worker's manifests.
//
// Badger alone is not safe enough:
//
//   - Killed while it creates or removes a log, it cannot open again.
//   - A damaged table makes it panic in its own goroutine.
//   - Without its manifest, it removes all tables.
//   - A full disk kills the process, because Badger writes through memory maps.
//   - Its defaults take gigabytes of memory.
//
// This package therefore checks the files first, keeps part of the disk free, and opens Badger with
// small settings. Badger returns flipped bytes of its logs without an error, so callers must keep a
// checksum in every value.
//
// A directory contains:
//
//   - the file FORMAT, with the kind and the version of the store
//   - a folder, named by the caller, with Badger's files
//   - the file lock, with the ID of the process that uses the directory
//   - the file ballast, space to be freed when the disk is full
package state

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/layshaft/layshaft/internal/job"
)

var (
	// ErrDiskFull means that too little disk space is left. A later attempt may succeed.
	ErrDiskFull = job.ErrDiskFull
	// ErrLocked means that another process uses the directory.
	ErrLocked = errors.New("in use by another process")
	// ErrDamaged means that Badger's files are missing, truncated or changed, and cannot be opened.
	ErrDamaged = errors.New("damaged")
)

// Options configure a store. The zero value is a good default.
type Options struct {
	// NoSync skips the sync after each transaction. Transactions then survive the end of the
	// process but not a crash of the machine.
	NoSync bool
	// Reserve is the number of bytes that DB.Check keeps free on the disk. Zero means 256 MiB,
	// negative none. The file ballast takes another quarter of it, up to 64 MiB. Only Linux is
	// checked.
	Reserve int64
	// Cache is the size of the cache for values, in bytes; zero means none.
	Cache int64
	// Disposable marks content that can be created again: an empty store replaces a damaged one.
	Disposable bool
	// AcceptLoss opens a damaged store without its damaged tables. If that does not help, an empty
	// store replaces it. Damaged files stay, under names that end in .damaged.
	AcceptLoss bool
	// Free returns the number of bytes that can still be written to the disk of dir. Nil means to
	// ask the operating system.
	Free func(dir string) (int64, error)
	// Log receives warnings about a full disk and messages of Badger; nil means none.
	Log *slog.Logger
}

// LockName is the name of the file locked by Lock.
const LockName = "lock"

// Locks reports whether Lock locks anything. If not, Badger still locks its own directories.
const Locks = !badgerLocks

// DB is an open store.
type DB struct {
	*badger.DB
	guard  *guard
	watch  sync.WaitGroup
	unlock func() error // releases the lock on the directory
	unmap  func()       // ends the guard of Badger's maps
	sync   func() error // takes the place of syncs; nil for a store on disk
}

// Open opens the store of a format in folder name of dir, and creates both if necessary. The error
// wraps ErrLocked if another process uses dir, ErrFormat if the store has another format,
// ErrDiskFull if there is no room to open it, and ErrDamaged if its files are damaged. With
// Disposable or AcceptLoss it opens a damaged store, else it leaves it unchanged, except that it
// removes log files of zero bytes. Open starts a goroutine that Close ends.
func Open(dir, name string, format Format, opt Options) (_ *DB, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Reserve == 0 {
		opt.Reserve = 256 << 20
	}
	if opt.Free == nil {
		opt.Free = freeBytes
	}
	if err := MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; choose a directory that can be made and written", err)
	}
	db := &DB{guard: newGuard(dir, opt)}
	if db.unlock, err = Lock(dir); err != nil {
		return nil, err
	}
	files := filepath.Join(dir, name)
	if err = db.guard.checkOpen(); err == nil {
		// Other files may be in dir before the first Open, such as programs of a worker. The folder
		// comes after the format, so a store without its folder is new.
		_, missing := os.Stat(files)
		err = format.OpenDir(dir, errors.Is(missing, os.ErrNotExist))
	}
	if err == nil {
		db.unmap = db.guard.guardMaps(name)
		db.guard.setOpening(true)
		log := badgerLog{opt.Log, db.guard.beforeTable}
		db.DB, err = openBadger(files, opt, log)
		if errors.Is(err, ErrDamaged) && opt.Disposable {
			opt.Log.Error("store damaged, replaced by an empty one", "dir", files, "err", err)
			if err = os.RemoveAll(files); err == nil {
				db.DB, err = openBadger(files, opt, log)
			}
		} else if errors.Is(err, ErrDamaged) && opt.AcceptLoss {
			db.DB, err = openDamaged(files, err, opt, log)
		}
	}
	db.guard.setOpening(false)
	if err != nil {
		if db.unmap != nil {
			db.unmap()
		}
		return nil, errors.Join(err, db.unlock())
	}
	if err := db.mergeTables(); err != nil {
		opt.Log.Warn("tables of the store stay many", "dir", dir, "err", err)
	}
	if opt.Reserve > 0 {
		db.guard.adjustBallast(0)
		db.watch.Go(db.guard.loop)
	}
	return db, nil
}

const (
	// manyTables is how many small tables mergeTables tolerates.
	manyTables = 8
	// smallStore is the size of a store that is merged quickly.
	smallStore = 64 << 20
)

// mergeTables merges the tables of a small store. Each Close leaves a table. Badger merges tables
// only if their keys overlap, and keys of a journal only grow. So a store would get a file per
// restart. mergeTables writes the first and the last key again: the next table spans all others.
// The Open after the next Close merges them.
func (db *DB) mergeTables() error {
	tables, size := 0, int64(0)
	for _, l := range db.Levels() {
		tables, size = tables+l.NumTables, size+l.Size
	}
	if tables <= manyTables || size > smallStore || db.Check(size) != nil {
		return nil
	}
	if err := db.Flatten(1); err != nil {
		return err
	}
	return db.Update(func(txn *badger.Txn) error {
		for _, last := range []bool{false, true} {
			it := txn.NewIterator(badger.IteratorOptions{Reverse: last})
			it.Rewind()
			var err error
			if it.Valid() {
				err = it.Item().Value(func(v []byte) error { return txn.Set(it.Item().KeyCopy(nil), bytes.Clone(v)) })
			}
			it.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Check returns an error that wraps ErrDiskFull if writing n more bytes, anywhere on the disk,
// would touch the reserve. Call it before every write to Badger, because Badger does not survive a
// full disk.
func (db *DB) Check(n int64) error { return db.guard.check(n, db.guard.reserve) }

// CheckDecided is Check for data that cannot be refused, such as the end of a task: it may use half
// of the reserve. The caller waits after an error.
func (db *DB) CheckDecided(n int64) error { return db.guard.check(n, db.guard.reserve/2) }

// CheckAhead is a cheaper Check for data to be written later, when Check runs again. Its answer may
// be a few milliseconds old.
func (db *DB) CheckAhead(n int64) error {
	if db.guard.spendCredit(n) {
		return nil
	}
	return db.Check(n)
}

// NoteWrite reports a write to Badger: the disk is watched while Badger flushes and compacts.
func (db *DB) NoteWrite() {
	db.guard.mu.Lock()
	db.guard.wrote = true
	db.guard.mu.Unlock()
	db.guard.noteWork()
}

// SyncAll makes all transactions durable in a store that was opened with NoSync. No transaction may
// be in progress. Sync alone leaves out the logs of memtables that Badger is writing to tables.
func (db *DB) SyncAll() error {
	if db.sync != nil {
		return db.sync()
	}
	dir := db.Opts().Dir
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, path := range logs {
		file, openErr := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(openErr, os.ErrNotExist) { // the table is there
			continue
		}
		if err = errors.Join(err, openErr); openErr == nil {
			err = errors.Join(err, file.Sync(), file.Close())
		}
	}
	return errors.Join(err, db.Sync(), SyncDir(dir))
}

// Close writes the data in Badger's memory and releases the directory. Call it once. The error
// wraps ErrDiskFull if there is no room for that. The process then keeps the directory until its
// end, and leaves its files as a killed process does.
func (db *DB) Close() error {
	if db.sync != nil {
		return db.DB.Close()
	}
	err := db.guard.close()
	db.watch.Wait()
	if err != nil {
		return err
	}
	err = db.DB.Close()
	db.unmap()
	return errors.Join(err, db.unlock())
}

// openDamaged opens a store without its damaged files. err is the error of openBadger.
func openDamaged(dir string, err error, opt Options, log badgerLog) (*badger.DB, error) {
	if dropped, _ := dropDamagedTables(dir); len(dropped) > 0 {
		opt.Log.Error("store damaged, continuing without some tables", "dir", dir, "tables", dropped, "err", err)
		db, err := openBadger(dir, opt, log)
		if !errors.Is(err, ErrDamaged) {
			return db, err
		}
	}
	aside := fmt.Sprintf("%s.%d.damaged", dir, time.Now().Unix())
	opt.Log.Error("store damaged, replaced by an empty one", "dir", dir, "kept", aside, "err", err)
	if err := os.Rename(dir, aside); err != nil {
		return nil, err
	}
	return openBadger(dir, opt, log)
}

// memtable is the size of one of Badger's tables in memory, in bytes.
const memtable = 16 << 20

// openBadger opens Badger with small settings, as its defaults take gigabytes. All values are below
// the value threshold, so none goes to the value log, where space is never reclaimed.
func openBadger(dir string, opt Options, log badgerLog) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open: %w: %v", ErrDamaged, p)
		}
	}()
	if err := MakeDir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(removeEmpty(dir), verifyTables(dir)); err != nil {
		return nil, fmt.Errorf("open: %w", WrapDamaged(err))
	}
	db, err = badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(!opt.NoSync).
		WithMemTableSize(memtable).
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
		WithLogger(log))
	if err != nil {
		return nil, fmt.Errorf("open: %w", WrapDamaged(err))
	}
	return db, nil
}

// WrapDamaged wraps ErrDamaged around an error of opening files, unless the cause is outside of
// them, such as missing permission.
func WrapDamaged(err error) error {
	if errors.Is(err, ErrDiskFull) {
		return err
	}
	for _, elsewhere := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.EIO, syscall.ENOSPC} {
		// compared by text, because Badger does not wrap errors
		if strings.Contains(err.Error(), elsewhere.Error()) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// badgerLog forwards Badger's messages. Its information messages become debug messages. Some debug
// messages are the only sign that Badger is about to write a table.
type badgerLog struct {
	log         *slog.Logger
	beforeTable func()
}

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error("badger", "message", message(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn("badger", "message", message(f, a)) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug("badger", "message", message(f, a)) }

func (l badgerLog) Debugf(f string, _ ...any) {
	if strings.HasPrefix(f, "Flushing memtable") || strings.Contains(f, "LOG Compact. Added") {
		l.beforeTable()
	}
}

func message(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
