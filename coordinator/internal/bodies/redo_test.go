package bodies

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// records opens the store in dir and returns the sizes of its inputs by record.
func records(dir string) (map[string]int, error) {
	s, err := Open(dir, Options{NoSync: true, Reserve: -1})
	if err != nil {
		return nil, err
	}
	got := map[string]int{}
	err = s.Restore(func(k, v []byte) error {
		got[string(k)] = 0
		return nil
	})
	for k := range got {
		id := uint64(k[8]) | uint64(k[7])<<8
		b, e := s.Get(nil, Input, id)
		got[k], err = len(b), errors.Join(err, e)
	}
	return got, errors.Join(err, s.Close())
}

// TestBadgerIsBehind gives the log of a store an earlier state of Badger, as a power cut leaves
// one. The tasks equal the log, or the difference is found.
func TestBadgerIsBehind(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 0))
	dir := t.TempDir()
	s, wait, stop := open(t, dir, Options{NoSync: true})
	want := map[string]int{}
	var earlier []string // states of Badger
	whole, next := 0, uint64(1)
	rounds := 300
	if testing.Short() {
		rounds = 100
	}
	for round := range rounds {
		switch kind := rng.IntN(20); {
		case kind < 12:
			want[string(taskKey(next))] = rng.IntN(70 << 10)
			s.WriteTask(next, taskKey(next), []byte("record"), make([]byte, want[string(taskKey(next))]))
			next++
		case kind < 13 && round < 100: // too large for the log
			want[string(taskKey(next))] = 2*pieceSize + 1
			s.WriteTask(next, taskKey(next), []byte("record"), make([]byte, 2*pieceSize+1))
			next++
		default:
			if keys := slices.Sorted(maps.Keys(want)); len(keys) > 0 {
				k := keys[rng.IntN(len(keys))]
				delete(want, k)
				s.Drop(uint64(k[8])|uint64(k[7])<<8, false, []byte(k))
			}
		}
		wait(s.Commit())
		if round%40 == 39 || round == rounds-1 {
			earlier = append(earlier, filepath.Join(t.TempDir(), "bodies"))
			s.writing.Lock()
			err := os.CopyFS(earlier[len(earlier)-1], os.DirFS(filepath.Join(dir, "bodies")))
			s.writing.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	stop()
	for i, state := range earlier {
		dir := t.TempDir()
		err := errors.Join(os.CopyFS(dir, os.DirFS(left)), os.RemoveAll(filepath.Join(dir, "bodies")), os.CopyFS(filepath.Join(dir, "bodies"), os.DirFS(state)))
		if err != nil {
			t.Fatal(err)
		}
		for again := range 2 { // the second time after an orderly end
			got, err := records(dir)
			switch {
			case err == nil && maps.Equal(got, want):
				whole++
			case err == nil || again > 0 || i == len(earlier)-1 || !errors.Is(err, ErrDamaged):
				t.Fatalf("state %d, time %d: %d records, %v, want %d", i, again, len(got), err, len(want))
			}
			if err != nil {
				break
			}
		}
	}
	t.Logf("%d of %d states were completed", whole/2, len(earlier))
}

// No flipped byte of the log costs a task without a word, if Badger has none of them.
func TestEveryFlippedByteOfTheLogIsFound(t *testing.T) {
	t.Parallel()
	const n = 3
	running, whole := t.TempDir(), t.TempDir()
	empty, err := Open(running, Options{NoSync: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(empty.Close(), os.CopyFS(whole, os.DirFS(running))); err != nil {
		t.Fatal(err)
	}
	s, wait, stop := open(t, running, Options{NoSync: true})
	for id := uint64(1); id <= n; id++ {
		s.WriteTask(id, taskKey(id), []byte("record"), []byte("body of this task"))
		wait(s.Commit())
	}
	used := int(s.redo.at)
	log, err := os.ReadFile(filepath.Join(running, "redo-0"))
	head, headErr := os.ReadFile(filepath.Join(running, "head"))
	if err := errors.Join(err, headErr, os.WriteFile(filepath.Join(whole, "head"), head, 0o600)); err != nil {
		t.Fatal(err)
	}
	stop()
	skip := 0
	if testing.Short() {
		skip = 40
	}
	for at := 0; at < used; at += 1 + at%23 + skip {
		dir := t.TempDir()
		flipped := slices.Clone(log)
		flipped[at] ^= 1 << (at % 8)
		if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.WriteFile(filepath.Join(dir, "redo-0"), flipped, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got, err := held(dir, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d of %d: %d tasks, %v", at, used, got, err)
		}
		if at%4 > 0 {
			continue
		}
		if got, err := held(dir, Options{AcceptLoss: true}); err != nil || got >= n {
			t.Errorf("byte %d, with AcceptLoss: %d tasks, %v", at, got, err)
		}
		if _, err := held(dir, Options{}); err != nil {
			t.Errorf("byte %d, after AcceptLoss: %v", at, err)
		}
	}
	dir := t.TempDir()
	if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.WriteFile(filepath.Join(dir, "redo-0"), log, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := held(dir, Options{}); err != nil || got != n {
		t.Error(fmt.Sprintf("the whole log: %d tasks,", got), err)
	}
}
