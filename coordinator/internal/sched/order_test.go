package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// TestShares submits jobs of all sizes at random times to a busy cluster. Once as many slots became
// free as there are, each job of equal priority must have an even share, or all it can use.
func TestShares(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s, now := New(Config{StragglerRatio: -1, LeaseTTL: -1}), time.Unix(0, 0)
		var running []Launch
		step := func(ev Event) {
			now = now.Add(time.Millisecond)
			for _, c := range s.Step(now, ev) {
				if l, ok := c.(Launch); ok {
					running = append(running, l)
				}
			}
		}
		slots := 0
		for w := range 3 + rng.IntN(8) {
			n := 1 + rng.IntN(8)
			slots += n
			step(WorkerJoined{Worker: fmt.Sprint("w", w), Slots: n})
		}
		settled := 0 // attempts that ended since the last submission
		for n := range 2000 {
			if n%300 == 0 {
				step(Submitted{Spec: job.Spec{ID: job.ID(fmt.Sprint("j", n)), Stages: []job.Stage{{Tasks: 1 + rng.IntN(1500)}}}})
				settled = 0
			}
			if len(running) == 0 {
				break
			}
			i := rng.IntN(len(running))
			l := running[i]
			running[i] = running[len(running)-1]
			running = running[:len(running)-1]
			ended := len(s.active)
			step(AttemptDone{Worker: l.Worker, Attempt: l.Launch.Attempt})
			if settled++; len(s.active) != ended {
				settled = 0
			}
			if settled < 20*slots {
				continue
			}
			least, most := slots, 0
			for _, j := range s.line {
				least, most = min(least, j.running), max(most, j.running)
			}
			if most > least+1 || len(running) != slots && len(s.line) > 0 {
				t.Fatalf("seed %d, step %d: of %d slots %d are used; shares are from %d to %d", seed, n, slots, len(running), least, most)
			}
		}
	}
}

// A remembered size is at most a fifth below the true one.
func TestSizes(t *testing.T) {
	for n := int64(0); n >= 0 && n < 1<<62; n += 1 + n/5 {
		if got := sizeOf(sizeCode(n)); got > n || got < n-n/5-1 {
			t.Errorf("%d is remembered as %d", n, got)
		}
	}
	if got := sizeOf(sizeCode(-7)); got != 0 {
		t.Errorf("-7 is remembered as %d", got)
	}
	var z sizes
	z.store(3, 0, 4, nil)
	z.store(3, 1, 1, []int64{7})
	z.store(3, 2, maxSizes/3+1, []int64{7, 8})
	if z.codes != nil {
		t.Errorf("%d sizes are kept: none told, one partition, too many", len(z.codes))
	}
}
