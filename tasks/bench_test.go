package tasks_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

func benchCluster(b *testing.B, dir string) *tasks.Client {
	s, err := tasktest.Start(dir, "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Stop() })
	c := dial(b, s.Address)
	work(b, s.Address, func(w *tasks.Worker) {
		w.Concurrency = 64
		tasks.Handle(w, "echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	})
	if _, err := tasks.Do[[]byte](within(b), c, "echo", nil); err != nil {
		b.Fatal(err)
	}
	return c
}

// percentiles reports the median and the 99th percentile.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDo runs one task after another with a function that does nothing: client, coordinator
// and worker on loopback, in one process.
func BenchmarkDo(b *testing.B) {
	c := benchCluster(b, "")
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		begin := time.Now()
		if _, err := tasks.Do[[]byte](context.Background(), c, "echo", nil); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	percentiles(b, took)
}

// BenchmarkScatter scatters 10,000 tasks that do nothing.
func BenchmarkScatter(b *testing.B) {
	c := benchCluster(b, "")
	inputs := make([][]byte, 10_000)
	n := 0
	for b.Loop() {
		for r := range tasks.Scatter[[]byte](context.Background(), c, "echo", inputs) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkEnqueue enqueues 2,000 durable tasks of 128 bytes per second, one by one, while a worker
// runs them.
func BenchmarkEnqueue(b *testing.B) {
	c := benchCluster(b, b.TempDir())
	input := make([]byte, 128)
	var mu sync.Mutex
	var took []time.Duration
	var calls sync.WaitGroup
	const every = 500 * time.Microsecond
	for due := time.Now(); b.Loop(); due = due.Add(every) {
		if early := time.Until(due); early > 0 {
			time.Sleep(early)
		}
		calls.Go(func() {
			begin := time.Now()
			if _, err := tasks.Enqueue(context.Background(), c, "echo", input, tasks.Keep(0)); err != nil {
				b.Error(err)
			}
			mu.Lock()
			took = append(took, time.Since(begin))
			mu.Unlock()
		})
	}
	calls.Wait()
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "tasks/s")
	percentiles(b, took)
}
