package replica

import (
	"fmt"
	"testing"
)

// BenchmarkJournal appends events of 100 bytes to the journal of three members in one process, each
// with its own log on the disk. A coordinator appends what has arrived during the last append.
func BenchmarkJournal(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := startGroup(b, 3)
			_, lead := g.leader()
			j, err := OpenJournal(lead)
			if err != nil {
				b.Fatal(err)
			}
			events := make([][]byte, n)
			for i := range events {
				events[i] = make([]byte, 100)
			}
			for b.Loop() {
				if _, err := j.Append(b.Context(), events...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
