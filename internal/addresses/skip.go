package addresses

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/wire"
)

// A coordinator that does not lead and cannot reach the leader answers calls with wire.ErrNoLeader.
// The next try then goes to another coordinator, which may reach it.

func (c *Conn) skipUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := call(ctx, method, req, reply, cc, opts...)
	c.skipWithoutLeader(err)
	return err
}

func (c *Conn) skipStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &skippingStream{stream, c}, nil
}

func (c *Conn) skipWithoutLeader(err error) {
	if err != nil && errors.Is(wire.FromStatus(err), wire.ErrNoLeader) {
		c.Skip()
	}
}

type skippingStream struct {
	grpc.ClientStream
	c *Conn
}

func (s *skippingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.c.skipWithoutLeader(err)
	return err
}
