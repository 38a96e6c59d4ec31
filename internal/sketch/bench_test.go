package sketch

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// brands returns n names of 4 to 17 bytes, and draws of them that follow Zipf's law.
func brands(names, draws int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 1, uint64(names-1))
	all := make([]string, names)
	for i := range all {
		all[i] = fmt.Sprintf("brand-%d-%s", i, "abcdefg"[:r.IntN(7)])[r.IntN(3):]
	}
	out := make([]string, draws)
	for i := range out {
		out[i] = all[z.Uint64()]
	}
	return out
}

func BenchmarkSet(b *testing.B) {
	const groups = 800
	keys := brands(5000, 1<<20)
	b.Run("string", func(b *testing.B) {
		var s Set[string]
		for i := 0; b.Loop(); i++ {
			s.Add(keys[i&(1<<20-1)])
		}
	})
	b.Run("map", func(b *testing.B) {
		s := map[string]struct{}{}
		for i := 0; b.Loop(); i++ {
			s[keys[i&(1<<20-1)]] = struct{}{}
		}
	})
	b.Run("string,800 groups", func(b *testing.B) {
		sets := make([]Set[string], groups)
		for i := 0; b.Loop(); i++ {
			sets[i*7919%groups].Add(keys[i&(1<<20-1)])
		}
	})
	b.Run("map,800 groups", func(b *testing.B) {
		sets := make([]map[string]struct{}, groups)
		for i := range sets {
			sets[i] = map[string]struct{}{}
		}
		for i := 0; b.Loop(); i++ {
			sets[i*7919%groups][keys[i&(1<<20-1)]] = struct{}{}
		}
	})
	b.Run("int64", func(b *testing.B) {
		var s Set[int64]
		for i := 0; b.Loop(); i++ {
			s.Add(int64(len(keys[i&(1<<20-1)])) << (i & 7))
		}
	})
	type pair struct {
		Brand string
		Year  int32
	}
	b.Run("struct", func(b *testing.B) {
		var s Set[pair]
		for i := 0; b.Loop(); i++ {
			s.Add(pair{keys[i&(1<<20-1)], int32(i & 7)})
		}
	})
	var full Set[string]
	for _, k := range keys {
		full.Add(k)
	}
	b.Run("encode", func(b *testing.B) {
		var dst []byte
		for b.Loop() {
			dst, _ = full.AppendBinary(dst[:0])
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(full.Len()), "ns/key")
		b.ReportMetric(float64(full.Size())/float64(full.Len()), "B/key")
	})
	enc, _ := full.AppendBinary(nil)
	b.Run("decode and merge", func(b *testing.B) {
		for b.Loop() {
			var x, y Set[string]
			if x.UnmarshalBinary(enc) != nil || y.UnmarshalBinary(enc) != nil {
				b.Fatal("decode")
			}
			x.Merge(&y)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(2*full.Len()), "ns/key")
	})
}

// BenchmarkDistinct fills a set with a million different keys and encodes it.
func BenchmarkDistinct(b *testing.B) {
	const keys = 1 << 20
	perKey := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keys), "ns/key")
	}
	b.Run("int64", func(b *testing.B) {
		for b.Loop() {
			var s Set[int64]
			for i := range int64(keys) {
				s.Add(i * 48271 % 15_485_863)
			}
			_, _ = s.AppendBinary(nil)
		}
		perKey(b)
	})
	b.Run("string", func(b *testing.B) {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf("SKU-%08d", i*48271%15_485_863)
		}
		for b.Loop() {
			var s Set[string]
			for _, k := range names {
				s.Add(k)
			}
			_, _ = s.AppendBinary(nil)
		}
		perKey(b)
	})
}

func BenchmarkApproxSet(b *testing.B) {
	keys := brands(500_000, 1<<20)
	b.Run("sparse", func(b *testing.B) {
		var s ApproxSet[string]
		for i := 0; b.Loop(); i++ {
			s.Add(keys[i&511])
		}
	})
	b.Run("dense", func(b *testing.B) {
		var s ApproxSet[string]
		for i := 0; b.Loop(); i++ {
			s.Add(keys[i&(1<<20-1)])
		}
	})
}

func BenchmarkQuantiles(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	xs := make([]float64, 1<<12)
	for i := range xs {
		xs[i] = r.ExpFloat64() * 100
	}
	var q Quantiles
	for i := 0; b.Loop(); i++ {
		q.Add(xs[i&(1<<12-1)])
	}
	b.ReportMetric(float64(q.Size()), "B")
}
