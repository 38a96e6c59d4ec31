package client

import (
	"context"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Coordinators lists the coordinators of the cluster. A single coordinator returns none.
func (c *Client) Coordinators(ctx context.Context) (report.Coordinators, error) {
	out, err := call(ctx, c, c.members.ListMembers, &layshaftv1.ListMembersRequest{})
	if err != nil {
		return report.Coordinators{}, err
	}
	return wire.CoordinatorsFromProto(out), nil
}

// memberTry limits one try to add a member, which gets the whole state during the call.
const memberTry = 10 * time.Minute

// AddCoordinator makes the coordinator at an address a member. It returns when the new member has
// the state of the others. The warning is for the operator.
func (c *Client) AddCoordinator(ctx context.Context, address string) (added report.Coordinator, warning string, err error) {
	err = c.retry(ctx, func(ctx context.Context, _ func()) error {
		ctx, cancel := context.WithTimeout(ctx, memberTry)
		defer cancel()
		out, err := c.members.AddMember(ctx, &layshaftv1.AddMemberRequest{Address: address})
		added, warning = wire.CoordinatorFromProto(out.GetMember()), out.GetWarning()
		return err
	})
	return added, warning, err
}

// RemoveCoordinator removes the member with an ID. The warning is for the operator.
func (c *Client) RemoveCoordinator(ctx context.Context, id string) (warning string, err error) {
	out, err := call(ctx, c, c.members.RemoveMember, &layshaftv1.RemoveMemberRequest{Id: id})
	return out.GetWarning(), err
}

// TransferLeadership makes the member with the ID to lead, if the one with the ID from leads. An
// empty ID to chooses one.
func (c *Client) TransferLeadership(ctx context.Context, from, to string) error {
	_, err := call(ctx, c, c.members.TransferLeadership, &layshaftv1.TransferLeadershipRequest{From: from, To: to})
	return err
}
