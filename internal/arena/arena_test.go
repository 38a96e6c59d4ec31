package arena

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Strings stay as they were, whatever follows them and whatever happens to the originals.
func TestArena(t *testing.T) {
	var a Arena
	r := rand.New(rand.NewPCG(1, 0))
	var kept, want []string
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, []int{0, 1, 30, largest, largest + 1}[r.IntN(5)])
		want = append(want, string(b))
		if i%2 == 0 {
			kept = append(kept, a.KeepBytes(b))
		} else {
			kept = append(kept, a.Keep(string(b)))
		}
		clear(b)
	}
	for i := range want {
		if kept[i] != want[i] {
			t.Fatalf("string %d has changed: %.20q, want %.20q", i, kept[i], want[i])
		}
	}
}

// Short strings cost no allocation of their own.
func TestAllocations(t *testing.T) {
	var a Arena
	b := []byte("a short string")
	if n := testing.AllocsPerRun(1000, func() { a.KeepBytes(b) }); n != 0 {
		t.Errorf("%v allocations per string", n)
	}
}

// After Reset the same memory is used again.
func TestReset(t *testing.T) {
	OverwriteFreed = true
	t.Cleanup(func() { OverwriteFreed = false })
	var a Arena
	first := a.Keep("first")
	a.Reset()
	if first != "?????" {
		t.Errorf("after Reset, a former string is %q, want ?????", first)
	}
	if second := a.Keep("after"); first != second {
		t.Errorf("the block was not used again: %q and %q", first, second)
	}
}
