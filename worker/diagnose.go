package worker

import (
	"context"
	"errors"
	"io"

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
	return wire.SendDebugFiles(s.diagnose(), func(name string, piece []byte) error {
		return stream.Send(&layshaftv1.DiagnoseWorkerResponse{Name: name, Data: piece})
	})
}

// RemoteDiagnose returns the files of a debug bundle about the worker at conn.
func RemoteDiagnose(ctx context.Context, conn grpc.ClientConnInterface) (files []report.DebugFile, err error) {
	stream, err := layshaftv1.NewWorkerServiceClient(conn).DiagnoseWorker(ctx, &layshaftv1.DiagnoseWorkerRequest{})
	for err == nil {
		var m *layshaftv1.DiagnoseWorkerResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		files = wire.AppendDebugFile(files, m.GetName(), m.GetData())
	}
	if errors.Is(err, io.EOF) {
		return files, nil
	}
	return files, wire.FromStatus(err)
}
