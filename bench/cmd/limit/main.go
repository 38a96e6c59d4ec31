// Command limit does each benchmark workload as a careful programmer would by hand, for this
// workload alone: one goroutine per processor, no framework, nothing persisted, no memory limit. It
// marks the possible speed of Go on the machine. It relies on properties of its data; the comment
// of each workload names them.
//
//	limit w1 OUT FILES...             count words
//	limit w2 OUT FILES...             catalogue report by category
//	limit w3 OUT FILES...             sort 100-byte records
//	limit w5 OUT OVERRIDES FILES...   join with price overrides, then report by brand
//	limit w2-sql, w5-sql              w2 and w5 with the CSV output of a report
//	limit w2-csv OUT FILES...         w2 from CSV
//	limit chain OUT FILES...          8 shuffles of events, then a sum
//	limit skewjoin OUT USERS FILES... join events with users, then report by country
//	limit countdistinct OUT FILES...  count different ids of events
//	limit repeats OUT FILES...        count how many lines occur how often
//
// OUT becomes a directory. GOMAXPROCS sets the number of goroutines.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// workers is the number of parallel goroutines.
var workers = runtime.GOMAXPROCS(0)

func main() {
	works := map[string]func(out string, files []string) error{"w1": w1, "w2": w2, "w3": w3, "w5": w5, "w2-sql": w2SQL, "w5-sql": w5SQL,
		"w2-csv": w2CSV, "chain": chain, "skewjoin": skewJoin, "countdistinct": countDistinct, "repeats": repeats}
	if len(os.Args) < 4 || works[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "limit: usage: limit %s OUT [OVERRIDES|USERS] FILES...\n", strings.Join(slices.Sorted(maps.Keys(works)), "|"))
		os.Exit(2)
	}
	debug.SetGCPercent(-1) // the programs keep what they allocate, and end
	if err := works[os.Args[1]](os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "limit: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// parallel calls work once for each worker, all at the same time.
func parallel(work func(worker int) error) error {
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error { return work(w) })
	}
	return g.Wait()
}

// create creates a file in the directory out, and the directory.
func create(out, name string) (*os.File, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(out, name))
}
