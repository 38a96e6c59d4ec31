package simulation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/state"
)

// disk is the disk of a member. It implements replica.Disk. A crash makes a new disk from what
// survives; the process that has crashed keeps the old one, and nobody looks at that again.
type disk struct {
	// mu guards the fields below.
	mu     sync.Mutex
	rng    *rand.Rand
	files  map[string]*file
	meta   types.PersistentState
	stable map[string][]byte
	stores map[string]*store
	hasLog bool
	// head is the index of the last entry; syncedHead is what a power cut leaves at least.
	head, syncedHead uint64
	hasHead          bool
	// lostHead means that a power cut threw head back, so the end of the log is not guarded.
	lostHead bool
	full     bool
	syncs    int // number of syncs
	// onSync, if set, is called without the lock before the sync number syncAt has an effect.
	onSync func()
	syncAt int
	slow   time.Duration // of each write to the log
}

// file is a file. Its content survives a power cut as of the last sync; each write after that
// survives, or not, or in part.
type file struct {
	synced, data []byte
	known        bool // the directory entry is synced
	writes       []write
}

type write struct {
	at   int64
	data []byte
}

// store is a database. Badger runs in memory; what a crash leaves is the content at some moment
// since the last sync, as Badger's own log loses its end.
type store struct {
	db     *state.DB
	synced map[string][]byte
	marked map[string][]byte // content at a moment after that; nil means none
}

// newDisk returns an empty disk. It draws its own source from the caller's source: a process that was
// killed may still write to its former disk.
func newDisk(from *rand.Rand) *disk {
	rng := rand.New(rand.NewPCG(from.Uint64(), from.Uint64()))
	return &disk{rng: rng, files: map[string]*file{}, stable: map[string][]byte{}, stores: map[string]*store{}}
}

// crash returns the disk after the end of the process. After a power cut, it lacks some of what was
// not synced.
func (d *disk) crash(power bool) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk(d.rng)
	after.full, after.slow = d.full, d.slow
	after.meta, after.stable = d.meta, maps.Clone(d.stable)
	after.hasLog, after.hasHead, after.head = d.hasLog, d.hasHead, d.head
	if power && d.rng.IntN(2) == 0 {
		after.head = d.syncedHead
	}
	after.lostHead = d.lostHead || after.head != d.head
	after.syncedHead = after.head
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		if !power {
			after.files[name] = &file{synced: bytes.Clone(f.data), data: bytes.Clone(f.data), known: true}
			continue
		}
		if !f.known && d.rng.IntN(2) == 0 {
			continue
		}
		content := bytes.Clone(f.synced)
		for _, w := range f.writes {
			switch d.rng.IntN(4) {
			case 0: // lost
			case 1:
				content = overwrite(content, w.at, w.data[:d.rng.IntN(len(w.data)+1)])
			default:
				content = overwrite(content, w.at, w.data)
			}
		}
		after.files[name] = &file{synced: content, data: bytes.Clone(content), known: true}
	}
	for _, name := range slices.Sorted(maps.Keys(d.stores)) {
		s := d.stores[name]
		content := s.content()
		if power {
			switch k := d.rng.IntN(3); {
			case k == 0:
				content = s.synced
			case k == 1 && s.marked != nil:
				content = s.marked
			}
		}
		after.stores[name] = &store{synced: content}
	}
	return after
}

// mark notes a moment to which a power cut may throw the databases back.
func (d *disk) mark() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.stores {
		s.marked = s.content()
	}
}

func (s *store) content() map[string][]byte {
	if s.db == nil || s.db.IsClosed() {
		return s.synced
	}
	all := map[string][]byte{}
	_ = s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			all[string(it.Item().Key())], _ = it.Item().ValueCopy(nil)
		}
		return nil
	})
	return all
}

func overwrite(b []byte, at int64, data []byte) []byte {
	if need := int(at) + len(data); need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[at:], data)
	return b
}

// flip changes a byte of a log file that has been synced, and reports whether there was one. That
// happens to data at rest: the head has reached the disk meanwhile. Beyond a head that a power cut
// threw back, nobody could tell damage from an incomplete append.
func (d *disk) flip() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lostHead {
		return false
	}
	d.syncedHead = d.head
	var names []string
	for name, f := range d.files {
		if len(name) > 4 && name[len(name)-4:] == ".wal" && len(bytes.TrimRight(f.data, "\x00")) > 64 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return false
	}
	slices.Sort(names)
	f := d.files[names[d.rng.IntN(len(names))]]
	at := 32 + d.rng.IntN(len(bytes.TrimRight(f.data, "\x00"))-32)
	bit := byte(1) << d.rng.IntN(8)
	f.data[at] ^= bit
	if at < len(f.synced) {
		f.synced[at] ^= bit
	}
	return true
}

// ReadFile implements replica.Disk.
func (d *disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	return bytes.Clone(f.data), nil
}

// WriteFile implements replica.Disk.
func (d *disk) WriteFile(name string, content []byte) error {
	if err := d.sync(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return syscall.ENOSPC
	}
	content = bytes.Clone(content)
	d.files[name] = &file{synced: content, data: bytes.Clone(content), known: true}
	return nil
}

// sync is called before each sync.
func (d *disk) sync() error {
	d.mu.Lock()
	d.syncs++
	var call func()
	if d.onSync != nil && d.syncs >= d.syncAt {
		call, d.onSync = d.onSync, nil
	}
	d.mu.Unlock()
	if call != nil {
		call()
	}
	return nil
}

// Create implements replica.Disk.
func (d *disk) Create(name string) (replica.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return nil, syscall.ENOSPC
	}
	f := &file{}
	d.files[name] = f
	return &handle{d: d, f: f}, nil
}

// Open implements replica.Disk.
func (d *disk) Open(name string) (io.ReadCloser, error) {
	b, err := d.ReadFile(name)
	return io.NopCloser(bytes.NewReader(b)), err
}

// Rename implements replica.Disk.
func (d *disk) Rename(from, to string) error {
	if err := d.sync(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[from]
	if f == nil {
		return os.ErrNotExist
	}
	delete(d.files, from)
	d.files[to] = f
	f.known = true
	return nil
}

// Remove implements replica.Disk.
func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		return os.ErrNotExist
	}
	delete(d.files, name)
	return nil
}

const (
	reserve = 1 << 20
	roomy   = 1 << 40
)

func (d *disk) free(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0, nil
	}
	return roomy, nil
}

// OpenStore implements replica.Disk.
func (d *disk) OpenStore(name string, _ state.Format, opt state.Options) (*state.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stores[name]
	if s == nil {
		s = &store{}
		d.stores[name] = s
	}
	opt.Free, opt.Reserve = d.free, reserve
	var err error
	s.db, err = state.OpenMemory(opt, func() error {
		if err := d.sync(); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		s.synced, s.marked = s.content(), nil
		return nil
	})
	if err != nil || len(s.synced) == 0 {
		return s.db, err
	}
	w := s.db.NewTransaction(true)
	defer func() { w.Discard() }()
	for k, v := range s.synced {
		err := w.Set([]byte(k), v)
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = w.Commit(); err == nil {
				w = s.db.NewTransaction(true)
				err = w.Set([]byte(k), v)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return s.db, w.Commit()
}

// segmentSize makes the log begin new files often.
const segmentSize = 16 << 10

// HasLog implements replica.Disk.
func (d *disk) HasLog() (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hasLog, nil
}

// OpenLog implements replica.Disk.
func (d *disk) OpenLog(log hclog.Logger) (replica.Log, error) {
	d.mu.Lock()
	d.hasLog = true
	d.mu.Unlock()
	w, err := wal.Open("", wal.WithLogger(log), wal.WithMetaStore(settings{d}), wal.WithSegmentSize(segmentSize), wal.WithSegmentFiler(segment.NewFiler("", logFiles{d})))
	if err != nil {
		return nil, err
	}
	return &slowLog{WAL: w, d: d}, nil
}

// OpenHead implements replica.Disk.
func (d *disk) OpenHead() (replica.Head, error) { return head{d}, nil }

// head implements replica.Head.
type head struct{ d *disk }

func (h head) Last() (index uint64, ok bool) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.d.head, h.d.hasHead
}

func (h head) Create(index uint64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.head, h.d.syncedHead, h.d.hasHead, h.d.lostHead = index, index, true, false
	return nil
}

func (h head) Write(index uint64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.head, h.d.lostHead = index, false
	return nil
}

func (h head) Sync() error {
	if err := h.d.sync(); err != nil {
		return err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.syncedHead = h.d.head
	return nil
}

func (h head) Close() error { return nil }

// slowLog is the real log. Its writes take time before they begin: within the log, a pause would
// hold locks, and virtual time would stand still.
type slowLog struct {
	*wal.WAL
	d *disk
}

// StoreLogs implements raft.LogStore.
func (l *slowLog) StoreLogs(logs []*raft.Log) error {
	l.d.mu.Lock()
	took := 100*time.Microsecond + time.Duration(l.d.rng.Int64N(int64(500*time.Microsecond))) + l.d.slow
	l.d.mu.Unlock()
	time.Sleep(took)
	return l.WAL.StoreLogs(logs)
}

// StoreLog implements raft.LogStore.
func (l *slowLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// settings implements types.MetaStore. bbolt, which it replaces, changes its file all or none.
type settings struct{ d *disk }

func (s settings) Load(string) (types.PersistentState, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	m := s.d.meta
	m.Segments = slices.Clone(m.Segments)
	return m, nil
}

func (s settings) CommitState(m types.PersistentState) error {
	if err := s.d.sync(); err != nil {
		return err
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	m.Segments = slices.Clone(m.Segments)
	s.d.meta = m
	return nil
}

func (s settings) GetStable(key []byte) ([]byte, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.d.stable[string(key)], nil
}

func (s settings) SetStable(key, value []byte) error {
	if err := s.d.sync(); err != nil {
		return err
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.stable[string(key)] = bytes.Clone(value)
	return nil
}

func (settings) Close() error { return nil }

// logFiles implements types.VFS.
type logFiles struct{ d *disk }

func (l logFiles) ListDir(string) (names []string, err error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return slices.Sorted(maps.Keys(l.d.files)), nil
}

func (l logFiles) Create(_, name string, size uint64) (types.WritableFile, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.d.full {
		return nil, syscall.ENOSPC
	}
	if l.d.files[name] != nil {
		return nil, os.ErrExist
	}
	f := &file{synced: make([]byte, size), data: make([]byte, size)}
	l.d.files[name] = f
	return &handle{d: l.d, f: f}, nil
}

func (l logFiles) Delete(_, name string) error { return l.d.Remove(name) }

func (l logFiles) open(name string) (*handle, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	f := l.d.files[name]
	if f == nil {
		return nil, os.ErrNotExist
	}
	return &handle{d: l.d, f: f}, nil
}

func (l logFiles) OpenReader(_, name string) (types.ReadableFile, error) { return l.open(name) }
func (l logFiles) OpenWriter(_, name string) (types.WritableFile, error) { return l.open(name) }

// handle is an open file.
type handle struct {
	d  *disk
	f  *file
	at int64
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if at >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, at int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.full && int(at)+len(b) > len(h.f.data) {
		return 0, syscall.ENOSPC
	}
	h.f.data = overwrite(h.f.data, at, b)
	h.f.writes = append(h.f.writes, write{at, bytes.Clone(b)})
	return len(b), nil
}

func (h *handle) Read(b []byte) (int, error) {
	n, err := h.ReadAt(b, h.at)
	h.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (h *handle) Write(b []byte) (int, error) {
	n, err := h.WriteAt(b, h.at)
	h.at += int64(n)
	return n, err
}

func (h *handle) Seek(at int64, _ int) (int64, error) {
	h.at = at
	return at, nil
}

func (h *handle) Sync() error {
	if err := h.d.sync(); err != nil {
		return err
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	for _, w := range h.f.writes {
		h.f.synced = overwrite(h.f.synced, w.at, w.data)
	}
	h.f.writes, h.f.known = nil, true
	return nil
}

func (h *handle) Close() error { return nil }
