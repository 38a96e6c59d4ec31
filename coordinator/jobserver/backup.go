package jobserver

import (
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Backup sends a backup of the coordinator.
func (s *Server) Backup(_ *layshaftv1.BackupRequest, stream grpc.ServerStreamingServer[layshaftv1.BackupResponse]) error {
	s.audit(stream.Context(), "backup")
	var tasks datadir.Tasks // a nil interface when there are none
	if s.cfg.Tasks != nil {
		tasks = s.cfg.Tasks
	}
	return datadir.Backup(stream.Context(), s.c, s.cfg.Data, tasks, wire.PieceWriter(func(b []byte) error {
		return stream.Send(&layshaftv1.BackupResponse{Data: b})
	}))
}
