package sched

import (
	"maps"
	"slices"
)

// Which datasets a worker offers is remembered by its lasting name, also when it is lost and over restarts, so that whoever reads a dataset can be told
// that some of it is away. It ends when the worker offers something else, or is withdrawn. Nothing else is decided by it.

// recordOffer remembers what a worker offers now.
func (s *Scheduler) recordOffer(worker string, datasets []string) {
	datasets = slices.Compact(slices.Sorted(slices.Values(datasets)))
	if !slices.Equal(s.offered[worker], datasets) {
		o := Offered{worker, datasets}
		s.emit(Write{o})
		s.setOffer(o)
	}
}

func (s *Scheduler) setOffer(o Offered) {
	if len(o.Datasets) == 0 {
		delete(s.offered, o.WorkerID)
	} else {
		s.offered[o.WorkerID] = o.Datasets
	}
}

// withdrawOffer forgets what a worker offered, unless it has a lease.
func (s *Scheduler) withdrawOffer(ev WorkerWithdrawn) {
	if s.findWorker(ev.WorkerID) == nil {
		s.recordOffer(ev.WorkerID, nil)
	}
}

// AwayOffers returns what workers offered that have no lease now, by their lasting names, in order.
func (s *Scheduler) AwayOffers() []Offered {
	var out []Offered
	for _, name := range slices.Sorted(maps.Keys(s.offered)) {
		if s.findWorker(name) == nil {
			out = append(out, Offered{name, s.offered[name]})
		}
	}
	return out
}
