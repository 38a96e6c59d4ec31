// Package tally counts how long things took, for metrics and people. It is pure: the cores use it too.
package tally

import "time"

// bounds are the upper ends of the buckets but the last, which takes the rest.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond,
	100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 100 * time.Second,
	300 * time.Second, 1000 * time.Second, 3000 * time.Second,
}

// Durations is a histogram. The zero value is empty, a copy is a snapshot, and adding allocates nothing. It belongs to one goroutine at a time.
type Durations struct {
	N   uint64        // durations that were added
	Sum time.Duration // of them
	in  [len(bounds) + 1]uint64
}

// Add counts d; what is negative counts as zero.
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

// Buckets returns how many durations were at most as long as each bound, in seconds.
func (h *Durations) Buckets() map[float64]uint64 {
	out, sum := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		sum += h.in[i]
		out[b.Seconds()] = sum
	}
	return out
}

// Quantile returns an upper bound of the shortest duration that a share q of all do not exceed, to within a factor of about three; zero when
// there are none.
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
