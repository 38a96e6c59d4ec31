package dashboard

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/tally"
)

// sampler keeps numbers of the last hour: one sample every two seconds for five minutes, and one
// every 15 seconds for an hour. Functions have only the latter, and at most maxTracked of them. All
// together take at most 5 MB.
type sampler struct {
	// mu guards the fields below.
	mu        sync.Mutex
	recent    []sample // the oldest first
	hour      []sample // the oldest first
	functions map[string]*functionSamples
	// counts are the counts of all functions at the last sample of the hour: if there is no room,
	// only a function with a change gets samples.
	counts map[string]report.TaskCounts
}

// sample has the numbers of one moment. Counters count from the start of the coordinator.
type sample struct {
	at               time.Time
	attempts         int   // committed
	records, bytes   int64 // read by attempts
	jobsWaiting      int   // tasks of jobs
	submitted, ended int   // single tasks
	waiting          int   // single tasks, with delayed ones
	busy, slots      int
}

// functionSamples are the samples of a function, the last one at the same moment as the last of
// sampler.hour.
type functionSamples struct {
	points []functionSample // the oldest first
	counts report.TaskCounts
	took   tally.Durations
	idle   int // samples since the last change
}

// functionSample has what happened to a function between two samples.
type functionSample struct {
	waiting, running int32
	done, failed     float32 // per second; not a number in the first sample
	p50, p99         float32 // durations of the attempts that ended, in seconds; 0 if there were none
}

const (
	sampleEvery = 2 * time.Second
	samples     = 150
	hourEvery   = 15 * time.Second
	hourSamples = 240
	maxTracked  = 500
)

func (h *sampler) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent = appendTo(h.recent, s, samples)
}

// appendTo appends to a list of at most n elements, and drops the first one for it.
func appendTo[T any](list []T, x T, n int) []T {
	if len(list) >= n {
		list = append(list[:0], list[len(list)-n+1:]...)
	}
	return append(list, x)
}

// addHour adds a sample with the states of functions.
func (h *sampler) addHour(s sample, functions []report.Function, took map[string]tally.Durations) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := hourEvery.Seconds()
	if n := len(h.hour); n > 0 {
		since = max(s.at.Sub(h.hour[n-1].at).Seconds(), 0.001)
	}
	h.hour = appendTo(h.hour, s, hourSamples)
	if h.functions == nil {
		h.functions = map[string]*functionSamples{}
	}
	counts := make(map[string]report.TaskCounts, len(functions))
	for i := range functions {
		f := &functions[i]
		counts[f.Name] = f.Counts
		x := h.functions[f.Name]
		if x == nil && (f.Counts.Submitted == 0 || len(h.functions) >= maxTracked && (f.Counts == h.counts[f.Name] || !h.evict())) {
			continue
		}
		if x == nil {
			x = &functionSamples{counts: f.Counts, took: took[f.Name]} // what came before is in no rate
			h.functions[f.Name] = x
		}
		x.add(f, took[f.Name], since)
	}
	h.counts = counts
	for name := range h.functions {
		if _, known := counts[name]; !known {
			delete(h.functions, name)
		}
	}
}

// evict drops the samples of a function without a change in the last hour.
func (h *sampler) evict() bool {
	for name, x := range h.functions {
		if x.idle >= hourSamples {
			delete(h.functions, name)
			return true
		}
	}
	return false
}

func (x *functionSamples) add(f *report.Function, took tally.Durations, since float64) {
	p := functionSample{waiting: int32(min(f.Counts.Waiting+f.Counts.Delayed, 1<<30)), running: int32(f.Counts.Running),
		done: float32(max(float64(f.Counts.Done-x.counts.Done), 0) / since), failed: float32(max(float64(f.Counts.Failed-x.counts.Failed), 0) / since)}
	if took.N >= x.took.N {
		d := took.Since(&x.took)
		p.p50, p.p99 = float32(d.Quantile(0.5).Seconds()), float32(d.Quantile(0.99).Seconds())
	}
	if len(x.points) == 0 {
		p.done, p.failed = float32(math.NaN()), float32(math.NaN())
	}
	if x.idle++; f.Counts != x.counts {
		x.idle = 0
	}
	x.counts, x.took = f.Counts, took
	x.points = appendTo(x.points, p, hourSamples)
}

// series returns the samples to draw: the last five minutes, or the last hour once there are more
// than five minutes.
func (h *sampler) series() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.hour); n > 0 && len(h.recent) == samples && h.hour[0].at.Before(h.recent[0].at) {
		return append([]sample(nil), h.hour...)
	}
	return append([]sample(nil), h.recent...)
}

// function returns the samples of a function and the time of the last one. tracked is false if it
// has none because too many others have some.
func (h *sampler) function(name string) (points []functionSample, last time.Time, tracked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.functions[name]
	if x == nil {
		return nil, last, len(h.functions) < maxTracked
	}
	return append([]functionSample(nil), x.points...), h.hour[len(h.hour)-1].at, true
}

// functionRate is how many tasks of a function end per second, and how long its attempts take.
type functionRate struct{ ended, p50, p99 float32 }

// functionRates returns the means of the last minute.
func (h *sampler) functionRates() map[string]functionRate {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[string]functionRate, len(h.functions))
	for name, x := range h.functions {
		n := min(len(x.points)-1, int(time.Minute/hourEvery))
		var r functionRate
		for _, p := range x.points[len(x.points)-n:] {
			r.ended += (p.done + p.failed) / float32(n)
			r.p50, r.p99 = max(r.p50, p.p50), max(r.p99, p.p99)
		}
		out[name] = r
	}
	return out
}

// rates returns how much a number grew per second between samples.
func rates(all []sample, of func(s *sample) float64) []float64 {
	var out []float64
	for i := 1; i < len(all); i++ {
		a, b := &all[i-1], &all[i]
		out = append(out, max(of(b)-of(a), 0)/max(b.at.Sub(a.at).Seconds(), 0.001))
	}
	return out
}

// last returns how much a number grew per second in the last ten seconds.
func (h *sampler) last(of func(s *sample) float64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(len(h.recent), int(10*time.Second/sampleEvery)+1)
	if n < 2 {
		return 0
	}
	a, b := &h.recent[len(h.recent)-n], &h.recent[len(h.recent)-1]
	return max(of(b)-of(a), 0) / max(b.at.Sub(a.at).Seconds(), 0.001)
}

func takeSample(c *coordinator.Coordinator, server *jobserver.Server, t *taskserver.Server) sample {
	s := sample{at: time.Now()}
	for _, k := range c.Tallies() {
		s.attempts += k.Ended[0]
	}
	for _, w := range c.Workers() {
		s.busy += w.Busy()
		s.slots += w.Slots
	}
	read := server.Read()
	s.records, s.bytes = read.Records, read.Bytes
	s.jobsWaiting = c.Sums().Tasks.Waiting
	x := t.Totals()
	s.submitted, s.ended, s.waiting = x.Submitted, x.Done+x.Failed+x.Cancelled, x.Waiting+x.Delayed
	return s
}

// run takes samples until ctx ends.
func (h *sampler) run(ctx context.Context, take func() sample, functions func() ([]report.Function, map[string]tally.Durations)) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var hour time.Time // of the last sample of the hour
	for {
		s := take()
		h.add(s)
		if s.at.Sub(hour) >= hourEvery-sampleEvery/2 {
			all, took := functions()
			h.addHour(s, all, took)
			hour = s.at
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
