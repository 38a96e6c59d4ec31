package loop_test

import (
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce/loop"
)

// TestOnCluster runs a loop on workers, which build the plan of each step from another place.
func TestOnCluster(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := layshafttest.Start(t, 2, layshafttest.Dataset("loops", func(worker int) string { return []string{dir + ":rw", ""}[worker] }))
		end, err := halve.Iterate(t.Context(), c.Target(), "dataset://loops/work", 20, 8, below(100))
		if want := (loop.End{Steps: 2, Done: true}); err != nil || end != want {
			t.Errorf("%+v, %v, want %+v", end, err, want)
		}
	})
}
