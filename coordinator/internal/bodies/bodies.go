// Package bodies stores the payloads of tasks (bodies) and the Records of package queue, so that
// both become durable together.
//
// # Memory and disk
//
// Bodies are kept in memory outside the garbage-collected heap. Each takes ten bytes more than its
// payload, and eight for its place.
//
//   - A durable body is written to Badger. A copy stays in memory while all copies take little
//     room; the oldest stay longest, as they are next in their queue.
//   - A body without durability stays in memory only, up to Options.Memory. Beyond it, the newest
//     bodies are spilled to Badger, as they wait longest. The next Open removes spilled bodies.
//
// # Batches
//
// The changes of one Step of the queue form a batch; Commit ends the batch and numbers it. A single
// goroutine, Run, gathers the batches of all callers into a group: one write to a log and one sync.
// Then it reports the last number of the group. Badger gets the groups of some milliseconds in one
// transaction, without a sync; Open repeats what Badger may have lost. See redo. Bodies over 256
// KiB are written in pieces before their batch, because a transaction must stay small.
//
// A shell carries out the commands of a Step like this, then calls Commit. It sends answers when
// that number is durable:
//
//	Write of a task      WriteTask with the event's payload, or WriteKept for FromInput
//	other Writes         Write
//	Keep, KeepResult     Keep; WriteResult for a durable result
//	Drop                 Drop
//
// # Damage
//
// Badger returns flipped bytes without an error, so every value carries a CRC32C of itself and its
// key. Badger also drops the damaged end of a log without an error, so groups are counted in three
// places: in Badger, in the log, and in the file head beside it; see state.Head.
package bodies

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/tally"
)

var (
	// ErrNotFound means that the body does not exist.
	ErrNotFound = errors.New("no such body")
	// ErrDamaged means that the data differs from what was written.
	ErrDamaged = state.ErrDamaged
	// ErrEnded means that the store has failed or was closed, and takes nothing.
	ErrEnded = errors.New("the store has ended")
	// ErrFull means that a store without a directory has no memory left.
	ErrFull = errors.New("memory for payloads is used up")
)

// Kind is the kind of a task's body.
type Kind uint8

const (
	Input Kind = iota
	Result
	kinds
)

// Options configure a store. The zero value is a good default.
type Options struct {
	// Memory is the approximate limit, in bytes, for bodies in memory that are not durable. Zero
	// means 32 MiB. Copies of bodies on disk may take as much again, but at most 32 MiB. Without a
	// directory, nothing can be spilled: Memory is then the limit for CheckRoom, and zero means 1
	// GiB.
	Memory int64
	// NoSync skips the sync after each group. Batches then survive the end of the process but not
	// a crash of the machine.
	NoSync bool
	// Reserve is the number of bytes kept free on the disk; see state.Options.
	Reserve int64
	// AcceptLoss lets Open continue, once, if the end of the durable data is missing, or a table of
	// Badger is damaged.
	AcceptLoss bool
	// Committed is called by Run with the number of the last durable batch. It must not block for
	// long, and must not call the store.
	Committed func(n uint64)
	// Replica, if set, takes the place of the directory: Open needs none then.
	Replica Replica
	// Log receives messages for the operator; nil means none.
	Log *slog.Logger
}

// Replica is a database with the same content on several machines.
type Replica interface {
	// DB returns the database, for reading.
	DB() *state.DB
	// Propose changes the values of keys, all or none, in the order of the calls. A nil value
	// removes the key. wait blocks until a majority of the machines has the change durably. After
	// an error, nothing else takes effect.
	Propose(changes iter.Seq2[[]byte, []byte]) (wait func() error)
	// Flush blocks until DB has all changes whose wait has returned.
	Flush() error
}

// Store is an open store. Its methods may be called concurrently, but only one goroutine at a time
// may build a batch.
type Store struct {
	opt  Options
	db   *state.DB // nil: memory only
	wake chan struct{}

	// Run alone uses the log and the head, which counts groups.
	redo redo
	head state.Head
	// applyLater and applyNow wake runApply.
	applyLater, applyNow chan struct{}

	// writing is held while Badger is written to, so a reader that holds it sees only whole
	// batches. It is locked before mu.
	writing sync.Mutex

	// mu guards the fields below.
	mu    sync.Mutex
	arena arena
	// memoryOnlyBytes is the total size of the bodies stored only in the arena.
	memoryOnlyBytes int64
	places          [kinds]places
	next            *group      // to be written
	spare           []*group    // empty groups for reuse
	logged          []*group    // in the log and not yet in Badger
	loggedBytes     int         // size of logged
	lastLogged      uint64      // number of the last group of logged
	behind          bool        // Badger may lose groups of the file that is not active
	committedOps    int         // ops of next in committed batches
	committedBodies int         // bodies of next in committed batches
	large           map[ref]int // number of pieces of each large body
	lastBatch       uint64
	failed          error
	syncs           tally.Durations
}

// format is the format of a store's directory.
var format = state.Format{Kind: "tasks", Version: 1}

// Open opens the store in dir and creates dir if necessary. If dir is empty, the store is in memory
// only. Errors wrap errors of state.Open, or ErrDamaged if the end of the durable data is missing.
// Open starts a goroutine that Close ends. To write batches, call Run.
func Open(dir string, opt Options) (*Store, error) {
	if opt.Memory == 0 {
		opt.Memory = maxCached
		if dir == "" && opt.Replica == nil {
			opt.Memory = 1 << 30
		}
	}
	if opt.Committed == nil {
		opt.Committed = func(uint64) {}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{opt: opt, large: map[ref]int{}, wake: make(chan struct{}, 1), applyLater: make(chan struct{}, 1), applyNow: make(chan struct{}, 1), next: &group{}}
	if opt.Replica != nil {
		s.db = opt.Replica.DB()
		return s, s.dropSpilled()
	}
	if dir == "" {
		return s, nil
	}
	db, err := state.Open(dir, "bodies", format, state.Options{NoSync: true, Reserve: opt.Reserve, AcceptLoss: opt.AcceptLoss, Log: opt.Log})
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w; restore a backup of the coordinator, or start with -accept-loss to continue without the damaged part", err)
		}
		return nil, fmt.Errorf("tasks %s: %w", dir, err)
	}
	s.db = db
	if err = s.recover(dir); err == nil {
		err = s.removeSpilled()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tasks %s: %w", dir, err), s.redo.close(), s.head.Close(), db.Close())
	}
	return s, nil
}

// Close closes the store. Run must have ended. Bodies that are not durable are lost.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arena.free()
	failed := s.failed
	s.failed = errors.New("bodies: closed")
	if s.db == nil || s.opt.Replica != nil {
		return nil
	}
	err := s.syncBadger()
	if err == nil && failed == nil && len(s.logged) == 0 {
		err = s.redo.restart(s.head.Seq + 1) // the next Open need not repeat anything
	}
	return errors.Join(err, s.redo.close(), s.head.Close(), s.db.Close())
}

// CheckRoom returns nil if n more bytes can be stored. Otherwise the error wraps ErrFull,
// state.ErrDiskFull or ErrEnded. A shell calls CheckRoom before it accepts a task; accepted data is
// always stored.
func (s *Store) CheckRoom(n int64) error {
	s.mu.Lock()
	used, behind, failed := s.arena.used, int64(len(s.next.buf)), s.failed
	s.mu.Unlock()
	if failed != nil {
		return fmt.Errorf("bodies: %w: %w", ErrEnded, failed)
	}
	if s.db != nil {
		if behind > maxBehind {
			return fmt.Errorf("bodies: %w: %s wait to be written; the disk is too slow for the incoming tasks", ErrFull, bytesize.Format(behind))
		}
		return s.db.CheckAhead(n)
	}
	if used+n > s.opt.Memory {
		return fmt.Errorf("bodies: %w: %s of %s; wait until tasks have ended, or give the coordinator a directory", ErrFull, bytesize.Format(used), bytesize.Format(s.opt.Memory))
	}
	return nil
}

// Write adds a record to the batch; a nil value removes it. It does not retain the slices.
func (s *Store) Write(key, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(key, value, nil)
}

// WriteTask adds the record of a task and its input to the batch, and stores the input. It does not
// retain the slices.
func (s *Store) WriteTask(id uint64, key, record, input []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInMemory(Input, id, input)
	if s.db != nil {
		s.write(key, record, s.splitBody(Input, id, input))
		s.next.bodies = append(s.next.bodies, ref{id, Input})
	}
}

// WriteKept is WriteTask with the input stored before. It may block on the disk. Errors are those
// of Get.
func (s *Store) WriteKept(id uint64, key, record []byte) error {
	input, err := s.Get(nil, Input, id)
	if err == nil {
		s.WriteTask(id, key, record, input)
	}
	return err
}

// Keep stores a body that need not survive a restart. It does not retain the slice.
func (s *Store) Keep(kind Kind, id uint64, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInMemory(kind, id, body)
	p := s.places[kind].ensure(id)
	switch size := s.arena.size(p.loc()); {
	case s.db == nil:
	case s.memoryOnlyBytes+size > s.opt.Memory:
		s.write(key('s', kind, id), []byte{}, s.splitBody(kind, id, body))
		s.next.bodies = append(s.next.bodies, ref{id, kind})
		*p |= spilled
	default:
		s.memoryOnlyBytes += size
		*p |= memoryOnly
	}
}

// WriteResult adds the result of a task to the batch, and stores it. It does not retain the slice.
func (s *Store) WriteResult(id uint64, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInMemory(Result, id, body)
	if s.db != nil {
		s.write(key('r', Result, id), []byte{}, s.splitBody(Result, id, body))
		s.next.bodies = append(s.next.bodies, ref{id, Result})
	}
}

// Drop removes both bodies of a task. result reports whether its result was written; recorded lists
// the keys of its records.
func (s *Store) Drop(id uint64, result bool, recorded ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind := range kinds {
		for n := range s.large[ref{id, kind}] {
			s.write(pieceKey(kind, id, n), nil, nil)
		}
		delete(s.large, ref{id, kind})
		if p := s.places[kind].find(id); p != nil {
			if *p&spilled != 0 {
				s.write(key('s', kind, id), nil, nil)
			}
			s.dropFromMemory(p)
			*p = 0
		}
	}
	s.arena.compact(&s.places)
	for _, k := range recorded {
		s.write(k, nil, nil)
	}
	if result {
		s.write(key('r', Result, id), nil, nil)
	}
}

// Commit ends the batch and returns its number, or 0 if the batch has nothing to write.
func (s *Store) Commit() uint64 {
	s.mu.Lock()
	if s.committedOps == len(s.next.ops) {
		s.mu.Unlock()
		return 0
	}
	s.committedOps, s.committedBodies = len(s.next.ops), len(s.next.bodies)
	s.next.ends = append(s.next.ends, s.committedOps)
	s.lastBatch++
	n := s.lastBatch
	s.next.lastBatch = n
	s.mu.Unlock()
	signal(s.wake)
	return n
}

func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// pendingBatches returns the number of batches waiting to be written.
func (s *Store) pendingBatches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.next.ends)
}

// maxPatience limits the time for which a group waits for further batches.
const maxPatience = 300 * time.Microsecond

// Get appends a body to dst. It blocks on the disk if the body is not in memory. Errors wrap
// ErrNotFound or ErrDamaged.
func (s *Store) Get(dst []byte, kind Kind, id uint64) ([]byte, error) {
	s.mu.Lock()
	dst, ok := s.fromMemory(dst, kind, id)
	s.mu.Unlock()
	if ok {
		return dst, nil
	}
	// the lock is not needed: a body leaves memory only after it was written
	return s.fromDisk(dst, kind, id)
}

func (s *Store) fromMemory(dst []byte, kind Kind, id uint64) ([]byte, bool) {
	if p := s.places[kind].find(id); p != nil && p.loc() != 0 && s.arena.id(p.loc()) == id {
		return append(dst, s.arena.get(p.loc())...), true
	}
	return dst, false
}

func (s *Store) fromDisk(dst []byte, kind Kind, id uint64) ([]byte, error) {
	if s.db == nil {
		return dst, fmt.Errorf("body of task %x: %w", id, ErrNotFound)
	}
	letters := "ts"
	if kind == Result {
		letters = "rs"
	}
	err := s.db.View(func(txn *badger.Txn) error {
		for _, letter := range []byte(letters) {
			k := key(letter, kind, id)
			item, err := txn.Get(k)
			if errors.Is(err, badger.ErrKeyNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			return item.Value(func(v []byte) error {
				_, body, pieces, err := decode(k, v)
				dst = append(dst, body...)
				for n := 0; n < pieces && err == nil; n++ {
					dst, err = readPiece(txn, dst, kind, id, n)
				}
				return err
			})
		}
		return ErrNotFound
	})
	if err != nil {
		return dst, fmt.Errorf("body of task %x: %w", id, err)
	}
	return dst, nil
}

func readPiece(txn *badger.Txn, dst []byte, kind Kind, id uint64, n int) ([]byte, error) {
	k := pieceKey(kind, id, n)
	item, err := txn.Get(k)
	if err != nil {
		return dst, fmt.Errorf("piece %d: %w", n, errors.Join(ErrDamaged, err))
	}
	err = item.Value(func(v []byte) error {
		_, body, _, err := decode(k, v)
		dst = append(dst, body...)
		return err
	})
	return dst, err
}

// putInMemory stores a body in memory, in place of the old one.
func (s *Store) putInMemory(kind Kind, id uint64, body []byte) {
	p := s.places[kind].ensure(id)
	loc := s.arena.put(kind, id, body) // first, since body may be part of the old one
	s.dropFromMemory(p)
	p.set(loc)
}

// dropFromMemory removes a body from memory.
func (s *Store) dropFromMemory(p *place) {
	size := s.arena.drop(p.loc())
	if *p&memoryOnly != 0 {
		s.memoryOnlyBytes -= size
	}
	*p &= spilled
}

// maxCached limits the bytes in memory of bodies that are also on disk.
const maxCached = 32 << 20

// cacheIsFull reports whether bodies that are also on disk take too much memory.
func (s *Store) cacheIsFull() bool {
	return s.arena.used-s.memoryOnlyBytes > min(s.opt.Memory, maxCached)
}

// body is the written form of a body: the payload or, for a large one, the number of its pieces.
type body struct {
	b      []byte
	pieces int
}

// maxBehind is the number of bytes waiting to be written from which CheckRoom refuses.
const maxBehind = 16 << 20

const pieceSize = 256 << 10

// splitBody writes a large body in pieces before all batches of the group. Without the batch that
// refers to them, the pieces have no effect.
func (s *Store) splitBody(kind Kind, id uint64, b []byte) *body {
	if len(b) <= pieceSize {
		return &body{b: b}
	}
	n := 0
	for ; len(b) > 0 && s.db != nil; n++ {
		size := min(pieceSize, len(b))
		s.next.pieces = append(s.next.pieces, s.next.add(pieceKey(kind, id, n), []byte{}, &body{b: b[:size]}))
		b = b[size:]
	}
	s.large[ref{id, kind}] = n
	return &body{pieces: n}
}

// write adds an op to the batch. A nil record removes the key.
func (s *Store) write(k, record []byte, b *body) {
	if s.db != nil {
		s.next.ops = append(s.next.ops, s.next.add(k, record, b))
	}
}

func key(letter byte, kind Kind, id uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte{letter}, id)
	if letter == 's' {
		k = append(k, byte(kind))
	}
	return k
}

func pieceKey(kind Kind, id uint64, n int) []byte {
	return binary.BigEndian.AppendUint32(append(key('p', kind, id), byte(kind)), uint32(n))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode appends a value:
//
//	CRC32C of the key and the rest 4 | pieces | length of the record | record | body
func encode(dst, k, record []byte, b *body) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(b.pieces))
	dst = binary.AppendUvarint(dst, uint64(len(record)))
	dst = append(append(dst, record...), b.b...)
	binary.LittleEndian.PutUint32(dst[start:], checksum(k, dst[start+4:]))
	return dst
}

func checksum(k, v []byte) uint32 { return crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v) }

func decode(k, v []byte) (record, body []byte, pieces int, err error) {
	if len(v) < 6 || binary.LittleEndian.Uint32(v) != checksum(k, v[4:]) {
		return nil, nil, 0, fmt.Errorf("value of key %x: %w: the checksum does not match", k, ErrDamaged)
	}
	n, a := binary.Uvarint(v[4:])
	if a > 0 && n < 1<<20 {
		size, b := binary.Uvarint(v[4+a:])
		if rest := v[min(4+a+max(b, 0), len(v)):]; b > 0 && size <= uint64(len(rest)) {
			return rest[:size:size], rest[size:], int(n), nil
		}
	}
	return nil, nil, 0, fmt.Errorf("value of key %x: %w: the lengths do not match", k, ErrDamaged)
}

// Syncs returns the durations of group writes. Without a directory there are none.
func (s *Store) Syncs() tally.Durations {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return tally.Durations{}
	}
	return s.syncs
}

// Run writes committed batches until ctx ends, and then the rest. It returns nil, or the first
// write error; after an error nothing becomes durable.
func (s *Store) Run(ctx context.Context) error {
	if s.db == nil {
		<-ctx.Done()
		return nil
	}
	if s.opt.Replica != nil {
		return s.ended(s.replicate(ctx))
	}
	stop, applied := make(chan struct{}), make(chan struct{})
	var applyErr error
	go func() {
		defer close(applied)
		applyErr = s.runApply(stop)
	}()
	err := s.writeBatches(ctx, applied)
	close(stop)
	<-applied
	return s.ended(cmp.Or(err, applyErr))
}

// ended notes the error that ended Run.
func (s *Store) ended(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	return fmt.Errorf("bodies: %w", err)
}

// writeBatches makes batches durable until ctx ends or applied is closed.
func (s *Store) writeBatches(ctx context.Context, applied <-chan struct{}) error {
	patience := time.NewTimer(0)
	defer patience.Stop()
	// last is the number of batches in the last group, took its duration.
	last, took := 0, time.Duration(0)
	for {
		select {
		case <-s.wake:
		case <-applied:
			return nil
		case <-ctx.Done():
		}
		// The clients answered last soon return with new batches. A short wait lets these share one
		// sync.
		patience.Reset(min(took/2, maxPatience))
		for waiting := true; waiting && s.pendingBatches() < last; {
			select {
			case <-s.wake:
			case <-patience.C:
				waiting = false
			case <-ctx.Done():
				waiting = false
			}
		}
		for {
			begin := time.Now()
			g := s.takeGroup()
			if g == nil {
				break
			}
			last = len(g.ends)
			err := s.awaitRoom(ctx, g)
			if err == nil {
				err = s.persist(g)
			}
			if err != nil {
				return err
			}
			took = time.Since(begin)
			s.mu.Lock()
			s.syncs.Add(took)
			s.mu.Unlock()
			if ctx.Err() == nil {
				break
			}
		}
		if s.pendingBatches() > 0 {
			signal(s.wake)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}
