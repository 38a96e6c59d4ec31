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

// SquaresSurviveAWorker is what a test function looks like: a worker dies, and the result is there all the same.
func SquaresSurviveAWorker(t *testing.T) {
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

// SquaresSurviveChaos tries many ways in which a cluster can go wrong.
func SquaresSurviveChaos(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			c := layshafttest.Start(t, 3, layshafttest.Chaos(seed))
			if rows, err := Squares.Collect(t.Context(), c.Target(), 60); err != nil || len(rows) != 60 {
				t.Errorf("seed %d: %d rows, %v", seed, len(rows), err)
			}
		})
	}
}

// The functions above would be called TestSquaresSurviveAWorker and TestSquaresSurviveChaos in a package of yours.
func Example() {
	testing.Main(nil, []testing.InternalTest{{F: SquaresSurviveAWorker}, {F: SquaresSurviveChaos}}, nil, nil) // go test does this
}
