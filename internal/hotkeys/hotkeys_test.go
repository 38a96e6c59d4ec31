package hotkeys

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/job"
)

// sampleOf passes n keys of an attempt through a sampler.
func sampleOf(seed uint64, n int, key func(i int) string) job.KeySample {
	s := NewSampler(seed)
	left := s.First()
	for i := range n {
		if left--; left < 0 {
			k := key(i)
			left = s.Add([]byte(k), xxh3.HashString(k))
		}
	}
	return s.Sample(0, func(key []byte) string { return string(key) })
}

// A planted hot key is named with its share, and no key of even data is.
func TestHot(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 0))
	for _, c := range []struct {
		name           string
		attempts, each int
		hot            float64 // share of the key "hot"
		others         int     // number of the other keys
		named          bool
	}{
		{"half of few records", 8, 5_000, 0.5, 100, true},
		{"a third of many keys", 4, 300_000, 0.33, 1_000_000, true},
		{"a twentieth", 4, 500_000, 0.05, 10_000, true},
		{"nearly all of two keys", 2, 100_000, 0.95, 1, true},
		{"all", 2, 100_000, 1, 1, true},
		{"even, four keys", 8, 100_000, 0, 4, false},
		{"even, fifty keys", 8, 100_000, 0, 50, false},
		{"even, hundred keys", 50, 3_000, 0, 100, false},
		{"even, many keys", 8, 100_000, 0, 1_000_000, false},
		{"two keys", 8, 100_000, 0.5, 1, false},
		{"nothing", 1, 0, 0, 1, false},
		{"few records", 3, 100, 0, 30, false},
	} {
		var all job.KeySample
		for a := range c.attempts {
			Merge(&all, sampleOf(uint64(a), c.each, func(int) string {
				if random.Float64() < c.hot {
					return "hot"
				}
				return fmt.Sprint("key ", random.IntN(c.others))
			}))
		}
		hot := Hot(&all)
		if !c.named {
			if len(hot) > 0 {
				t.Errorf("%s: %v, want no hot key", c.name, hot)
			}
			continue
		}
		if len(hot) != 1 || hot[0].Name != "hot" || math.Abs(hot[0].Share-c.hot) > 0.04 {
			t.Errorf("%s: %v, want hot with %.2f", c.name, hot, c.hot)
			continue
		}
		if want := c.hot * float64(c.attempts*c.each); math.Abs(float64(hot[0].Records)-want) > 0.15*want {
			t.Errorf("%s: about %d records, want %.0f", c.name, hot[0].Records, want)
		}
	}
}

// Keys in turns, and sorted keys, are not hot: the sampler does not keep step with them.
func TestRegularKeys(t *testing.T) {
	t.Parallel()
	for _, turns := range []int{2, 8, 64, 128, 512} {
		s := sampleOf(1, 1_000_000, func(i int) string { return fmt.Sprint(i % turns) })
		if hot := Hot(&s); len(hot) > 0 {
			t.Errorf("%d keys in turns: %v", turns, hot)
		}
	}
	var all job.KeySample
	for a := range 40 {
		Merge(&all, sampleOf(uint64(a), 50_000, func(i int) string { return fmt.Sprint(a*100 + i/500) }))
	}
	if hot := Hot(&all); len(hot) > 0 {
		t.Errorf("sorted keys: %v", hot)
	}
}

// A merged sample stays within its limits, and does not change what readers have.
func TestMergeIsBounded(t *testing.T) {
	t.Parallel()
	var all job.KeySample
	for a := range 100 {
		before := all
		was := fmt.Sprint(before.Keys)
		Merge(&all, sampleOf(uint64(a), 20_000, func(i int) string { return fmt.Sprint(a, i%10) }))
		if fmt.Sprint(before.Keys) != was {
			t.Fatal("Merge changed the keys of an earlier copy")
		}
	}
	if len(all.Keys) != counters || all.Distinct < counters {
		t.Errorf("%d keys, %d distinct", len(all.Keys), all.Distinct)
	}
}

func BenchmarkSampler(b *testing.B) {
	for _, keys := range []int{8, 1_000_000} {
		b.Run(fmt.Sprint(keys, " keys"), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 0))
			s := NewSampler(1)
			key := make([]byte, 16)
			left := s.First()
			for b.Loop() {
				if left--; left < 0 {
					left = s.Add(key, uint64(random.IntN(keys))*0x9e3779b97f4a7c15)
				}
			}
		})
	}
}
