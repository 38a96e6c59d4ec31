package worker

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// service serves peers and clients.
type service struct {
	layshaftv1.UnimplementedWorkerServiceServer
	layshaftv1.UnimplementedFilesServiceServer
	outputs *outputServer
	files   *files
	aside   *asideStore
	// diagnose returns what this process knows about itself; nil means nothing
	diagnose func() []report.DebugFile
	audit    *slog.Logger
}

func (s *service) GetManifest(req *layshaftv1.GetManifestRequest, stream grpc.ServerStreamingServer[layshaftv1.GetManifestResponse]) error {
	return s.outputs.getManifest(req, stream.Send)
}

func (s *service) ReadOutput(ctx context.Context, req *layshaftv1.ReadOutputRequest) (*layshaftv1.ReadOutputResponse, error) {
	return s.outputs.readOutput(ctx, req)
}

func (s *service) Lend(stream grpc.BidiStreamingServer[layshaftv1.LendRequest, layshaftv1.LendResponse]) error {
	return s.files.Lenders.Serve(stream)
}

func (s *service) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return s.files.Serve(ctx, req)
}

// localService gives user code on this machine access to files on any worker or client.
type localService struct {
	layshaftv1.UnimplementedFilesServiceServer
	files *files
}

func (s *localService) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return s.files.Call(ctx, req)
}

// server returns the server for peers and clients.
func (n *Node) server() *grpc.Server {
	opts := append(wire.ServerOptions(n.log, n.cfg.Authorize), grpc.Creds(n.cfg.ServerCreds), grpc.ForceServerCodecV2(newPieceCodec()))
	s := grpc.NewServer(opts...)
	all := &service{outputs: n.outputs, files: n.files, aside: n.w.aside, diagnose: n.cfg.Diagnose, audit: n.cfg.Audit}
	layshaftv1.RegisterWorkerServiceServer(s, all)
	layshaftv1.RegisterFilesServiceServer(s, all)
	return s
}

// localServer returns the server for user code on this machine.
func (n *Node) localServer() *grpc.Server {
	s := grpc.NewServer(wire.ServerOptions(n.log, nil)...)
	layshaftv1.RegisterFilesServiceServer(s, &localService{files: n.files})
	return s
}
