package coordinator

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/records"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// JobReport is how a job stands, and how far the attempts are that are on their way.
type JobReport struct {
	JobStatus
	Progress []Progress // one per stage
}

// Progress is what attempts on their way have read so far.
type Progress struct{ Records, Bytes int64 }

// progressAge is how old what Watch tells of progress may be.
const progressAge = 200 * time.Millisecond

// progress is what all workers' attempts have read, as of a moment.
type progress struct {
	at   time.Time
	jobs map[job.ID]map[job.Attempt]Progress
}

// report adds progress to a status: of attempts that have not ended since, as what they have read is counted in the status then, and of those that race each other
// the one that is ahead.
func (s *Server) report(st JobStatus) JobReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.progress.at) >= progressAge {
		s.progress = progress{now, map[job.ID]map[job.Attempt]Progress{}}
		for _, x := range s.sessions {
			s.progress.add(x)
		}
	}
	out := JobReport{JobStatus: st, Progress: make([]Progress, len(st.Stages))}
	said := s.progress.jobs[st.ID]
	if len(said) == 0 {
		return out
	}
	ahead := map[job.Task]Progress{}
	for _, a := range s.c.Attempts(st.ID, math.MaxInt) {
		if p := said[a.Attempt]; p.Records >= ahead[a.Attempt.Task].Records {
			ahead[a.Attempt.Task] = p
		}
	}
	for t, p := range ahead {
		if t.Stage >= len(out.Progress) {
			continue // the job was dropped and submitted again, since st
		}
		out.Progress[t.Stage].Records += p.Records
		out.Progress[t.Stage].Bytes += p.Bytes
	}
	return out
}

func (p *progress) add(x *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.running {
		a, err := wire.AttemptFromProto(r.GetAttempt())
		if err != nil {
			continue // beat has refused it
		}
		if p.jobs[a.Job] == nil {
			p.jobs[a.Job] = map[job.Attempt]Progress{}
		}
		p.jobs[a.Job][a] = Progress{r.GetRecords(), r.GetBytes()}
	}
}

func reportToProto(r *JobReport) *layshaftv1.JobStatus {
	p := &layshaftv1.JobStatus{Id: string(r.ID), Name: r.Name, Priority: int32(r.Options.Priority), Owner: r.Options.Owner, Detached: r.Options.Detached,
		Interactive: r.Options.Interactive, Tags: r.Options.Tags, SubmittedNanos: wire.TimeToProto(r.Options.Submitted), EndedNanos: wire.TimeToProto(r.Ended), Reason: r.Reason, Released: r.Released}
	if r.Outcome != JobRunning {
		p.Outcome = records.OutcomeToProto(r.Outcome)
	}
	if r.Failure != nil {
		p.Failure = wire.FailureToProto(r.Failure)
	}
	for k, st := range r.Stages {
		l := st.Sum.Locality
		p.Stages = append(p.Stages, &layshaftv1.StageStatus{Name: st.Name, Tasks: int64(st.Tasks), Waiting: int64(st.Waiting), Running: int64(st.Running),
			Done: int64(st.Done), Failed: int64(st.Failed), Cancelled: int64(st.Cancelled), Attempts: int64(st.Attempts), FailedAttempts: int64(st.FailedAttempts),
			Lost: int64(st.Lost), LastFailure: strings.ToValidUTF8(st.LastFailure, "\uFFFD"), Sum: records.SummaryToProto(st.Sum), ProgressRecords: r.Progress[k].Records, ProgressBytes: r.Progress[k].Bytes,
			Local: int64(l.Local), Zone: int64(l.Zone), Remote: int64(l.Remote), LocalBytes: l.LocalBytes, ZoneBytes: l.ZoneBytes, RemoteBytes: l.RemoteBytes})
	}
	return p
}

func reportFromProto(p *layshaftv1.JobStatus) (JobReport, error) {
	r := JobReport{JobStatus: JobStatus{ID: job.ID(p.GetId()), Name: p.GetName(), Ended: wire.TimeFromProto(p.GetEndedNanos()), Reason: p.GetReason(), Released: p.GetReleased(),
		Options: SubmitOptions{Priority: int(p.GetPriority()), Owner: p.GetOwner(), Detached: p.GetDetached(), Interactive: p.GetInteractive(), Tags: p.GetTags(),
			Submitted: wire.TimeFromProto(p.GetSubmittedNanos())}}}
	if p.GetOutcome() != layshaftv1.Outcome_OUTCOME_UNSPECIFIED {
		var err error
		if r.Outcome, err = records.OutcomeFromProto(p.GetOutcome()); err != nil {
			return r, fmt.Errorf("job %s: %w; it may come from a newer version", r.ID, err)
		}
	}
	if p.GetFailure() != nil {
		var err error
		if r.Failure, err = wire.FailureFromProto(p.GetFailure()); err != nil {
			return r, fmt.Errorf("job %s: %w", r.ID, err)
		}
	}
	for _, st := range p.GetStages() {
		r.Progress = append(r.Progress, Progress{st.GetProgressRecords(), st.GetProgressBytes()})
		sum := records.SummaryFromProto(st.GetSum())
		r.Stages = append(r.Stages, StageStatus{Name: st.GetName(), Tasks: int(st.GetTasks()), Waiting: int(st.GetWaiting()), Running: int(st.GetRunning()),
			Done: int(st.GetDone()), Failed: int(st.GetFailed()), Cancelled: int(st.GetCancelled()), Attempts: int(st.GetAttempts()),
			FailedAttempts: int(st.GetFailedAttempts()), Lost: int(st.GetLost()), LastFailure: st.GetLastFailure(), Sum: sum})
	}
	return r, nil
}

// WorkerInfo is how a worker stands.
type WorkerInfo struct {
	Name, ID  string // ID is the lasting name of its data directory
	Zone      string
	Address   string
	Platform  string // GOOS/GOARCH
	Version   string
	Tags      []string
	Datasets  []string
	Slots     int
	Reserved  int           // of the slots, for interactive jobs
	Running   int           // attempts
	Calls     int           // single calls of functions in its slots
	Memory    int64         // bytes that one attempt may hold
	FreeBytes int64         // on its disk, as it said last
	Ships     bool          // it takes programs from clients
	Draining  bool          // it gets no new attempts
	Waits     string        // what it waits for when it drains, for people; may be empty
	Blocked   bool          // it failed too often and gets no attempts for a while
	Silent    time.Duration // since it was heard
}

// ListWorkers lists the workers that have a lease.
func (s *Server) ListWorkers(context.Context, *layshaftv1.ListWorkersRequest) (*layshaftv1.ListWorkersResponse, error) {
	s.mu.Lock()
	sessions := maps.Clone(s.sessions)
	s.mu.Unlock()
	out := &layshaftv1.ListWorkersResponse{}
	workers, away := s.c.WorkersAndAway()
	for _, o := range away {
		out.Away = append(out.Away, &layshaftv1.AwayWorker{Id: o.WorkerID, Datasets: o.Datasets})
	}
	for _, w := range workers {
		p := &layshaftv1.WorkerStatus{Hello: &layshaftv1.Hello{Worker: w.Worker, Id: w.WorkerID, Datasets: w.Datasets, Zone: w.Zone, Slots: int64(w.Slots), Reserved: int64(w.Reserved)},
			Running: int64(w.Running), Calls: int64(w.QueuedTasks), Draining: w.Draining, Waits: w.WaitsFor, Blocked: w.Blocked, SilentNanos: int64(max(time.Since(w.LastContact), 0))}
		if x := sessions[w.Worker]; x != nil {
			p.Hello = x.hello
			x.mu.Lock()
			p.FreeBytes = x.free
			x.mu.Unlock()
		}
		out.Workers = append(out.Workers, p)
	}
	return out, nil
}

// AwayWorker is a worker that was lost, was neither drained nor given up, and may come back with its files.
type AwayWorker struct {
	ID       string // its lasting name
	Datasets []string
}

// Workers lists the workers that have a lease, by name.
func (c *Client) Workers(ctx context.Context) ([]WorkerInfo, error) {
	workers, _, err := c.WorkersAndAway(ctx)
	return workers, err
}

// WorkersAndAway is Workers that also lists those that offered datasets and have no lease now, by ID.
func (c *Client) WorkersAndAway(ctx context.Context) (workers []WorkerInfo, away []AwayWorker, err error) {
	out, err := call(ctx, c, c.rpc.ListWorkers, &layshaftv1.ListWorkersRequest{})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range out.GetAway() {
		away = append(away, AwayWorker{p.GetId(), p.GetDatasets()})
	}
	for _, p := range out.GetWorkers() {
		h := p.GetHello()
		workers = append(workers, WorkerInfo{Name: h.GetWorker(), ID: h.GetId(), Zone: h.GetZone(), Address: h.GetAddress(), Platform: h.GetPlatform(),
			Version: h.GetVersion(), Tags: h.GetTags(), Datasets: h.GetDatasets(), Slots: int(h.GetSlots()), Reserved: int(h.GetReserved()),
			Running: int(p.GetRunning()), Calls: int(p.GetCalls()), Memory: h.GetMemory(), FreeBytes: p.GetFreeBytes(), Ships: h.GetShips(),
			Draining: p.GetDraining(), Waits: p.GetWaits(), Blocked: p.GetBlocked(), Silent: time.Duration(p.GetSilentNanos())})
	}
	return workers, away, nil
}

// DrainWorker asks a worker to leave.
func (s *Server) DrainWorker(ctx context.Context, r *layshaftv1.DrainWorkerRequest) (*layshaftv1.DrainWorkerResponse, error) {
	s.audit(ctx, "drain", "worker", r.GetWorker())
	return &layshaftv1.DrainWorkerResponse{}, s.c.DrainWorker(ctx, r.GetWorker())
}
