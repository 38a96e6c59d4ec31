package jobserver

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// progressAge is the limit for the age of the progress in Watch.
const progressAge = 200 * time.Millisecond

// progress is the progress of all workers' attempts at one moment.
type progress struct {
	at   time.Time
	jobs map[job.ID]map[job.Attempt]report.Progress
	idle map[job.ID][]report.IdleAttempt
}

// maxIdle is the limit of idle attempts in the state of a job.
const maxIdle = 20

// report adds the progress of running attempts to a job's state. An ended attempt is left out,
// because the state counts what it read. Of attempts that race, only the one ahead counts.
func (s *Server) report(st report.Job) report.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readProgress()
	idle := slices.Clone(s.progress.idle[st.ID])
	slices.SortFunc(idle, func(a, b report.IdleAttempt) int {
		return cmp.Or(cmp.Compare(b.For, a.For), cmp.Compare(a.Attempt, b.Attempt))
	})
	st.Idle = idle[:min(len(idle), maxIdle)]
	for t, p := range s.ahead(st.ID) {
		if t.Stage >= len(st.Stages) {
			continue // the job was dropped and submitted again, since st
		}
		st.Stages[t.Stage].Progress.Records += p.Records
		st.Stages[t.Stage].Progress.Bytes += p.Bytes
	}
	return st
}

// Read returns what all committed attempts have read since the coordinator started, and what
// running ones have read.
func (s *Server) Read() report.Progress {
	sum := s.c.Read()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readProgress()
	for id := range s.progress.jobs {
		for _, p := range s.ahead(id) {
			sum.Records += p.Records
			sum.Bytes += p.Bytes
		}
	}
	return sum
}

// readProgress brings s.progress up to date. The caller holds s.mu.
func (s *Server) readProgress() {
	if now := time.Now(); now.Sub(s.progress.at) >= progressAge {
		s.progress = progress{now, map[job.ID]map[job.Attempt]report.Progress{}, map[job.ID][]report.IdleAttempt{}}
		for _, x := range s.streams {
			s.progress.add(x)
		}
	}
}

// ahead returns the progress of the running tasks of a job. The caller holds s.mu.
func (s *Server) ahead(id job.ID) map[job.Task]report.Progress {
	said := s.progress.jobs[id]
	if len(said) == 0 {
		return nil
	}
	ahead := map[job.Task]report.Progress{}
	for _, a := range s.c.Attempts(id, math.MaxInt) {
		if p := said[a.Attempt]; p.Records >= ahead[a.Attempt.Task].Records {
			ahead[a.Attempt.Task] = p
		}
	}
	return ahead
}

func (p *progress) add(x *workerStream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.running {
		a, err := wire.AttemptFromProto(r.GetAttempt())
		if err != nil {
			continue // beat has refused it
		}
		if p.jobs[a.Job] == nil {
			p.jobs[a.Job] = map[job.Attempt]report.Progress{}
		}
		if r.GetIdleNanos() > 0 {
			p.idle[a.Job] = append(p.idle[a.Job], report.IdleAttempt{Attempt: a.String(), Worker: x.hello.GetWorker(),
				For: report.SecondsOf(time.Duration(r.GetIdleNanos())), Stacks: r.GetStacks()})
		}
		p.jobs[a.Job][a] = report.Progress{Records: r.GetRecords(), Bytes: r.GetBytes()}
	}
}

// Workers returns the workers with a lease, by name, and then the workers that are away, by ID.
// Every view of workers comes from it.
func (s *Server) Workers() []report.Worker {
	s.mu.Lock()
	streams := maps.Clone(s.streams)
	s.mu.Unlock()
	workers := s.c.AllWorkers()
	for i := range workers {
		w := &workers[i]
		if x := streams[w.Name]; x != nil && w.State != report.Away {
			wire.AddHello(w, x.hello)
			x.mu.Lock()
			w.FreeBytes = x.free
			x.mu.Unlock()
		}
	}
	return workers
}

// ListWorkers lists the workers.
func (s *Server) ListWorkers(context.Context, *layshaftv1.ListWorkersRequest) (*layshaftv1.ListWorkersResponse, error) {
	return wire.WorkersToProto(s.Workers()), nil
}

// DrainWorker asks a worker to leave.
func (s *Server) DrainWorker(ctx context.Context, r *layshaftv1.DrainWorkerRequest) (*layshaftv1.DrainWorkerResponse, error) {
	s.audit(ctx, "drain", "worker", r.GetWorker())
	err := s.c.DrainWorker(ctx, r.GetWorker())
	if err == nil {
		id := r.GetWorker() // of a worker that is away
		s.mu.Lock()
		if x := s.streams[id]; x != nil {
			id = workerID(x.hello)
		}
		s.mu.Unlock()
		s.owners.release(id)
	}
	return &layshaftv1.DrainWorkerResponse{}, err
}

// Drain is DrainWorker for callers in this process.
func (s *Server) Drain(ctx context.Context, worker string) error {
	_, err := s.DrainWorker(ctx, &layshaftv1.DrainWorkerRequest{Worker: worker})
	return err
}

// Report returns the state of a job with the progress of its attempts, or of its planning; ok is
// false when the job is unknown.
func (s *Server) Report(id job.ID) (r report.Job, ok bool) {
	st, ok := s.c.Status(id)
	if !ok {
		return s.planned(id)
	}
	return s.report(st), true
}
