package mapreduce

import (
	"testing"
	"time"
)

// TestETA checks that the remaining time is never too low, however little is done.
func TestETA(t *testing.T) {
	for _, c := range []struct {
		took  time.Duration
		share float64
		want  string
	}{
		{10 * time.Second, 0.5, "  ETA 10s"},
		{10 * time.Second, 0.001, "  ETA 2h46m30s"},
		{10 * time.Second, 0, ""},
		{10 * time.Second, 1e-12, ""},
		{10 * time.Second, 0.999, ""},
		{10 * time.Second, 1, ""},
	} {
		if got := eta(c.took, c.share); got != c.want {
			t.Errorf("eta(%v, %v) = %q, want %q", c.took, c.share, got, c.want)
		}
	}
}
