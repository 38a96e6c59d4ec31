package state

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// Another program takes the last block of the disk in the moment between the look at the disk and
// the write of Badger. Badger waits for room, and nothing is lost. The writes run in a process of
// their own, as the kernel ends it otherwise.
func TestDiskFilledInBetween(t *testing.T) {
	if dir := os.Getenv("LAYSHAFT_TEST_FULL"); dir != "" {
		writeOnFullDisk(t, dir)
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=120m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v; run as root, where mounting is allowed", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	child := exec.Command(os.Args[0], "-test.run=^TestDiskFilledInBetween$", "-test.count=1")
	child.Env = append(os.Environ(), "LAYSHAFT_TEST_FULL="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%.3000s", err, out)
	}
}

// writeOnFullDisk fills a memtable, fills the disk, and writes on: Badger begins the next log, and
// flushes. Free claims that there is room, as it does when another program is faster.
func writeOnFullDisk(t *testing.T, dir string) {
	waits := make(chan struct{}, 1)
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) {
		if strings.Contains(string(b), "waits for room") {
			select {
			case waits <- struct{}{}:
			default:
			}
		}
	}), nil))
	opt := Options{Reserve: 4 << 20, NoSync: true, Log: log, Free: func(string) (int64, error) { return 1 << 30, nil }}
	db, err := Open(filepath.Join(dir, "store"), "db", testFormat, opt)
	if err != nil {
		t.Fatal(err)
	}
	const values = 80 // more than two memtables
	set := func(i int) error {
		return db.Update(func(txn *badger.Txn) error { return txn.Set([]byte{byte(i)}, make([]byte, 500<<10)) })
	}
	for i := range 30 {
		if err := set(i); err != nil {
			t.Fatal(err)
		}
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 120<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 30; i < values && err == nil; i++ {
			err = set(i)
		}
		written <- err
	}()
	<-waits
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(filepath.Join(dir, "store"), "db", testFormat, opt); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range values {
		err := db.View(func(txn *badger.Txn) error { _, err := txn.Get([]byte{byte(i)}); return err })
		if err != nil {
			t.Errorf("value %d: %v", i, err)
		}
	}
}

// Badger's log has its blocks before it is written. A new version of golang.org/x/sys may need
// another hook: see blocks_linux.go.
func TestLogHasItsBlocks(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, "db", testFormat, Options{NoSync: true, Reserve: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "db", "*.mem"))
	if len(logs) == 0 {
		t.Error("there is no log")
	}
	for _, path := range logs {
		var s syscall.Stat_t
		if err := syscall.Stat(path, &s); err != nil {
			t.Fatal(err)
		}
		if got, want := s.Blocks*512, int64(memtable*5/4); got < want {
			t.Errorf("%s has blocks for %d bytes, want %d", path, got, want)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
