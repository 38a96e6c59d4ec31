package jobserver

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Members are the coordinators of a cluster with several.
type Members interface {
	// List asks all coordinators for their state.
	List(ctx context.Context) (report.Coordinators, error)
	// Add makes the coordinator at an address a member. The warning is for the operator.
	Add(ctx context.Context, address string) (added report.Coordinator, warning string, err error)
	// Remove removes the member with an ID. It does nothing if there is none.
	Remove(ctx context.Context, id string) (warning string, err error)
	// Transfer makes the member with the ID to lead, if the one with the ID from leads. An empty ID
	// to chooses one.
	Transfer(ctx context.Context, from, to string) error
}

// errSingle is the answer of a single coordinator to changes of the members.
var errSingle = errors.New("this is a single coordinator; start it with -peers to make it one of several")

// membersServer serves Members.
type membersServer struct {
	layshaftv1.UnimplementedMembersServiceServer
	members Members // nil for a single coordinator
	audit   func(ctx context.Context, action string, attrs ...any)
}

func (s *membersServer) ListMembers(ctx context.Context, _ *layshaftv1.ListMembersRequest) (*layshaftv1.ListMembersResponse, error) {
	if s.members == nil {
		return &layshaftv1.ListMembersResponse{}, nil
	}
	all, err := s.members.List(ctx)
	if err != nil {
		return nil, err
	}
	return wire.CoordinatorsToProto(&all), nil
}

func (s *membersServer) AddMember(ctx context.Context, r *layshaftv1.AddMemberRequest) (*layshaftv1.AddMemberResponse, error) {
	s.audit(ctx, "add coordinator", "address", r.GetAddress())
	if s.members == nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, errSingle)
	}
	if _, _, err := net.SplitHostPort(r.GetAddress()); err != nil {
		return nil, fmt.Errorf("%w: %q is no HOST:PORT", wire.ErrInvalid, r.GetAddress())
	}
	added, warning, err := s.members.Add(ctx, r.GetAddress())
	if err != nil {
		return nil, err
	}
	return &layshaftv1.AddMemberResponse{Member: wire.CoordinatorToProto(&added), Warning: warning}, nil
}

func (s *membersServer) RemoveMember(ctx context.Context, r *layshaftv1.RemoveMemberRequest) (*layshaftv1.RemoveMemberResponse, error) {
	s.audit(ctx, "remove coordinator", "coordinator", r.GetId())
	if s.members == nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, errSingle)
	}
	warning, err := s.members.Remove(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return &layshaftv1.RemoveMemberResponse{Warning: warning}, nil
}

func (s *membersServer) TransferLeadership(ctx context.Context, r *layshaftv1.TransferLeadershipRequest) (*layshaftv1.TransferLeadershipResponse, error) {
	s.audit(ctx, "transfer leadership", "from", r.GetFrom(), "to", r.GetTo())
	if s.members == nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, errSingle)
	}
	if err := s.members.Transfer(ctx, r.GetFrom(), r.GetTo()); err != nil {
		return nil, err
	}
	return &layshaftv1.TransferLeadershipResponse{}, nil
}

// Standby answers calls at a coordinator that does not lead and cannot pass them on: it lists the
// coordinators, and refuses all else with the reason.
type Standby struct {
	grpc *grpc.Server
}

// NewStandby returns a server that does nothing until Run. Of cfg it uses Members, Credentials,
// Authorize, Identity, Audit and Log.
func NewStandby(cfg Config) *Standby {
	s := &Server{cfg: cfg}
	opts := append(wire.ServerOptions(cfg.Log, s.authorize()), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		return noLeader(stream.Context(), cfg.Members)
	}))
	if cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(cfg.Credentials))
	}
	x := &Standby{grpc: grpc.NewServer(opts...)}
	layshaftv1.RegisterMembersServiceServer(x.grpc, &standbyMembers{membersServer: membersServer{members: cfg.Members, audit: s.audit}})
	return x
}

// standbyMembers refuses changes: only a leader makes them.
type standbyMembers struct{ membersServer }

// noLeader returns the error of calls that only a leader can answer.
func noLeader(ctx context.Context, m Members) error {
	all, err := m.List(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", wire.ErrNoLeader, all.Stale)
}

// ListMembers refuses without a group, so that clients with several addresses ask another one.
func (s *standbyMembers) ListMembers(ctx context.Context, _ *layshaftv1.ListMembersRequest) (*layshaftv1.ListMembersResponse, error) {
	all, err := s.members.List(ctx)
	if err == nil && len(all.Members) == 0 {
		err = fmt.Errorf("%w: %s", wire.ErrUnavailable, all.Stale)
	}
	if err != nil {
		return nil, err
	}
	return wire.CoordinatorsToProto(&all), nil
}

func (s *standbyMembers) AddMember(ctx context.Context, _ *layshaftv1.AddMemberRequest) (*layshaftv1.AddMemberResponse, error) {
	return nil, noLeader(ctx, s.members)
}

func (s *standbyMembers) RemoveMember(ctx context.Context, _ *layshaftv1.RemoveMemberRequest) (*layshaftv1.RemoveMemberResponse, error) {
	return nil, noLeader(ctx, s.members)
}

func (s *standbyMembers) TransferLeadership(ctx context.Context, _ *layshaftv1.TransferLeadershipRequest) (*layshaftv1.TransferLeadershipResponse, error) {
	return nil, noLeader(ctx, s.members)
}

// Run serves connections of l until ctx ends, and closes l.
func (s *Standby) Run(ctx context.Context, l net.Listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.grpc.Stop()
	})
	err := s.grpc.Serve(l)
	if !stop() {
		<-stopped
		return nil
	}
	return err
}
