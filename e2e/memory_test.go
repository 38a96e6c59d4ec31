//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestMemory sorts 200 MB within 64 MiB. The process may take that and what any program of this
// kind takes, not more.
func TestMemory(t *testing.T) {
	bytes, fixed := int64(200_000_000), int64(200<<20)
	if testing.Short() {
		bytes = 100_000_000
	}
	const budget = 64 << 20
	r := run(t, "probe", "-slots", "2", "-memory", "64MiB", "-bytes", fmt.Sprint(bytes), "sort").succeeded(t)
	if !strings.HasPrefix(r.stdout, fmt.Sprint(bytes/100, " ")) {
		t.Errorf("printed %q, want %d lines", r.stdout, bytes/100)
	}
	t.Logf("%d MB sorted within 64 MiB took %d MiB", bytes/1_000_000, r.rss>>20)
	if r.rss > budget+fixed {
		t.Errorf("%d MiB of memory at the most, want %d", r.rss>>20, (budget+fixed)>>20)
	}
}
