//go:build unix

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkStart starts a program of 40 MB again and again and reports how long it takes from there
// until the first attempt runs its functions, on a worker:
//
//	go test ./e2e/cluster -run '^$' -bench Start -benchtime 20x
//
// cached: the workers have the program; shipped: they are sent it, and the job is one of two. The
// metrics are the median and the most, in milliseconds.
func BenchmarkStart(b *testing.B) {
	m := startMembers(b, config{workers: 2})
	path := filepath.Join(b.TempDir(), "padded")
	pad := func(salt string) { // a new file, since the old one may still be run
		program, err := os.ReadFile(filepath.Join(binDir, "probe"))
		if err == nil {
			_ = os.Remove(path)
			padded := slices.Grow(program, 40<<20)[:40<<20]
			copy(padded[len(program):], salt)
			err = os.WriteFile(path, padded, 0o700)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	first := func() time.Duration {
		r := m.prepare("-maps", "2")
		r.program = path
		begin := time.Now()
		r.start().awaitDone()
		at := time.Now()
		for i := range 2 {
			st, err := os.Stat(filepath.Join(r.dir, "ran", fmt.Sprint("map-", i)))
			if err != nil {
				b.Fatal(err)
			}
			if t := st.ModTime(); t.Before(at) {
				at = t
			}
		}
		return at.Sub(begin)
	}
	report := func(b *testing.B, took []time.Duration) {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-most")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("cached", func(b *testing.B) {
		pad("cached")
		for begin := time.Now(); time.Since(begin) < 3*time.Second; { // the client remembers no hash of a file this young
			first()
		}
		var took []time.Duration
		for b.Loop() {
			took = append(took, first())
		}
		report(b, took)
	})
	b.Run("shipped", func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			pad(fmt.Sprint(time.Now().UnixNano()))
			took = append(took, first())
		}
		report(b, took)
	})
}
