package spill

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/internal/hotkeys"
)

// The sampler sees every way on which a value can go: one by one, in batches, past the table, and
// through a sorter with many runs.
func TestSampledKeys(t *testing.T) {
	t.Parallel()
	const n, share = 400_000, 0.2
	nothing := func(int, int, []byte, int, []byte) error { return nil }
	combine := func(others int, long, direct bool, sampleKeys int, limit int64) func(*hotkeys.Sampler) error {
		return func(s *hotkeys.Sampler) error {
			c := NewCombiner(CombinerConfig[int, int64]{Add: func(a *int64, _ int) { *a++ }, Parts: 1, Limit: limit, Output: nothing, Direct: direct,
				Encode: func(b []byte, _ *int64) []byte { return append(b, 1) }, Keys: s, sampleKeys: sampleKeys})
			random := rand.New(rand.NewPCG(1, 0))
			for i := range n {
				key := "hot"
				if random.Float64() >= share {
					key = fmt.Sprint("key ", random.IntN(others))
				}
				if long {
					key += " with more bytes than a slot has"
				}
				if err := c.AddBytes([]byte(key), &i); err != nil {
					return err
				}
			}
			return c.Flush()
		}
	}
	for name, run := range map[string]func(*hotkeys.Sampler) error{
		"small table": combine(50, false, false, 0, 1<<28),
		"batches":     combine(100_000, false, false, 0, 1<<28),
		"long keys":   combine(100_000, true, false, 0, 1<<28),
		"direct":      combine(100_000, false, true, 0, 1<<28),
		"bypassed":    combine(1<<40, false, false, 3000, 1<<20),
		"sorter": func(s *hotkeys.Sampler) error {
			x := NewSorter(SorterConfig{Parts: 1, Limit: 1 << 20, Output: nothing, Keys: s, KeyOf: func(key, _ []byte) []byte { return key[:3] }})
			random := rand.New(rand.NewPCG(1, 0))
			for range n {
				key := "hot and the order"
				if random.Float64() >= share {
					key = fmt.Sprintf("%03d and the order", random.IntN(1000))
				}
				if err := x.End(0, append(x.Begin(), key...), len(key)); err != nil {
					return err
				}
			}
			return x.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hotkeys.NewSampler(7)
			if err := run(s); err != nil {
				t.Fatal(err)
			}
			sample := s.Sample(0, func(key []byte) string { return string(key[:3]) })
			hot := hotkeys.Hot(&sample)
			if len(hot) != 1 || hot[0].Name != "hot" || math.Abs(hot[0].Share-share) > 0.03 || math.Abs(float64(sample.Records)/n-1) > 0.1 {
				t.Errorf("hot keys %v of %d records", hot, sample.Records)
			}
		})
	}
}
