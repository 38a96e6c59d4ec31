package worker

import (
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// Outputs reads the sealed outputs of one worker. If an output is gone or damaged, errors wrap a
// *job.Failure of kind job.InputLost that names the attempt. Manifests are shared and must not be
// changed. Close runs after use.
type Outputs interface {
	Manifest(a job.Attempt) (*job.Manifest, error)
	// Runs returns the runs of one partition of an output port, in run order.
	Runs(a job.Attempt, port, part int) ([]job.RunReader, error)
	// All returns the runs of all partitions of an output port, in order of run, then partition.
	All(a job.Attempt, port int) ([]job.RunReader, error)
	// Range returns the runs of All, without blocks that have no key in [lo, hi). Nil is the
	// start or the end. The blocks may contain records outside the range.
	Range(a job.Attempt, port int, lo, hi []byte) ([]job.RunReader, error)
}

// Outputs returns the outputs on this worker.
func (w *Worker) Outputs() Outputs { return outputs{w.store} }

// Manifest returns the manifest of an output on any worker.
func (w *Worker) Manifest(p job.Producer) (*job.Manifest, error) { return w.fetcher().Manifest(p) }

// Open returns the runs of all partitions of a port of an output on any worker, in order of run,
// then partition.
func (w *Worker) Open(p job.Producer, port int) ([]job.RunReader, error) {
	return w.fetcher().All(p, port)
}

// outputs reads a worker's own store.
type outputs struct{ store *shuffle.Store }

func (o outputs) Manifest(a job.Attempt) (*job.Manifest, error) {
	m, err := o.store.Manifest(a)
	if err != nil {
		return nil, lostFailure(a, err.Error())
	}
	return m, nil
}

func (o outputs) Runs(a job.Attempt, port, part int) ([]job.RunReader, error) {
	m, err := o.store.PartitionManifest(a, port, part)
	if err != nil {
		return nil, lostFailure(a, err.Error())
	}
	return o.store.Runs(m, port, part), nil
}

func (o outputs) All(a job.Attempt, port int) ([]job.RunReader, error) {
	m, err := o.Manifest(a)
	if err != nil {
		return nil, err
	}
	return o.store.All(m, port), nil
}

func (o outputs) Range(a job.Attempt, port int, lo, hi []byte) ([]job.RunReader, error) {
	m, err := o.Manifest(a)
	if err != nil {
		return nil, err
	}
	return o.store.Range(m, port, lo, hi), nil
}

func lostFailure(a job.Attempt, why string) *job.Failure {
	return &job.Failure{Kind: job.InputLost, Message: why, Lost: []job.Attempt{a}}
}

// fetcher finds the outputs of producers; it is an attempt.Fetcher. peer may be nil, and may return
// nil for an unknown worker.
type fetcher struct{ peer func(worker string) Outputs }

// fetcher finds outputs on this worker and others.
func (w *Worker) fetcher() fetcher {
	return fetcher{func(worker string) Outputs {
		switch {
		case worker == w.cfg.Name:
			return w.Outputs()
		case w.cfg.Peer != nil:
			return w.cfg.Peer(worker)
		}
		return nil
	}}
}

func (f fetcher) at(p job.Producer) (Outputs, error) {
	if o := f.peer(p.Worker); o != nil {
		return o, nil
	}
	return nil, lostFailure(p.Attempt, fmt.Sprintf("output of %s: worker %s is not known here", p.Attempt, p.Worker))
}

// Prefetch fetches manifests from other workers, with one call for all attempts of a worker.
func (f fetcher) Prefetch(ps []job.Producer, port, part int) {
	type prefetcher interface {
		prefetch(as []job.Attempt, port, part int)
	}
	wanted := map[string][]job.Attempt{}
	for _, p := range ps {
		wanted[p.Worker] = append(wanted[p.Worker], p.Attempt)
	}
	var calls errgroup.Group
	calls.SetLimit(16)
	for name, as := range wanted {
		if r, ok := f.peer(name).(prefetcher); ok {
			calls.Go(func() error { r.prefetch(as, port, part); return nil })
		}
	}
	_ = calls.Wait()
}

func (f fetcher) Manifest(p job.Producer) (*job.Manifest, error) {
	o, err := f.at(p)
	if err != nil {
		return nil, err
	}
	return o.Manifest(p.Attempt)
}

func (f fetcher) Runs(p job.Producer, port, part int) ([]job.RunReader, error) {
	o, err := f.at(p)
	if err != nil {
		return nil, err
	}
	return o.Runs(p.Attempt, port, part)
}

func (f fetcher) All(p job.Producer, port int) ([]job.RunReader, error) {
	o, err := f.at(p)
	if err != nil {
		return nil, err
	}
	return o.All(p.Attempt, port)
}

func (f fetcher) Range(p job.Producer, port int, lo, hi []byte) ([]job.RunReader, error) {
	o, err := f.at(p)
	if err != nil {
		return nil, err
	}
	return o.Range(p.Attempt, port, lo, hi)
}
