package sketch

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// TestApproxSetError draws many sets around and above the exact range: the counts must be as near
// as promised.
func TestApproxSetError(t *testing.T) {
	for _, n := range []int{1, 500, approxExact, approxExact + 1, 2000, 30_000} {
		var squares float64
		const rounds = 8
		for round := range rounds {
			var s ApproxSet[int]
			for i := range n {
				s.Add(round<<32 + i)
			}
			off := float64(s.Len()-n) / float64(n)
			if n <= approxExact && off != 0 || math.Abs(off) > 0.03 {
				t.Errorf("%d distinct: counted %d", n, s.Len())
			}
			squares += off * off
		}
		if rms := math.Sqrt(squares / rounds); rms > 0.015 {
			t.Errorf("%d distinct: root mean square error %.2f %%", n, 100*rms)
		}
	}
}

// TestApproxSetMerge splits one stream in any way, with moves through the encoding: the result must
// be the same bytes.
func TestApproxSetMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 10, approxExact - 1, approxExact, approxExact + 1, 3000}).Draw(t, "n")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var whole ApproxSet[string]
		parts := make([]ApproxSet[string], 4)
		for i := range n {
			s := strconv.Itoa(i)
			whole.Add(s)
			parts[r.IntN(4)].Add(s)
			parts[r.IntN(4)].Add(s)
		}
		want, _ := whole.AppendBinary(nil)
		for len(parts) > 1 {
			i := r.IntN(len(parts) - 1)
			parts[i].Merge(&parts[i+1])
			parts = append(parts[:i+1], parts[i+2:]...)
			b, err := parts[i].AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			parts[i] = ApproxSet[string]{}
			if err := parts[i].UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if s := parts[i].Size(); s > 17<<10 {
				t.Fatalf("Size = %d", s)
			}
		}
		if got, _ := parts[0].AppendBinary(nil); !bytes.Equal(got, want) {
			t.Fatalf("merged set of %d differs", n)
		}
		if n <= approxExact && parts[0].Len() != n {
			t.Fatalf("Len = %d, want %d", parts[0].Len(), n)
		}
	})
}

// TestApproxSetHash holds the hashes still: sets that were encoded by another process, or an
// earlier build, must merge.
func TestApproxSetHash(t *testing.T) {
	type pair struct {
		A string
		B int32
	}
	var s ApproxSet[string]
	var i ApproxSet[int8]
	var p ApproxSet[pair]
	s.Add("layshaft")
	i.Add(-7)
	p.Add(pair{"layshaft", 7})
	for _, c := range []struct {
		enc  func([]byte) ([]byte, error)
		want string
	}{
		{s.AppendBinary, "\x00\xf4\xf7\xbd\xab\x8d\u07b7\xc1w"},
		{i.AppendBinary, "\x00\xfe\x9d\xf6\xaf\x9f\u0123\xefB"},
		{p.AppendBinary, "\x00\x9b\xea\u0701\xa4\u0312\xb5\xa2\x01"},
	} {
		if b, err := c.enc(nil); err != nil || string(b) != c.want {
			t.Errorf("encoding is %+q, %v, want %+q", b, err, c.want)
		}
	}
}

func FuzzApproxSet(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 5, 1, 0x80, 1})
	f.Add(append([]byte{1}, make([]byte, approxRegs)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, other ApproxSet[string]
		if s.UnmarshalBinary(data) != nil {
			return
		}
		if again, err := s.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q becomes %q, %v", data, again, err)
		}
		other.Add("x")
		s.Merge(&other)
		if s.Len() < 0 || s.Size() > 32<<10 {
			t.Fatalf("Len = %d, Size = %d", s.Len(), s.Size())
		}
	})
}
