package bodies

import (
	"context"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// group is a set of batches that are written together.
type group struct {
	buf []byte
	// pieces of large bodies, including those of the batch being built
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

// takeGroup returns the committed batches for writing and continues with spare. The group is empty
// if there are none.
func (s *Store) takeGroup(spare *group) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.next.ends) == 0 {
		return &group{}
	}
	g := s.next
	s.next = group{buf: spare.buf[:0], pieces: spare.pieces[:0], ops: spare.ops[:0], ends: spare.ends[:0], bodies: spare.bodies[:0]}
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
	*spare = g
	return spare
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

// writeGroup writes g in as few transactions as its size allows. It splits a batch only if this
// batch alone is too large.
func (s *Store) writeGroup(g *group) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	txn := s.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	bytes, count, at := 0, 0, 0
	flush := func() error {
		err := txn.Commit()
		txn = s.db.NewTransaction(true)
		bytes, count = 0, 0
		return err
	}
	for _, o := range g.pieces {
		if bytes += o.value; bytes > maxTxnBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if err := g.set(txn, o); err != nil {
			return err
		}
	}
	for _, end := range g.ends {
		size := 0
		for _, o := range g.ops[at:end] {
			size += o.key + max(o.value, 0)
		}
		if bytes > 0 && (bytes+size > maxTxnBytes || count+end-at > maxTxnOps) {
			if err := flush(); err != nil {
				return err
			}
		}
		for _, o := range g.ops[at:end] {
			err := g.set(txn, o)
			if errors.Is(err, badger.ErrTxnTooBig) {
				if err = flush(); err == nil {
					err = g.set(txn, o)
				}
			}
			if err != nil {
				return err
			}
		}
		bytes, count, at = bytes+size, count+end-at, end
	}
	s.db.NoteWrite()
	return s.commitGroup(txn)
}

func (g *group) set(txn *badger.Txn, o op) error {
	mid := o.start + o.key
	k := g.buf[o.start:mid:mid]
	if o.value < 0 {
		return txn.Delete(k)
	}
	return txn.Set(k, g.buf[mid:mid+o.value:mid+o.value])
}

// releaseWritten drops the in-memory copies of bodies written with g if they take too much memory,
// and reports the group as durable.
func (s *Store) releaseWritten(g *group) {
	s.mu.Lock()
	for _, r := range g.bodies {
		if !s.cacheIsFull() {
			break
		}
		if p := s.places[r.kind].find(r.id); p != nil && p.loc() != 0 && *p&memoryOnly == 0 && s.arena.id(p.loc()) == r.id {
			s.dropFromMemory(p)
		}
	}
	s.arena.compact(&s.places)
	s.mu.Unlock()
	s.opt.Committed(g.lastBatch)
	if cap(g.buf) > 4<<20 { // free the memory of a single large group
		*g = group{}
	}
}
