package gearman

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// BenchmarkListing lists a million jobs, again and again, and measures how long another connection waits for its answers meanwhile:
// max-wait-ms is the longest, max-idle-ms that without a listing for as long. It goes over real sockets, in a loop and with goroutines.
func BenchmarkListing(b *testing.B) {
	const jobs = 1_000_000
	for _, broker := range []struct {
		name string
		new  func() runner
	}{
		{"memory", func() runner { return NewMemory() }},
		{"core", func() runner { return NewQueued(queue.New(queue.Config{}), QueuedConfig{}) }},
	} {
		m := broker.new()
		m.Lock()
		s := m.Attach(silent{})
		for range jobs {
			if _, _, err := s.Submit(Submission{Function: []byte("queued"), Data: make([]byte, 128), Background: true, Keep: true}); err != nil {
				b.Fatal(err)
			}
		}
		m.Unlock()
		for _, alone := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/alone=%v", broker.name, alone), func(b *testing.B) {
				addr := startTCP(b, m, func(s *Server) { s.alone = alone })
				lister, other := dialTCP(b, addr), dialTCP(b, addr)
				lister.SetDeadline(time.Time{})
				other.SetDeadline(time.Time{})
				var wait, idle time.Duration
				for b.Loop() {
					start := time.Now()
					done := make(chan error)
					go func() {
						_, err := lister.Write([]byte("show jobs\n"))
						for line := ""; err == nil && line != ".\n"; {
							line, err = lister.r.ReadString('\n')
						}
						done <- err
					}()
					wait = max(wait, longestWait(b, other, done))
					b.StopTimer()
					time.AfterFunc(time.Since(start), func() { done <- nil })
					idle = max(idle, longestWait(b, other, done))
					b.StartTimer()
				}
				b.ReportMetric(float64(wait.Microseconds())/1000, "max-wait-ms")
				b.ReportMetric(float64(idle.Microseconds())/1000, "max-idle-ms")
			})
		}
	}
}

// longestWait asks for answers until done, and returns how long the slowest took.
func longestWait(b *testing.B, c *client, done chan error) (longest time.Duration) {
	for {
		select {
		case err := <-done:
			if err != nil && err != io.EOF {
				b.Fatal(err)
			}
			return longest
		default:
		}
		start := time.Now()
		c.ask(b, SubmitJobBG, "other", "", "x")
		if _, err := c.answer(); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(start))
	}
}
