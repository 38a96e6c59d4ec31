package mapreduce

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// Planning prints nothing for two seconds, and then a line every five.
func TestPlanningShowsItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seconds, want := range map[time.Duration]int{1: 0, 3: 1, 8: 2} {
			var out strings.Builder
			in := &filesys.Input{}
			in.Begin("listing dataset://x", 0)
			end := showPlanning(&settings{Local: Local{Reporting: Reporting{Err: &out}}}, in)
			in.Advance(5)
			time.Sleep(seconds * time.Second)
			end()
			if got := strings.Count(out.String(), "layshaft: listing dataset://x: 5 files\n"); got != want {
				t.Errorf("%d lines after %d s, want %d: %s", got, seconds, want, out.String())
			}
		}
	})
}
