package jobserver

import (
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Diagnose sends the files of a debug bundle about this process.
func (s *Server) Diagnose(_ *layshaftv1.DiagnoseRequest, stream grpc.ServerStreamingServer[layshaftv1.DiagnoseResponse]) error {
	if s.cfg.Diagnose == nil {
		return nil
	}
	s.audit(stream.Context(), "diagnose")
	return wire.SendDebugFiles(s.cfg.Diagnose(), func(name string, piece []byte) error {
		return stream.Send(&layshaftv1.DiagnoseResponse{Name: name, Data: piece})
	})
}
