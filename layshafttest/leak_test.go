package layshafttest

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// After 200 jobs no more goroutines are there than after a few.
func TestNoLeaks(t *testing.T) {
	jobs := 200
	if testing.Short() {
		jobs = 20
	}
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3, Memory(8<<20))
		after := func(jobs int) int {
			for range jobs {
				work(t, c, sums, numbers{N: 12, Splits: 3, Groups: 2})
			}
			time.Sleep(time.Minute) // connections that nobody uses are closed
			synctest.Wait()
			return runtime.NumGoroutine()
		}
		before := after(10)
		if now := after(jobs); now > before {
			t.Errorf("%d goroutines after 10 jobs, %d after %d more", before, now, jobs)
		}
	})
}
