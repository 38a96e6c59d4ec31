// Package wire converts between the types of packages job and report and the messages of
// proto/layshaft/v1. No other package converts them.
//
// Messages from the network are hostile: the FromProto functions reject numbers out of range and
// unknown kinds, with an error naming the field. The ToProto functions repair text for people if it
// is not UTF-8, because protobuf would reject the whole message. A result may share memory with the
// argument. An empty slice becomes nil.
package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Decoder checks the numbers of a message and keeps the first error.
type Decoder struct{ Err error }

// Fail records an error, unless Err is already set.
func (d *Decoder) Fail(format string, a ...any) {
	if d.Err == nil {
		d.Err = fmt.Errorf(format, a...)
	}
}

// Size checks a number that must not be negative.
func (d *Decoder) Size(field string, v int64) int64 {
	if v < 0 {
		d.Fail("%s is %d, below 0", field, v)
	}
	return v
}

// Count checks a number that must not be negative and must fit into an int.
func (d *Decoder) Count(field string, v int64) int {
	if int64(int(v)) != v {
		d.Fail("%s is %d, too large for this machine", field, v)
	}
	return int(d.Size(field, v))
}

// Kind finds the Go value of an enumeration in its table.
func Kind[G ~int, P comparable](d *Decoder, field string, table []P, v P) G {
	i := slices.Index(table, v)
	if i < 0 {
		d.Fail("%s %v is unknown; it may come from a newer version", field, v)
	}
	return G(i)
}

// List converts all of in. It returns nil for an empty list.
func List[A, B any](in []A, convert func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i := range in {
		out[i] = convert(in[i])
	}
	return out
}

// text repairs text for people if it is not UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// TaskToProto converts a task.
func TaskToProto(t job.Task) *layshaftv1.Task {
	return &layshaftv1.Task{Stage: int64(t.Stage), Index: int64(t.Index)}
}

func (d *Decoder) task(p *layshaftv1.Task) job.Task {
	return job.Task{Stage: d.Count("stage", p.GetStage()), Index: d.Count("index", p.GetIndex())}
}

// AttemptToProto converts an attempt.
func AttemptToProto(a job.Attempt) *layshaftv1.Attempt {
	return &layshaftv1.Attempt{Job: string(a.Job), Task: TaskToProto(a.Task), N: int64(a.N)}
}

// AttemptFromProto converts an attempt; nil is an error.
func AttemptFromProto(p *layshaftv1.Attempt) (job.Attempt, error) {
	var d Decoder
	return d.attempt(p), d.Err
}

func (d *Decoder) attempt(p *layshaftv1.Attempt) job.Attempt {
	if p == nil {
		d.Fail("attempt is not set")
	}
	return job.Attempt{Job: job.ID(p.GetJob()), Task: d.task(p.GetTask()), N: d.Count("attempt", p.GetN())}
}

func splitToProto(s job.Split) *layshaftv1.Split {
	return &layshaftv1.Split{Label: text(s.Label), Bytes: s.Bytes, Hosts: s.Hosts, Note: text(s.Note), Data: s.Data}
}

func (d *Decoder) split(p *layshaftv1.Split) job.Split {
	return job.Split{Label: p.GetLabel(), Bytes: d.Size("bytes of a split", p.GetBytes()), Hosts: p.GetHosts(),
		Note: p.GetNote(), Data: p.GetData()}
}

// SpecToProto converts a job.
func SpecToProto(s *job.Spec) *layshaftv1.Spec {
	return &layshaftv1.Spec{Id: string(s.ID), Name: text(s.Name), Hash: s.Hash, Params: s.Params, Plan: s.Plan, Explain: text(s.Explain), Requeue: s.Requeue, Profile: text(s.Profile), Memory: s.Memory, Stages: List(s.Stages, stageToProto)}
}

func stageToProto(s job.Stage) *layshaftv1.Stage {
	return &layshaftv1.Stage{
		Name: text(s.Name), Places: text(s.Places), Tasks: int64(s.Tasks), MaxAttempts: int64(s.MaxAttempts), TimeoutNanos: int64(s.Timeout), Combine: s.Combine, Inner: s.Inner, Slices: int64(s.Slices),
		Splits: List(s.Splits, splitToProto), Needs: NeedsToProto(s.Needs), Budgets: BudgetsToProto(s.Needs),
		Inputs: List(s.Inputs, func(e job.Edge) *layshaftv1.Edge {
			return &layshaftv1.Edge{From: int64(e.From), Port: int64(e.Port), Input: int64(e.Input), Mode: modes[e.Mode]}
		}),
	}
}

// NeedsToProto returns the amount of each need, by budget.
func NeedsToProto(needs []job.Need) map[string]int64 {
	if len(needs) == 0 {
		return nil
	}
	m := make(map[string]int64, len(needs))
	for _, n := range needs {
		m[text(n.Budget)] = int64(n.N)
	}
	return m
}

// BudgetsToProto returns the declared size of each budget that has one.
func BudgetsToProto(needs []job.Need) (m map[string]int64) {
	for _, n := range needs {
		if n.Size > 0 {
			if m == nil {
				m = make(map[string]int64, len(needs))
			}
			m[text(n.Budget)] = int64(n.Size)
		}
	}
	return m
}

// Needs converts the amounts and declared sizes of budgets.
func (d *Decoder) Needs(m, sizes map[string]int64) (needs []job.Need) {
	for _, budget := range slices.Sorted(maps.Keys(m)) {
		needs = append(needs, job.Need{Budget: budget, N: d.Count("needs of "+budget, m[budget]), Size: d.Count("size of budget "+budget, sizes[budget])})
	}
	return needs
}

// SpecFromProto converts a job. Whether its stages fit together is not checked here.
func SpecFromProto(p *layshaftv1.Spec) (*job.Spec, error) {
	if p == nil {
		return nil, errors.New("job is not set")
	}
	var d Decoder
	s := &job.Spec{ID: job.ID(p.GetId()), Name: p.GetName(), Hash: p.GetHash(), Params: p.GetParams(), Plan: p.GetPlan(), Explain: p.GetExplain(), Requeue: p.GetRequeue(), Profile: p.GetProfile(), Memory: d.Size("memory", p.GetMemory()),
		Stages: List(p.GetStages(), d.stage)}
	if d.Err != nil {
		return nil, fmt.Errorf("job %q: %w", p.GetId(), d.Err)
	}
	return s, nil
}

func (d *Decoder) stage(p *layshaftv1.Stage) job.Stage {
	return job.Stage{
		Name: p.GetName(), Places: p.GetPlaces(), Tasks: d.Count("tasks", p.GetTasks()), MaxAttempts: d.Count("max attempts", p.GetMaxAttempts()),
		Timeout: time.Duration(d.Size("timeout", p.GetTimeoutNanos())), Combine: p.GetCombine(), Inner: p.GetInner(), Slices: d.Count("slices", p.GetSlices()),
		Splits: List(p.GetSplits(), d.split), Needs: d.Needs(p.GetNeeds(), p.GetBudgets()),
		Inputs: List(p.GetInputs(), func(e *layshaftv1.Edge) job.Edge {
			return job.Edge{From: d.Count("from", e.GetFrom()), Port: d.Count("port", e.GetPort()), Input: d.Count("input", e.GetInput()),
				Mode: Kind[job.Mode](d, "mode of an edge", modes, e.GetMode())}
		}),
	}
}

// Tables of the enumerations, by their Go value.
var (
	modes = []layshaftv1.Mode{
		job.Shuffle:   layshaftv1.Mode_MODE_SHUFFLE,
		job.Broadcast: layshaftv1.Mode_MODE_BROADCAST,
		job.Range:     layshaftv1.Mode_MODE_RANGE,
		job.Group:     layshaftv1.Mode_MODE_GROUP,
		job.Sinks:     layshaftv1.Mode_MODE_SINKS,
	}
	failureKinds = []layshaftv1.FailureKind{
		job.Transient:  layshaftv1.FailureKind_FAILURE_KIND_TRANSIENT,
		job.Fatal:      layshaftv1.FailureKind_FAILURE_KIND_FATAL,
		job.InputLost:  layshaftv1.FailureKind_FAILURE_KIND_INPUT_LOST,
		job.Cancelled:  layshaftv1.FailureKind_FAILURE_KIND_CANCELLED,
		job.WorkerLost: layshaftv1.FailureKind_FAILURE_KIND_WORKER_LOST,
		job.Poison:     layshaftv1.FailureKind_FAILURE_KIND_POISON,
	}
)

// TimeToProto returns t as nanoseconds since 1970. Zero stands for the zero time.
func TimeToProto(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// TimeFromProto is the inverse of TimeToProto.
func TimeFromProto(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}
