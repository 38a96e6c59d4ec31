package mapreduce

import (
	"fmt"
	"io"
	"slices"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// explainPlaces prints how near to their input the attempts of each source would run, if each ran as near to it as there is a worker that takes any.
func explainPlaces(w io.Writer, spec *job.Spec, workers []report.Worker) {
	for i := range spec.Stages {
		var attempts, bytes [4]int64 // by nearness
		splits := spec.Stages[i].Splits
		for k := range splits {
			n := nearness(splits[k].Hosts, workers)
			attempts[n]++
			bytes[n] += splits[k].Bytes
		}
		if attempts[3] == int64(len(splits)) { // nothing to say of what is no more here than there
			continue
		}
		fmt.Fprintf(w, "stage %d: attempts", i)
		for n, name := range []string{"local", "same zone", "remote"} {
			fmt.Fprintf(w, " %s: %d (%s),", name, attempts[n], bytesize.Format(bytes[n]))
		}
		fmt.Fprintf(w, " with input that is equally near to all: %d (%s)\n", attempts[3], bytesize.Format(bytes[3]))
	}
}

// nearness says how near a worker can be to a split that hosts hold: 0 on one of them, 1 in its zone, 2 elsewhere; 3 when nobody in particular holds it.
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
