package aggr

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// TestFloatSums compares sums with exact rational numbers.
func TestFloatSums(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		spread := []int{1, 30, 80, 300, 2046}[r.IntN(5)]
		base := r.IntN(2047 - min(spread, 2046))
		v := vec.New(vec.Of(vec.Float), r.IntN(60))
		want := new(big.Rat)
		for i := range v.Floats {
			x := math.Float64frombits(r.Uint64()&(1<<63|mantissa) | uint64(base+r.IntN(spread))<<52)
			if i > 0 && r.IntN(4) == 0 {
				x = -v.Floats[r.IntN(i)]
			}
			v.Floats[i] = x
			want.Add(want, new(big.Rat).SetFloat64(x))
		}
		s := &floatSums{}
		s.Resize(3)
		var states []byte
		half := v.Len / 2
		a, b := &vec.Vec{Type: v.Type, Floats: v.Floats[:half]}, &vec.Vec{Type: v.Type, Floats: v.Floats[half:]}
		if err := s.AddAll(0, []*vec.Vec{a}, half); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(make([]uint32, v.Len-half), []*vec.Vec{b}); err != nil {
			t.Fatal(err)
		}
		states = s.AppendState(states, 0)
		if _, err := s.MergeState(1, states); err != nil {
			t.Fatal(err)
		}
		got, err := s.Result(0, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Null(2) || v.Len > 0 && got.Null(0) {
			t.Fatalf("seed %d: NULL is wrong: %v", seed, got.Nulls)
		}
		exact, _ := want.Float64()
		if v.Len > 0 && (got.Floats[0] != exact || got.Floats[1] != exact) {
			t.Fatalf("seed %d: sum = %v, merged %v, want %v", seed, got.Floats[0], got.Floats[1], exact)
		}
	}
}

// TestIntSums compares sums and averages of integers and decimals with big integers.
func TestIntSums(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		v := vec.New(vec.DecimalOf(38, 3), 1+r.IntN(30))
		want := new(big.Int)
		small := r.IntN(2) == 0
		for i := range v.Ints {
			v.Ints[i] = int64(r.Uint64())
			if small {
				v.Ints[i] >>= r.IntN(64)
			}
		}
		if r.IntN(2) == 0 {
			v.Widen()
			for i := range v.Wide {
				v.Wide[i].Hi = r.Int64N(1<<62) - 1<<61
			}
		}
		for i := range v.Len {
			want.Add(want, v.Int128(i).Big())
		}
		sum, avg := &intSums{f: &Func{Result: v.Type}}, &intSums{f: &Func{Result: vec.Of(vec.Float)}, scale: 3}
		for _, s := range []*intSums{sum, avg} {
			s.Resize(1)
			if err := s.AddAll(0, []*vec.Vec{v}, v.Len); err != nil {
				t.Fatal(err)
			}
		}
		got, err := sum.Result(0, 1)
		limit := vec.Pow10(38).Big()
		if fits := new(big.Int).Abs(want).Cmp(limit) < 0; fits != (err == nil) || fits && got.Int128(0).Big().Cmp(want) != 0 {
			t.Fatalf("seed %d: sum = %v, %v, want %v", seed, got, err, want)
		}
		mean, err := avg.Result(0, 1)
		exact, _ := new(big.Rat).SetFrac(want, big.NewInt(int64(1000*v.Len))).Float64()
		if err != nil || mean.Floats[0] != exact {
			t.Fatalf("seed %d: avg = %v, %v, want %v", seed, mean, err, exact)
		}
	}
}
