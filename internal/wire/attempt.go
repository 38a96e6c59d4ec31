package wire

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// LaunchToProto converts a launch. It returns an error when the producers of an edge are not tasks of one stage of the
// same job, in order.
func LaunchToProto(l *job.Launch) (*layshaftv1.Launch, error) {
	p := &layshaftv1.Launch{Attempt: AttemptToProto(l.Attempt), TimeoutNanos: int64(l.Timeout), Alone: l.Alone,
		Skips: list(l.Skips, func(s job.Skip) *layshaftv1.Skip {
			return &layshaftv1.Skip{Number: s.Number, Why: text(s.Why), Detail: text(s.Detail)}
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
	next := 0 // the task that follows the one before, where the gap begins
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
	var d decoder
	l := &job.Launch{Attempt: d.attempt(p.GetAttempt()), Timeout: time.Duration(d.size("timeout", p.GetTimeoutNanos())), Alone: p.GetAlone(),
		Skips: list(p.GetSkips(), func(s *layshaftv1.Skip) job.Skip {
			return job.Skip{Number: d.size("number of a record", s.GetNumber()), Why: s.GetWhy(), Detail: s.GetDetail()}
		})}
	if p.GetSplit() != nil {
		s := d.split(p.GetSplit())
		l.Split = &s
	}
	l.Producers = list(p.GetProducers(), func(p *layshaftv1.Producers) []job.Producer { return d.producers(l.Attempt.Job, p) })
	if d.err != nil {
		return nil, fmt.Errorf("launch %s: %w", l.Attempt, d.err)
	}
	return l, nil
}

func (d *decoder) producers(id job.ID, p *layshaftv1.Producers) []job.Producer {
	stage := d.count("stage", p.GetStage())
	if len(p.GetHolders()) != len(p.GetAttempts()) {
		d.fail("%d holders for %d attempts", len(p.GetHolders()), len(p.GetAttempts()))
		return nil
	}
	if gaps := len(p.GetGaps()); gaps != 0 && gaps != len(p.GetHolders()) {
		d.fail("%d gaps for %d attempts", gaps, len(p.GetHolders()))
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
			d.fail("holder %d of %d workers", holder, len(p.GetWorkers()))
			return nil
		}
		out[i] = job.Producer{
			Attempt: job.Attempt{Job: id, Task: job.Task{Stage: stage, Index: d.count("task", index)}, N: d.count("attempt", n)},
			Worker:  p.GetWorkers()[holder],
		}
	}
	return out
}

// FailureToProto converts a failure.
func FailureToProto(f *job.Failure) *layshaftv1.Failure {
	return &layshaftv1.Failure{Kind: failureKinds[f.Kind], Message: text(f.Message), Detail: text(f.Detail), Record: text(f.Record),
		Lost: list(f.Lost, AttemptToProto), Crashed: f.Crashed, Number: f.Number}
}

// FailureFromProto converts a failure; nil is an error.
func FailureFromProto(p *layshaftv1.Failure) (*job.Failure, error) {
	var d decoder
	f := &job.Failure{Kind: kind[job.Kind](&d, "kind of a failure", failureKinds, p.GetKind()), Message: p.GetMessage(),
		Detail: p.GetDetail(), Record: p.GetRecord(), Lost: list(p.GetLost(), d.attempt), Crashed: p.GetCrashed(),
		Number: d.size("number of a record", p.GetNumber())}
	if d.err != nil {
		return nil, fmt.Errorf("failure %q: %w", p.GetMessage(), d.err)
	}
	return f, nil
}

// ManifestToProto converts a manifest.
func ManifestToProto(m *job.Manifest) *layshaftv1.Manifest {
	return &layshaftv1.Manifest{Attempt: AttemptToProto(m.Attempt), Segment: m.Segment, Sink: m.Sink, Sum: m.Sum,
		Counters: CountersToProto(m.Counters),
		Extents: list(m.Extents, func(e job.Extent) *layshaftv1.Extent {
			return &layshaftv1.Extent{Port: int64(e.Port), Run: int64(e.Run), Part: int64(e.Part), Inline: e.Inline,
				Offset: e.Offset, Bytes: e.Bytes, Records: e.Records, Raw: e.Raw,
				Blocks: list(e.Blocks, func(b job.Block) *layshaftv1.Block {
					return &layshaftv1.Block{Offset: b.Offset, Records: b.Records, First: b.First}
				})}
		})}
}

// ManifestFromProto converts a manifest. Whether its extents lie within the segment is not checked here, but that it is a
// plain file name.
func ManifestFromProto(p *layshaftv1.Manifest) (*job.Manifest, error) {
	var d decoder
	m := &job.Manifest{Attempt: d.attempt(p.GetAttempt()), Segment: p.GetSegment(), Counters: p.GetCounters(), Sum: p.GetSum(),
		Sink: p.GetSink(), Extents: list(p.GetExtents(), d.extent)}
	if strings.ContainsAny(m.Segment, `/\`) || m.Segment == ".." {
		d.fail("segment %q is not a plain file name", m.Segment)
	}
	if d.err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", m.Attempt, d.err)
	}
	return m, nil
}

func (d *decoder) extent(p *layshaftv1.Extent) job.Extent {
	return job.Extent{
		Port: d.count("port", p.GetPort()), Run: d.count("run", p.GetRun()), Part: d.count("partition", p.GetPart()), Inline: p.GetInline(),
		Offset: d.size("offset", p.GetOffset()), Bytes: d.size("bytes", p.GetBytes()),
		Records: d.size("records", p.GetRecords()), Raw: d.size("raw bytes", p.GetRaw()),
		Blocks: list(p.GetBlocks(), func(p *layshaftv1.Block) job.Block {
			return job.Block{Offset: d.size("offset of a block", p.GetOffset()), Records: d.size("records of a block", p.GetRecords()), First: p.GetFirst()}
		}),
	}
}

// CountersToProto makes the names of counters fit for protobuf. Counters whose repaired names meet are added up.
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
