package sketch

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var numbers = rapid.OneOf(
	rapid.Float64Range(-1000, 1000),
	rapid.Float64(),
	rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 2, -1, 64, 1e-300, 1e300, 5e-324, -1e-310, math.MaxFloat64, math.Inf(1), math.Inf(-1)}),
)

// drawNumbers draws the length by itself: rapid alone seldom draws long slices.
func drawNumbers(t *rapid.T) []float64 {
	n := rapid.SampledFrom([]int{0, 1, 7, quantilesExact - 1, quantilesExact, quantilesExact + 1, 200}).Draw(t, "n")
	return rapid.SliceOfN(numbers, n, n).Draw(t, "xs")
}

// TestQuantiles compares quantiles with quantiles of the sorted numbers.
func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := drawNumbers(t)
		var q Quantiles
		q.Add(math.NaN())
		for _, x := range xs {
			q.Add(x)
		}
		checkQuantiles(t, &q, xs)
	})
}

func checkQuantiles(t *rapid.T, q *Quantiles, xs []float64) {
	if q.Len() != len(xs) {
		t.Fatalf("Len = %d, want %d", q.Len(), len(xs))
	}
	if len(xs) == 0 {
		if x := q.Quantile(0.5); x == x {
			t.Fatalf("Quantile of nothing = %v", x)
		}
		return
	}
	sorted := slices.Sorted(slices.Values(xs))
	for _, p := range []float64{-1, 0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 1, 2} {
		rank := int(math.Ceil(p*float64(len(xs)) - 1e-9))
		want := sorted[min(max(rank, 1), len(xs))-1]
		got := q.Quantile(p)
		if math.Abs(want) < 0x1p-1022 {
			want = 0
		}
		off := math.Abs(got - want)
		if got != want && (len(xs) <= quantilesExact || !(off <= 0.0079*math.Abs(want))) {
			t.Fatalf("Quantile(%v) of %d numbers = %v, want %v", p, len(xs), got, want)
		}
	}
	if got := q.Quantile(1); got != sorted[len(xs)-1] && math.Abs(got) >= 0x1p-1022 {
		t.Fatalf("Quantile(1) = %v, want %v", got, sorted[len(xs)-1])
	}
}

// TestQuantilesMerge splits one stream in any way, with moves through the encoding: the result must
// be the same bytes.
func TestQuantilesMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := drawNumbers(t)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var whole Quantiles
		parts := make([]Quantiles, 4)
		for _, x := range xs {
			whole.Add(x)
			parts[r.IntN(4)].Add(x)
		}
		for len(parts) > 1 {
			i := r.IntN(len(parts) - 1)
			parts[i].Merge(&parts[i+1])
			parts = append(parts[:i+1], parts[i+2:]...)
			b, err := parts[i].AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			parts[i] = Quantiles{}
			parts[i].Add(7) // decoding replaces
			if err := parts[i].UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := whole.AppendBinary(nil)
		if got, _ := parts[0].AppendBinary(nil); !bytes.Equal(got, want) {
			t.Fatalf("merged numbers differ:\n%q\n%q", got, want)
		}
		checkQuantiles(t, &parts[0], xs)
	})
}

func TestQuantilesSize(t *testing.T) {
	var q Quantiles
	for x := 1.0; x <= 10_000; x++ {
		q.Add(x)
	}
	if got := q.Size(); got < 7<<10 || got > 8<<10 {
		t.Errorf("Size of prices from 1 to 10,000 = %d bytes, want 7 KiB", got)
	}
	for u := uint64(0); u < 0x7ff; u++ {
		q.Add(math.Float64frombits(u << 52))
		q.Add(-math.Float64frombits(u << 52))
	}
	if got := q.Size(); got > 2_150_000 {
		t.Errorf("largest Size = %d", got)
	}
}

func FuzzQuantiles(f *testing.F) {
	var q Quantiles
	for i := range 70 {
		b, _ := q.AppendBinary(nil)
		f.Add(b)
		q.Add(float64(i * i))
		q.Add(-1)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var q, other Quantiles
		if q.UnmarshalBinary(data) != nil {
			return
		}
		if again, err := q.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q becomes %q, %v", data, again, err)
		}
		last := math.Inf(-1)
		for _, p := range []float64{0, 0.3, 0.5, 0.9, 1} {
			x := q.Quantile(p)
			if len(data) > 0 && !(x >= last) {
				t.Fatalf("Quantile(%v) = %v, below %v", p, x, last)
			}
			last = x
		}
		if max := 40<<10 + 512*len(data); q.Size() > max {
			t.Fatalf("%d bytes take %d", len(data), q.Size())
		}
		other.Add(1)
		n := q.Len()
		if q.Merge(&other); q.Len() != n+1 {
			t.Fatalf("Len = %d after merging one number with %d", q.Len(), n)
		}
	})
}
