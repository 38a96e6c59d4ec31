package replica

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

// snapshots implements raft.SnapshotStore. A snapshot of this member is its synced databases; only
// its index, term and configuration are stored. To send one to another member dumps the databases:
// they may be newer than the snapshot, and the other member then repeats some entries of the log.
//
// The directory contains:
//
//	snapshot  the newest snapshot
//	incoming  the dump that belongs to it, until the databases have its content
//	arriving  a dump on its way
type snapshots struct {
	disk Disk
	d    *databases
	// newest is the newest snapshot whose content the databases have, or nil.
	newest atomic.Pointer[raft.SnapshotMeta]
	// installed is called when the databases have got the content of another member.
	installed func(*raft.SnapshotMeta) error
	// closing is held from the end of a snapshot of this member until raft knows it. A snapshot of
	// another member waits for that, or raft would fall back to the older one.
	closing lock

	// mu guards the fields below.
	mu      sync.Mutex
	dumps   int       // being sent
	dumpEnd time.Time // of the last one
}

// newSnapshots returns the snapshots on a disk.
func newSnapshots(disk Disk, d *databases) *snapshots {
	return &snapshots{disk: disk, d: d, installed: func(*raft.SnapshotMeta) error { return nil }, closing: newLock()}
}

// meta is the content of the file snapshot.
type meta struct {
	raft.SnapshotMeta
	// Incoming means that the content is in the file incoming.
	Incoming bool
}

// load returns the newest snapshot, or nil.
func (s *snapshots) load() (*meta, error) {
	b, err := s.disk.ReadFile("snapshot")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	m := &meta{}
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err != nil {
		return nil, fmt.Errorf("file snapshot: %w", state.WrapDamaged(err))
	}
	return m, nil
}

func (s *snapshots) save(m *meta) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.disk.WriteFile("snapshot", append(b, '\n'))
}

// finish completes a snapshot from another member, if the process was killed before the databases
// had its content.
func (s *snapshots) finish() error {
	if err := s.disk.Remove("arriving"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m, err := s.load()
	if err != nil || m == nil {
		return err
	}
	if !m.Incoming {
		s.newest.Store(&m.SnapshotMeta)
		return nil
	}
	_, f, err := s.Open(m.ID)
	if err == nil {
		err = s.d.Restore(f)
	}
	if err != nil {
		return fmt.Errorf("snapshot of another coordinator: %w", state.WrapDamaged(err))
	}
	return nil
}

// restored notes that the databases have the content of the snapshot.
func (s *snapshots) restored(m *meta) error {
	m.Incoming = false
	if err := s.save(m); err != nil {
		return err
	}
	s.newest.Store(&m.SnapshotMeta)
	return errors.Join(s.disk.Remove("incoming"), s.installed(&m.SnapshotMeta))
}

// finishOwn notes that raft knows the snapshot of this member, if there was one.
func (s *snapshots) finishOwn() {
	select {
	case <-s.closing:
	default:
	}
}

// errOvertaken means that a snapshot of this member is older than one of another member.
var errOvertaken = errors.New("a newer snapshot of another coordinator has arrived")

// saveOwn stores a snapshot of this member.
func (s *snapshots) saveOwn(m *meta) error {
	s.closing.Lock()
	before, err := s.load()
	if err == nil && before != nil && before.Index > m.Index {
		err = errOvertaken
	}
	if err == nil {
		err = s.save(m)
	}
	if err != nil {
		s.closing.Unlock()
		return err
	}
	s.newest.Store(&m.SnapshotMeta)
	return nil
}

// saveIncoming stores a snapshot of another member, whose content is in the file arriving.
func (s *snapshots) saveIncoming(m *meta) error {
	select {
	case s.closing <- struct{}{}:
	case <-s.d.ended:
		return ErrStopped
	}
	defer s.closing.Unlock()
	m.Incoming = true
	if err := s.disk.Rename("arriving", "incoming"); err != nil {
		return err
	}
	return s.save(m)
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	m, err := s.load()
	if err != nil || m == nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{&m.SnapshotMeta}, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, err := s.load()
	switch {
	case err != nil:
		return nil, nil, err
	case m == nil || m.ID != id:
		return nil, nil, fmt.Errorf("snapshot %s: %w", id, os.ErrNotExist)
	case m.Incoming:
		f, err := s.disk.Open("incoming")
		if err != nil {
			return nil, nil, err
		}
		s.d.replaced = false
		return &m.SnapshotMeta, &incoming{ReadCloser: f, s: s, m: m}, nil
	}
	x, err := s.d.openDump()
	if err != nil {
		return nil, nil, err
	}
	m.Size = x.size
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(x.writeTo(w))
		_ = x.Close()
	}()
	s.mu.Lock()
	s.dumps++
	s.mu.Unlock()
	return &m.SnapshotMeta, &sentDump{PipeReader: r, s: s}, nil
}

// sentDump is a dump for another member.
type sentDump struct {
	*io.PipeReader
	s    *snapshots
	once sync.Once
}

func (x *sentDump) Close() error {
	x.once.Do(func() {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		x.s.dumps--
		x.s.dumpEnd = time.Now()
	})
	return x.PipeReader.Close()
}

// dumpGrace is the time in which a member that has got a dump reads the entries since then.
const dumpGrace = 30 * time.Second

// isFollowed reports whether another member needs the log since the newest snapshot: it gets a
// dump, or has just got one.
func (s *snapshots) isFollowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dumps > 0 || time.Since(s.dumpEnd) < dumpGrace
}

// incoming is the dump of another member. After Restore has read it, Close removes it.
type incoming struct {
	io.ReadCloser
	s      *snapshots
	m      *meta
	closed bool
}

func (f *incoming) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	if err := f.ReadCloser.Close(); err != nil || !f.s.d.replaced {
		return err
	}
	return f.s.restored(f.m)
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{s: s, m: meta{SnapshotMeta: raft.SnapshotMeta{Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixMilli()),
		Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex}}}, nil
}

// sink implements raft.SnapshotSink.
type sink struct {
	s *snapshots
	m meta
	f File // nil for a snapshot of this member
	// sum is the checksum of everything but end, the last 4 bytes.
	sum    hash.Hash32
	end    []byte
	closed bool
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.m.ID }

// Write implements raft.SnapshotSink. Only snapshots of other members have content.
func (k *sink) Write(b []byte) (n int, err error) {
	if k.f == nil {
		if k.f, err = k.s.disk.Create("arriving"); err != nil {
			return 0, err
		}
		k.sum = crc32.New(castagnoli)
	}
	n, err = k.f.Write(b)
	k.m.Size += int64(n)
	k.end = append(k.end, b[:n]...)
	if rest := len(k.end) - 4; rest > 0 {
		_, _ = k.sum.Write(k.end[:rest])
		k.end = k.end[:copy(k.end, k.end[rest:])]
	}
	return n, err
}

// Close implements raft.SnapshotSink.
func (k *sink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.f == nil {
		return k.s.saveOwn(&k.m)
	}
	var err error
	if len(k.end) < 4 || binary.BigEndian.Uint32(k.end) != k.sum.Sum32() {
		err = fmt.Errorf("dump of another coordinator: its checksum does not match: %w", errMalformed)
	}
	err = errors.Join(err, k.f.Sync(), k.f.Close())
	if err == nil {
		err = k.s.saveIncoming(&k.m)
	}
	return err
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.f == nil {
		return nil
	}
	return errors.Join(k.f.Close(), k.s.disk.Remove("arriving"))
}
