package datadir

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/replica"
)

// maxGrowth is how many files more than after the first start a directory may have: Badger merges
// its tables now and then.
const maxGrowth = 16

// countFiles returns the number of files below dir.
func countFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// checkRestarts starts something 40 times, and checks that the files of dir stay few.
func checkRestarts(t *testing.T, dir string, start func(i int) (end func())) {
	t.Helper()
	first := 0
	starts := 41
	if testing.Short() {
		starts = 16
	}
	for i := range starts {
		end := start(i)
		n := countFiles(t, dir)
		if i == 0 {
			first = n
		}
		if n > first+maxGrowth {
			t.Fatalf("%d files after %d restarts, %d after the first start", n, i, first)
		}
		end()
	}
}

// The directory does not grow by a file per restart.
func TestRestarts(t *testing.T) {
	dir := t.TempDir()
	checkRestarts(t, dir, func(i int) func() {
		d, err := Open(dir, Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Journal.Replay(func(uint64, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Journal.Append(t.Context(), fmt.Append(nil, "event ", i)); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Neither does the directory of one of several coordinators.
func TestRestartsOfMember(t *testing.T) {
	dir := t.TempDir()
	checkRestarts(t, dir, func(i int) func() {
		m, err := OpenMember(dir, Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := "a:1" // the only member connects to nobody
		r, err := replica.Open(replica.Config{Dir: m.ReplicaDir(), Address: address, Peers: []string{address}, Listener: l, Timeout: 20 * time.Millisecond, Reserve: -1,
			Dial: func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		lead, err := r.Lead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := replica.NewBatch(replica.Tasks)
		b.Set([]byte(fmt.Sprint("key ", i)), []byte("value"))
		if err := lead.Propose(b).Wait(); err != nil {
			t.Fatal(err)
		}
		return func() {
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
