package layshafttest

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
)

var (
	seeds     = flag.Int("seeds", 60, "how many seeds of chaos to run; a twentieth of them with -short")
	firstSeed = flag.Int("seed", 0, "the first of them")
)

// Whatever goes wrong, jobs end with the right result, and each task is committed once.
func TestChaos(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = max(n/20, 1)
	}
	runChaos(t, n)
}

// The same holds for three coordinators, each of which may fail at any moment.
func TestChaosOfCoordinators(t *testing.T) {
	n := max(*seeds/10, 1)
	if testing.Short() {
		n = 1
	}
	runChaos(t, n, Coordinators(3))
}

// runChaos runs n seeds with options.
func runChaos(t *testing.T, n int, options ...Option) {
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &history{t: t}
				c := Start(t, 3, slices.Concat(options, []Option{Chaos(uint64(seed)), h.option(), Zones("east", "west"), SnapshotEvery(1 + seed%50)})...)
				var waits []func()
				for k, d := range []*mapreduce.Definition[numbers, sum]{sums, groups, lookUps} {
					in := numbers{N: 100 + 50*k, Splits: 9, Groups: 5, Map: 100 * time.Millisecond, Reduce: 300 * time.Millisecond}
					_, wait := begin(t, c, d, in)
					waits = append(waits, func() { in.check(t, wait()) })
				}
				for _, wait := range waits {
					wait()
				}
			})
		})
	}
}
