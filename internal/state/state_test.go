package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"
)

var quick = Options{NoSync: true, Reserve: -1}

var testFormat = Format{Kind: "test", Version: 1}

func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir, "db", testFormat, quick)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// stored returns a directory with 20 values, as it is after kill -9 and as it is after Close.
func stored(t testing.TB) (killed, closed string) {
	t.Helper()
	dir := t.TempDir()
	db := open(t, dir)
	for i := range 20 {
		if err := db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, "key ", i), value(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	killed = copyOf(t, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return killed, copyOf(t, dir)
}

func value(i int) []byte { return []byte(strings.Repeat(fmt.Sprint("value ", i), 50)) }

func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// values returns how many of the stored values are there, and that no others are, but that bytes of
// them may differ.
func values(t testing.TB, db *DB) (n int) {
	t.Helper()
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestReopen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	killed, closed := stored(t)
	for _, dir := range []string{killed, closed} {
		db := open(t, dir)
		if n := values(t, db); n != 20 {
			t.Errorf("%d values, want 20", n)
		}
		if err := db.Check(1 << 60); err != nil {
			t.Errorf("without a reserve nothing is refused: %v", err)
		}
		db.NoteWrite()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Every file, gone, empty, cut anywhere or with a flipped byte, gives a store that works or
// ErrDamaged: no panic, no hang, no lock left.
func TestHarmedFiles(t *testing.T) {
	killed, closed := stored(t)
	for state, whole := range map[string]string{"killed": killed, "closed": closed} {
		entries, err := os.ReadDir(filepath.Join(whole, "db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			harms := map[string]func(path string) error{"gone": os.Remove}
			size := info.Size()
			for _, n := range []int64{0, size / 3} {
				if n < size {
					harms[fmt.Sprint("cut to ", n)] = func(path string) error { return os.Truncate(path, n) }
				}
			}
			for _, at := range []int64{size / 2, size - 30} {
				if at >= 0 && at < size {
					harms[fmt.Sprint("flipped at ", at)] = func(path string) error { return flip(path, at) }
				}
			}
			for name, harm := range harms {
				if testing.Short() && name != "gone" && !strings.HasPrefix(name, "flipped") {
					continue
				}
				t.Run(state+"/"+e.Name()+"/"+name, func(t *testing.T) {
					dir := copyOf(t, whole)
					if err := harm(filepath.Join(dir, "db", e.Name())); err != nil {
						t.Fatal(err)
					}
					db, err := Open(dir, "db", testFormat, quick)
					if err == nil {
						values(t, db)
						err = db.Close()
					}
					if err != nil && !errors.Is(err, ErrDamaged) {
						t.Errorf("%v, want ErrDamaged", err)
					}
					if err == nil {
						return
					}
					lossy, left := quick, copyOf(t, dir)
					lossy.AcceptLoss = true
					if db, err = Open(left, "db", testFormat, lossy); err != nil {
						t.Fatalf("with AcceptLoss: %v", err)
					}
					values(t, db)
					if err := db.Close(); err != nil {
						t.Error(err)
					}
					if damaged, err := filepath.Glob(filepath.Join(left, "*.damaged")); len(damaged) == 0 && err == nil && name != "gone" {
						if damaged, err = filepath.Glob(filepath.Join(left, "db", "*.damaged")); err != nil || len(damaged) != 1 {
							t.Errorf("the damaged file is not kept: %q, %v", damaged, err)
						}
					}
					disposable := quick
					disposable.Disposable = true
					if db, err = Open(dir, "db", testFormat, disposable); err != nil {
						t.Fatal(err)
					}
					if n := values(t, db); n != 0 {
						t.Errorf("%d values are left of a damaged store", n)
					}
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func flip(path string, at int64) error {
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

// What is missing for the files to be read is no damage: they must not be thrown away for it.
func TestTroubleElsewhereIsNoDamage(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&os.PathError{Op: "open", Path: "db", Err: syscall.EMFILE}, false},
		{fmt.Errorf("mmap error: %+v", syscall.ENOMEM), false}, // as Badger wraps
		{&os.PathError{Op: "open", Path: "db", Err: syscall.EACCES}, false},
		{&os.PathError{Op: "open", Path: "db/000001.sst", Err: syscall.ENOENT}, true},
		{errors.New("manifest has bad magic"), true},
	} {
		if got := WrapDamaged(c.err); errors.Is(got, ErrDamaged) != c.want || !errors.Is(got, c.err) {
			t.Errorf("%v: %v, want damage: %v", c.err, got, c.want)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := Open(dir, "db", testFormat, quick); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v, want ErrLocked and the process", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}
