package exec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
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

// Integer keys that are dense, sparse or extreme find all their rows in order, and others none.
func TestIntLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for _, n := range []int{0, 1, 2, 100, 5000} {
		for _, key := range []func() int64{
			func() int64 { return 4*r.Int64N(int64(n)+1) - 7 },
			func() int64 { return r.Int64N(1 << 40) },
			func() int64 { return int64(r.Uint64()) },
			func() int64 { return math.MaxInt64 - r.Int64N(3) },
			func() int64 { return []int64{math.MinInt64, math.MaxInt64, 0}[r.IntN(3)] },
			func() int64 { return math.MinInt64 + r.Int64N(int64(n)+1) },
		} {
			b := vec.NewBuilder(vec.Of(vec.Int), 0)
			rows := map[int64][]int32{}
			hasNull := false
			for i := range n {
				if r.IntN(10) == 0 {
					b.AppendNull()
					hasNull = true
					continue
				}
				k := key()
				b.AppendInt(k)
				rows[k] = append(rows[k], int32(i))
			}
			next := make([]int32, n)
			l, nulls := newIntLookup(b.Done(), next)
			if nulls != hasNull {
				t.Errorf("NULLs: %v", nulls)
			}
			probe := vec.NewBuilder(vec.Of(vec.Int), 0)
			probe.AppendNull()
			var keys []int64
			for k := range rows {
				keys = append(keys, k, k+1, k-1)
			}
			keys = append(keys, 0, math.MaxInt64, math.MinInt64)
			for _, k := range keys {
				probe.AppendInt(k)
			}
			found := make([]int32, probe.Len)
			l.find(probe.Done(), found)
			if found[0] != -1 {
				t.Error("NULL has a row")
			}
			for i, k := range keys {
				at := found[i+1]
				for _, want := range rows[k] {
					if at != want {
						t.Fatalf("%d keys: key %d: row %d, want %d", n, k, at, want)
					}
					at = next[at]
				}
				if at != -1 {
					t.Fatalf("%d keys: key %d has one more row, %d", n, k, at)
				}
			}
		}
	}
}
