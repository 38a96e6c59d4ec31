package shuffle

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
)

func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		for _, dense := range []bool{false, true} {
			b.Run(fmt.Sprintf("sync=%v/dense=%v", sync, dense), func(b *testing.B) {
				s := open(b, b.TempDir(), Options{Sync: sync})
				data := block(newRand(), 64<<10, dense)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				w := create(b, s, attempt("j", 0, 1))
				n := 0
				for b.Loop() {
					if err := w.Append(0, 0, n%8192/1024, data, 100, nil); err != nil {
						b.Fatal(err)
					}
					if n++; n%8192 == 0 { // 512 MiB per attempt
						seal(b, w)
						if err := s.Drop(attempt("j", n/8192-1, 1)); err != nil {
							b.Fatal(err)
						}
						w = create(b, s, attempt("j", n/8192, 1))
					}
				}
				seal(b, w)
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, dense := range []bool{false, true} {
		b.Run(fmt.Sprintf("dense=%v", dense), func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			data := block(newRand(), 64<<10, dense)
			w := create(b, s, attempt("j", 0, 1))
			for i := range 4096 {
				if err := w.Append(0, 0, i/256, data, 100, nil); err != nil {
					b.Fatal(err)
				}
			}
			m := seal(b, w)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			part, r := 0, s.Runs(m, 0, 0)[0]
			for b.Loop() {
				_, err := r.Next()
				if err == io.EOF {
					part = (part + 1) % 16
					r = s.Runs(m, 0, part)[0]
				} else if err != nil {
					b.Fatal(err)
				}
			}
			_ = r.Close()
		})
	}
}

// BenchmarkSeal writes one attempt with 100 partitions. The smaller size is stored inline, the
// larger in a segment.
func BenchmarkSeal(b *testing.B) {
	for _, sync := range []bool{false, true} {
		for _, writers := range []int{1, 16} {
			for _, bytes := range []int{100, 600, 3000} {
				b.Run(fmt.Sprintf("sync=%v/writers=%d/bytes=%d", sync, writers, bytes*100), func(b *testing.B) {
					s := open(b, b.TempDir(), Options{Sync: sync})
					data := block(newRand(), bytes, true)
					var n atomic.Int64
					b.SetParallelism(max(1, writers/2))
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							w := create(b, s, attempt("j", int(n.Add(1)), 1))
							for part := range 100 {
								if err := w.Append(0, 0, part, data, 10, nil); err != nil {
									b.Error(err)
								}
							}
							seal(b, w)
						}
					})
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seals/s")
				})
			}
		}
	}
}

// BenchmarkReadSmall reads one inline extent of 1 KiB.
func BenchmarkReadSmall(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	var ms []*job.Manifest
	data := block(newRand(), 1<<10, true)
	for i := range 100 {
		w := create(b, s, attempt("j", i, 1))
		for part := range 200 {
			if err := w.Append(0, 0, part, data, 10, nil); err != nil {
				b.Fatal(err)
			}
		}
		ms = append(ms, seal(b, w))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := s.Runs(ms[i%100], 0, i/100%200)[0]
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}
