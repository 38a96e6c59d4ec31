package wire

import (
	"github.com/layshaft/layshaft/internal/report"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// CoordinatorToProto converts the state of a coordinator.
func CoordinatorToProto(c *report.Coordinator) *layshaftv1.Member {
	return &layshaftv1.Member{Id: c.ID, Address: c.Address, Leader: c.Leader, Voter: c.Voter, State: string(c.State), Behind: c.Behind, Reason: c.Reason}
}

// CoordinatorFromProto converts the state of a coordinator.
func CoordinatorFromProto(p *layshaftv1.Member) report.Coordinator {
	return report.Coordinator{ID: p.GetId(), Address: p.GetAddress(), Leader: p.GetLeader(), Voter: p.GetVoter(),
		State: report.CoordinatorState(p.GetState()), Behind: p.GetBehind(), Reason: p.GetReason()}
}

// CoordinatorsToProto converts the states of coordinators.
func CoordinatorsToProto(c *report.Coordinators) *layshaftv1.ListMembersResponse {
	out := &layshaftv1.ListMembersResponse{Stale: c.Stale, Warning: c.Warning}
	for i := range c.Members {
		out.Members = append(out.Members, CoordinatorToProto(&c.Members[i]))
	}
	return out
}

// CoordinatorsFromProto converts the states of coordinators.
func CoordinatorsFromProto(p *layshaftv1.ListMembersResponse) report.Coordinators {
	out := report.Coordinators{Stale: p.GetStale(), Warning: p.GetWarning()}
	for _, m := range p.GetMembers() {
		out.Members = append(out.Members, CoordinatorFromProto(m))
	}
	return out
}
