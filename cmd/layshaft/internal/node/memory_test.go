package node

import "testing"

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 100}, {4 << 20, 100}, {48 << 20, 100}, {96 << 20, 50}, {192 << 20, 25}, {4 << 30, 10}} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("gcPercent(%d MiB) = %d, want %d", tt.live>>20, got, tt.want)
		}
	}
}
