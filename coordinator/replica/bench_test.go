package replica

import (
	"crypto/rand"
	"encoding/binary"
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

// BenchmarkPropose replicates batches of tasks, 4 at a time, to three members in one process, each
// with its own log and database on the disk. It is what a task costs without clients and the desk.
func BenchmarkPropose(b *testing.B) {
	for _, c := range []struct {
		tasks, size int
		ending      string // whether the tasks end soon
	}{{20, 400, ""}, {64, 400, ""}, {16, 16 << 10, ""}, {16, 16 << 10, "-ended"}} {
		b.Run(fmt.Sprintf("%dx%d%s", c.tasks, c.size, c.ending), func(b *testing.B) {
			g := startGroup(b, 3)
			_, lead := g.leader()
			body := make([]byte, c.size)
			_, _ = rand.Read(body)
			id := uint64(0)
			var open []Pending
			for b.Loop() {
				x := NewBatch(Tasks)
				for range c.tasks {
					id++
					x.Set(binary.BigEndian.AppendUint64([]byte{'t'}, id), body)
					if before := id - uint64(8*c.tasks); c.ending != "" && before <= id {
						x.Delete(binary.BigEndian.AppendUint64([]byte{'t'}, before))
					}
				}
				if open = append(open, lead.Propose(x)); len(open) < 4 {
					continue
				}
				if err := open[0].Decided(b.Context()); err != nil {
					b.Fatal(err)
				}
				open = open[1:]
			}
			b.ReportMetric(float64(c.tasks)*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}
