package addresses

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/wire"
)

// A coordinator that does not lead and cannot reach the leader answers calls with wire.ErrNoLeader.
// The next try then goes to another coordinator, which may reach it. Several calls that fail at one
// coordinator lead to one skip: of two coordinators, a second one would lead back.

func (c *Conn) skipUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	skips := c.skipped()
	err := call(ctx, method, req, reply, cc, opts...)
	c.skipWithoutLeader(err, skips)
	return err
}

func (c *Conn) skipStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	skips := c.skipped()
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &skippingStream{stream, c, skips}, nil
}

// skipWithoutLeader skips the coordinator of a call that began after a number of skips.
func (c *Conn) skipWithoutLeader(err error, skips int) {
	if err != nil && errors.Is(wire.FromStatus(err), wire.ErrNoLeader) {
		c.skipAfter(skips)
	}
}

type skippingStream struct {
	grpc.ClientStream
	c     *Conn
	skips int // when it began
}

func (s *skippingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.c.skipWithoutLeader(err, s.skips)
	return err
}
