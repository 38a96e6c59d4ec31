package layshafttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Squares is the pipeline under test.
var Squares = mapreduce.Define("squares", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[int64] {
	numbers := mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i }).Cut(6))
	return mapreduce.Map(numbers, func(i int64) int64 {
		time.Sleep(10 * time.Second) // costs nothing under the fake clock
		return i * i
	})
})

// TestSquaresSurviveAWorker checks that the result is complete although a worker dies.
func TestSquaresSurviveAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := layshafttest.Start(t, 3)
		go func() {
			time.Sleep(15 * time.Second)
			c.Worker(1).Kill()
		}()
		rows, err := Squares.Collect(t.Context(), c.Target(), 60)
		if err != nil || len(rows) != 60 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		if n := len(c.Attempts("")); n != 8 {
			t.Errorf("%d attempts, want 6 and again the 2 of the worker that was lost", n)
		}
	})
}

// TestSquaresSurviveChaos tries many ways in which a cluster can go wrong.
func TestSquaresSurviveChaos(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			c := layshafttest.Start(t, 3, layshafttest.Chaos(seed))
			if rows, err := Squares.Collect(t.Context(), c.Target(), 60); err != nil || len(rows) != 60 {
				t.Errorf("seed %d: %d rows, %v", seed, len(rows), err)
			}
		})
	}
}
