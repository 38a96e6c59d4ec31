package sched

import (
	"maps"
	"slices"
)

// The offered datasets of a worker are remembered by worker ID, even when the worker is lost and
// over restarts. So a reader of a dataset learns about parts of it on workers that are away. An
// offer ends when the worker offers something else, is withdrawn, or leaves after a permanent
// drain. A worker that drains because of SIGTERM comes back, as in a rolling restart: its offer
// stays. Nothing else depends on it.

// recordOffer stores the offer of a worker.
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

// withdrawOffer deletes the offer of a worker without a lease.
func (s *Scheduler) withdrawOffer(ev WorkerWithdrawn) {
	if s.findWorker(ev.WorkerID) == nil {
		s.recordOffer(ev.WorkerID, nil)
	}
}

// AwayOffers returns the offers of workers without a lease, sorted by worker ID.
func (s *Scheduler) AwayOffers() []Offered {
	var out []Offered
	for _, name := range slices.Sorted(maps.Keys(s.offered)) {
		if s.findWorker(name) == nil {
			out = append(out, Offered{name, s.offered[name]})
		}
	}
	return out
}
