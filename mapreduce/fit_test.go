package mapreduce

import (
	"testing"

	"github.com/layshaft/layshaft/internal/report"
)

// TestFitZones checks that a tier of zones is planned only if there are several zones, and one of
// them has several workers.
func TestFitZones(t *testing.T) {
	for _, c := range []struct {
		zones []string
		want  int
	}{
		{[]string{"", "", ""}, 0},
		{[]string{"a", "a", "a"}, 0},
		{[]string{"a", "b", "c"}, 0}, // the tier of workers has merged it already
		{[]string{"a", "a", ""}, 0},
		{[]string{"a", "a", "b"}, 2},
		{[]string{"b", "", "", "a"}, 3},
	} {
		var workers []report.Worker
		for _, z := range c.zones {
			workers = append(workers, report.Worker{Zone: z, Slots: 2, Memory: 1 << 20})
		}
		target := settings{zones: 7}
		if target.fit(workers); target.zones != c.want || target.Workers != len(workers) || target.Slots != 2*len(workers) {
			t.Errorf("zones %q: %d to merge by, want %d (%d workers, %d slots)", c.zones, target.zones, c.want, target.Workers, target.Slots)
		}
	}
}
