package jobserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
)

// A coordinator that was cut off, or stood still, may not know yet that another one leads. What it
// answers then is a little old. That does harm in one case: it does not know a job or a task that
// the other one has accepted, and the client gives up. So this answer needs a majority.

// verifyUnknown returns the options of a server that calls verify before it answers "not found". If
// verify fails, its error is the answer.
func verifyUnknown(verify func() error) []grpc.ServerOption {
	if verify == nil {
		return nil
	}
	check := func(err error) error {
		if err != nil && status.Code(wire.ToStatus(err)) == codes.NotFound {
			if verr := verify(); verr != nil {
				return verr
			}
		}
		return err
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			out, err := handle(ctx, req)
			return out, check(err)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return check(handle(srv, stream))
		}),
	}
}
