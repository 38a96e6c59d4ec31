package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/state"
)

// pair is one key and value in Badger.
type pair struct{ key, value []byte }

// stored writes a journal of six frames and closes it. The third frame has four events; the fourth
// and fifth are one call. stored returns the directory and the content of Badger.
func stored(t testing.TB) (dir string, frames []pair) {
	t.Helper()
	dir = t.TempDir()
	j := open(t, dir, quick)
	appendEvents(t, j, "first")
	appendEvents(t, j, "second")
	appendEvents(t, j, "third", "", "fifth", "sixth")
	appendEvents(t, j, strings.Repeat("7", frameLimit))
	appendEvents(t, j, "eighth")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	inBadger(t, dir, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			frames = append(frames, pair{it.Item().KeyCopy(nil), value})
		}
		return nil
	})
	if len(frames) != 6 {
		t.Fatalf("%d frames, want 6", len(frames))
	}
	return dir, frames
}

// inBadger changes the Badger database of a closed journal.
func inBadger(t testing.TB, dir string, fn func(txn *badger.Txn) error) {
	t.Helper()
	db, err := state.Open(dir, "badger", format, state.Options{NoSync: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantDamage(t testing.TB, err error, dir string, seq uint64) {
	t.Helper()
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("err = %v, want damage at event %d", err, seq)
	}
	if damage.Seq != seq {
		t.Errorf("%v: want event %d", err, seq)
	}
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "restore a copy") {
		t.Errorf("%v: names no directory or no way out", err)
	}
}

// Replay detects a flip of any byte of any value in an open journal.
func TestEveryFlippedByteIsFound(t *testing.T) {
	t.Parallel()
	dir, frames := stored(t)
	j := open(t, dir, quick)
	flips := 0
	for i, p := range frames {
		for at := range p.value {
			if len(p.value) > 1000 && at > 40 && at%9973 != 0 {
				continue // test only some bytes inside the long event
			}
			value := slices.Clone(p.value)
			value[at] ^= 1 << (at % 8)
			set(t, j, p.key, value)
			var damage *DamageError
			if err := j.Replay(func(uint64, []byte) error { return nil }); !errors.As(err, &damage) {
				t.Fatalf("frame %d, byte %d: %v", i, at, err)
			}
			flips++
		}
		set(t, j, p.key, p.value)
	}
	wantEvents(t, replay(t, j, 1), "first", "second", "third", "", "fifth", "sixth", strings.Repeat("7", frameLimit), "eighth")
	t.Logf("%d flips", flips)
}

func set(t testing.TB, j *Journal, key, value []byte) {
	t.Helper()
	err := j.db.Update(func(txn *badger.Txn) error { return txn.Set(slices.Clone(key), value) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsFoundByOpen(t *testing.T) {
	t.Parallel()
	remove := func(keys ...int) func(*badger.Txn, []pair) error {
		return func(txn *badger.Txn, frames []pair) error {
			for _, i := range keys {
				if err := txn.Delete(frames[i].key); err != nil {
					return err
				}
			}
			return nil
		}
	}
	tests := []struct {
		name string
		harm func(*badger.Txn, []pair) error
		seq  uint64
		kept int // number of events left with AcceptLoss
	}{
		{"flipped", func(txn *badger.Txn, f []pair) error {
			value := slices.Clone(f[2].value)
			value[len(value)-1] ^= 4
			return txn.Set(f[2].key, value)
		}, 3, 2},
		{"shortened", func(txn *badger.Txn, f []pair) error { return txn.Set(f[1].key, f[1].value[:len(f[1].value)-1]) }, 2, 1},
		{"emptied", func(txn *badger.Txn, f []pair) error { return txn.Set(f[1].key, nil) }, 2, 1},
		{"swapped", func(txn *badger.Txn, f []pair) error { return txn.Set(f[1].key, f[0].value) }, 2, 1},
		{"first gone", remove(0), 1, 0},
		{"gap", remove(2), 3, 2},
		{"part gone", remove(4), 7, 6},
		{"tail gone", remove(5), 8, 7},
		{"tail of two calls gone", remove(3, 4, 5), 7, 6},
		{"all gone", remove(0, 1, 2, 3, 4, 5), 1, 0},
		{"last rewritten by another journal", func(txn *badger.Txn, frames []pair) error {
			var last, f frame
			if err := errors.Join(last.readKey(frames[5].key), last.readValue(frames[5].key, frames[5].value)); err != nil {
				return err
			}
			f.begin(last.gen, cursor{next: 8})
			f.add([]byte("eighth!"))
			f.seal(0, last.prev())
			if err := txn.Delete(frames[5].key); err != nil {
				return err
			}
			return txn.Set(f.key(), f.value())
		}, 8, 7},
	}
	want := []string{"first", "second", "third", "", "fifth", "sixth", strings.Repeat("7", frameLimit), "eighth"}
	whole, frames := stored(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && i%3 > 0 {
				t.Skip("every third damage is enough")
			}
			dir := copyDir(t, whole)
			inBadger(t, dir, func(txn *badger.Txn) error { return tt.harm(txn, frames) })
			_, err := Open(dir, quick) // a failed Open must not repair anything
			wantDamage(t, err, dir, tt.seq)
			j := open(t, dir, Options{AcceptLoss: true, NoSync: true, Reserve: -1})
			wantEvents(t, replay(t, j, 1), want[:tt.kept]...)
			appendEvents(t, j, "new")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, dir, quick)
			wantEvents(t, replay(t, j, 1), append(want[:tt.kept:tt.kept], "new")...)
		})
	}
}

// Open detects damage to the files beside Badger.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		harm   func(dir string) error
		accept bool // whether AcceptLoss helps
	}{
		{"head gone", func(dir string) error { return os.Remove(filepath.Join(dir, "head")) }, true},
		{"head empty", func(dir string) error { return os.WriteFile(filepath.Join(dir, "head"), nil, 0o600) }, true},
		{"head of an older day", func(dir string) error {
			h := state.Head{}
			return h.Create(dir)
		}, true},
		{"snapshot gone", func(dir string) error { return os.Remove(filepath.Join(dir, "snapshot")) }, true},
		{"snapshot cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "snapshot"), 44) }, true},
		{"table flipped", func(dir string) error {
			tables, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
			if err != nil || len(tables) == 0 {
				return fmt.Errorf("no table: %w", err)
			}
			b, err := os.ReadFile(tables[0])
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 0x10
			return os.WriteFile(tables[0], b, 0o600)
		}, true},
		{"Badger gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "badger")) }, true},
	}
	whole, _ := stored(t)
	j := open(t, whole, quick)
	if err := j.Snapshot(8, []byte("state")); err != nil {
		t.Fatal(err)
	}
	appendEvents(t, j, "ninth")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyDir(t, whole)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			var damage *DamageError
			helped := quick
			helped.Help = "call the operator"
			if _, err := Open(dir, helped); !errors.As(err, &damage) && !errors.Is(err, state.ErrDamaged) || !strings.HasSuffix(err.Error(), "; call the operator") {
				t.Fatalf("err = %v", err)
			}
			j, err := Open(dir, Options{AcceptLoss: true, NoSync: true, Reserve: -1})
			if tt.accept != (err == nil) {
				t.Fatalf("accepted: %v", err)
			}
			if err == nil {
				defer j.Close()
				appendEvents(t, j, "new")
			}
		})
	}
	t.Run("every byte of head and snapshot", func(t *testing.T) {
		for _, name := range []string{"head", "snapshot"} {
			content, err := os.ReadFile(filepath.Join(whole, name))
			if err != nil {
				t.Fatal(err)
			}
			there := t.TempDir()
			for at := range content {
				b := slices.Clone(content)
				b[at] ^= 0x10
				if err := os.WriteFile(filepath.Join(there, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
				h, err := state.OpenHead(there)
				h.Close()
				if name == "snapshot" {
					_, _, err = readSnapshot(there)
				}
				if err == nil {
					t.Errorf("%s: flipped byte %d passes", name, at)
				}
			}
		}
	})
}

// Open works after a kill while Badger creates or removes a log. The kill leaves an empty log file,
// and Badger alone would fail to open.
func TestEmptyLogIsNoDamage(t *testing.T) {
	t.Parallel()
	dir, _ := stored(t)
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, "badger", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, dir, quick)
		if got := len(replay(t, j, 1)); got != 8 {
			t.Errorf("%s: %d events, want 8", name, got)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A flipped or lost byte in Badger's own files causes an error or no harm, but never a wrong
// replay.
func TestDamagedBadgerFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, quick)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("event %d", i))
		appendEvents(t, j, want[i])
	}
	killed := copyDir(t, dir) // all events are in Badger's log
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	closed := copyDir(t, dir) // all events are in a table
	logs, _ := filepath.Glob(filepath.Join(killed, "badger", "*.mem"))
	tables, _ := filepath.Glob(filepath.Join(closed, "badger", "*.sst"))
	if len(logs) != 1 || len(tables) != 1 {
		t.Fatalf("files: %q %q", logs, tables)
	}
	found := 0
	check := func(t *testing.T, from, path string, size int64, harm func(path string, at int64) error) {
		for i := range int64(4) {
			dir := copyDir(t, from)
			at := size*i/4 + 5
			if err := harm(strings.Replace(path, from, dir, 1), at); err != nil {
				t.Fatal(err)
			}
			j, err := Open(dir, quick)
			if err != nil {
				found++
				continue
			}
			wantEvents(t, replay(t, j, 1), want...)
			j.Close()
		}
	}
	flip := func(path string, at int64) error {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		var b [1]byte
		if _, err := file.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= 0x10
		_, err = file.WriteAt(b[:], at)
		return err
	}
	const logged = 20 * 90 // minimum number of used bytes of the log
	t.Run("flip in the log", func(t *testing.T) { check(t, killed, logs[0], logged, flip) })
	t.Run("cut the log", func(t *testing.T) { check(t, killed, logs[0], logged, os.Truncate) })
	info, err := os.Stat(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("flip in the table", func(t *testing.T) { check(t, closed, tables[0], info.Size(), flip) })
	t.Run("cut the table", func(t *testing.T) { check(t, closed, tables[0], info.Size(), os.Truncate) })
	t.Run("flip in the manifest", func(t *testing.T) {
		check(t, closed, filepath.Join(closed, "badger", "MANIFEST"), 20, flip)
	})
	t.Run("flip in the end of the table", func(t *testing.T) {
		check(t, closed, tables[0], 24, func(path string, at int64) error { return flip(path, info.Size()-30+at) })
	})
	t.Run("manifest gone", func(t *testing.T) {
		check(t, closed, filepath.Join(closed, "badger", "MANIFEST"), 20, func(path string, _ int64) error { return os.Remove(path) })
	})
	t.Logf("%d of 28 found, the others did no harm", found)
	if found < 14 {
		t.Errorf("only %d of 28 found", found)
	}
}

func FuzzFrame(f *testing.F) {
	var fr frame
	fr.begin(1, cursor{next: 5})
	fr.add([]byte("event"))
	fr.add(nil)
	fr.seal(0, hash{1})
	f.Add(fr.key(), fr.value())
	f.Add([]byte("f"), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var fr frame
		if fr.readKey(key) != nil || fr.readValue(key, value) != nil {
			return
		}
		n := 0
		_ = fr.events(func(uint64, []byte) error { n++; return nil })
		if n > len(value) {
			t.Errorf("%d events in %d bytes", n, len(value))
		}
	})
}

// Open refuses the journal of a newer release, and leaves it unchanged.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	dir, _ := stored(t)
	path := filepath.Join(dir, state.FormatName)
	if err := os.WriteFile(path, []byte("layshaft journal 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, acceptLoss := range []bool{false, true} {
		_, err := Open(dir, Options{NoSync: true, Reserve: -1, AcceptLoss: acceptLoss})
		want := fmt.Sprintf("journal %s: unknown format %q; this release reads %q; use the newer release that wrote it, or another directory", dir, "layshaft journal 2", "layshaft journal 1")
		if !errors.Is(err, state.ErrFormat) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := os.WriteFile(path, []byte("layshaft journal 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := len(replay(t, open(t, dir, quick), 1)); got != 8 {
		t.Errorf("%d events, want 8", got)
	}
}
