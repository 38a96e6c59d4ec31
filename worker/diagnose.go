package worker

import (
	"context"
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// DiagnoseWorker sends the files of a debug bundle about this process.
func (s *service) DiagnoseWorker(_ *layshaftv1.DiagnoseWorkerRequest, stream grpc.ServerStreamingServer[layshaftv1.DiagnoseWorkerResponse]) error {
	if s.diagnose == nil {
		return nil
	}
	s.audit.Info("audit", "action", "diagnose", "who", security.PeerIdentity(stream.Context()))
	for _, f := range s.diagnose() {
		for piece := range slices.Chunk(f.Data, wire.PieceSize) {
			if err := stream.Send(&layshaftv1.DiagnoseWorkerResponse{Name: f.Name, Data: piece}); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoteDiagnose returns the files of a debug bundle about the worker at conn.
func RemoteDiagnose(ctx context.Context, conn grpc.ClientConnInterface) (files []report.DebugFile, err error) {
	stream, err := layshaftv1.NewWorkerServiceClient(conn).DiagnoseWorker(ctx, &layshaftv1.DiagnoseWorkerRequest{})
	for err == nil {
		var m *layshaftv1.DiagnoseWorkerResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		if n := len(files); n == 0 || files[n-1].Name != m.GetName() {
			files = append(files, report.DebugFile{Name: m.GetName()})
		}
		f := &files[len(files)-1]
		f.Data = append(f.Data, m.GetData()...)
	}
	if errors.Is(err, io.EOF) {
		return files, nil
	}
	return files, wire.FromStatus(err)
}
