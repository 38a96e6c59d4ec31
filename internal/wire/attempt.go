package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// LaunchToProto converts a launch. The producers of an edge must be tasks of one stage of the same
// job, in ascending order; otherwise LaunchToProto returns an error.
func LaunchToProto(l *job.Launch) (*layshaftv1.Launch, error) {
	p := &layshaftv1.Launch{Attempt: AttemptToProto(l.Attempt), TimeoutNanos: int64(l.Timeout), Isolated: l.Isolated,
		Skips: List(l.Skips, func(s job.Skip) *layshaftv1.Skip {
			return &layshaftv1.Skip{Number: s.Number, Reason: text(s.Reason), Detail: text(s.Detail)}
		})}
	if l.Split != nil {
		p.Split = splitToProto(*l.Split)
	}
	for edge, producers := range l.Producers {
		columns, err := producersToProto(l.Attempt.Job, producers)
		if err != nil {
			return nil, fmt.Errorf("launch %s: edge %d: %w", l.Attempt, edge, err)
		}
		p.Producers = append(p.Producers, columns)
	}
	return p, nil
}

func producersToProto(id job.ID, producers []job.Producer) (*layshaftv1.Producers, error) {
	p := &layshaftv1.Producers{}
	places := make(map[string]uint32)
	stage, before, gaps := -1, 0, false
	next := 0 // index after the previous task; a gap begins here
	for i, from := range producers {
		a, holder, gap := from.Attempt, uint32(0), 0
		if from != (job.Producer{}) {
			if stage < 0 {
				stage = a.Task.Stage
			}
			if gap = a.Task.Index - next; a.Job != id || a.Task.Stage != stage || gap < 0 || int64(gap) > math.MaxUint32 || a.N < 1 {
				return nil, fmt.Errorf("producer %d is %s of job %q, want an attempt of task %d/%d or a later one of job %q", i, a, a.Job, stage, next, id)
			}
			place, ok := places[from.Worker]
			if !ok {
				place = uint32(len(p.Workers))
				places[from.Worker] = place
				p.Workers = append(p.Workers, from.Worker)
			}
			holder = place
		}
		p.Holders = append(p.Holders, holder)
		p.Attempts = append(p.Attempts, int64(a.N-before))
		p.Gaps = append(p.Gaps, uint32(gap))
		before, next, gaps = a.N, next+gap+1, gaps || gap > 0
	}
	if !gaps {
		p.Gaps = nil
	}
	p.Stage = int64(max(stage, 0))
	return p, nil
}

// LaunchFromProto converts a launch.
func LaunchFromProto(p *layshaftv1.Launch) (*job.Launch, error) {
	var d Decoder
	l := &job.Launch{Attempt: d.attempt(p.GetAttempt()), Timeout: time.Duration(d.Size("timeout", p.GetTimeoutNanos())), Isolated: p.GetIsolated(),
		Skips: List(p.GetSkips(), func(s *layshaftv1.Skip) job.Skip {
			return job.Skip{Number: d.Size("number of a record", s.GetNumber()), Reason: s.GetReason(), Detail: s.GetDetail()}
		})}
	if p.GetSplit() != nil {
		s := d.split(p.GetSplit())
		l.Split = &s
	}
	l.Producers = List(p.GetProducers(), func(p *layshaftv1.Producers) []job.Producer { return d.producers(l.Attempt.Job, p) })
	if d.Err != nil {
		return nil, fmt.Errorf("launch %s: %w", l.Attempt, d.Err)
	}
	return l, nil
}

func (d *Decoder) producers(id job.ID, p *layshaftv1.Producers) []job.Producer {
	stage := d.Count("stage", p.GetStage())
	if len(p.GetHolders()) != len(p.GetAttempts()) {
		d.Fail("%d holders for %d attempts", len(p.GetHolders()), len(p.GetAttempts()))
		return nil
	}
	if gaps := len(p.GetGaps()); gaps != 0 && gaps != len(p.GetHolders()) {
		d.Fail("%d gaps for %d attempts", gaps, len(p.GetHolders()))
		return nil
	}
	if len(p.GetHolders()) == 0 {
		return nil
	}
	out := make([]job.Producer, len(p.GetHolders()))
	n, index := int64(0), int64(-1)
	for i, holder := range p.GetHolders() {
		index++
		if p.GetGaps() != nil {
			index += int64(p.GetGaps()[i])
		}
		if n += p.GetAttempts()[i]; n == 0 {
			continue
		}
		if int64(holder) >= int64(len(p.GetWorkers())) {
			d.Fail("holder %d of %d workers", holder, len(p.GetWorkers()))
			return nil
		}
		out[i] = job.Producer{
			Attempt: job.Attempt{Job: id, Task: job.Task{Stage: stage, Index: d.Count("task", index)}, N: d.Count("attempt", n)},
			Worker:  p.GetWorkers()[holder],
		}
	}
	return out
}

// FailureToProto converts a failure.
func FailureToProto(f *job.Failure) *layshaftv1.Failure {
	return &layshaftv1.Failure{Kind: failureKinds[f.Kind], Message: text(f.Message), Detail: text(f.Detail), Record: text(f.Record),
		Lost: List(f.Lost, AttemptToProto), Crashed: f.Crashed, Number: f.Number, Death: deathToProto(f.Death)}
}

// FailureFromProto converts a failure; nil is an error.
func FailureFromProto(p *layshaftv1.Failure) (*job.Failure, error) {
	var d Decoder
	f := &job.Failure{Kind: Kind[job.Kind](&d, "kind of a failure", failureKinds, p.GetKind()), Message: p.GetMessage(),
		Detail: p.GetDetail(), Record: p.GetRecord(), Lost: List(p.GetLost(), d.attempt), Crashed: p.GetCrashed(),
		Number: d.Size("number of a record", p.GetNumber()), Death: deathFromProto(p.GetDeath())}
	if d.Err != nil {
		return nil, fmt.Errorf("failure %q: %w", p.GetMessage(), d.Err)
	}
	return f, nil
}

// CountersToProto repairs names of counters that are not UTF-8. It adds up counters with the same
// repaired name.
func CountersToProto(counters map[string]int64) map[string]int64 {
	for name := range counters {
		if text(name) != name {
			out := make(map[string]int64, len(counters))
			for name, n := range counters {
				out[text(name)] += n
			}
			return out
		}
	}
	return counters
}
