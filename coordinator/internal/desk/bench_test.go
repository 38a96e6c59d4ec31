package desk

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/coordinator/internal/gearman"
)

// silent is a connection that ignores everything.
type silent struct{}

func (silent) Wake()                 {}
func (silent) Update(gearman.Update) {}
func (silent) Durable(uint64)        {}

// BenchmarkDurable submits tasks of 128 bytes from many clients. Each client waits until its task
// is durable.
func BenchmarkDurable(b *testing.B) {
	for _, clients := range []int{8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			d := open(b, Config{Dir: b.TempDir(), Reserve: -1})
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					x := Submission{Function: "f", Input: make([]byte, 128), Durable: true, Background: true}
					for range b.N/clients + 1 {
						d.Lock()
						n, err := d.Submit(nil, &x)
						d.Unlock()
						if err == nil {
							err = d.Durable(context.Background(), n.Batch)
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// BenchmarkBroker submits jobs, and then grabs and completes them, 100 per lock.
func BenchmarkBroker(b *testing.B) {
	for _, unique := range []bool{false, true} {
		for _, dir := range []bool{false, true} {
			b.Run(fmt.Sprintf("unique=%v/dir=%v", unique, dir), func(b *testing.B) {
				cfg := Config{Reserve: -1}
				if dir {
					cfg.Dir = b.TempDir()
				}
				d := open(b, cfg)
				q := NewBroker(d, BrokerConfig{Memory: true})
				q.Lock()
				s := q.Attach(silent{})
				s.CanDo([]byte("f"), 0)
				q.Unlock()
				sub := gearman.Submission{Function: []byte("f"), Data: make([]byte, 128), Background: true}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%100 == 0 {
						q.Lock()
					}
					if unique {
						sub.Unique = fmt.Appendf(sub.Unique[:0], "%036d", i)
					}
					if _, _, err := s.Submit(sub); err != nil {
						b.Fatal(err)
					}
					j, ok := s.Grab()
					if !ok {
						b.Fatal("no job")
					}
					if err := s.Work(gearman.Update{ID: j.ID, Kind: gearman.WorkComplete}); err != nil {
						b.Fatal(err)
					}
					if i%100 == 99 {
						q.Unlock()
					}
				}
			})
		}
	}
}
