package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// openBadger opens the store small: its defaults take gigabytes. Frames are below its value threshold, so none goes to
// the value log, whose space never comes back; they are read in order and rarely, so there is no cache. A panic on
// damaged files becomes an error.
func openBadger(dir string, opt Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open: %v", p)
		}
	}()
	if err := errors.Join(removeEmpty(dir), verifyTables(dir)); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	db, err = badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(!opt.NoSync).
		WithMemTableSize(16 << 20).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithBypassLockGuard(!badgerLocks).
		WithLogger(badgerLog{opt.Log}))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := db.VerifyChecksum(); err != nil {
		_ = db.Close() // nothing was written
		return nil, fmt.Errorf("verify tables: %w", err)
	}
	return db, nil
}

// removeEmpty removes log files of no bytes. Badger leaves one when it is killed while it makes or removes a log, and
// cannot open afterwards.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); err != nil || ext != ".mem" && ext != ".vlog" {
			continue
		}
		var info os.FileInfo
		if info, err = e.Info(); err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// badgerLog hands Badger's messages on; what it calls information is for debugging.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error("badger", "message", message(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn("badger", "message", message(f, a)) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug("badger", "message", message(f, a)) }
func (l badgerLog) Debugf(string, ...any)       {}

func message(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
