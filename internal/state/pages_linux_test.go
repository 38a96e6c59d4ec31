package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// resident returns how many bytes of tables below dir are in the memory of this process.
func resident(t *testing.T, dir string) (sum int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	table := false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 5 && strings.Contains(f[0], "-") {
			table = strings.HasPrefix(f[5], dir) && strings.HasSuffix(f[5], ".sst")
		}
		if table && len(f) > 1 && f[0] == "Rss:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += n << 10
		}
	}
	return sum
}

// What tables hold is given back to the system, and read again.
func TestPageOut(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, "x", testFormat, Options{NoSync: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	const n, size = 160, 64 << 10
	r := rand.NewChaCha8([32]byte{1})
	values := make([][]byte, n)
	for i := range values {
		values[i] = make([]byte, size)
		_, _ = r.Read(values[i])
		if err := db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, i), values[i]) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil { // makes tables of what is in memory
		t.Fatal(err)
	}
	if db, err = Open(dir, "x", testFormat, Options{NoSync: true, Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.VerifyChecksum(); err != nil { // reads them
		t.Fatal(err)
	}
	before := resident(t, dir)
	if before < n*size/2 {
		t.Fatalf("%d bytes of tables are in memory, want %d", before, n*size)
	}
	pageOut(dir)
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type != tmpfs { // which is memory
		if after := resident(t, dir); after > before/4 {
			t.Errorf("%d bytes of tables are in memory, %d were before", after, before)
		}
	}
	for i, want := range values {
		err := db.View(func(txn *badger.Txn) error {
			item, err := txn.Get(fmt.Append(nil, i))
			if err != nil {
				return err
			}
			return item.Value(func(got []byte) error {
				if !bytes.Equal(got, want) {
					t.Errorf("value %d is another", i)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
