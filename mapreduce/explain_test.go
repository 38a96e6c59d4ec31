package mapreduce

import (
	"strings"
	"testing"
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
