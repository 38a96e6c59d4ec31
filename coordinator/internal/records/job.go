package records

import (
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	journalv1 "github.com/layshaft/layshaft/proto/layshaft/journal/v1"
)

// decoder reads the journal's messages and keeps the first error.
type decoder struct{ wire.Decoder }

// text repairs text that is not UTF-8, because protobuf would refuse the whole message.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func taskToProto(t job.Task) *journalv1.Task {
	return &journalv1.Task{Stage: int64(t.Stage), Index: int64(t.Index)}
}

func (d *decoder) task(p *journalv1.Task) job.Task {
	return job.Task{Stage: d.Count("stage", p.GetStage()), Index: d.Count("index", p.GetIndex())}
}

func attemptToProto(a job.Attempt) *journalv1.Attempt {
	return &journalv1.Attempt{Job: string(a.Job), Task: taskToProto(a.Task), N: int64(a.N)}
}

func (d *decoder) attempt(p *journalv1.Attempt) job.Attempt {
	if p == nil {
		d.Fail("attempt is not set")
	}
	return job.Attempt{Job: job.ID(p.GetJob()), Task: d.task(p.GetTask()), N: d.Count("attempt", p.GetN())}
}

func specToProto(s *job.Spec) *journalv1.Spec {
	return &journalv1.Spec{Id: string(s.ID), Name: text(s.Name), Hash: s.Hash, Params: s.Params, Plan: s.Plan,
		Explain: text(s.Explain), Requeue: s.Requeue, Profile: text(s.Profile), Memory: s.Memory, Stages: wire.List(s.Stages, stageToProto)}
}

func (d *decoder) spec(p *journalv1.Spec) job.Spec {
	if p == nil {
		d.Fail("job is not set")
	}
	return job.Spec{ID: job.ID(p.GetId()), Name: p.GetName(), Hash: p.GetHash(), Params: p.GetParams(), Plan: p.GetPlan(),
		Explain: p.GetExplain(), Requeue: p.GetRequeue(), Profile: p.GetProfile(), Memory: d.Size("memory", p.GetMemory()), Stages: wire.List(p.GetStages(), d.stage)}
}

func stageToProto(s job.Stage) *journalv1.Stage {
	return &journalv1.Stage{Name: text(s.Name), Places: text(s.Places), Tasks: int64(s.Tasks), MaxAttempts: int64(s.MaxAttempts),
		TimeoutNanos: int64(s.Timeout), Combine: s.Combine, Inner: s.Inner, Slices: int64(s.Slices),
		Splits: wire.List(s.Splits, splitToProto), Inputs: wire.List(s.Inputs, edgeToProto),
		Needs: wire.NeedsToProto(s.Needs), Budgets: wire.BudgetsToProto(s.Needs)}
}

func (d *decoder) stage(p *journalv1.Stage) job.Stage {
	return job.Stage{Name: p.GetName(), Places: p.GetPlaces(), Tasks: d.Count("tasks", p.GetTasks()), MaxAttempts: d.Count("max attempts", p.GetMaxAttempts()),
		Timeout: time.Duration(d.Size("timeout", p.GetTimeoutNanos())), Combine: p.GetCombine(), Inner: p.GetInner(),
		Slices: d.Count("slices", p.GetSlices()), Splits: wire.List(p.GetSplits(), d.split), Inputs: wire.List(p.GetInputs(), d.edge),
		Needs: d.Needs(p.GetNeeds(), p.GetBudgets())}
}

func splitToProto(s job.Split) *journalv1.Split {
	return &journalv1.Split{Label: text(s.Label), Bytes: s.Bytes, Hosts: s.Hosts, Note: text(s.Note), Data: s.Data}
}

func (d *decoder) split(p *journalv1.Split) job.Split {
	return job.Split{Label: p.GetLabel(), Bytes: d.Size("bytes of a split", p.GetBytes()), Hosts: p.GetHosts(),
		Note: p.GetNote(), Data: p.GetData()}
}

func edgeToProto(e job.Edge) *journalv1.Edge {
	return &journalv1.Edge{From: int64(e.From), Port: int64(e.Port), Input: int64(e.Input), Mode: modes[e.Mode]}
}

func (d *decoder) edge(p *journalv1.Edge) job.Edge {
	return job.Edge{From: d.Count("from", p.GetFrom()), Port: d.Count("port", p.GetPort()), Input: d.Count("input", p.GetInput()),
		Mode: wire.Kind[job.Mode](&d.Decoder, "mode of an edge", modes, p.GetMode())}
}

func failureToProto(f *job.Failure) *journalv1.Failure {
	if f == nil {
		return nil
	}
	return &journalv1.Failure{Kind: failureKinds[f.Kind], Message: text(f.Message), Detail: text(f.Detail), Record: text(f.Record),
		Lost: wire.List(f.Lost, attemptToProto), Crashed: f.Crashed, Number: f.Number}
}

func (d *decoder) failure(p *journalv1.Failure) *job.Failure {
	if p == nil {
		return nil
	}
	return &job.Failure{Kind: wire.Kind[job.Kind](&d.Decoder, "kind of a failure", failureKinds, p.GetKind()), Message: p.GetMessage(),
		Detail: p.GetDetail(), Record: p.GetRecord(), Lost: wire.List(p.GetLost(), d.attempt), Crashed: p.GetCrashed(),
		Number: d.Size("number of a record", p.GetNumber())}
}

// Tables of the enumerations, by their Go value.
var (
	modes = []journalv1.Mode{
		job.Shuffle:   journalv1.Mode_MODE_SHUFFLE,
		job.Broadcast: journalv1.Mode_MODE_BROADCAST,
		job.Range:     journalv1.Mode_MODE_RANGE,
		job.Group:     journalv1.Mode_MODE_GROUP,
		job.Sinks:     journalv1.Mode_MODE_SINKS,
	}
	failureKinds = []journalv1.FailureKind{
		job.Transient:  journalv1.FailureKind_FAILURE_KIND_TRANSIENT,
		job.Fatal:      journalv1.FailureKind_FAILURE_KIND_FATAL,
		job.InputLost:  journalv1.FailureKind_FAILURE_KIND_INPUT_LOST,
		job.Cancelled:  journalv1.FailureKind_FAILURE_KIND_CANCELLED,
		job.WorkerLost: journalv1.FailureKind_FAILURE_KIND_WORKER_LOST,
		job.Poison:     journalv1.FailureKind_FAILURE_KIND_POISON,
	}
)
