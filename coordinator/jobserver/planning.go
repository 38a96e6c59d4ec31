package jobserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// A client lists the input of its job before it submits the job. That can take long, so the client
// reports it. Such jobs are shown, and can be cancelled, but nothing of them is written down.

const (
	planLease   = 10 * time.Second // time without a report, after which a planned job is gone
	maxPlans    = 1000             // more are not shown
	maxPlanText = 500              // bytes of a name or phase
)

// plan is a job whose client lists its input.
type plan struct {
	state     report.Job
	seen      time.Time // time of the last report
	cancelled string    // reason; empty until somebody cancels it
}

// Plan reports the planning of a job.
func (s *Server) Plan(ctx context.Context, r *layshaftv1.PlanRequest) (*layshaftv1.PlanResponse, error) {
	now, id := time.Now(), job.ID(r.GetId())
	if n := len(id); n == 0 || max(n, len(r.GetName()), len(r.GetPhase())) > maxPlanText || r.GetTookNanos() < 0 {
		return nil, fmt.Errorf("plan: %w: the ID must not be empty, the time not negative, and no text longer than %d bytes", wire.ErrInvalid, maxPlanText)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.plans[id]
	switch {
	case r.GetEnded():
		delete(s.plans, id)
		return &layshaftv1.PlanResponse{}, nil
	case p == nil && len(s.plans) >= maxPlans:
		return &layshaftv1.PlanResponse{}, nil
	case p == nil:
		p = &plan{}
		s.plans[id] = p
	}
	opt := wire.OptionsFromProto(r.GetHeader())
	opt.Owner, opt.Submitted = s.cfg.Identity(ctx), now.Add(-time.Duration(r.GetTookNanos()))
	p.seen, p.state = now, report.Job{ID: id, Name: r.GetName(), Outcome: report.JobPlanning, Reason: r.GetPhase(), Options: opt}
	return &layshaftv1.PlanResponse{CancelledReason: p.cancelled}, nil
}

// dropPlans forgets the plans of clients that report no more. The caller holds mu.
func (s *Server) dropPlans() {
	for id, p := range s.plans {
		if time.Since(p.seen) > planLease {
			delete(s.plans, id)
		}
	}
}

// Planning returns the jobs whose clients list their input, the newest first.
func (s *Server) Planning() []report.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropPlans()
	jobs := make([]report.Job, 0, len(s.plans))
	for _, p := range s.plans {
		jobs = append(jobs, p.state)
	}
	slices.SortFunc(jobs, func(a, b report.Job) int {
		return cmp.Or(b.Options.Submitted.Compare(a.Options.Submitted), cmp.Compare(a.ID, b.ID))
	})
	return jobs
}

// planned returns the state of a job in planning; ok is false when there is none of that ID.
func (s *Server) planned(id job.ID) (st report.Job, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropPlans()
	if p := s.plans[id]; p != nil {
		return p.state, true
	}
	return st, false
}

// cancelPlan makes the client of a job in planning stop. It returns false when there is none.
func (s *Server) cancelPlan(id job.ID, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.plans[id]
	if p != nil {
		p.cancelled = cmp.Or(why, "no reason given")
		p.state.Reason = "cancelled: " + p.cancelled
	}
	return p != nil
}

// watchPlan sends the state of a job in planning, until its planning has ended.
func (s *Server) watchPlan(id job.ID, once bool, stream grpc.ServerStreamingServer[layshaftv1.WatchResponse]) error {
	for {
		st, ok := s.planned(id)
		if !ok {
			return fmt.Errorf("job %s: its planning has ended; if it was submitted, layshaft job list shows it under another ID: %w", id, wire.ErrUnknownJob)
		}
		if err := stream.Send(&layshaftv1.WatchResponse{Status: wire.JobToProto(&st)}); err != nil || once {
			return err
		}
		select {
		case <-time.After(watchLook):
		case <-s.stop:
			return s.stopping()
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		}
	}
}
