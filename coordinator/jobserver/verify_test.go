package jobserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// forgetful knows no task.
type forgetful struct {
	tasksv1.UnimplementedTasksServiceServer
}

func (forgetful) GetTask(context.Context, *tasksv1.GetTaskRequest) (*tasksv1.GetTaskResponse, error) {
	return nil, status.Error(codes.NotFound, "unknown task")
}

func (forgetful) WaitTask(*tasksv1.WaitTaskRequest, grpc.ServerStreamingServer[tasksv1.WaitTaskResponse]) error {
	return fmt.Errorf("task 1: %w", wire.ErrUnknownJob)
}

// A coordinator that leads no longer does not say that a task is unknown: the next one may know it.
func TestVerifyUnknown(t *testing.T) {
	for _, leads := range []bool{true, false} {
		verify := func() error {
			if leads {
				return nil
			}
			return wire.ErrNoLeader
		}
		s := grpc.NewServer(append(wire.ServerOptions(slog.New(slog.DiscardHandler), nil), verifyUnknown(verify)...)...)
		tasksv1.RegisterTasksServiceServer(s, forgetful{})
		l := bufconn.Listen(1 << 16)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		c, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		rpc := tasksv1.NewTasksServiceClient(c)
		_, unary := rpc.GetTask(t.Context(), &tasksv1.GetTaskRequest{})
		stream, err := rpc.WaitTask(t.Context(), &tasksv1.WaitTaskRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, streamed := stream.Recv()
		want := codes.NotFound
		if !leads {
			want = codes.Unavailable
		}
		for _, err := range []error{unary, streamed} {
			if status.Code(err) != want {
				t.Errorf("leads %t: %v, want %v", leads, err, want)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
