// Package tally counts durations in a histogram, for metrics and people. It has no side effects:
// the cores use it too.
package tally

import "time"

// bounds are the upper ends of all buckets but the last, which is unbounded.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond,
	100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 100 * time.Second,
	300 * time.Second, 1000 * time.Second, 3000 * time.Second,
}

// Durations is a histogram. The zero value is empty, a copy is a snapshot, and Add allocates
// nothing. Only one goroutine may use it at a time.
type Durations struct {
	N   uint64        // number of durations added
	Sum time.Duration // their sum
	in  [len(bounds) + 1]uint64
}

// Add counts d; a negative d counts as zero.
func (h *Durations) Add(d time.Duration) {
	d = max(d, 0)
	h.N++
	h.Sum += d
	for i, b := range bounds {
		if d <= b {
			h.in[i]++
			return
		}
	}
	h.in[len(bounds)]++
}

// Since returns the durations that were added after an earlier copy of h.
func (h *Durations) Since(before *Durations) Durations {
	d := Durations{N: h.N - before.N, Sum: h.Sum - before.Sum}
	for i := range h.in {
		d.in[i] = h.in[i] - before.in[i]
	}
	return d
}

// Buckets returns the cumulative counts: how many durations were at most as long as each bound, in
// seconds.
func (h *Durations) Buckets() map[float64]uint64 {
	out, sum := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		sum += h.in[i]
		out[b.Seconds()] = sum
	}
	return out
}

// Quantile returns an upper bound for the q-quantile, the shortest duration that a share q of all
// durations do not exceed. The bound is within a factor of about three. It is zero when there are
// no durations.
func (h *Durations) Quantile(q float64) time.Duration {
	want, sum := uint64(q*float64(h.N)), uint64(0)
	for i, b := range bounds {
		if sum += h.in[i]; sum > 0 && sum >= want {
			return b
		}
	}
	if h.N == 0 {
		return 0
	}
	return bounds[len(bounds)-1]
}
