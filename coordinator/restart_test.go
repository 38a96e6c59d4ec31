package coordinator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
)

// A decision is still there after the process opens its journal again, also when the journal is a snapshot.
func TestRestartOnDisk(t *testing.T) {
	for _, every := range []int{1000, 3} {
		coordtest.Bubble(t, func(t *testing.T) {
			dir := t.TempDir()
			w := coordtest.NewWorker("w1")
			for life, at := range []time.Duration{2500 * time.Millisecond, 2 * time.Second, time.Hour} {
				j, err := journal.Open(dir, journal.Options{NoSync: true, Reserve: -1})
				if err != nil {
					t.Fatal(err)
				}
				c, stop := coordtest.Start(t, coordinator.Config{Journal: j, SnapshotEvery: every})
				w.Join(t, c, 2)
				if life > 0 {
					go w.Beat()
				}
				coordtest.Submit(t, c, coordtest.TwoStages(6, 4))
				if at < time.Hour {
					time.Sleep(at)
				} else if err := c.Wait(t.Context(), "j"); err != nil {
					t.Error(err)
				}
				stop()
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			}
			if got := len(strings.Fields(w.Launched())); got != 10 {
				t.Errorf("snapshot after %d events: ran %s, want 10 attempts", every, w.Launched())
			}
			time.Sleep(5 * time.Second)
		})
	}
}
