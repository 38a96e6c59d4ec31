package shuffle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/state"
)

// keys returns the number of keys of a job, or of all jobs.
func keys(t *testing.T, s *Store, id job.ID) (n int) {
	t.Helper()
	var prefix []byte
	if id != "" {
		prefix = jobPrefix(id)
	}
	err := s.table.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDamagedSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	a := attempt("j", 0, 1)
	w := create(t, s, a)
	data := block(newRand(), 300<<10, true)
	for part := range 3 {
		for range 3 {
			if err := w.Append(0, 0, part, data, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := seal(t, w)
	f, err := os.OpenFile(segments(t, dir)[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0xff, 0xff}, m.Extents[1].Offset+m.Extents[1].Bytes/2); err != nil {
		t.Fatal(err)
	}
	for part := range 3 {
		got, err := read(s.Runs(m, 0, part)[0])
		if part == 1 {
			wantLost(t, err, a)
			if !strings.Contains(err.Error(), "offset") {
				t.Errorf("error %v does not name the offset", err)
			}
		} else if err != nil || len(got) != 3 {
			t.Errorf("partition %d beside the damage: %d blocks, %v", part, len(got), err)
		}
	}
}

// set replaces a value without the store.
func set(t *testing.T, s *Store, key []byte, change func(v []byte)) {
	t.Helper()
	v, err := s.table.get(key)
	if err != nil {
		t.Fatal(err)
	}
	change(v)
	if err := s.table.db.Update(func(txn *badger.Txn) error { return txn.Set(key, v) }); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedState(t *testing.T) {
	flip := func(v []byte) { v[len(v)/2] ^= 4 }
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for i := range 3 {
		w := create(t, s, attempt("j", i, 1))
		fill(t, w, uint64(i), 1000)
		seal(t, w)
	}
	m, err := s.Manifest(attempt("j", 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, inlineKey(attempt("j", 0, 1), 0), flip)
	_, err = read(s.All(m, 0)[0])
	wantLost(t, err, attempt("j", 0, 1))
	other, err := s.table.get(inlineKey(attempt("j", 2, 1), 0))
	if err != nil {
		t.Fatal(err)
	}
	err = s.table.db.Update(func(txn *badger.Txn) error { return txn.Set(inlineKey(attempt("j", 0, 1), 0), other) })
	if err != nil { // a sound value under a wrong key
		t.Fatal(err)
	}
	_, err = read(s.All(m, 0)[0])
	wantLost(t, err, attempt("j", 0, 1))

	set(t, s, manifestKey(attempt("j", 1, 1)), flip)
	if _, err := s.Manifest(attempt("j", 1, 1)); !errors.Is(err, ErrGone) {
		t.Errorf("damaged manifest: %v, want ErrGone", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if got := s.SealedAttempts("j"); len(got) != 2 {
		t.Errorf("SealedAttempts after reopening = %v, want two", got)
	}
}

// After damage to Badger's own files the store must work, and never return a wrong result.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	a := attempt("j", 0, 1)
	w := create(t, s, a)
	fill(t, w, 1, 10000, 200<<10)
	seal(t, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "state", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables after Close (%v)", err)
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 1
	if err := os.WriteFile(tables[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if got := s.SealedAttempts("j"); len(got) != 0 {
		t.Errorf("SealedAttempts with a damaged table = %v, want nothing", got)
	}
	if got := segments(t, dir); len(got) != 0 {
		t.Errorf("segments with a damaged table: %v, want none", got)
	}
	w = create(t, s, a)
	want := fill(t, w, 1, 10000)
	seal(t, w)
	check(t, s, a, want)
}

func TestDiskFull(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	s := open(t, t.TempDir(), Options{Reserve: 100 << 20, free: func(string) (int64, error) { return free.Load(), nil }})
	ballast := filepath.Join(s.dir, "ballast")
	a := attempt("j", 0, 1)
	w := create(t, s, a)
	want := fill(t, w, 1, 1000, 500<<10)
	seal(t, w)
	small, bulk := create(t, s, attempt("j", 1, 1)), create(t, s, attempt("j", 2, 1))
	fill(t, small, 1, 1000)
	free.Store(90 << 20)
	_, err := small.Seal(t.Context(), nil, nil)
	for what, err := range map[string]error{
		"Create": func() error { _, err := s.Create(attempt("j", 3, 1)); return err }(),
		"Append": func() (err error) {
			for i := 0; i < 100 && err == nil; i++ {
				err = bulk.Append(0, 0, 0, block(newRand(), 64<<10, true), 1, nil)
			}
			return err
		}(),
		"Seal":       err,
		"CheckSpace": s.CheckSpace(1),
	} {
		if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), s.dir) || !strings.Contains(err.Error(), "90.0 MiB") {
			t.Errorf("%s on a full disk: %v, want ErrDiskFull with path and space", what, err)
		}
	}
	bulk.Discard()
	check(t, s, a, want) // committed outputs stay readable
	if _, err := os.Stat(ballast); err != nil {
		t.Errorf("ballast is gone already: %v", err)
	}
	free.Store(10 << 20)
	if err := s.CheckSpace(1); !errors.Is(err, ErrDiskFull) {
		t.Errorf("CheckSpace: %v", err)
	}
	// dropping must work on a full disk
	if err := errors.Join(s.Drop(a), s.DropJob("j")); err != nil {
		t.Error(err)
	}
	free.Store(1 << 40)
	w = create(t, s, a)
	want = fill(t, w, 1, 1000)
	seal(t, w)
	check(t, s, a, want)
}

// After kill -9, and with truncated or missing Badger files, the store must work: with all of its
// content, or empty.
func TestKilledOrDamagedState(t *testing.T) {
	whole := t.TempDir()
	s := open(t, whole, Options{})
	a := attempt("j", 0, 1)
	w := create(t, s, a)
	want := fill(t, w, 1, 10000, 200<<10)
	seal(t, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(whole, "state", "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("tables %q, %v", tables, err)
	}
	table := filepath.Base(tables[0])
	for name, c := range map[string]struct {
		harm func(state string) error
		kept bool
	}{
		"log begun":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, "00099.mem"), nil, 0o600) }, true},
		"value log begun": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "000099.vlog"), nil, 0o600) }, true},
		"table cut":       {func(dir string) error { return os.Truncate(filepath.Join(dir, table), 50) }, false},
		"table empty":     {func(dir string) error { return os.Truncate(filepath.Join(dir, table), 0) }, false},
		"table gone":      {func(dir string) error { return os.Remove(filepath.Join(dir, table)) }, false},
		"manifest gone":   {func(dir string) error { return os.Remove(filepath.Join(dir, "MANIFEST")) }, false},
		"manifest cut":    {func(dir string) error { return os.Truncate(filepath.Join(dir, "MANIFEST"), 5) }, false},
		"all gone":        {func(dir string) error { return os.RemoveAll(dir) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, Options{})
			if held := s.SealedAttempts("j"); c.kept != (len(held) == 1) {
				t.Fatalf("SealedAttempts = %v", held)
			}
			if !c.kept {
				if got := segments(t, dir); len(got) > 0 {
					t.Errorf("segments are left: %v", got)
				}
				w := create(t, s, a)
				fill(t, w, 1, 10000, 200<<10)
				seal(t, w)
			}
			check(t, s, a, want)
		})
	}
}

// Open refuses the store of a newer release, and leaves it unchanged.
func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	w := create(t, s, attempt("j", 0, 1))
	want := fill(t, w, 1, 10000)
	seal(t, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, state.FormatName)
	if err := os.WriteFile(path, []byte("layshaft blocks 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	words := fmt.Sprintf("block store %s: unknown format %q; this release reads %q; use the newer release that wrote it, or another directory", dir, "layshaft blocks 2", "layshaft blocks 1")
	if !errors.Is(err, state.ErrFormat) || err.Error() != words {
		t.Errorf("%v, want %s", err, words)
	}
	if err := os.WriteFile(path, []byte("layshaft blocks 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, open(t, dir, Options{}), attempt("j", 0, 1), want)
}
