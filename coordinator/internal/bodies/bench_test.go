package bodies

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// shell joins the core and the store as a coordinator does.
type shell struct {
	mu sync.Mutex // guards q, and the batch of s
	q  *queue.Queue
	s  *Store
}

func (x *shell) step(now time.Time, ev queue.Event, payload []byte) (cmds []queue.Command, commit uint64) {
	cmds = x.q.Step(now, ev)
	for i := range cmds {
		c := &cmds[i]
		switch {
		case c.Op == queue.Write && c.Key[0] == 't':
			x.s.WriteTask(uint64(c.Task), c.Key, c.Value, payload)
		case c.Op == queue.Write:
			x.s.Write(c.Key, c.Value)
		case c.Op == queue.Keep:
			x.s.Keep(Input, uint64(c.Task), payload)
		case c.Op == queue.Drop && c.N == 1 && c.M == 1:
			x.s.Drop(uint64(c.Task), true, key('t', Input, uint64(c.Task)), key('u', Input, uint64(c.Task)))
		case c.Op == queue.Drop && c.N == 1:
			x.s.Drop(uint64(c.Task), false, key('t', Input, uint64(c.Task)))
		case c.Op == queue.Drop:
			x.s.Drop(uint64(c.Task), false)
		}
	}
	return cmds, x.s.Commit()
}

// BenchmarkDurable submits tasks of 128 bytes from many clients, each of which waits until its task
// is durable.
func BenchmarkDurable(b *testing.B) {
	for _, clients := range []int{8, 64, 256, 800} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var mu sync.Mutex
			cond := sync.NewCond(&mu)
			done := uint64(0)
			s, stop := run(b, b.TempDir(), Options{Reserve: -1, Committed: func(n uint64) {
				mu.Lock()
				done = n
				mu.Unlock()
				cond.Broadcast()
			}})
			defer stop()
			x := &shell{q: queue.New(queue.Config{}), s: s}
			payload := make([]byte, 128)
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					ev := &queue.Submit{Function: "f", Size: 128, Durable: true}
					for range b.N/clients + 1 {
						x.mu.Lock()
						_, n := x.step(time.Now(), ev, payload)
						x.mu.Unlock()
						mu.Lock()
						for done < n {
							cond.Wait()
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

func run(b testing.TB, dir string, opt Options) (s *Store, stop func()) {
	committed := opt.Committed
	s, _, stop = open(b, dir, opt)
	if committed != nil {
		s.opt.Committed = committed
	}
	return s, stop
}

// rss returns the resident memory of this process in MB, without pages of files, which the system
// takes back when it needs them.
func rss() float64 {
	debug.FreeOSMemory()
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	kb, _ := strconv.Atoi(strings.Fields(rest)[0])
	return float64(kb) / 1024
}

// BenchmarkMillion queues a million tasks of 128 bytes with unique keys of 36 bytes, and reports
// memory, rates, and for durable ones how long a restart takes.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	for _, durable := range []bool{false, true} {
		b.Run(fmt.Sprintf("durable=%v", durable), func(b *testing.B) {
			for b.Loop() {
				before := rss()
				dir := ""
				opt := Options{}
				if durable {
					dir = b.TempDir()
				}
				s, stop := run(b, dir, opt)
				x := &shell{q: queue.New(queue.Config{}), s: s}
				now := time.Now()
				payload := make([]byte, 128+36)
				begin := time.Now()
				ev := &queue.Submit{Function: "f", Size: len(payload), Durable: durable}
				for i := range n {
					strconv.AppendInt(payload[:128], int64(i), 10)
					ev.Unique = queue.KeyOf(payload[128:])
					for i%1000 == 0 && s.CheckRoom(1<<10) != nil {
						time.Sleep(time.Millisecond)
					}
					x.step(now, ev, payload)
				}
				b.ReportMetric(n/time.Since(begin).Seconds(), "submits/s")
				if durable {
					time.Sleep(3 * time.Second) // Badger tidies up
				}
				b.ReportMetric(rss()-before, "MB")
				if durable {
					stop()
					x.q = nil
					before = rss()
					begin = time.Now()
					s, stop = run(b, dir, opt)
					b.ReportMetric(time.Since(begin).Seconds(), "open-s")
					x.s, x.q = s, queue.New(queue.Config{})
					if err := s.Restore(x.q.Restore); err != nil {
						b.Fatal(err)
					}
					x.step(now, queue.Restarted{}, nil)
					b.ReportMetric(time.Since(begin).Seconds(), "restart-s")
					b.ReportMetric(rss()-before, "MB-restarted")
				}
				x.step(now, &queue.CanDo{Peer: 1, Function: "f"}, nil)
				begin = time.Now()
				grab, done := &queue.Grab{Peer: 1}, &queue.Report{Peer: 1, Notice: queue.Done}
				var body []byte
				drained := 0
				for {
					cmds, _ := x.step(now, grab, nil)
					if cmds[0].Op != queue.Assign {
						break
					}
					done.Task = cmds[0].Task
					var err error
					if body, err = s.Get(body[:0], Input, uint64(done.Task)); err != nil || len(body) != len(payload) {
						b.Fatal(err)
					}
					for drained++; drained%1000 == 0 && s.CheckRoom(1<<10) != nil; {
						time.Sleep(time.Millisecond)
					}
					x.step(now, done, nil)
				}
				if drained != n {
					b.Fatalf("%d drained", drained)
				}
				b.ReportMetric(n/time.Since(begin).Seconds(), "drained/s")
				stop()
			}
		})
	}
}
