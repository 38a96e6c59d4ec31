package coordinator

import (
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Backup returns all that the coordinator remembers.
func (s *Server) Backup(_ *layshaftv1.BackupRequest, stream grpc.ServerStreamingServer[layshaftv1.BackupResponse]) error {
	s.audit(stream.Context(), "backup")
	return s.c.Backup(stream.Context(), s.cfg.Data, s.cfg.Tasks, wire.PieceWriter(func(b []byte) error {
		return stream.Send(&layshaftv1.BackupResponse{Data: b})
	}))
}
