package jobserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
)

// After a cut or a standstill, a coordinator may act as leader for a moment although another one
// leads. Its answers are then a little old. Old answers do harm in one case: "not found", for a job
// or task accepted by the new leader, makes the client give up. So this answer needs a majority.

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
