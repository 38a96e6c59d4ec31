package layshafttest_test

import (
	"fmt"

	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// Lengths is the pipeline under test.
var Lengths = mapreduce.Define("lengths", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[int] {
	return mapreduce.Map(mapreduce.Read(p, memio.Slice(words).Cut(3)), func(word string) int { return len(word) })
})

// An example has no bubble, so this cluster lives in real time. A test starts its cluster inside
// synctest.Test: then also a lease of ten seconds ends at once.
func Example() {
	err := layshafttest.Run(func(t layshafttest.T) {
		c := layshafttest.Start(t, 3)
		rows, err := Lengths.Collect(t.Context(), c.Target(), []string{"gear", "shaft", "layshaft"})
		if err != nil {
			t.Fatalf("%v", err)
		}
		fmt.Println(rows)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// [4 5 8]
}

// With three coordinators, the one that leads is killed while the pipeline runs, and another one
// loses its disk. The pipeline does not notice.
func ExampleCoordinators() {
	err := layshafttest.Run(func(t layshafttest.T) {
		c := layshafttest.Start(t, 3, layshafttest.Coordinators(3))
		lost := c.Coordinator()
		lost.Kill()
		rows, err := Lengths.Collect(t.Context(), c.Target(), []string{"gear", "shaft", "layshaft"})
		if err != nil {
			t.Fatalf("%v", err)
		}
		fmt.Println(rows)
		lost.Restart()
		c.WaitFor("a leader", func() bool { return c.Coordinator().Leads() })
		c.Coordinator().DestroyDisk()
		if rows, err = Lengths.Collect(t.Context(), c.Target(), []string{"again"}); err != nil {
			t.Fatalf("%v", err)
		}
		fmt.Println(rows)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// [4 5 8]
	// [5]
}
