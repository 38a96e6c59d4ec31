package sched

import (
	"maps"
	"slices"
)

// Which datasets a worker offers is remembered by its lasting name, also when it is lost and over restarts, so that whoever reads a dataset can be told
// that some of it is away. It ends when the worker offers something else, or is withdrawn. Nothing else is decided by it.

// offers remembers what a worker offers now.
func (s *Scheduler) offers(worker string, datasets []string) {
	datasets = slices.Compact(slices.Sorted(slices.Values(datasets)))
	if !slices.Equal(s.offered[worker], datasets) {
		o := Offered{worker, datasets}
		s.emit(Write{o})
		s.noteOffer(o)
	}
}

func (s *Scheduler) noteOffer(o Offered) {
	if len(o.Datasets) == 0 {
		delete(s.offered, o.WorkerID)
	} else {
		s.offered[o.WorkerID] = o.Datasets
	}
}

// withdraw forgets what a worker offered, unless it has a lease.
func (s *Scheduler) withdraw(ev WorkerWithdrawn) {
	if s.called(ev.WorkerID) == nil {
		s.offers(ev.WorkerID, nil)
	}
}

// AwayOffers returns what workers offered that have no lease now, by their lasting names, in order.
func (s *Scheduler) AwayOffers() []Offered {
	var out []Offered
	for _, name := range slices.Sorted(maps.Keys(s.offered)) {
		if s.called(name) == nil {
			out = append(out, Offered{name, s.offered[name]})
		}
	}
	return out
}
