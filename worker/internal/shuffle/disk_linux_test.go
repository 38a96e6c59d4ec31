package shuffle

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A really full disk must neither kill the process nor harm committed outputs.
func TestRealDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=180m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { // after the store is closed
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir, Options{Reserve: 80 << 20})
	data := block(newRand(), 1<<20, true)
	for round := range 2 {
		var err error
		sealed := 0
		for i := 0; err == nil && i < 1000; i++ {
			var w *Writer
			if w, err = s.Create(attempt("j", i, 1)); err != nil {
				break
			}
			for part := 0; part < 5 && err == nil; part++ {
				err = w.Append(0, 0, part, data, 1, nil)
			}
			if err == nil {
				_, err = w.Seal(t.Context(), nil, nil)
			}
			w.Discard()
			if err == nil {
				sealed++
			}
		}
		if !errors.Is(err, ErrDiskFull) || sealed < 8 {
			t.Fatalf("round %d: %v after %d outputs, want ErrDiskFull after 8 or more", round, err, sealed)
		}
		m, err := s.Manifest(attempt("j", sealed-1, 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.All(m, 0) {
			if _, err := read(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.DropJob("j"); err != nil {
			t.Fatal(err)
		}
	}
}
