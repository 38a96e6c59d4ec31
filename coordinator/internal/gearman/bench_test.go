package gearman_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
)

// BenchmarkSubmit measures a background submit from the parsed packet to the queue in memory.
func BenchmarkSubmit(b *testing.B) {
	s := &gearman.Server{Listener: newPipeListener(), Broker: newBroker(b, desk.Config{}, desk.BrokerConfig{}), HandlePrefix: "H:x"}
	feed, err := s.Feeder()
	if err != nil {
		b.Fatal(err)
	}
	one := gearman.RequestPacket(gearman.SubmitJobBG, []byte("function"), nil, make([]byte, 128))
	var batch []byte
	for range 50 {
		batch = append(batch, one...)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for i := 0; i < b.N; i += 50 {
		if err := feed(batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListing lists a million jobs repeatedly, and measures the longest wait of another
// connection for an answer: max-wait-ms during a listing, max-idle-ms without one. It uses real
// sockets, with loops and with goroutines.
func BenchmarkListing(b *testing.B) {
	const jobs = 1_000_000
	broker := newBroker(b, desk.Config{}, desk.BrokerConfig{})
	broker.Lock()
	s := broker.Attach(silent{})
	for range jobs {
		if _, _, err := s.Submit(gearman.Submission{Function: []byte("queued"), Data: make([]byte, 128), Background: true}); err != nil {
			b.Fatal(err)
		}
	}
	broker.Unlock()
	for _, alone := range []bool{false, true} {
		b.Run(fmt.Sprintf("alone=%v", alone), func(b *testing.B) {
			addr := startTCP(b, broker, func(s *gearman.Server) {
				if alone {
					s.ServeAlone()
				}
			})
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

// longestWait sends requests until done, and returns the longest time to an answer.
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
		c.ask(b, gearman.SubmitJobBG, "other", "", "x")
		if _, err := c.answer(); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(start))
	}
}
