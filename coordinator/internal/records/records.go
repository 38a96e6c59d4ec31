// Package records converts the records of the scheduler to the events that the journal stores, and back.
//
// Each kind of record has one message: sched.Committed becomes layshaft.v1.Committed, and so on.
// Encode refuses a record that Decode could not read. Decode refuses an event of an unknown kind
// and a value that is impossible.
package records

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// outcomes is the table of how jobs end, by their Go value.
var outcomes = []layshaftv1.Outcome{
	sched.Done:    layshaftv1.Outcome_OUTCOME_DONE,
	sched.Failed:  layshaftv1.Outcome_OUTCOME_FAILED,
	sched.Aborted: layshaftv1.Outcome_OUTCOME_CANCELLED,
}

// OutcomeToProto returns the message's value for an outcome.
func OutcomeToProto(o sched.Outcome) layshaftv1.Outcome { return outcomes[o] }

// OutcomeFromProto is the inverse of OutcomeToProto. An outcome that is missing or unknown is an error.
func OutcomeFromProto(p layshaftv1.Outcome) (sched.Outcome, error) {
	o := slices.Index(outcomes, p)
	if p == layshaftv1.Outcome_OUTCOME_UNSPECIFIED || o < 0 {
		return 0, fmt.Errorf("outcome %v is unknown", p)
	}
	return sched.Outcome(o), nil
}

// Encode returns the journal's event for a record. A job that Decode could not read back is an error for the client that
// submitted it.
func Encode(rec sched.Record) ([]byte, error) {
	var p layshaftv1.Event
	switch rec := rec.(type) {
	case sched.Submitted:
		spec := wire.SpecToProto(&rec.Spec)
		if _, err := wire.SpecFromProto(spec); err != nil {
			return nil, err
		}
		p.Event = &layshaftv1.Event_Submitted{Submitted: &layshaftv1.Submitted{Spec: spec, Options: encodeOptions(&rec.Options)}}
	case sched.Committed:
		p.Event = &layshaftv1.Event_Committed{Committed: &layshaftv1.Committed{
			Attempt: wire.AttemptToProto(rec.Attempt), Worker: strings.ToValidUTF8(rec.Worker, "\uFFFD"), Summary: SummaryToProto(rec.Summary)}}
	case sched.OutputLost:
		p.Event = &layshaftv1.Event_OutputLost{OutputLost: &layshaftv1.OutputLost{Attempt: wire.AttemptToProto(rec.Attempt)}}
	case sched.OutputMoved:
		p.Event = &layshaftv1.Event_OutputMoved{OutputMoved: &layshaftv1.OutputMoved{
			Attempt: wire.AttemptToProto(rec.Attempt), Worker: strings.ToValidUTF8(rec.Worker, "\uFFFD")}}
	case sched.Grouped:
		g := &layshaftv1.Grouped{Job: string(rec.Job), Stage: int64(rec.Stage)}
		for _, group := range rec.Groups {
			g.Groups = append(g.Groups, uint32(group))
		}
		p.Event = &layshaftv1.Event_Grouped{Grouped: g}
	case sched.Ended:
		e := &layshaftv1.Ended{Job: string(rec.Job), Outcome: OutcomeToProto(rec.Outcome), Task: wire.TaskToProto(rec.Task), AtNanos: wire.TimeToProto(rec.At), Released: rec.Released}
		if rec.Failure != nil {
			e.Failure = wire.FailureToProto(rec.Failure)
		}
		for _, x := range rec.Stages {
			e.Stages = append(e.Stages, &layshaftv1.Totals{Done: int64(x.Done), Failed: int64(x.Failed), Cancelled: int64(x.Cancelled), Sum: SummaryToProto(x.Sum)})
		}
		p.Event = &layshaftv1.Event_Ended{Ended: e}
	case sched.JobDropped:
		p.Event = &layshaftv1.Event_JobDropped{JobDropped: &layshaftv1.JobDropped{Job: string(rec.Job)}}
	case sched.JobReleased:
		p.Event = &layshaftv1.Event_JobReleased{JobReleased: &layshaftv1.JobReleased{Job: string(rec.Job)}}
	case sched.Reopened:
		p.Event = &layshaftv1.Event_Reopened{Reopened: &layshaftv1.Reopened{Job: string(rec.Job)}}
	case sched.Detached:
		p.Event = &layshaftv1.Event_Detached{Detached: &layshaftv1.Detached{Job: string(rec.Job)}}
	case sched.Offered:
		p.Event = &layshaftv1.Event_Offered{Offered: &layshaftv1.Offered{Worker: strings.ToValidUTF8(rec.WorkerID, "\uFFFD"), Datasets: valid(rec.Datasets)}}
	case sched.Epoch:
		p.Event = &layshaftv1.Event_Epoch{Epoch: &layshaftv1.Epoch{N: int64(rec.N)}}
	default:
		return nil, fmt.Errorf("encode %T: unknown record", rec)
	}
	b, err := proto.Marshal(&p)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", rec, err)
	}
	return b, nil
}

// Decode returns the record that an event of the journal stands for.
func Decode(b []byte) (sched.Record, error) {
	var p layshaftv1.Event
	if err := proto.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	var rec sched.Record
	var err error
	switch e := p.Event.(type) {
	case *layshaftv1.Event_Submitted:
		rec, err = decodeSubmitted(e.Submitted)
	case *layshaftv1.Event_Committed:
		rec, err = decodeCommitted(e.Committed)
	case *layshaftv1.Event_OutputLost:
		var lost sched.OutputLost
		lost.Attempt, err = wire.AttemptFromProto(e.OutputLost.GetAttempt())
		rec = lost
	case *layshaftv1.Event_OutputMoved:
		moved := sched.OutputMoved{Worker: e.OutputMoved.GetWorker()}
		moved.Attempt, err = wire.AttemptFromProto(e.OutputMoved.GetAttempt())
		rec = moved
	case *layshaftv1.Event_Grouped:
		rec, err = decodeGrouped(e.Grouped)
	case *layshaftv1.Event_Ended:
		rec, err = decodeEnded(e.Ended)
	case *layshaftv1.Event_JobDropped:
		return sched.JobDropped{Job: job.ID(e.JobDropped.GetJob())}, nil
	case *layshaftv1.Event_JobReleased:
		return sched.JobReleased{Job: job.ID(e.JobReleased.GetJob())}, nil
	case *layshaftv1.Event_Reopened:
		return sched.Reopened{Job: job.ID(e.Reopened.GetJob())}, nil
	case *layshaftv1.Event_Detached:
		return sched.Detached{Job: job.ID(e.Detached.GetJob())}, nil
	case *layshaftv1.Event_Offered:
		return sched.Offered{WorkerID: e.Offered.GetWorker(), Datasets: e.Offered.GetDatasets()}, nil
	case *layshaftv1.Event_Epoch:
		rec = sched.Epoch{N: int(e.Epoch.GetN())}
		if e.Epoch.GetN() < 1 {
			err = fmt.Errorf("epoch %d is below 1", e.Epoch.GetN())
		}
	default:
		err = errors.New("unknown kind of event: a newer version wrote it; start that version")
	}
	if err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return rec, nil
}

func valid(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToValidUTF8(n, "\uFFFD")
	}
	return out
}

func decodeSubmitted(p *layshaftv1.Submitted) (sched.Submitted, error) {
	spec, err := wire.SpecFromProto(p.GetSpec())
	if err != nil {
		return sched.Submitted{}, err
	}
	return sched.Submitted{Spec: *spec, Options: decodeOptions(p.GetOptions())}, nil
}

func encodeOptions(o *sched.Options) *layshaftv1.Options {
	return &layshaftv1.Options{Priority: int64(o.Priority), Interactive: o.Interactive, Tags: o.Tags, Code: o.Code, Platform: o.Platform,
		CodeSize: o.CodeSize, CodeLoader: o.CodeLoader, Detached: o.Detached, Owner: o.Owner, Client: o.Client, SubmittedNanos: wire.TimeToProto(o.Submitted)}
}

func decodeOptions(p *layshaftv1.Options) sched.Options {
	return sched.Options{Priority: int(p.GetPriority()), Interactive: p.GetInteractive(), Tags: p.GetTags(), Code: p.GetCode(), Platform: p.GetPlatform(),
		CodeSize: p.GetCodeSize(), CodeLoader: p.GetCodeLoader(), Detached: p.GetDetached(), Owner: p.GetOwner(), Client: p.GetClient(), Submitted: wire.TimeFromProto(p.GetSubmittedNanos())}
}

func decodeGrouped(p *layshaftv1.Grouped) (sched.Grouped, error) {
	g := sched.Grouped{Job: job.ID(p.GetJob()), Stage: int(p.GetStage())}
	for _, group := range p.GetGroups() {
		if group > math.MaxInt32 {
			return g, fmt.Errorf("group %d of job %s is too large", group, g.Job)
		}
		g.Groups = append(g.Groups, int32(group))
	}
	return g, nil
}

func decodeCommitted(p *layshaftv1.Committed) (sched.Committed, error) {
	a, err := wire.AttemptFromProto(p.GetAttempt())
	if err == nil && a.N < 1 {
		err = fmt.Errorf("attempt %s: numbers start at 1", a)
	}
	return sched.Committed{Attempt: a, Worker: p.GetWorker(), Summary: SummaryFromProto(p.GetSummary())}, err
}

// SummaryToProto returns the message for the totals of attempts.
func SummaryToProto(s sched.Summary) *layshaftv1.Summary {
	p := &layshaftv1.Summary{Bytes: s.Bytes, Records: s.Records, Counters: wire.CountersToProto(s.Counters)}
	if l := s.Locality; l != (sched.Locality{}) {
		p.Locality = &layshaftv1.Locality{Local: int64(l.Local), Zone: int64(l.Zone), Remote: int64(l.Remote),
			LocalBytes: l.LocalBytes, ZoneBytes: l.ZoneBytes, RemoteBytes: l.RemoteBytes}
	}
	return p
}

// SummaryFromProto is the inverse of SummaryToProto.
func SummaryFromProto(p *layshaftv1.Summary) sched.Summary {
	l := p.GetLocality()
	return sched.Summary{Bytes: p.GetBytes(), Records: p.GetRecords(), Counters: p.GetCounters(), Locality: sched.Locality{
		Local: int(l.GetLocal()), Zone: int(l.GetZone()), Remote: int(l.GetRemote()),
		LocalBytes: l.GetLocalBytes(), ZoneBytes: l.GetZoneBytes(), RemoteBytes: l.GetRemoteBytes()}}
}

func decodeEnded(p *layshaftv1.Ended) (sched.Ended, error) {
	e := sched.Ended{Job: job.ID(p.GetJob()), At: wire.TimeFromProto(p.GetAtNanos()), Released: p.GetReleased()}
	var err error
	if e.Outcome, err = OutcomeFromProto(p.GetOutcome()); err != nil {
		return e, fmt.Errorf("job %s: %w", e.Job, err)
	}
	for _, x := range p.GetStages() {
		e.Stages = append(e.Stages, sched.Totals{Done: int(x.GetDone()), Failed: int(x.GetFailed()), Cancelled: int(x.GetCancelled()), Sum: SummaryFromProto(x.GetSum())})
	}
	if e.Task, err = wire.TaskFromProto(p.GetTask()); err != nil || p.GetFailure() == nil {
		return e, err
	}
	e.Failure, err = wire.FailureFromProto(p.GetFailure())
	return e, err
}
