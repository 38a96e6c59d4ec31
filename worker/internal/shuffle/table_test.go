package shuffle

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
)

// A temporary store makes no file for small outputs, until there are many. All stay readable, and
// those dropped are gone, wherever they lie.
func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Temporary: true, Reserve: -1})
	rng := rand.New(rand.NewPCG(1, 0))
	outputs := map[job.Attempt][]byte{}
	write := func(id job.ID, index int) *job.Manifest {
		a := attempt(id, index, 1)
		w := create(t, s, a)
		b := block(rng, 1+rng.IntN(maxInline-100), true)
		if err := w.Append(0, 0, 0, b, 1, nil); err != nil {
			t.Fatal(err)
		}
		outputs[a] = b
		return seal(t, w)
	}
	check := func() {
		t.Helper()
		for a, want := range outputs {
			m, err := s.Manifest(a)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(s.All(m, 0)[0]); err != nil || len(got) != 1 || !bytes.Equal(got[0], want) {
				t.Fatalf("output of %s: %d blocks, %v", a, len(got), err)
			}
		}
	}
	state := filepath.Join(dir, "state")
	for i := range 10 {
		write("a", i)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("few small outputs have a state on disk: %v", err)
	}
	check()
	for i := 10; s.table.db == nil; i++ {
		write("a", i)
		write("b", i)
	}
	if s.table.size > maxInMemory {
		t.Errorf("%d bytes in memory", s.table.size)
	}
	check()
	for _, i := range []int{3, len(outputs)/2 + 4} { // in memory, in Badger
		a := attempt("a", i, 1)
		if err := s.Drop(a); err != nil {
			t.Fatal(err)
		}
		if _, err := s.table.get(manifestKey(a)); err == nil {
			t.Errorf("%s was dropped and is there", a)
		}
		delete(outputs, a)
	}
	check()
	if err := s.DropJob("a"); err != nil {
		t.Fatal(err)
	}
	for a := range outputs {
		if a.Job == "a" {
			if _, err := s.table.get(manifestKey(a)); err == nil {
				t.Errorf("%s was dropped and is there", a)
			}
			delete(outputs, a)
		}
	}
	check()
	if err := s.DropJob("b"); err != nil || s.table.size != 0 || s.used != 0 {
		t.Errorf("after all drops: %d bytes in memory, %d used, %v", s.table.size, s.used, err)
	}
}
