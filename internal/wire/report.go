package wire

import (
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// outcomes is the table of job outcomes, by Go value. JobRunning is UNSPECIFIED.
var outcomes = []layshaftv1.Outcome{
	report.JobDone:      layshaftv1.Outcome_OUTCOME_DONE,
	report.JobFailed:    layshaftv1.Outcome_OUTCOME_FAILED,
	report.JobCancelled: layshaftv1.Outcome_OUTCOME_CANCELLED,
	report.JobPlanning:  layshaftv1.Outcome_OUTCOME_PLANNING,
}

// OutcomeToProto converts an outcome.
func OutcomeToProto(o report.Outcome) layshaftv1.Outcome { return outcomes[o] }

// OutcomeFromProto converts an outcome. It returns an error for an unknown number.
func OutcomeFromProto(p layshaftv1.Outcome) (report.Outcome, error) {
	o := slices.Index(outcomes, p)
	if o < 0 {
		return 0, fmt.Errorf("outcome %v is unknown; it may come from a newer version", p)
	}
	return report.Outcome(o), nil
}

// JobToProto converts the state of a job.
func JobToProto(j *report.Job) *layshaftv1.JobStatus {
	p := &layshaftv1.JobStatus{Id: string(j.ID), Name: j.Name, Priority: int32(j.Options.Priority), Owner: j.Options.Owner, Quarantine: text(j.Options.Quarantine),
		Detached: j.Options.Detached, Interactive: j.Options.Interactive, Tags: j.Options.Tags,
		SubmittedNanos: TimeToProto(j.Options.Submitted), EndedNanos: TimeToProto(j.Ended), Reason: j.Reason, Released: j.Released,
		Outcome: OutcomeToProto(j.Outcome)}
	if j.Failure != nil {
		p.Failure = FailureToProto(j.Failure)
	}
	for _, x := range j.Idle {
		p.Idle = append(p.Idle, &layshaftv1.IdleAttempt{Attempt: text(x.Attempt), Worker: text(x.Worker), Nanos: int64(x.For.Duration()), Stacks: text(x.Stacks)})
	}
	for i := range j.Stages {
		p.Stages = append(p.Stages, stageStatusToProto(&j.Stages[i]))
	}
	return p
}

func stageStatusToProto(s *report.Stage) *layshaftv1.StageStatus {
	return &layshaftv1.StageStatus{Name: s.Name, Tasks: int64(s.Tasks), Waiting: int64(s.Waiting), Running: int64(s.Running),
		Done: int64(s.Done), Failed: int64(s.Failed), Cancelled: int64(s.Cancelled), Attempts: int64(s.Attempts),
		FailedAttempts: int64(s.FailedAttempts), Lost: int64(s.Lost), LastFailure: text(s.LastFailure), Sum: SummaryToProto(s.Sum),
		ProgressRecords: s.Progress.Records, ProgressBytes: s.Progress.Bytes}
}

// JobFromProto converts the state of a job.
func JobFromProto(p *layshaftv1.JobStatus) (report.Job, error) {
	j := report.Job{ID: job.ID(p.GetId()), Name: p.GetName(), Ended: TimeFromProto(p.GetEndedNanos()), Reason: p.GetReason(), Released: p.GetReleased(),
		Options: report.Options{Priority: int(p.GetPriority()), Owner: p.GetOwner(), Quarantine: p.GetQuarantine(), Detached: p.GetDetached(),
			Interactive: p.GetInteractive(), Tags: p.GetTags(), Submitted: TimeFromProto(p.GetSubmittedNanos())}}
	var err error
	if j.Outcome, err = OutcomeFromProto(p.GetOutcome()); err != nil {
		return j, fmt.Errorf("job %s: %w", j.ID, err)
	}
	if p.GetFailure() != nil {
		if j.Failure, err = FailureFromProto(p.GetFailure()); err != nil {
			return j, fmt.Errorf("job %s: %w", j.ID, err)
		}
	}
	for _, x := range p.GetIdle() {
		j.Idle = append(j.Idle, report.IdleAttempt{Attempt: x.GetAttempt(), Worker: x.GetWorker(), For: report.SecondsOf(time.Duration(x.GetNanos())), Stacks: x.GetStacks()})
	}
	for _, s := range p.GetStages() {
		j.Stages = append(j.Stages, report.Stage{Name: s.GetName(), Tasks: int(s.GetTasks()), Waiting: int(s.GetWaiting()),
			Running: int(s.GetRunning()), Done: int(s.GetDone()), Failed: int(s.GetFailed()), Cancelled: int(s.GetCancelled()),
			Attempts: int(s.GetAttempts()), FailedAttempts: int(s.GetFailedAttempts()), Lost: int(s.GetLost()),
			LastFailure: s.GetLastFailure(), Sum: SummaryFromProto(s.GetSum()),
			Progress: report.Progress{Records: s.GetProgressRecords(), Bytes: s.GetProgressBytes()}})
	}
	return j, nil
}

// SummaryToProto converts the summary of an output.
func SummaryToProto(s report.Summary) *layshaftv1.Summary {
	p := &layshaftv1.Summary{Bytes: s.Bytes, Records: s.Records, Counters: CountersToProto(s.Counters)}
	if l := s.Locality; l != (report.Locality{}) {
		p.Locality = &layshaftv1.Locality{Local: int64(l.Local), Zone: int64(l.Zone), Remote: int64(l.Remote),
			LocalBytes: l.LocalBytes, ZoneBytes: l.ZoneBytes, RemoteBytes: l.RemoteBytes}
	}
	return p
}

// SummaryFromProto converts the summary of an output.
func SummaryFromProto(p *layshaftv1.Summary) report.Summary {
	l := p.GetLocality()
	return report.Summary{Bytes: p.GetBytes(), Records: p.GetRecords(), Counters: p.GetCounters(), Locality: report.Locality{
		Local: int(l.GetLocal()), Zone: int(l.GetZone()), Remote: int(l.GetRemote()),
		LocalBytes: l.GetLocalBytes(), ZoneBytes: l.GetZoneBytes(), RemoteBytes: l.GetRemoteBytes()}}
}

// OptionsToProto converts the options of a submit, except Owner and Submitted: the coordinator sets
// these two.
func OptionsToProto(o *report.Options) *layshaftv1.SubmitHeader {
	return &layshaftv1.SubmitHeader{Protocol: Protocol, Code: CodeOf(o), Priority: int32(o.Priority), Tags: o.Tags, Interactive: o.Interactive,
		Detached: o.Detached, Client: o.Client, Quarantine: text(o.Quarantine)}
}

// OptionsFromProto converts the options of a submit.
func OptionsFromProto(h *layshaftv1.SubmitHeader) report.Options {
	code := h.GetCode()
	return report.Options{Priority: int(h.GetPriority()), Tags: h.GetTags(), Interactive: h.GetInteractive(), Detached: h.GetDetached(),
		Client: h.GetClient(), Quarantine: h.GetQuarantine(), Code: code.GetSha256(), Platform: code.GetPlatform(), CodeSize: code.GetSize(), CodeLoader: code.GetDynamic()}
}

// CodeOf returns the identity of a job's program, or nil when the job needs no program.
func CodeOf(o *report.Options) *layshaftv1.Code {
	if o.Code == "" {
		return nil
	}
	return &layshaftv1.Code{Sha256: o.Code, Platform: o.Platform, Size: o.CodeSize, Dynamic: o.CodeLoader}
}

// CodeToProto converts the identity of a program.
func CodeToProto(c report.Code) *layshaftv1.Code {
	return &layshaftv1.Code{Sha256: c.SHA256, Platform: c.Platform, Size: c.Size, Dynamic: c.Dynamic}
}

// CodeFromProto converts the identity of a program.
func CodeFromProto(p *layshaftv1.Code) report.Code {
	return report.Code{SHA256: p.GetSha256(), Platform: p.GetPlatform(), Size: p.GetSize(), Dynamic: p.GetDynamic()}
}

// AddHello copies fields of the worker's Hello into its state.
func AddHello(w *report.Worker, h *layshaftv1.Hello) {
	w.Address, w.Platform, w.Version = h.GetAddress(), h.GetPlatform(), h.GetVersion()
	w.Tags, w.Memory, w.AllowsShippedCode = h.GetTags(), h.GetMemory(), h.GetAllowsShippedCode()
}

// WorkersToProto converts the states of workers.
func WorkersToProto(workers []report.Worker) *layshaftv1.ListWorkersResponse {
	out := &layshaftv1.ListWorkersResponse{}
	for i := range workers {
		w := &workers[i]
		if w.State == report.Away {
			out.Away = append(out.Away, &layshaftv1.AwayWorker{Id: w.ID, Datasets: w.Datasets})
			continue
		}
		out.Workers = append(out.Workers, &layshaftv1.WorkerStatus{
			Hello: &layshaftv1.Hello{Worker: w.Name, Id: w.ID, Address: w.Address, Zone: w.Zone, Platform: w.Platform, Version: w.Version,
				Tags: w.Tags, Datasets: w.Datasets, Slots: int64(w.Slots), Reserved: int64(w.Reserved), Memory: w.Memory, AllowsShippedCode: w.AllowsShippedCode},
			Running: int64(w.Running), QueuedTasks: int64(w.QueuedTasks), FreeBytes: w.FreeBytes, WaitingReason: w.WaitingReason,
			Draining: w.State == report.Draining, Blocked: w.State == report.Blocked, SilentNanos: int64(w.Silent.Duration())})
	}
	return out
}

// WorkersFromProto converts the states of workers. Away workers come last.
func WorkersFromProto(p *layshaftv1.ListWorkersResponse) []report.Worker {
	var out []report.Worker
	for _, s := range p.GetWorkers() {
		h := s.GetHello()
		w := report.Worker{Name: h.GetWorker(), ID: h.GetId(), State: report.Ready, Zone: h.GetZone(), Datasets: h.GetDatasets(),
			Slots: int(h.GetSlots()), Reserved: int(h.GetReserved()), Running: int(s.GetRunning()), QueuedTasks: int(s.GetQueuedTasks()),
			FreeBytes: s.GetFreeBytes(), WaitingReason: s.GetWaitingReason(), Silent: report.SecondsOf(time.Duration(s.GetSilentNanos()))}
		AddHello(&w, h)
		switch {
		case s.GetDraining():
			w.State = report.Draining
		case s.GetBlocked():
			w.State = report.Blocked
		}
		out = append(out, w)
	}
	for _, a := range p.GetAway() {
		out = append(out, report.Worker{Name: a.GetId(), ID: a.GetId(), State: report.Away, Datasets: a.GetDatasets()})
	}
	return out
}
