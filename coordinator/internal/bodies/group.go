package bodies

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// group is a set of batches that are written together.
type group struct {
	buf []byte
	// pieces of large bodies, including the batch being built
	pieces    []op
	ops       []op
	ends      []int // index in ops after each batch
	bodies    []ref // bodies on disk after the write
	lastBatch uint64
}

// op is a key and a value in a group's buf.
type op struct {
	start, key int
	value      int // size in bytes; -1 removes the key
}

type ref struct {
	id   uint64
	kind Kind
}

// add appends key and value to buf.
func (g *group) add(k, record []byte, b *body) op {
	o := op{start: len(g.buf), key: len(k), value: -1}
	g.buf = append(g.buf, k...)
	if record != nil {
		if b == nil {
			b = &body{}
		}
		g.buf = encode(g.buf, k, record, b)
		o.value = len(g.buf) - o.start - o.key
	}
	return o
}

// A transaction stays below the limits that Badger derives from the memtable size set in package
// state.
const (
	maxTxnBytes = 1 << 20
	maxTxnOps   = 10_000
)

// takeGroup returns the committed batches for writing, or nil if there are none.
func (s *Store) takeGroup() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.next.ends) == 0 {
		return nil
	}
	g := s.next
	s.next = &group{}
	if n := len(s.spare); n > 0 {
		s.next, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	if s.committedOps < len(g.ops) { // move the unfinished batch to the new group
		from := g.ops[s.committedOps].start
		for _, o := range g.ops[s.committedOps:] {
			o.start -= from
			s.next.ops = append(s.next.ops, o)
		}
		s.next.buf = append(s.next.buf, g.buf[from:]...)
		g.ops = g.ops[:s.committedOps]
	}
	s.next.bodies = append(s.next.bodies, g.bodies[s.committedBodies:]...)
	g.bodies = g.bodies[:s.committedBodies]
	s.committedOps, s.committedBodies = 0, 0
	return g
}

// diskFullWait is the pause before a group is tried again on a full disk.
const diskFullWait = time.Second

// awaitRoom waits until a group fits on the disk. What it contains was decided, so it may use half
// of the reserve; new tasks are refused earlier. The error wraps state.ErrDiskFull when ctx ends
// first.
func (s *Store) awaitRoom(ctx context.Context, g *group) error {
	for logged := false; ; {
		err := s.db.CheckDecided(int64(len(g.buf)))
		if err == nil || ctx.Err() != nil || !errors.Is(err, state.ErrDiskFull) {
			return err
		}
		if !logged {
			logged = true
			s.opt.Log.Error("tasks wait: free some disk space", "err", err)
		}
		select {
		case <-time.After(diskFullWait):
		case <-ctx.Done():
		}
	}
}

// persist makes a group durable, and reports it.
func (s *Store) persist(g *group) error {
	n := s.head.Seq + 1
	var err error
	if len(g.buf) > maxLogged {
		err = s.writeLarge(n, g)
	} else {
		err = s.writeLogged(n, g)
	}
	if err == nil {
		err = s.head.Write(n, s.head.Sum)
	}
	if err == nil {
		s.opt.Committed(g.lastBatch)
	}
	return err
}

// writeLogged writes a group to the log. Badger gets it later.
func (s *Store) writeLogged(n uint64, g *group) error {
	if !s.redo.fits(g) {
		if err := s.nextFile(n); err != nil {
			return err
		}
	}
	if err := s.redo.append(n, g); err != nil {
		return err
	}
	s.mu.Lock()
	wasEmpty := len(s.logged) == 0
	s.logged, s.lastLogged = append(s.logged, g), n
	s.loggedBytes += len(g.buf)
	due := s.behind || s.loggedBytes > applyBytes
	s.mu.Unlock()
	if wasEmpty {
		signal(s.applyLater)
	}
	if due {
		signal(s.applyNow)
	}
	return nil
}

// nextFile continues the log with the group n in the other file.
func (s *Store) nextFile(n uint64) error {
	if err := s.checkpoint(); err != nil { // mostly done, by runApply
		return err
	}
	s.setBehind()
	active := s.redo.active
	err := s.redo.start(1-active, n)
	if err != nil && s.redo.files[1-active] == nil {
		// a full disk has no room for a second file, so the first one waits for Badger
		if err = s.checkpoint(); err == nil {
			err = s.redo.start(active, n)
		}
	}
	return err
}

func (s *Store) setBehind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = true
}

// writeLarge writes a group to Badger, as a second copy would cost more than the syncs.
func (s *Store) writeLarge(n uint64, g *group) error {
	if !s.redo.fits(&group{}) {
		if err := s.nextFile(n); err != nil {
			return err
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.applyLogged()
	if err == nil {
		err = s.syncBadger()
	}
	if err == nil {
		err = s.redo.append(n, nil)
	}
	if err == nil {
		err = s.writeGroups([]*group{g}, n)
	}
	if err == nil {
		err = s.syncBadger()
	}
	return err
}

const (
	// Badger gets the groups of applyDelay in one transaction, or applyBytes.
	applyDelay = 10 * time.Millisecond
	applyBytes = 256 << 10
)

// runApply passes logged groups to Badger until stop is closed, and then the rest.
func (s *Store) runApply(stop <-chan struct{}) error {
	delay := time.NewTimer(0)
	defer delay.Stop()
	synced := time.Now()
	for stopped := false; !stopped; {
		select {
		case <-s.applyLater:
		case <-s.applyNow:
		case <-stop:
		}
		delay.Reset(applyDelay)
		select {
		case <-delay.C:
		case <-s.applyNow:
		case <-stop:
			stopped = true
		}
		s.writing.Lock()
		err := s.applyLogged()
		s.writing.Unlock()
		if err == nil {
			err = s.checkpoint()
		}
		if err == nil && !s.opt.NoSync && time.Since(synced) > syncEvery {
			synced = time.Now()
			err = s.head.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkpoint makes durable in Badger what the log has in the file that is not active.
func (s *Store) checkpoint() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	behind := s.behind
	s.mu.Unlock()
	if !behind {
		return nil
	}
	err := s.applyLogged()
	if err == nil {
		err = s.syncBadger()
	}
	s.mu.Lock()
	s.behind = s.behind && err != nil
	s.mu.Unlock()
	return err
}

// applyLogged passes all logged groups to Badger. s.writing is held.
func (s *Store) applyLogged() error {
	s.mu.Lock()
	groups, last := s.logged, s.lastLogged
	s.logged, s.loggedBytes = nil, 0
	s.mu.Unlock()
	if len(groups) == 0 {
		return nil
	}
	return s.writeGroups(groups, last)
}

// syncBadger makes all transactions durable.
func (s *Store) syncBadger() error {
	if s.opt.NoSync {
		return nil
	}
	return s.db.SyncAll()
}

// writeGroups writes groups to Badger in as few transactions as their size allows. It splits a
// batch only if this batch alone is too large. The number of the last group is in the last
// transaction. s.writing is held.
func (s *Store) writeGroups(groups []*group, last uint64) error {
	w := &writer{db: s.db, txn: s.db.NewTransaction(true)}
	defer func() { w.txn.Discard() }()
	for _, g := range groups {
		if err := w.write(g); err != nil {
			return err
		}
	}
	s.db.NoteWrite()
	if err := w.txn.Set(groupsKey, encode(nil, groupsKey, binary.AppendUvarint(nil, last), &body{})); err != nil {
		return err
	}
	if err := w.txn.Commit(); err != nil {
		return err
	}
	s.releaseWritten(groups)
	return nil
}

// writer fills transactions.
type writer struct {
	db           *state.DB
	txn          *badger.Txn
	bytes, count int
}

func (w *writer) flush() error {
	err := w.txn.Commit()
	w.txn = w.db.NewTransaction(true)
	w.bytes, w.count = 0, 0
	return err
}

func (w *writer) write(g *group) error {
	for _, o := range g.pieces {
		if w.bytes += max(o.value, 0); w.bytes > maxTxnBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if err := g.set(w.txn, o); err != nil {
			return err
		}
	}
	at := 0
	for _, end := range g.ends {
		size := 0
		for _, o := range g.ops[at:end] {
			size += o.key + max(o.value, 0)
		}
		if w.bytes > 0 && (w.bytes+size > maxTxnBytes || w.count+end-at > maxTxnOps) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		for _, o := range g.ops[at:end] {
			err := g.set(w.txn, o)
			if errors.Is(err, badger.ErrTxnTooBig) {
				if err = w.flush(); err == nil {
					err = g.set(w.txn, o)
				}
			}
			if err != nil {
				return err
			}
		}
		w.bytes, w.count, at = w.bytes+size, w.count+end-at, end
	}
	return nil
}

func (g *group) set(txn *badger.Txn, o op) error {
	mid := o.start + o.key
	k := g.buf[o.start:mid:mid]
	if o.value < 0 {
		return txn.Delete(k)
	}
	return txn.Set(k, g.buf[mid:mid+o.value:mid+o.value])
}

// releaseWritten drops the in-memory copies of bodies written with groups if they take too much
// memory, and keeps the memory of the groups for others.
func (s *Store) releaseWritten(groups []*group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range groups {
		for _, r := range g.bodies {
			if !s.cacheIsFull() {
				break
			}
			if p := s.places[r.kind].find(r.id); p != nil && p.loc() != 0 && *p&memoryOnly == 0 && s.arena.id(p.loc()) == r.id {
				s.dropFromMemory(p)
			}
		}
		if cap(g.buf) <= maxSpareBuf && len(s.spare) < maxSpareGroups {
			s.spare = append(s.spare, &group{buf: g.buf[:0], pieces: g.pieces[:0], ops: g.ops[:0], ends: g.ends[:0], bodies: g.bodies[:0]})
		}
	}
	s.arena.compact(&s.places)
}

// Limits of the groups kept for reuse.
const (
	maxSpareGroups = 64
	maxSpareBuf    = 64 << 10
)
