package replica

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/layshaft/layshaft/internal/state"
)

// Disk stores what a member must not forget. Names are those in the package comment. A simulation
// has its own Disk, which loses unsynced writes, fills up and returns flipped bytes.
type Disk interface {
	// ReadFile reads a small file of WriteFile. The error wraps os.ErrNotExist if there is none.
	ReadFile(name string) ([]byte, error)
	// WriteFile replaces a small file, whole or not at all, and makes it durable.
	WriteFile(name string, content []byte) error
	// Create makes an empty file, in place of an old one.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (io.ReadCloser, error)
	// Rename replaces the file to by the file from, and makes that durable.
	Rename(from, to string) error
	// Remove removes a file. The error wraps os.ErrNotExist if there is none.
	Remove(name string) error
	// OpenStore opens a database.
	OpenStore(name string, f state.Format, opt state.Options) (*state.DB, error)
	// HasLog reports whether there is a log, maybe an empty one.
	HasLog() (bool, error)
	// OpenLog opens the log of raft, and creates it if there is none.
	OpenLog(log hclog.Logger) (Log, error)
	// OpenHead opens the head of the log.
	OpenHead() (Head, error)
}

// File is a file that is being written. Close leaves it unsynced.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	Sync() error
}

// Log is a log on a disk, with the settings of raft.
type Log interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// Head is the index of the last entry of a log, apart from the log.
type Head interface {
	// Last returns the index; ok is false if none was ever written.
	Last() (index uint64, ok bool)
	// Create writes the first index durably.
	Create(index uint64) error
	// Write changes the index. A crash of the machine may undo that.
	Write(index uint64) error
	// Sync makes the last Write durable.
	Sync() error
	Close() error
}

// directory is a Disk of real files.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) ReadFile(name string) ([]byte, error) { return state.ReadFile(d.path(name)) }

func (d directory) WriteFile(name string, content []byte) error {
	return state.WriteFile(d.path(name), content)
}

func (d directory) Create(name string) (File, error) {
	return os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d directory) Open(name string) (io.ReadCloser, error) { return os.Open(d.path(name)) }

func (d directory) Rename(from, to string) error {
	if err := os.Rename(d.path(from), d.path(to)); err != nil {
		return err
	}
	return state.SyncDir(string(d))
}

func (d directory) Remove(name string) error { return os.Remove(d.path(name)) }

func (d directory) OpenStore(name string, f state.Format, opt state.Options) (*state.DB, error) {
	db, err := state.Open(d.path(name), "badger", f, opt)
	if errors.Is(err, state.ErrFormat) && !anyFormat(d.path(name), f.Kind) {
		err = state.WrapDamaged(err)
	}
	return db, err
}

// anyFormat reports whether the format of a directory is of some release.
func anyFormat(dir, kind string) bool {
	b, err := os.ReadFile(filepath.Join(dir, state.FormatName))
	version, ours := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), "layshaft "+kind+" ")
	_, number := strconv.ParseUint(version, 10, 32)
	return err == nil && ours && number == nil
}

func (d directory) HasLog() (bool, error) {
	_, err := os.Stat(d.path("log"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// diskLog is a log in a directory. Its own Close leaves the database of settings open.
type diskLog struct {
	*wal.WAL
	settings *metadb.BoltMetaDB
}

func (d directory) OpenLog(log hclog.Logger) (_ Log, err error) {
	defer recoverDamage(&err)()
	dir := d.path("log")
	if err := state.MakeDir(dir, 0o700); err != nil {
		return nil, err
	}
	l := &diskLog{settings: &metadb.BoltMetaDB{}}
	if l.WAL, err = wal.Open(dir, wal.WithLogger(log), wal.WithMetaStore(l.settings), wal.WithSegmentSize(segmentBytes)); err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", state.WrapDamaged(err)), l.settings.Close())
	}
	return l, nil
}

// Close closes the log.
func (l *diskLog) Close() error { return errors.Join(l.WAL.Close(), l.settings.Close()) }

// headFile is a Head in a directory.
type headFile struct {
	state.Head
	dir string
}

func (d directory) OpenHead() (Head, error) {
	h := &headFile{dir: d.path("log")}
	var err error
	if h.Head, err = state.OpenHead(h.dir); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *headFile) Last() (index uint64, ok bool) { return h.Seq, h.Exists() }

func (h *headFile) Create(index uint64) error {
	h.Seq = index
	return h.Head.Create(h.dir)
}

func (h *headFile) Write(index uint64) error { return h.Head.Write(index, [16]byte{}) }

// lock is a mutex. In fake time, the clock continues while a goroutine waits for it.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// Lock acquires the lock.
func (l lock) Lock() { l <- struct{}{} }

// Unlock releases the lock.
func (l lock) Unlock() { <-l }
