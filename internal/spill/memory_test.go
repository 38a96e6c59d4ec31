package spill

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// peak runs f and returns the largest size of all regions, including those in the pool.
func peak(limit int64, f func()) int64 {
	Trim()
	defer Reserve(limit)()
	pool.mu.Lock()
	before := pool.used
	pool.peak = before
	pool.mu.Unlock()
	f()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	return pool.peak - before
}

func discard(int, int, []byte, int, []byte) error { return nil }

// TestSorterMemory: with records of any size, the regions of a sorter stay within its limit, and
// its runs are long.
func TestSorterMemory(t *testing.T) {
	for _, limit := range []int64{1 << 20, 3 << 20} {
		for _, size := range []int{0, 1, 9, 24, 100, 1500, 40_000, 300_000, 3 << 20} {
			t.Run(fmt.Sprintf("limit=%d size=%d", limit, size), func(t *testing.T) {
				const entry = 16 + 8 // beside the record's bytes: entry and lengths
				n := int(5*limit) / (size + entry)
				value := make([]byte, size)
				s := NewSorter(SorterConfig{Parts: 3, Limit: limit, Output: discard})
				got := peak(limit, func() {
					for i := range n {
						if err := s.End(i%3, append(s.Begin(), value...), size); err != nil {
							t.Fatal(err)
						}
					}
					if err := s.Flush(); err != nil {
						t.Fatal(err)
					}
				})
				room := limit
				// one such record must fit in any case
				if big := int64(regionSize(size + headerBytes)); big > limit/4 {
					room += big
				}
				if got > room {
					t.Errorf("took %d KiB, the limit is %d", got>>10, room>>10)
				}
				if runs := s.runs; runs > 30 && int64(size) < limit/16 {
					t.Errorf("%d records of %d bytes made %d runs; five times the limit should need less than 30", n, size, runs)
				}
			})
		}
	}
}

// TestCombinerMemory: the same for tables, with keys and accumulators of any size.
func TestCombinerMemory(t *testing.T) {
	for _, limit := range []int64{1 << 20, 3 << 20} {
		for _, size := range []int{8, 16, 40, 1000, 50_000, 2 << 20} {
			t.Run(fmt.Sprintf("limit=%d key=%d", limit, size), func(t *testing.T) {
				n := int(4*limit) / (size + 32)
				key := make([]byte, size)
				flat := NewCombiner(CombinerConfig[int, int64]{Add: func(a *int64, v int) { *a += int64(v) }, Parts: 1, Limit: limit, Output: discard,
					Encode: func(dst []byte, a *int64) []byte { return binary.AppendVarint(dst, *a) }})
				got := peak(limit, func() {
					for i := range n {
						binary.LittleEndian.PutUint64(key, uint64(i)*mix0)
						if err := flat.AddBytes(key, &i); err != nil {
							t.Fatal(err)
						}
					}
					if err := flat.Flush(); err != nil {
						t.Fatal(err)
					}
				})
				room := limit
				if big := int64(regionSize(size)); size > maxInlineKey && big > limit/16 {
					room += 2 * big
				}
				if got > room {
					t.Errorf("took %d KiB, the limit is %d", got>>10, room>>10)
				}
				if runs := flat.runs; runs > 30 && int64(size) < limit/16 {
					t.Errorf("%d keys of %d bytes made %d runs; four times the limit should need less than 30", n, size, runs)
				}
			})
		}
	}
}

// TestAccumulatorMemory: accumulators stay within the limit, whatever the size of one value, and
// even when values suddenly become larger.
func TestAccumulatorMemory(t *testing.T) {
	type acc struct {
		all  [][]byte
		size int
	}
	for _, costly := range []bool{false, true} {
		for _, keys := range []int{1, 10, 4_000} {
			for _, size := range []int{10, 1000, 100_000} {
				t.Run(fmt.Sprintf("costly=%v keys=%d size=%d", costly, keys, size), func(t *testing.T) {
					const limit = 4 << 20
					var held, most int64 // true bytes
					c := NewCombiner(CombinerConfig[int, acc]{
						Add: func(a *acc, v int) {
							a.all = append(a.all, make([]byte, v))
							a.size += v + 24
							held += int64(v + 24)
							most = max(most, held)
						},
						Size:   func(a *acc) int { return a.size },
						Costly: costly,
						Encode: func(dst []byte, a *acc) []byte {
							held -= int64(a.size)
							return dst
						},
						Parts: 1, Limit: limit, Output: discard})
					key := make([]byte, 8)
					add := func(n, size int) {
						for i := range n {
							binary.LittleEndian.PutUint64(key, uint64(i%keys))
							if err := c.AddBytes(key, &size); err != nil {
								t.Fatal(err)
							}
						}
					}
					if !costly {
						add(5_000, 1)
					}
					add(min(20_000, 40<<20/size), size)
					if err := c.Flush(); err != nil {
						t.Fatal(err)
					}
					room := int64(limit)
					if costly {
						// an accumulator is measured after half as many values more
						room += limit / 2
					}
					if most > room+int64(size) {
						t.Errorf("accumulators held %d KiB, the limit is %d", most>>10, room>>10)
					}
				})
			}
		}
	}
}
