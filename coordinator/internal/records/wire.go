package records

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// wireOutcomes is the table of how jobs end, by their Go value.
var wireOutcomes = []layshaftv1.Outcome{
	sched.Done:    layshaftv1.Outcome_OUTCOME_DONE,
	sched.Failed:  layshaftv1.Outcome_OUTCOME_FAILED,
	sched.Aborted: layshaftv1.Outcome_OUTCOME_CANCELLED,
}

// OutcomeToProto returns the message's value for an outcome.
func OutcomeToProto(o sched.Outcome) layshaftv1.Outcome { return wireOutcomes[o] }

// OutcomeFromProto is the inverse of OutcomeToProto. An outcome that is missing or unknown is an error.
func OutcomeFromProto(p layshaftv1.Outcome) (sched.Outcome, error) {
	o := slices.Index(wireOutcomes, p)
	if p == layshaftv1.Outcome_OUTCOME_UNSPECIFIED || o < 0 {
		return 0, fmt.Errorf("outcome %v is unknown", p)
	}
	return sched.Outcome(o), nil
}

// SummaryToProto returns the message for the totals of attempts.
func SummaryToProto(s sched.Summary) *layshaftv1.Summary {
	p := &layshaftv1.Summary{Bytes: s.Bytes, Records: s.Records, Counters: wire.CountersToProto(s.Counters)}
	if l := s.Locality; l.Local+l.Zone+l.Remote != 0 {
		p.Locality = &layshaftv1.Locality{Local: int64(l.Local), Zone: int64(l.Zone), Remote: int64(l.Remote),
			LocalBytes: l.LocalBytes, ZoneBytes: l.ZoneBytes, RemoteBytes: l.RemoteBytes}
	}
	return p
}

// SummaryFromProto is the inverse of SummaryToProto.
func SummaryFromProto(p *layshaftv1.Summary) (s sched.Summary) {
	s.Bytes, s.Records, s.Counters = p.GetBytes(), p.GetRecords(), p.GetCounters()
	if l := p.GetLocality(); l != nil {
		s.Locality.Local, s.Locality.Zone, s.Locality.Remote = int(l.GetLocal()), int(l.GetZone()), int(l.GetRemote())
		s.Locality.LocalBytes, s.Locality.ZoneBytes, s.Locality.RemoteBytes = l.GetLocalBytes(), l.GetZoneBytes(), l.GetRemoteBytes()
	}
	return s
}
