package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Every error that callers branch on is the same at both ends, and no other. The kinds of
// ErrUnavailable are that, too.
func TestFaultsAreTheSameAtBothEnds(t *testing.T) {
	for _, f := range faults {
		here := fmt.Errorf("job nightly: %w: find a way out", f.err)
		there := FromStatus(ToStatus(here))
		if there.Error() != here.Error() || status.Code(there) != f.code {
			t.Errorf("%q became %v, %q", here, status.Code(there), there)
		}
		for _, g := range faults {
			if got, want := errors.Is(there, g.err), errors.Is(f.err, g.err); got != want {
				t.Errorf("errors.Is(%v, %v) = %v at the other end", there, g.err, got)
			}
		}
		if again := FromStatus(ToStatus(fmt.Errorf("relayed: %w", there))); !errors.Is(again, f.err) && f.reason == "" {
			t.Errorf("%v is lost when it is relayed", f.err)
		}
	}
}

func TestFaultsOfFailures(t *testing.T) {
	lost := &job.Failure{Kind: job.InputLost, Message: "gone", Lost: []job.Attempt{{Job: "j", N: 2}}}
	err := FromStatus(ToStatus(fmt.Errorf("read: %w", lost)))
	var f *job.Failure
	if !errors.As(err, &f) || f.Lost[0] != lost.Lost[0] || status.Code(err) != codes.DataLoss {
		t.Errorf("%v became %v", lost, err)
	}
	plain := errors.New("disk on fire \xff")
	if err := FromStatus(ToStatus(plain)); status.Code(err) != codes.Unknown || err.Error() != "disk on fire \uFFFD" {
		t.Errorf("%v became %v", plain, err)
	}
	if err := ToStatus(errors.New(strings.Repeat("x", 1<<20))); len(err.Error()) > 32<<10 {
		t.Errorf("an error of %d bytes would travel in a header", len(err.Error()))
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil || FromStatus(plain) != plain {
		t.Error("nil and local errors must stay as they are")
	}
}

// panics is a worker whose handlers panic.
type panics struct {
	layshaftv1.UnimplementedWorkerServiceServer
}

func (panics) ReadOutput(context.Context, *layshaftv1.ReadOutputRequest) (*layshaftv1.ReadOutputResponse, error) {
	panic("at the disco")
}

func (panics) GetManifest(*layshaftv1.GetManifestRequest, grpc.ServerStreamingServer[layshaftv1.GetManifestResponse]) error {
	panic("again")
}

func TestPanicIsAnError(t *testing.T) {
	var log strings.Builder
	forbid := false
	s := grpc.NewServer(ServerOptions(slog.New(slog.NewTextHandler(&log, nil)), func(_ context.Context, method string) error {
		if forbid {
			return fmt.Errorf("%s: %w", method, ErrForbidden)
		}
		return nil
	})...)
	layshaftv1.RegisterWorkerServiceServer(s, panics{})
	l := bufconn.Listen(1 << 16)
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///x", append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	c := layshaftv1.NewWorkerServiceClient(conn)
	_, unary := c.ReadOutput(t.Context(), &layshaftv1.ReadOutputRequest{})
	stream, err := c.GetManifest(t.Context(), &layshaftv1.GetManifestRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, streamed := stream.Recv()
	if status.Code(unary) != codes.Internal || status.Code(streamed) != codes.Internal {
		t.Errorf("panics became %v and %v", unary, streamed)
	}
	forbid = true
	if _, err := c.ReadOutput(t.Context(), &layshaftv1.ReadOutputRequest{}); !errors.Is(FromStatus(err), ErrForbidden) {
		t.Errorf("forbidden = %v", err)
	}
	_ = conn.Close()
	s.Stop()
	<-served
	if !strings.Contains(log.String(), "at the disco") || !strings.Contains(log.String(), "status_test.go") {
		t.Errorf("the log does not tell of the panic: %s", log.String())
	}
}
