package bodies

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
)

// open opens a store and runs it. The returned function ends it; wait returns when batch n is
// durable.
func open(t testing.TB, dir string, opt Options) (s *Store, wait func(n uint64), stop func()) {
	t.Helper()
	if opt.Reserve == 0 {
		opt.Reserve = -1
	}
	var done atomic.Uint64
	step := make(chan struct{}, 1)
	opt.Committed = func(n uint64) {
		done.Store(n)
		select {
		case step <- struct{}{}:
		default:
		}
	}
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	wait = func(n uint64) {
		for done.Load() < n {
			<-step
		}
	}
	return s, wait, stop
}

func taskKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'t'}, id) }

// TestAgainstMap plays random changes against maps, with restarts, bodies of all sizes, and little
// memory.
func TestAgainstMap(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			dir := t.TempDir()
			opt := Options{Memory: 64 << 10, NoSync: true}
			type task struct {
				durable       bool
				input, result []byte
			}
			tasks := map[uint64]*task{}
			records := map[string]string{}
			random := func() []byte {
				n := rng.IntN(200)
				switch rng.IntN(40) {
				case 0:
					n = rng.IntN(3 * pieceSize)
				case 1:
					n = rng.IntN(2 * ownChunk)
				}
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				return b
			}
			next := uint64(1)
			s, wait, stop := open(t, dir, opt)
			for round := range 600 {
				ids := slices.Sorted(maps.Keys(tasks))
				var id uint64
				if len(ids) > 0 {
					id = ids[rng.IntN(len(ids))]
				}
				switch k := rng.IntN(20); {
				case k < 9:
					slot := uint64(1)
					for slices.ContainsFunc(ids, func(id uint64) bool { return id&(1<<slotBits-1) == slot }) {
						slot += uint64(1 + rng.IntN(100))
					}
					id = next<<slotBits | slot
					next++
					x := &task{durable: rng.IntN(2) == 0, input: random()}
					tasks[id] = x
					if !x.durable {
						s.Keep(Input, id, x.input)
						break
					}
					records[string(taskKey(id))] = "submitted"
					s.WriteTask(id, taskKey(id), []byte("submitted"), x.input)
				case k < 11 && id != 0 && tasks[id].result == nil:
					x := tasks[id]
					if x.result = random(); x.durable {
						s.WriteResult(id, x.result)
					} else {
						s.Keep(Result, id, x.result)
					}
				case k < 12 && id != 0 && !tasks[id].durable:
					tasks[id].durable = true
					records[string(taskKey(id))] = "later"
					if err := s.WriteKept(id, taskKey(id), []byte("later")); err != nil {
						t.Fatal(err)
					}
					if tasks[id].result != nil {
						s.WriteResult(id, tasks[id].result)
					}
				case k < 16 && id != 0:
					x := tasks[id]
					delete(tasks, id)
					delete(records, string(taskKey(id)))
					if x.durable {
						s.Drop(id, x.result != nil, taskKey(id))
					} else {
						s.Drop(id, false)
					}
				case k < 17:
					key := []byte{'f', byte('a' + rng.IntN(5))}
					records[string(key)] = fmt.Sprint(round)
					s.Write(key, []byte(fmt.Sprint(round)))
				}
				n := s.Commit()
				if rng.IntN(10) == 0 {
					wait(n)
				}
				for range 3 {
					if len(ids) == 0 {
						break
					}
					id := ids[rng.IntN(len(ids))]
					x := tasks[id]
					if x == nil {
						continue
					}
					if b, err := s.Get([]byte("x"), Input, id); err != nil || !bytes.Equal(b[1:], x.input) {
						t.Fatalf("round %d: input of %d (durable %v): %d bytes, %v, want %d", round, id, x.durable, len(b)-1, err, len(x.input))
					}
					b, err := s.Get(nil, Result, id)
					if x.result == nil && !errors.Is(err, ErrNotFound) || x.result != nil && (err != nil || !bytes.Equal(b, x.result)) {
						t.Fatalf("round %d: result of %d: %d bytes, %v, want %d", round, id, len(b), err, len(x.result))
					}
				}
				if rng.IntN(150) > 0 {
					continue
				}
				stop()
				s, wait, stop = open(t, dir, opt)
				got := map[string]string{}
				if err := s.Restore(func(k, v []byte) error {
					got[string(k)] = string(v)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(got, records) {
					t.Fatalf("round %d: %d records after a restart, want %d: %q, want %q", round, len(got), len(records), got, records)
				}
				maps.DeleteFunc(tasks, func(_ uint64, x *task) bool { return !x.durable })
			}
			for id, x := range tasks {
				s.Drop(id, x.durable && x.result != nil, taskKey(id))
			}
			wait(s.Commit())
			if s.memoryOnlyBytes != 0 || s.arena.used != 0 {
				t.Errorf("without tasks %d bytes are in memory, %d of them nowhere else", s.arena.used, s.memoryOnlyBytes)
			}
			stop()
		})
	}
}

// TestMemoryOnly keeps bodies without a directory, and gives their memory back.
func TestMemoryOnly(t *testing.T) {
	s, _, stop := open(t, "", Options{Memory: 4 << 20})
	defer stop()
	for round := range 5 {
		for i := range uint64(10_000) {
			s.Keep(Input, i+1, bytes.Repeat([]byte{byte(i)}, 300))
		}
		if n := s.Commit(); n != 0 {
			t.Errorf("batch %d is to be written nowhere", n)
		}
		for i := range uint64(10_000) {
			if i%100 > 0 || round%2 == 0 {
				s.Drop(i+1, false)
			}
		}
		if s.arena.reserved > 2*s.arena.used+12<<20 {
			t.Errorf("%d bytes held for %d", s.arena.reserved, s.arena.used)
		}
		for i := uint64(0); i < 10_000 && round%2 == 1; i += 100 {
			if b, err := s.Get(nil, Input, i+1); err != nil || len(b) != 300 || b[299] != byte(i) {
				t.Fatalf("body %d: %d bytes, %v", i+1, len(b), err)
			}
			s.Drop(i+1, false)
		}
	}
	if err := s.CheckRoom(5 << 20); !errors.Is(err, ErrFull) {
		t.Errorf("Room = %v, want ErrFull", err)
	}
	if err := s.CheckRoom(1 << 20); err != nil || s.arena.used != 0 {
		t.Errorf("Room = %v, %d bytes used", err, s.arena.used)
	}
}

// TestMemory keeps bodies that need not survive in memory as long as there is any, and others as
// long as they take little.
func TestMemory(t *testing.T) {
	const n, size = 1000, 60 << 10
	s, wait, stop := open(t, t.TempDir(), Options{Memory: n * 61 << 10, NoSync: true})
	defer stop()
	b := make([]byte, size)
	for i := range uint64(n) {
		s.Keep(Input, 2*i+1, b)
		s.WriteTask(2*i+2, taskKey(2*i+2), []byte("record"), b)
		if i%10 == 0 {
			wait(s.Commit())
		}
	}
	wait(s.Commit())
	if s.memoryOnlyBytes < n*size || s.arena.used-s.memoryOnlyBytes > maxCached || s.arena.used-s.memoryOnlyBytes < maxCached-11*size {
		t.Errorf("%d bytes in memory, %d of them nowhere else", s.arena.used, s.memoryOnlyBytes)
	}
	for i := range uint64(n) {
		s.Keep(Result, 2*i+1, b)
	}
	wait(s.Commit())
	if s.memoryOnlyBytes > s.opt.Memory || s.memoryOnlyBytes < s.opt.Memory-2*size || s.arena.used-s.memoryOnlyBytes > maxCached {
		t.Errorf("with results, %d bytes in memory, %d of them nowhere else", s.arena.used, s.memoryOnlyBytes)
	}
	for i := range uint64(2 * n) {
		if got, err := s.Get(nil, Input, i+1); err != nil || len(got) != size {
			t.Fatalf("input of %d: %d bytes, %v", i+1, len(got), err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("t1234567"), encode(nil, []byte("t1234567"), []byte("record"), &body{b: []byte("body")}))
	f.Add([]byte("k"), encode(nil, []byte("k"), nil, &body{pieces: 3}))
	f.Add([]byte("k"), []byte{})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		record, b, pieces, err := decode(k, v)
		if err != nil {
			v = append(encode(nil, k, nil, &body{})[:4], v...) // what a checksum cannot tell
			binary.LittleEndian.PutUint32(v, checksum(k, v[4:]))
			record, b, pieces, err = decode(k, v)
		}
		if err == nil && pieces == 0 {
			again, b2, _, err := decode(k, encode(nil, k, record, &body{b: b}))
			if err != nil || !bytes.Equal(again, record) || !bytes.Equal(b2, b) {
				t.Errorf("%q %q: %v", record, b, err)
			}
		}
	})
}

// TestPiecesLeftBehind writes a large body whose pieces an earlier life had written without the
// batch that names them. Their removal must not hit the new ones, although both are in one
// transaction.
func TestPiecesLeftBehind(t *testing.T) {
	dir := t.TempDir()
	large := bytes.Repeat([]byte("large"), pieceSize)
	s, wait, stop := open(t, dir, Options{NoSync: true})
	s.Write([]byte("g"), []byte("another batch"))
	s.Commit()
	s.WriteTask(1, taskKey(1), []byte("record"), large) // its pieces may go with the group before; its batch does not
	s.mu.Lock()
	s.next.ops, s.next.bodies = s.next.ops[:s.committedOps], s.next.bodies[:s.committedBodies] // killed here
	s.mu.Unlock()
	s.Write([]byte("g"), []byte("and another"))
	wait(s.Commit())
	stop()

	s, wait, stop = open(t, dir, Options{NoSync: true, Memory: 1})
	if err := s.Restore(func(_, _ []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.WriteTask(1, taskKey(1), []byte("record"), large)
	wait(s.Commit())
	stop()

	s, _, stop = open(t, dir, Options{NoSync: true, Memory: 1})
	defer stop()
	if b, err := s.Get(nil, Input, 1); err != nil || !bytes.Equal(b, large) {
		t.Errorf("%d of %d bytes, %v", len(b), len(large), err)
	}
}
