package mapreduce

import (
	"fmt"
	"io"
	"slices"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// explainPlaces prints how many attempts of each source could run local to their input, in the same
// zone, or remote.
func explainPlaces(w io.Writer, spec *job.Spec, workers []report.Worker) {
	for i := range spec.Stages {
		var attempts, bytes [4]int64 // by the result of nearness
		splits := spec.Stages[i].Splits
		for k := range splits {
			n := nearness(splits[k].Hosts, workers)
			attempts[n]++
			bytes[n] += splits[k].Bytes
		}
		if attempts[3] == int64(len(splits)) { // all input is equally near to all workers
			continue
		}
		fmt.Fprintf(w, "stage %d: attempts", i)
		for n, name := range []string{"local", "same zone", "remote"} {
			fmt.Fprintf(w, " %s: %d (%s),", name, attempts[n], bytesize.Format(bytes[n]))
		}
		fmt.Fprintf(w, " with input equally near to all workers: %d (%s)\n", attempts[3], bytesize.Format(bytes[3]))
	}
}

// nearness returns how near the nearest worker is to a split on the given hosts: 0 for the same
// worker, 1 for the same zone, 2 for elsewhere. It returns 3 for a split without hosts.
func nearness(hosts []string, workers []report.Worker) int {
	if len(hosts) == 0 {
		return 3
	}
	best := 2
	for i := range workers {
		if workers[i].State == report.Draining {
			continue
		}
		if slices.Contains(hosts, workers[i].ID) {
			return 0
		}
		if workers[i].Zone != "" && slices.ContainsFunc(workers, func(h report.Worker) bool {
			return h.Zone == workers[i].Zone && slices.Contains(hosts, h.ID)
		}) {
			best = 1
		}
	}
	return best
}
