package jobserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	// maxSpec is the limit of an encoded Spec, in bytes.
	maxSpec = 1 << 30
	// watchPause is the shortest time between two answers of Watch.
	watchPause = 200 * time.Millisecond
	// watchLook is how often Watch checks the progress inside attempts, which no commit announces.
	watchLook = time.Second
	// commitsPause is the shortest time between two answers of Commits.
	commitsPause = 20 * time.Millisecond
	// commitsChunk is how many tasks one answer of Commits has.
	commitsChunk = 4096
)

// Submit submits a job.
func (s *Server) Submit(stream grpc.ClientStreamingServer[layshaftv1.SubmitRequest, layshaftv1.SubmitResponse]) error {
	ctx := stream.Context()
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	header := m.GetHeader()
	if header == nil {
		return fmt.Errorf("submit: %w: the header comes first", wire.ErrInvalid)
	}
	if err := wire.CheckProtocol("the client", header.GetProtocol()); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	var encoded []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if encoded = append(encoded, m.GetSpec()...); len(encoded) > maxSpec {
			return fmt.Errorf("submit: %w: the job takes more than %d bytes; make splits larger", wire.ErrInvalid, maxSpec)
		}
	}
	var p layshaftv1.Spec
	if err := proto.Unmarshal(encoded, &p); err != nil {
		return fmt.Errorf("submit: %w: %w", wire.ErrInvalid, err)
	}
	spec, err := wire.SpecFromProto(&p)
	if err != nil {
		return fmt.Errorf("submit: %w: %w", wire.ErrInvalid, err)
	}
	opt := wire.OptionsFromProto(header)
	opt.Owner, opt.Submitted = s.cfg.Identity(ctx), time.Now()
	out, err := s.submit(ctx, spec, opt)
	if err != nil {
		return err
	}
	return stream.SendAndClose(out)
}

func (s *Server) submit(ctx context.Context, spec *job.Spec, opt report.Options) (*layshaftv1.SubmitResponse, error) {
	out := &layshaftv1.SubmitResponse{}
	if _, out.Known = s.c.Hash(spec.ID); !out.Known {
		for i := 0; s.cfg.Tasks != nil && i < len(spec.Stages); i++ {
			if err := s.cfg.Tasks.CheckNeeds(spec.Stages[i].Name, spec.Stages[i].Needs); err != nil {
				return nil, fmt.Errorf("submit job %s: %w", spec.ID, err)
			}
		}
		wanted, err := s.checkCode(&opt)
		if err != nil {
			return nil, fmt.Errorf("submit job %s: %w", spec.ID, err)
		}
		if out.NeedsCode = wanted; wanted {
			return out, nil
		}
	}
	if err := s.c.Submit(ctx, *spec, opt); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if len(s.streams) == 0 {
		out.Warnings = append(out.Warnings, "no worker has joined the cluster yet: the job waits for one")
	}
	s.mu.Unlock()
	s.audit(ctx, "submit", "job", spec.ID, "name", spec.Name, "code", opt.Code, "known", out.Known)
	return out, nil
}

// Watch sends the state of a job, now and at each change.
func (s *Server) Watch(r *layshaftv1.WatchRequest, stream grpc.ServerStreamingServer[layshaftv1.WatchResponse]) error {
	id := job.ID(r.GetJob())
	if r.GetAttached() {
		defer s.attend(id)()
	}
	if _, ok := s.planned(id); ok {
		return s.watchPlan(id, r.GetOnce(), stream)
	}
	var last *layshaftv1.JobStatus
	look := time.NewTicker(watchLook)
	defer look.Stop()
	for {
		changed := s.c.Watch(id)
		status, ok := s.c.Status(id)
		if !ok {
			return fmt.Errorf("job %s: %w", id, wire.ErrUnknownJob)
		}
		st := s.report(status)
		if p := wire.JobToProto(&st); last == nil || !proto.Equal(p, last) {
			last = p
			if err := stream.Send(&layshaftv1.WatchResponse{Status: p}); err != nil {
				return err
			}
		}
		if r.GetOnce() || status.Outcome != report.JobRunning {
			return nil
		}
		if err := s.await(stream.Context(), id, watchPause, changed, look.C); err != nil {
			return err
		}
	}
}

// await waits for d, and then for a change of a job or for a tick. It returns early at the end of
// the job, of ctx or of the server.
func (s *Server) await(ctx context.Context, id job.ID, d time.Duration, changed <-chan struct{}, tick <-chan time.Time) error {
	ended := s.c.Ended(id)
	for _, wait := range []struct {
		change <-chan struct{}
		tick   <-chan time.Time
	}{{nil, time.After(d)}, {changed, tick}} {
		select {
		case <-wait.change:
		case <-wait.tick:
		case <-ended:
		case <-s.stop:
			return s.stopping()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// ListJobs lists jobs, the newest first.
func (s *Server) ListJobs(_ context.Context, r *layshaftv1.ListJobsRequest) (*layshaftv1.ListJobsResponse, error) {
	limit := int(r.GetLimit())
	if limit <= 0 {
		limit = 100
	}
	out := &layshaftv1.ListJobsResponse{}
	for _, st := range s.Planning() {
		if len(out.Jobs) < limit {
			out.Jobs = append(out.Jobs, wire.JobToProto(&st))
		}
	}
	ids := s.c.Jobs()
	for _, id := range slices.Backward(ids) {
		if len(out.Jobs) == limit {
			break
		}
		if status, ok := s.c.Status(id); ok {
			st := s.report(status)
			out.Jobs = append(out.Jobs, wire.JobToProto(&st))
		}
	}
	return out, nil
}

// GetSpec sends a job as submitted.
func (s *Server) GetSpec(r *layshaftv1.GetSpecRequest, stream grpc.ServerStreamingServer[layshaftv1.GetSpecResponse]) error {
	id := job.ID(r.GetJob())
	spec, ok := s.c.Spec(id)
	opt, known := s.c.Options(id)
	if !ok || !known {
		return fmt.Errorf("job %s: %w", id, wire.ErrUnknownJob)
	}
	if !r.GetSplits() {
		for k := range spec.Stages {
			spec.Stages[k].Splits = nil
		}
	}
	b, err := proto.Marshal(&layshaftv1.JobCode{Spec: wire.SpecToProto(&spec), Code: wire.CodeOf(&opt), Client: opt.Client})
	if err != nil {
		return fmt.Errorf("job %s: %w", id, err)
	}
	for piece := range slices.Chunk(b, wire.PieceSize) {
		if err := stream.Send(&layshaftv1.GetSpecResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

// GetLaunch sends the input of an attempt.
func (s *Server) GetLaunch(r *layshaftv1.GetLaunchRequest, stream grpc.ServerStreamingServer[layshaftv1.GetLaunchResponse]) error {
	a, err := wire.AttemptFromProto(r.GetAttempt())
	if err != nil {
		return fmt.Errorf("input of an attempt: %w: %w", wire.ErrInvalid, err)
	}
	l, err := s.c.Input(a)
	if err != nil && !errors.Is(err, wire.ErrUnknownJob) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if err != nil {
		return err
	}
	p, err := wire.LaunchToProto(&l)
	if err != nil {
		return err
	}
	b, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("input of attempt %s: %w", a, err)
	}
	s.audit(stream.Context(), "replay", "job", a.Job, "attempt", l.Attempt)
	for piece := range slices.Chunk(b, wire.PieceSize) {
		if err := stream.Send(&layshaftv1.GetLaunchResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

// GetHistory sends the record of the run of a job.
func (s *Server) GetHistory(r *layshaftv1.GetHistoryRequest, stream grpc.ServerStreamingServer[layshaftv1.GetHistoryResponse]) error {
	id := job.ID(r.GetJob())
	if s.cfg.History == nil {
		return fmt.Errorf("history of job %s: %w: this coordinator keeps none", id, wire.ErrInvalid)
	}
	b, err := s.cfg.History(id)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("history of job %s: %w", id, wire.ErrUnknownJob)
	}
	if err != nil {
		return fmt.Errorf("history of job %s: %w", id, err)
	}
	for piece := range slices.Chunk(b, wire.PieceSize) {
		if err := stream.Send(&layshaftv1.GetHistoryResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

// Profiles stores the CPU profiles of jobs.
type Profiles interface {
	// PutProfile stores the profile of a job, and returns when it is durable.
	PutProfile(id job.ID, profile []byte) error
	// Profile returns the profile of a job, or an error that wraps fs.ErrNotExist.
	Profile(id job.ID) ([]byte, error)
}

// PutProfile stores the CPU profile of a job.
func (s *Server) PutProfile(_ context.Context, r *layshaftv1.PutProfileRequest) (*layshaftv1.PutProfileResponse, error) {
	id := job.ID(r.GetJob())
	if _, ok := s.c.Status(id); !ok {
		return nil, fmt.Errorf("profile of job %s: %w", id, wire.ErrUnknownJob)
	}
	if n := len(r.GetProfile()); n > job.MaxProfile {
		return nil, fmt.Errorf("profile of job %s: %w: it has %d bytes; %d is the most", id, wire.ErrInvalid, n, job.MaxProfile)
	}
	if s.cfg.Profiles == nil {
		return nil, fmt.Errorf("profile of job %s: %w: this coordinator keeps none", id, wire.ErrInvalid)
	}
	if err := s.cfg.Profiles.PutProfile(id, r.GetProfile()); err != nil {
		return nil, fmt.Errorf("profile of job %s: %w", id, err)
	}
	return &layshaftv1.PutProfileResponse{}, nil
}

// GetProfile sends the CPU profile of a job.
func (s *Server) GetProfile(r *layshaftv1.GetProfileRequest, stream grpc.ServerStreamingServer[layshaftv1.GetProfileResponse]) error {
	id := job.ID(r.GetJob())
	if _, ok := s.c.Status(id); !ok {
		return fmt.Errorf("job %s: %w", id, wire.ErrUnknownJob)
	}
	b, err := []byte(nil), fs.ErrNotExist
	if s.cfg.Profiles != nil {
		b, err = s.cfg.Profiles.Profile(id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return status.Errorf(codes.FailedPrecondition, "job %s has no CPU profile; %s", id, job.NoProfile)
	}
	if err != nil {
		return fmt.Errorf("profile of job %s: %w", id, err)
	}
	for piece := range slices.Chunk(b, wire.PieceSize) {
		if err := stream.Send(&layshaftv1.GetProfileResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

// Commits sends changes in the holders of a stage's outputs.
func (s *Server) Commits(r *layshaftv1.CommitsRequest, stream grpc.ServerStreamingServer[layshaftv1.CommitsResponse]) error {
	id, stage := job.ID(r.GetJob()), int(r.GetStage())
	f := &follower{s: s, id: id, stage: stage, sent: map[string]bool{}, send: stream.Send}
	for {
		changed := s.c.Watch(id)
		status, ok := s.c.Status(id) // before the commits: a job that is done has them all
		if !ok {
			return fmt.Errorf("job %s: %w", id, wire.ErrUnknownJob)
		}
		if stage < 0 || stage >= len(status.Stages) {
			return fmt.Errorf("job %s has no stage %d, only %d: %w", id, stage, len(status.Stages), wire.ErrInvalid)
		}
		complete, err := f.sendChanges(s.c.Commits(id, stage), status.Stages[stage].Tasks)
		if err != nil || complete || status.Outcome != report.JobRunning {
			return err
		}
		if err := s.await(stream.Context(), id, commitsPause, changed, nil); err != nil {
			return err
		}
	}
}

// follower sends one caller the changes in the holders of a stage's outputs.
type follower struct {
	s     *Server
	id    job.ID
	stage int
	begun bool
	last  []job.Producer
	// sent are the workers with a sent address.
	sent map[string]bool
	send func(*layshaftv1.CommitsResponse) error
}

// sendChanges sends the differences between now and the last call, at least once. complete means
// that each task has an output.
func (f *follower) sendChanges(now []job.Producer, tasks int) (complete bool, err error) {
	complete = len(now) == tasks
	out := &layshaftv1.CommitsResponse{}
	flush := func() error {
		f.begun = true
		err := f.send(out)
		out = &layshaftv1.CommitsResponse{}
		return err
	}
	for i, p := range now {
		complete = complete && p.Worker != ""
		var before job.Producer
		if i < len(f.last) {
			before = f.last[i]
		}
		if p == before {
			continue
		}
		a := job.Attempt{Job: f.id, Task: job.Task{Stage: f.stage, Index: i}, N: p.Attempt.N}
		out.Commits = append(out.Commits, &layshaftv1.Producer{Attempt: wire.AttemptToProto(a), Worker: p.Worker})
		if address, ok := f.s.address(p.Worker); ok && !f.sent[p.Worker] {
			f.sent[p.Worker] = true
			if out.Addresses == nil {
				out.Addresses = map[string]string{}
			}
			out.Addresses[p.Worker] = address
		}
		if len(out.Commits) == commitsChunk {
			if err := flush(); err != nil {
				return false, err
			}
		}
	}
	f.last = now
	if out.Complete = complete; complete || len(out.Commits) > 0 || !f.begun {
		return complete, flush()
	}
	return complete, nil
}
