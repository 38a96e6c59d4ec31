package bodies

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/state"
)

// stored returns the directory of a store with n durable tasks as a killed process leaves it: all
// is in Badger's log, and no longer in the log of the store.
func stored(t *testing.T, n uint64) string {
	t.Helper()
	running, dir := t.TempDir(), t.TempDir()
	s, wait, stop := open(t, running, Options{NoSync: true, Reserve: -1})
	defer stop()
	for id := uint64(1); id <= n; id++ {
		s.WriteTask(id, taskKey(id), []byte("record"), []byte("body of this task"))
		wait(s.Commit())
	}
	s.writing.Lock()
	err := errors.Join(s.applyLogged(), s.redo.restart(n+1))
	s.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(running)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// logOf returns the path and content of Badger's log, without the space behind it.
func logOf(t *testing.T, dir string) (path string, b []byte) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "bodies", "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %q, %v", logs, err)
	}
	if b, err = os.ReadFile(logs[0]); err != nil {
		t.Fatal(err)
	}
	return logs[0], []byte(strings.TrimRight(string(b), "\x00"))
}

// held opens the store in dir and returns how many records it has.
func held(dir string, opt Options) (n uint64, err error) {
	opt.NoSync, opt.Reserve = true, -1
	s, err := Open(dir, opt)
	if err != nil {
		return 0, err
	}
	err = s.Restore(func([]byte, []byte) error { n++; return nil })
	return n, errors.Join(err, s.Close())
}

// No flipped byte of Badger's log costs a task without a word: Badger itself drops what is damaged,
// and all behind it.
func TestEveryFlippedByteIsFound(t *testing.T) {
	t.Parallel()
	const n = 3
	whole := stored(t, n)
	if got, err := held(whole, Options{}); err != nil || got != n {
		t.Fatalf("%d tasks, %v", got, err)
	}
	whole = stored(t, n)
	path, log := logOf(t, whole)
	found := 0
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil { // most of it is empty space
		t.Fatal(err)
	}
	skip := 0
	if testing.Short() {
		skip = 60
	}
	for at := 0; at < len(log); at += 1 + at%17 + skip { // opening Badger takes long
		dir := t.TempDir()
		flipped := slices.Clone(log)
		flipped[at] ^= 1 << (at % 8)
		file := filepath.Join(dir, "bodies", filepath.Base(path))
		if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.WriteFile(file, flipped, 0o600), os.Truncate(file, info.Size())); err != nil {
			t.Fatal(err)
		}
		got, err := held(dir, Options{})
		switch {
		case err == nil && got != n:
			t.Errorf("byte %d of %d: %d tasks, want %d or an error", at, len(log), got, n)
		case err != nil:
			found++
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "restore a backup") {
				t.Errorf("byte %d: %v: want ErrDamaged, the directory and a way out", at, err)
			}
			if got, err := held(dir, Options{AcceptLoss: true}); at > 100 && (err != nil || got >= n) {
				t.Errorf("byte %d, with AcceptLoss: %d tasks, %v", at, got, err)
			}
			if _, err := held(dir, Options{}); at > 100 && err != nil {
				t.Errorf("byte %d, after AcceptLoss: %v", at, err)
			}
		}
	}
	t.Logf("%d flips were found; the log has %d bytes", found, len(log))
}

// What is not as it was left is found by the file head, which must itself be whole.
func TestDamagedHead(t *testing.T) {
	t.Parallel()
	whole := stored(t, 2)
	head := func(dir string) string { return filepath.Join(dir, "head") }
	content, err := os.ReadFile(head(whole))
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(dir string) error{
		"head gone": func(dir string) error { return os.Remove(head(dir)) },
		"head cut":  func(dir string) error { return os.Truncate(head(dir), 20) },
		"head changed": func(dir string) error {
			return os.WriteFile(head(dir), append([]byte("L"), content...)[:len(content)], 0o600)
		},
		"table changed": func(dir string) error {
			if _, err := held(dir, Options{}); err != nil { // makes a table of the log
				return err
			}
			tables, err := filepath.Glob(filepath.Join(dir, "bodies", "*.sst"))
			if err != nil || len(tables) != 1 {
				return fmt.Errorf("tables %q, %w", tables, err)
			}
			b, err := os.ReadFile(tables[0])
			if err != nil {
				return err
			}
			b[10] ^= 1
			return os.WriteFile(tables[0], b, 0o600)
		},
		"Badger gone": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "bodies")) },
		"Badger's log cut": func(dir string) error {
			path, log := logOf(t, dir)
			return os.Truncate(path, int64(len(log)-30))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), harm(dir)); err != nil {
				t.Fatal(err)
			}
			if n, err := held(dir, Options{}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%d tasks, %v; want ErrDamaged", n, err)
			}
			if _, err := held(dir, Options{AcceptLoss: true}); err != nil {
				t.Errorf("with AcceptLoss: %v", err)
			}
			if _, err := held(dir, Options{}); err != nil {
				t.Errorf("after AcceptLoss: %v", err)
			}
		})
	}
	// A kill between the two leaves a head older than the data.
	older := stored(t, 1)
	b, err := os.ReadFile(head(older))
	if err == nil {
		err = os.WriteFile(head(whole), b, 0o600)
	}
	if n, e := held(whole, Options{}); err != nil || e != nil || n != 2 {
		t.Errorf("with an older head: %d tasks, %v, %v", n, err, e)
	}
}

// Open refuses the store of a newer release, and leaves it unchanged.
func TestNewerFormat(t *testing.T) {
	dir := stored(t, 3)
	path := filepath.Join(dir, state.FormatName)
	if err := os.WriteFile(path, []byte("layshaft tasks 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, acceptLoss := range []bool{false, true} {
		_, err := held(dir, Options{AcceptLoss: acceptLoss})
		want := fmt.Sprintf("tasks %s: unknown format %q; this release reads %q; use the newer release that wrote it, or another directory", dir, "layshaft tasks 2", "layshaft tasks 1")
		if !errors.Is(err, state.ErrFormat) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := os.WriteFile(path, []byte("layshaft tasks 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := held(dir, Options{}); err != nil || got != 3 {
		t.Errorf("%d tasks, %v", got, err)
	}
}
