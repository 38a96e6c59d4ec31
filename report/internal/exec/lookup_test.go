package exec

import (
	"fmt"
	"testing"
)

// TestLookup checks the numbers of keys, and that other keys have none.
func TestLookup(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 100_000} {
		l := newLookup(n)
		for i := range n {
			got, fresh, err := l.add(fmt.Appendf(nil, "key %d", i))
			again, old, _ := l.add(fmt.Appendf(nil, "key %d", i))
			if err != nil || got != int32(i) || !fresh || again != got || old {
				t.Fatalf("key %d of %d: number %d, new %v, %v; then %d, new %v", i, n, got, fresh, err, again, old)
			}
		}
		for i := range n {
			if got := l.find(fmt.Appendf(nil, "key %d", i)); got != int32(i) {
				t.Errorf("key %d of %d: number %d", i, n, got)
			}
			if got := l.find(fmt.Appendf(nil, "other %d", i)); got != -1 {
				t.Errorf("a key that is not there has number %d", got)
			}
		}
		if got := l.find(nil); got != -1 {
			t.Errorf("the empty key has number %d", got)
		}
	}
}
