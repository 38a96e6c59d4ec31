// Package bodies keeps the payloads of tasks, and the Records of package queue, in one place: so both become durable in one transaction.
//
// A payload lies in memory, outside of the collected heap, at the cost of ten bytes more than its own and eight for its place. Those that
// Badger has too stay there while they take little, the oldest, which are the next in a queue. Those that need not survive a restart stay until the
// memory for payloads is used up; then the newest, which wait longest, go to Badger under a key that the next Open removes.
//
// Changes are put together as a batch, one for each Step of the queue, and Commit numbers it. One goroutine, Run, gathers the batches of
// all callers into one transaction and one sync, and reports the number of the last. Bodies over 256 KiB are written in pieces before
// the batch that they belong to, since a transaction must stay small.
//
// A shell carries the commands of a Step out like this, then calls Commit, and goes on with the others when that number is durable:
//
//	Write of a task      WriteTask with the event's payload, or WriteKept when From is OfInput
//	other Writes         Write
//	Keep, KeepResult     Keep; WriteResult for a durable result
//	Drop                 Drop
//
// Every value in Badger carries a CRC32C of itself and its key: Badger hands out flipped bytes in silence. Groups of batches are counted, in Badger and
// in the file head beside it, since Badger drops the damaged end of a log without a word; see state.Head.
package bodies

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/tally"
)

var (
	// ErrNotFound means that there is no such body.
	ErrNotFound = errors.New("no such body")
	// ErrDamaged means that what was read is not what was written.
	ErrDamaged = state.ErrDamaged
	// ErrFull means that a store without a directory has no memory left.
	ErrFull = errors.New("memory for payloads is used up")
)

// Kind says which body of a task is meant.
type Kind uint8

const (
	Input Kind = iota
	Result
	kinds
)

// Options are the knobs of a store. The zero value is a good default.
type Options struct {
	// Memory is how many bytes of payloads that need not survive a restart are kept in memory, about; zero means 32 MiB. Payloads that are on disk
	// take as much, but 32 MiB at most. Without a directory nothing can go elsewhere: then Memory is the limit for Room, and zero means 1 GiB.
	Memory int64
	// NoSync leaves it to the operating system when to write; see state.Options.
	NoSync bool
	// Reserve is how many bytes of the disk are kept free; see state.Options.
	Reserve int64
	// AcceptLoss makes Open go on, once, with what is left when the end of what was durable is missing.
	AcceptLoss bool
	// Committed is called by Run with the number of the last batch that is durable. It must not block for long, nor call the store.
	Committed func(n uint64)
	// Log takes what the operator should see; nil means silence.
	Log *slog.Logger
}

// Store is an open store. Its methods may be called from many goroutines, but a batch is built by one at a time.
type Store struct {
	opt  Options
	db   *state.DB // nil: memory only
	wake chan struct{}

	// writing is held while batches are on their way to disk: between two of them what is there is whole. It is taken before mu. It guards the fields below.
	writing sync.Mutex
	head    state.Head // counts groups
	synced  time.Time  // when the head was

	// mu guards the fields below.
	mu              sync.Mutex
	arena           arena
	memoryOnlyBytes int64 // bytes of bodies in the arena that are nowhere else
	places          [kinds]places
	next            group       // to be written
	committedOps    int         // ops of next that are committed
	committedBodies int         // bodies of next that are
	large           map[ref]int // pieces of bodies that have some
	lastBatch       uint64
	failed          error
	syncs           tally.Durations
}

// Open opens the store in dir, which is made when missing; an empty dir means memory only. Errors wrap those of state.Open, and ErrDamaged when the end
// of what was durable is missing.
// It starts a goroutine that Close ends; Run does the writing.
func Open(dir string, opt Options) (*Store, error) {
	if opt.Memory == 0 {
		opt.Memory = maxCached
		if dir == "" {
			opt.Memory = 1 << 30
		}
	}
	if opt.Committed == nil {
		opt.Committed = func(uint64) {}
	}
	s := &Store{opt: opt, large: map[ref]int{}, wake: make(chan struct{}, 1)}
	if dir == "" {
		return s, nil
	}
	db, err := state.Open(dir, "bodies", state.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w; restore a backup of the coordinator, or move the directory away and go on without its tasks", err)
		}
		return nil, fmt.Errorf("tasks %s: %w", dir, err)
	}
	s.db = db
	if err = s.openHead(dir); err == nil {
		err = s.removeSpilled()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tasks %s: %w", dir, err), s.head.Close(), db.Close())
	}
	return s, nil
}

// Close closes the store, after Run has ended. Bodies that are not durable are gone.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arena.free()
	s.failed = errors.New("bodies: closed")
	if s.db == nil {
		return nil
	}
	return errors.Join(s.head.Close(), s.db.Close())
}

// Room returns nil when n more bytes can be taken in, else an error that wraps ErrFull or state.ErrDiskFull. A shell asks before it accepts
// a task; what has been accepted is always kept.
func (s *Store) Room(n int64) error {
	s.mu.Lock()
	used, behind, failed := s.arena.used, int64(len(s.next.buf)), s.failed
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	if s.db != nil {
		if behind > maxBehind {
			return fmt.Errorf("bodies: %w: %s wait to be written; the disk is slower than what comes in", ErrFull, bytesize.Format(behind))
		}
		return s.db.CheckAhead(n)
	}
	if used+n > s.opt.Memory {
		return fmt.Errorf("bodies: %w: %s of %s; take work off the queues, or give the coordinator a directory", ErrFull, bytesize.Format(used), bytesize.Format(s.opt.Memory))
	}
	return nil
}

// Write adds a record to the batch; a nil value removes it. It keeps neither slice.
func (s *Store) Write(key, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(key, value, nil)
}

// WriteTask adds the record of a task and its input to the batch, and keeps the input. It keeps none of the slices.
func (s *Store) WriteTask(id uint64, key, record, input []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInMemory(Input, id, input)
	if s.db != nil {
		s.write(key, record, s.splitBody(Input, id, input))
		s.next.bodies = append(s.next.bodies, ref{id, Input})
	}
}

// WriteKept is WriteTask with the input that was kept before. It may block for the disk. Errors are those of Get.
func (s *Store) WriteKept(id uint64, key, record []byte) error {
	input, err := s.Get(nil, Input, id)
	if err == nil {
		s.WriteTask(id, key, record, input)
	}
	return err
}

// Keep keeps a body that need not survive a restart. It does not keep the slice.
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

// WriteResult adds the result of a task to the batch, and keeps it.
func (s *Store) WriteResult(id uint64, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInMemory(Result, id, body)
	if s.db != nil {
		s.write(key('r', Result, id), []byte{}, s.splitBody(Result, id, body))
		s.next.bodies = append(s.next.bodies, ref{id, Result})
	}
}

// Drop lets go of both bodies of a task. recorded are the keys of its records; result says that its result was written.
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

// Commit ends the batch and returns its number, or 0 when there was nothing in it to be written.
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
	s.signal()
	return n
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pendingBatches is how many batches wait to be written.
func (s *Store) pendingBatches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.next.ends)
}

// maxPatience is how long a group waits for batches that may come.
const maxPatience = 300 * time.Microsecond

// Get appends a body to dst. It blocks for the disk when the body is not in memory. Errors wrap ErrNotFound or ErrDamaged.
func (s *Store) Get(dst []byte, kind Kind, id uint64) ([]byte, error) {
	s.mu.Lock()
	dst, ok := s.fromMemory(dst, kind, id)
	s.mu.Unlock()
	if ok {
		return dst, nil
	}
	return s.fromDisk(dst, kind, id) // without the lock: a body leaves memory only after it has been written
}

func (s *Store) fromMemory(dst []byte, kind Kind, id uint64) ([]byte, bool) {
	if p := s.places[kind].find(id); p != nil && p.loc() != 0 && s.arena.id(p.loc()) == id {
		return append(dst, s.arena.get(p.loc())...), true
	}
	return dst, false
}

func (s *Store) fromDisk(dst []byte, kind Kind, id uint64) ([]byte, error) {
	if s.db == nil {
		return dst, fmt.Errorf("body of task %d: %w", id, ErrNotFound)
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
		return dst, fmt.Errorf("body of task %d: %w", id, err)
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

// putInMemory puts a body into memory, in place of the one that was there.
func (s *Store) putInMemory(kind Kind, id uint64, body []byte) {
	p := s.places[kind].ensure(id)
	loc := s.arena.put(kind, id, body) // before the old one goes, which it may be made of
	s.dropFromMemory(p)
	p.set(loc)
}

// dropFromMemory lets go of what is in memory of a body.
func (s *Store) dropFromMemory(p *place) {
	size := s.arena.drop(p.loc())
	if *p&memoryOnly != 0 {
		s.memoryOnlyBytes -= size
	}
	*p &= spilled
}

// maxCached is how many bytes of bodies that are on disk are kept in memory too.
const maxCached = 32 << 20

// cacheIsFull says whether bodies that are on disk take too much memory.
func (s *Store) cacheIsFull() bool {
	return s.arena.used-s.memoryOnlyBytes > min(s.opt.Memory, maxCached)
}

// body is how a body is written: itself, or the number of its pieces.
type body struct {
	b      []byte
	pieces int
}

// maxBehind is how many bytes may wait to be written before Room refuses.
const maxBehind = 16 << 20

const pieceSize = 256 << 10

// splitBody writes a large body in pieces, which go before all batches of the group: without the batch that names them they count for nothing.
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

// encode appends a value: CRC32C of the key and what follows 4 | pieces | length of the record | record | body.
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

// Syncs returns how long it took to make groups of batches durable; nothing without a directory.
func (s *Store) Syncs() tally.Durations {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return tally.Durations{}
	}
	return s.syncs
}

// Run writes what is committed until ctx ends, and then what is left. It returns nil, or the first error of writing; after that
// nothing is durable any more.
func (s *Store) Run(ctx context.Context) error {
	var spare group
	patience := time.NewTimer(0)
	defer patience.Stop()
	last, took := 0, time.Duration(0) // batches of the last group, and how long it took
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
		// Callers that were just answered come back with their next batches: they share one sync if it waits for them a little.
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
			g := s.takeGroup(&spare)
			if len(g.ends) == 0 {
				break
			}
			last = len(g.ends)
			if err := s.writeGroup(g); err != nil {
				s.mu.Lock()
				s.failed = err
				s.mu.Unlock()
				return fmt.Errorf("bodies: %w", err)
			}
			s.releaseWritten(g)
			took = time.Since(begin)
			s.mu.Lock()
			s.syncs.Add(took)
			s.mu.Unlock()
			if ctx.Err() == nil {
				break
			}
		}
		if s.pendingBatches() > 0 {
			s.signal()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}
