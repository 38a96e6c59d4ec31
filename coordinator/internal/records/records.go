// Package records converts between the records of the scheduler and the events of the journal.
//
// Each kind of record has one message in proto/layshaft/journal/v1: sched.Committed becomes
// Committed, and so on. Encode refuses a record that Decode could not read. Decode refuses events
// of an unknown kind and impossible values.
package records

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	journalv1 "github.com/layshaft/layshaft/proto/layshaft/journal/v1"
)

// outcomes is the table of how jobs end, by their Go value.
var outcomes = []journalv1.Outcome{
	sched.Running: journalv1.Outcome_OUTCOME_UNSPECIFIED,
	sched.Done:    journalv1.Outcome_OUTCOME_DONE,
	sched.Failed:  journalv1.Outcome_OUTCOME_FAILED,
	sched.Aborted: journalv1.Outcome_OUTCOME_CANCELLED,
}

// Encode returns the journal's event for a record. If Decode could not read a job back, the client
// gets the error when it submits the job.
func Encode(rec sched.Record) ([]byte, error) {
	var p journalv1.Event
	switch rec := rec.(type) {
	case sched.Submitted:
		spec := specToProto(&rec.Spec)
		var d decoder
		if d.spec(spec); d.Err != nil {
			return nil, fmt.Errorf("job %q: %w", rec.Spec.ID, d.Err)
		}
		p.Event = &journalv1.Event_Submitted{Submitted: &journalv1.Submitted{Spec: spec, Options: optionsToProto(&rec.Options)}}
	case sched.Committed:
		p.Event = &journalv1.Event_Committed{Committed: &journalv1.Committed{
			Attempt: attemptToProto(rec.Attempt), Worker: text(rec.Worker), Summary: summaryToProto(rec.Summary)}}
	case sched.OutputLost:
		p.Event = &journalv1.Event_OutputLost{OutputLost: &journalv1.OutputLost{Attempt: attemptToProto(rec.Attempt)}}
	case sched.OutputMoved:
		p.Event = &journalv1.Event_OutputMoved{OutputMoved: &journalv1.OutputMoved{Attempt: attemptToProto(rec.Attempt), Worker: text(rec.Worker)}}
	case sched.Grouped:
		p.Event = &journalv1.Event_Grouped{Grouped: &journalv1.Grouped{Job: string(rec.Job), Stage: int64(rec.Stage),
			Groups: wire.List(rec.Groups, func(group int32) uint32 { return uint32(group) })}}
	case sched.Ended:
		p.Event = &journalv1.Event_Ended{Ended: &journalv1.Ended{Job: string(rec.Job), Outcome: outcomes[rec.Outcome],
			Task: taskToProto(rec.Task), AtNanos: wire.TimeToProto(rec.At), Released: rec.Released,
			Failure: failureToProto(rec.Failure), Stages: wire.List(rec.Stages, totalsToProto)}}
	case sched.JobDropped:
		p.Event = &journalv1.Event_JobDropped{JobDropped: &journalv1.JobDropped{Job: string(rec.Job)}}
	case sched.JobReleased:
		p.Event = &journalv1.Event_JobReleased{JobReleased: &journalv1.JobReleased{Job: string(rec.Job)}}
	case sched.Reopened:
		p.Event = &journalv1.Event_Reopened{Reopened: &journalv1.Reopened{Job: string(rec.Job)}}
	case sched.Detached:
		p.Event = &journalv1.Event_Detached{Detached: &journalv1.Detached{Job: string(rec.Job)}}
	case sched.Offered:
		p.Event = &journalv1.Event_Offered{Offered: &journalv1.Offered{Worker: text(rec.WorkerID), Datasets: wire.List(rec.Datasets, text)}}
	case sched.Epoch:
		p.Event = &journalv1.Event_Epoch{Epoch: &journalv1.Epoch{N: int64(rec.N)}}
	default:
		return nil, fmt.Errorf("encode %T: unknown record", rec)
	}
	b, err := proto.Marshal(&p)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", rec, err)
	}
	return b, nil
}

// Decode returns the record of an event of the journal.
func Decode(b []byte) (sched.Record, error) {
	var p journalv1.Event
	if err := proto.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	var d decoder
	rec := d.record(&p)
	if d.Err != nil {
		return nil, fmt.Errorf("decode event: %w", d.Err)
	}
	return rec, nil
}

func (d *decoder) record(p *journalv1.Event) sched.Record {
	switch e := p.Event.(type) {
	case *journalv1.Event_Submitted:
		return sched.Submitted{Spec: d.spec(e.Submitted.GetSpec()), Options: optionsFromProto(e.Submitted.GetOptions())}
	case *journalv1.Event_Committed:
		return d.committed(e.Committed)
	case *journalv1.Event_OutputLost:
		return sched.OutputLost{Attempt: d.attempt(e.OutputLost.GetAttempt())}
	case *journalv1.Event_OutputMoved:
		return sched.OutputMoved{Attempt: d.attempt(e.OutputMoved.GetAttempt()), Worker: e.OutputMoved.GetWorker()}
	case *journalv1.Event_Grouped:
		return d.grouped(e.Grouped)
	case *journalv1.Event_Ended:
		return d.ended(e.Ended)
	case *journalv1.Event_JobDropped:
		return sched.JobDropped{Job: job.ID(e.JobDropped.GetJob())}
	case *journalv1.Event_JobReleased:
		return sched.JobReleased{Job: job.ID(e.JobReleased.GetJob())}
	case *journalv1.Event_Reopened:
		return sched.Reopened{Job: job.ID(e.Reopened.GetJob())}
	case *journalv1.Event_Detached:
		return sched.Detached{Job: job.ID(e.Detached.GetJob())}
	case *journalv1.Event_Offered:
		return sched.Offered{WorkerID: e.Offered.GetWorker(), Datasets: e.Offered.GetDatasets()}
	case *journalv1.Event_Epoch:
		if e.Epoch.GetN() < 1 {
			d.Fail("epoch %d is below 1", e.Epoch.GetN())
		}
		return sched.Epoch{N: d.Count("epoch", e.Epoch.GetN())}
	}
	d.Err = errors.New("unknown kind of event: a newer version wrote it; start that version")
	return nil
}

func (d *decoder) committed(p *journalv1.Committed) sched.Committed {
	a := d.attempt(p.GetAttempt())
	if a.N < 1 {
		d.Fail("attempt %s: numbers start at 1", a)
	}
	return sched.Committed{Attempt: a, Worker: p.GetWorker(), Summary: summaryFromProto(p.GetSummary())}
}

func (d *decoder) grouped(p *journalv1.Grouped) sched.Grouped {
	return sched.Grouped{Job: job.ID(p.GetJob()), Stage: d.Count("stage", p.GetStage()), Groups: wire.List(p.GetGroups(), func(group uint32) int32 {
		if group > math.MaxInt32 {
			d.Fail("group %d of job %s is too large", group, p.GetJob())
		}
		return int32(group)
	})}
}

func (d *decoder) ended(p *journalv1.Ended) sched.Ended {
	if p.GetOutcome() == journalv1.Outcome_OUTCOME_UNSPECIFIED {
		d.Fail("job %s ended without an outcome", p.GetJob())
	}
	return sched.Ended{Job: job.ID(p.GetJob()), Outcome: wire.Kind[sched.Outcome](&d.Decoder, "outcome", outcomes, p.GetOutcome()),
		At: wire.TimeFromProto(p.GetAtNanos()), Released: p.GetReleased(), Task: d.task(p.GetTask()), Failure: d.failure(p.GetFailure()),
		Stages: wire.List(p.GetStages(), totalsFromProto)}
}

func totalsToProto(t sched.Totals) *journalv1.Totals {
	return &journalv1.Totals{Done: int64(t.Done), Failed: int64(t.Failed), Cancelled: int64(t.Cancelled), Sum: summaryToProto(t.Sum)}
}

func totalsFromProto(p *journalv1.Totals) sched.Totals {
	return sched.Totals{Done: int(p.GetDone()), Failed: int(p.GetFailed()), Cancelled: int(p.GetCancelled()), Sum: summaryFromProto(p.GetSum())}
}

func optionsToProto(o *sched.Options) *journalv1.Options {
	return &journalv1.Options{Priority: int64(o.Priority), Interactive: o.Interactive, Tags: o.Tags, Code: o.Code, Platform: o.Platform,
		CodeSize: o.CodeSize, CodeLoader: o.CodeLoader, Detached: o.Detached, Owner: o.Owner, Client: o.Client, Quarantine: text(o.Quarantine),
		SubmittedNanos: wire.TimeToProto(o.Submitted)}
}

func optionsFromProto(p *journalv1.Options) sched.Options {
	return sched.Options{Priority: int(p.GetPriority()), Interactive: p.GetInteractive(), Tags: p.GetTags(), Code: p.GetCode(),
		Platform: p.GetPlatform(), CodeSize: p.GetCodeSize(), CodeLoader: p.GetCodeLoader(), Detached: p.GetDetached(),
		Owner: p.GetOwner(), Client: p.GetClient(), Quarantine: p.GetQuarantine(), Submitted: wire.TimeFromProto(p.GetSubmittedNanos())}
}

func summaryToProto(s sched.Summary) *journalv1.Summary {
	p := &journalv1.Summary{Bytes: s.Bytes, Records: s.Records, Counters: wire.CountersToProto(s.Counters)}
	if l := s.Locality; l.Local+l.Zone+l.Remote != 0 {
		p.Locality = &journalv1.Locality{Local: int64(l.Local), Zone: int64(l.Zone), Remote: int64(l.Remote),
			LocalBytes: l.LocalBytes, ZoneBytes: l.ZoneBytes, RemoteBytes: l.RemoteBytes}
	}
	return p
}

func summaryFromProto(p *journalv1.Summary) (s sched.Summary) {
	s.Bytes, s.Records, s.Counters = p.GetBytes(), p.GetRecords(), p.GetCounters()
	if l := p.GetLocality(); l != nil {
		s.Locality.Local, s.Locality.Zone, s.Locality.Remote = int(l.GetLocal()), int(l.GetZone()), int(l.GetRemote())
		s.Locality.LocalBytes, s.Locality.ZoneBytes, s.Locality.RemoteBytes = l.GetLocalBytes(), l.GetZoneBytes(), l.GetRemoteBytes()
	}
	return s
}
