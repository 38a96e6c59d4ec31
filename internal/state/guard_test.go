package state

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestGuard(t *testing.T) {
	dir := t.TempDir()
	ballast := filepath.Join(dir, "ballast")
	var free atomic.Int64
	g := newGuard(dir, Options{Reserve: 4 << 20, Log: slog.New(slog.DiscardHandler), Free: func(string) (int64, error) { return free.Load(), nil }})
	steps := []struct {
		name    string
		free    int64 // MiB
		write   error
		open    error
		ballast bool
	}{
		{"room for all", 100, nil, nil, true},
		{"at the reserve", 4, ErrDiskFull, nil, true},
		{"a bit of it gone", 3, ErrDiskFull, nil, true},
		{"most of it gone", 1, ErrDiskFull, nil, true},
		{"next to nothing", 0, ErrDiskFull, ErrDiskFull, false},
		{"some room again", 5, nil, nil, false},
		{"much room again", 9, nil, nil, true},
	}
	for _, s := range steps {
		free.Store(s.free << 20)
		if err := g.checkOpen(); !errors.Is(err, s.open) {
			t.Errorf("%s: open: %v", s.name, err)
		}
		if err := g.check(1, 4<<20); !errors.Is(err, s.write) || err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: write: %v", s.name, err)
		}
		if got := exists(ballast); got != s.ballast && runtime.GOOS == "linux" {
			t.Errorf("%s: ballast is there: %v", s.name, got)
		}
	}
}

// What was decided may use half of the reserve.
func TestDecided(t *testing.T) {
	free := int64(3 << 20)
	db := DB{guard: newGuard(t.TempDir(), Options{Reserve: 4 << 20, Log: slog.New(slog.DiscardHandler), Free: func(string) (int64, error) { return free, nil }})}
	if new, decided := db.Check(1), db.CheckDecided(1); !errors.Is(new, ErrDiskFull) || decided != nil {
		t.Errorf("with three quarters of the reserve: %v, %v", new, decided)
	}
	free = 2 << 20
	if err := db.CheckDecided(1); !errors.Is(err, ErrDiskFull) {
		t.Errorf("with half of the reserve: %v", err)
	}
}

// Another program fills the disk to the last byte. The ballast stays until Badger is about to write
// a table. When that does not make room, Badger waits.
func TestTableWaitsForRoom(t *testing.T) {
	dir := t.TempDir()
	var free atomic.Int64
	free.Store(1 << 30)
	waits := make(chan struct{}, 1)
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) {
		if strings.Contains(string(b), "waits for room") {
			select {
			case waits <- struct{}{}:
			default:
			}
		}
	}), nil))
	opt := Options{Reserve: 4 << 20, NoSync: true, Log: log, Free: func(string) (int64, error) { return free.Load(), nil }}
	db, err := Open(dir, "db", testFormat, opt)
	if err != nil {
		t.Fatal(err)
	}
	free.Store(0)
	if err := db.CheckDecided(1); !errors.Is(err, ErrDiskFull) || runtime.GOOS == "linux" && !exists(filepath.Join(dir, "ballast")) {
		t.Errorf("before a table, the ballast is gone, or %v", err)
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 40 && err == nil; i++ { // more than a memtable
			err = db.Update(func(txn *badger.Txn) error { return txn.Set([]byte{byte(i)}, make([]byte, 500<<10)) })
		}
		written <- err
	}()
	<-waits
	if exists(filepath.Join(dir, "ballast")) {
		t.Error("the ballast is there, and Badger waits")
	}
	if tables, _ := filepath.Glob(filepath.Join(dir, "db", "*.sst")); len(tables) > 0 {
		t.Errorf("tables on a full disk: %v", tables)
	}
	free.Store(1 << 30)
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

type writerFunc func(b []byte)

func (w writerFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }

// With ample room the disk is looked at once for many writes, and for each one without.
func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, looks := int64(4<<20+ample+credit), 0
		db := DB{guard: newGuard(t.TempDir(), Options{Reserve: 4 << 20, Log: slog.New(slog.DiscardHandler), Free: func(string) (int64, error) { looks++; return free, nil }})}
		check := func(n int64, want error, looked int) {
			t.Helper()
			looks = 0
			if err := db.CheckAhead(n); !errors.Is(err, want) {
				t.Errorf("Expect(%d) = %v, want %v", n, err, want)
			}
			if looks < looked || looked == 0 && looks > 0 {
				t.Errorf("Expect(%d) looked %d times", n, looks)
			}
		}
		check(1, nil, 1)
		if looks = 0; db.Check(1) != nil || looks != 1 {
			t.Errorf("Check looked %d times", looks)
		}
		for range 16 {
			check(1<<20, nil, 0)
		}
		check(1, nil, 1)
		check(credit+1, nil, 1)
		time.Sleep(creditFor + 1)
		check(1, nil, 1)
		free = 5 << 20
		time.Sleep(creditFor + 1)
		check(1, nil, 1)
		check(1, nil, 1)
		check(2<<20, ErrDiskFull, 1)
	})
}

// A directory whose ballast is what keeps it from being opened gives it up.
func TestBallastMakesRoomToOpen(t *testing.T) {
	dir := t.TempDir()
	ballast := filepath.Join(dir, "ballast")
	free := int64(0)
	opt := Options{Reserve: 4 << 20, Log: slog.New(slog.DiscardHandler), Free: func(string) (int64, error) {
		if exists(ballast) {
			return free, nil
		}
		return free + 1<<20, nil
	}}
	if err := os.WriteFile(ballast, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(dir, "db", testFormat, opt)
	if err != nil {
		t.Fatalf("with ballast: %v, want it to be given up", err)
	}
	if exists(ballast) {
		t.Error("the ballast is still there")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	free = -1
	if _, err := Open(dir, "db", testFormat, opt); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), dir) {
		t.Errorf("without ballast: %v, want ErrDiskFull", err)
	}
	free = 1 << 40
	if db, err = Open(dir, "db", testFormat, opt); err != nil { // the lock was let go
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
