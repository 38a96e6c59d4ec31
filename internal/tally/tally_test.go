package tally

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	var h Durations
	if h.Quantile(0.5) != 0 {
		t.Errorf("the median of nothing is %v", h.Quantile(0.5))
	}
	for _, d := range []time.Duration{-time.Second, time.Millisecond, 2 * time.Millisecond, 2 * time.Second, 24 * time.Hour} {
		h.Add(d)
	}
	b := h.Buckets()
	for _, x := range []struct {
		bound float64
		want  uint64
	}{{0.0001, 1}, {0.001, 2}, {0.003, 3}, {1, 3}, {3, 4}, {3000, 4}} {
		if b[x.bound] != x.want {
			t.Errorf("%d durations up to %v s, want %d", b[x.bound], x.bound, x.want)
		}
	}
	if h.N != 5 || h.Sum != 24*time.Hour+2*time.Second+3*time.Millisecond {
		t.Errorf("%d durations, %v in all", h.N, h.Sum)
	}
	for q, want := range map[float64]time.Duration{0: 100 * time.Microsecond, 0.5: time.Millisecond, 0.7: 3 * time.Millisecond, 1: 3000 * time.Second} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { h.Add(time.Second) }); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}
