package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/taskserver"
)

// sampler keeps some numbers of the last minutes, with one sample every few seconds.
type sampler struct {
	// mu guards the fields below.
	mu      sync.Mutex
	samples []sample // the oldest first
}

type sample struct {
	at               time.Time
	attempts, busy   int // committed since the start; slots busy now
	submitted, ended int // single tasks
	waiting, slots   int
}

const (
	sampleEvery = 2 * time.Second
	samples     = 150
)

func (h *sampler) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == samples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
}

// rates returns how much a number grew per second between samples.
func (h *sampler) rates(of func(s *sample) int) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []float64
	for i := 1; i < len(h.samples); i++ {
		a, b := &h.samples[i-1], &h.samples[i]
		out = append(out, max(float64(of(b)-of(a)), 0)/max(b.at.Sub(a.at).Seconds(), 0.001))
	}
	return out
}

// last returns the mean of the last ten seconds.
func last(rates []float64) float64 {
	n := min(len(rates), int(10*time.Second/sampleEvery))
	sum := 0.0
	for _, r := range rates[len(rates)-n:] {
		sum += r
	}
	return sum / float64(max(n, 1))
}

func takeSample(c *coordinator.Coordinator, t *taskserver.Server) sample {
	s := sample{at: time.Now()}
	for _, k := range c.Tallies() {
		s.attempts += k.Ended[0]
	}
	for _, w := range c.Workers() {
		s.busy += w.Busy()
		s.slots += w.Slots
	}
	x := t.Totals()
	s.submitted, s.ended, s.waiting = x.Submitted, x.Done+x.Failed+x.Cancelled, x.Waiting
	return s
}

func (h *sampler) run(ctx context.Context, take func() sample) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	h.add(take())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.add(take())
		}
	}
}
