package mapreduce

import (
	"strings"
	"testing"
	"time"
)

// TestEven checks that parts have about the wanted size, and that their number is a multiple of
// four. Then neither two nor four slots leave a last part alone.
func TestEven(t *testing.T) {
	for _, c := range []struct {
		input int64
		want  int
	}{{0, 4}, {1, 4}, {512 << 20, 4}, {512<<20 + 1, 8}, {1 << 30, 8}, {1_070_000_000, 8}, {1 << 50, 4096}} {
		if got := evenPartitions(c.input, 128<<20); got != c.want {
			t.Errorf("evenPartitions(%d, 128 MiB) = %d, want %d", c.input, got, c.want)
		}
	}
}

func TestShortened(t *testing.T) {
	a, b := strings.Repeat("a", 60), strings.Repeat("b", 60)
	for in, want := range map[string]string{
		`textio.Lines("a", "b", "c", "d")`:                               `textio.Lines("a", "b", "c", "d")`,
		`textio.Lines("` + a + `", "` + b + `", "c", "d")`:               `textio.Lines("` + a + `", ... 2 more ..., "d")`,
		`textio.Lines("` + strings.Repeat("one long pattern", 10) + `")`: `textio.Lines("` + strings.Repeat("one long pattern", 10) + `")`,
	} {
		if got := shortened(in); got != want {
			t.Errorf("shortened(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestExplainTime(t *testing.T) {
	for _, c := range []struct {
		items int64
		each  time.Duration
		slots int
		want  string
	}{
		{30_000_000, 13_400, 2, "estimate: 30000000 items x 13.4µs = 6m42s of work; / 2 slots = 3m21s, if all slots stay busy (149254 items/s)\n"},
		{30_000_000, 864 * time.Millisecond, 600, "estimate: 30000000 items x 864ms = 300.0 days of work; / 600 slots = 12h0m0s, if all slots stay busy (694 items/s)\n"},
		{1, time.Millisecond, 1, "estimate: 1 item x 1ms = 0.001s of work; / 1 slot = 0.001s, if all slots stay busy (1000 items/s)\n"},
		{0, time.Second, 2, ""},
		{5, 0, 2, ""},
	} {
		var out strings.Builder
		explainTime(&out, c.items, c.each, c.slots)
		if got := out.String(); got != c.want {
			t.Errorf("%d x %s / %d: %q, want %q", c.items, c.each, c.slots, got, c.want)
		}
	}
}
