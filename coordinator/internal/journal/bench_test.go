package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// BenchmarkAppend measures Append with one event of 200 bytes per call, from many concurrent
// callers. Compare its events/s with the cost of one sync in BenchmarkOneSync.
func BenchmarkAppend(b *testing.B) {
	event := make([]byte, 200)
	for _, noSync := range []bool{false, true} {
		for _, writers := range []int{1, 8, 64, 256} {
			name := fmt.Sprintf("sync=%v/writers=%d", !noSync, writers)
			b.Run(name, func(b *testing.B) {
				j := open(b, b.TempDir(), Options{NoSync: noSync})
				var left atomic.Int64
				left.Store(int64(b.N))
				done := make(chan error)
				b.ResetTimer()
				for range writers {
					go func() {
						for left.Add(-1) >= 0 {
							if _, err := j.Append(b.Context(), event); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range writers {
					if err := <-done; err != nil {
						b.Error(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkOneSync measures the time of the disk to write 200 bytes and sync.
func BenchmarkOneSync(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	event := make([]byte, 200)
	b.ResetTimer()
	for i := range b.N {
		if _, err := file.WriteAt(event, int64(i)*200); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay measures the replay of a million events of 200 bytes, as after a restart.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Options{NoSync: true})
	events := make([][]byte, 1000)
	for i := range events {
		events[i] = make([]byte, 200)
	}
	for range 1000 {
		if _, err := j.Append(b.Context(), events...); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(200e6)
	for b.Loop() {
		if err := j.Replay(func(uint64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen measures opening and closing an empty journal.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		j, err := Open(dir, Options{})
		if err == nil {
			err = j.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
