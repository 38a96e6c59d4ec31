package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// A client repeats each call that a coordinator ended because it does not lead, or no longer runs,
// and no other call.
func TestCallsAreRepeated(t *testing.T) {
	ends := []error{
		fmt.Errorf("program 0123: %w: leadership lost while committing log", wire.ErrNoLeader),
		fmt.Errorf("%w: it goes down", wire.ErrStopped),
		wire.ErrUnavailable,
		status.Error(codes.Unavailable, "connection reset by peer"),
	}
	calls := map[string]func(ctx context.Context, c *Client) error{
		"Submit": func(ctx context.Context, c *Client) error {
			_, err := c.Submit(ctx, &job.Spec{ID: "j"}, report.Options{})
			return err
		},
		"PutCode": func(ctx context.Context, c *Client) error {
			return c.PutCode(ctx, report.Code{SHA256: "0123", Size: 3 << 20}, strings.NewReader(strings.Repeat("x", 3<<20)))
		},
		"Plan": func(ctx context.Context, c *Client) error {
			_, err := c.Plan(ctx, &report.Job{ID: "j"}, false)
			return err
		},
		"Cancel":     func(ctx context.Context, c *Client) error { return c.Cancel(ctx, "j", "") },
		"Detach":     func(ctx context.Context, c *Client) error { return c.Detach(ctx, "j") },
		"Drop":       func(ctx context.Context, c *Client) error { return c.Drop(ctx, "j") },
		"Release":    func(ctx context.Context, c *Client) error { return c.Release(ctx, "j") },
		"ReportLost": func(ctx context.Context, c *Client) error { return c.ReportLost(ctx, job.Producer{}) },
		"Watch":      func(ctx context.Context, c *Client) error { return c.Wait(ctx, "j") },
		"Commits": func(ctx context.Context, c *Client) error {
			for _, err := range c.Commits(ctx, "j", 0) {
				return err
			}
			return nil
		},
		"ListJobs":   func(ctx context.Context, c *Client) error { _, err := c.Jobs(ctx, 1); return err },
		"GetSpec":    func(ctx context.Context, c *Client) error { _, _, err := c.Spec(ctx, "j", true); return err },
		"GetLaunch":  func(ctx context.Context, c *Client) error { _, err := c.Launch(ctx, job.Attempt{}); return err },
		"Diagnose":   func(ctx context.Context, c *Client) error { _, err := c.Diagnose(ctx); return err },
		"GetHistory": func(ctx context.Context, c *Client) error { _, err := c.History(ctx, "j"); return err },
		"GetOutput": func(ctx context.Context, c *Client) error {
			_, err := c.Output(ctx, "j", 0)
			return err
		},
		"DrainWorker": func(ctx context.Context, c *Client) error { return c.DrainWorker(ctx, "w") },
		"FindFiles":   func(ctx context.Context, c *Client) error { _, err := c.FindFiles(ctx, "d", "*"); return err },
		"ListWorkers": func(ctx context.Context, c *Client) error { _, err := c.Workers(ctx); return err },
		"ListMembers": func(ctx context.Context, c *Client) error { _, err := c.Coordinators(ctx); return err },
		"AddMember":   func(ctx context.Context, c *Client) error { _, _, err := c.AddCoordinator(ctx, "c2:1"); return err },
		"RemoveMember": func(ctx context.Context, c *Client) error {
			_, err := c.RemoveCoordinator(ctx, "id")
			return err
		},
		"TransferLeadership": func(ctx context.Context, c *Client) error { return c.TransferLeadership(ctx, "a", "b") },
	}
	for _, end := range ends {
		synctest.Test(t, func(t *testing.T) {
			s := &refusing{first: end, tries: map[string]int{}}
			l := bufconn.Listen(1 << 16)
			server := grpc.NewServer(grpc.UnknownServiceHandler(s.answer))
			go func() { _ = server.Serve(l) }()
			c, err := Dial(Config{Address: "c1:1", Dial: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
			if err != nil {
				t.Fatal(err)
			}
			for name, call := range calls {
				if err := call(t.Context(), c); !errors.Is(err, wire.ErrInvalid) {
					t.Errorf("%s after %q: %v, want the second answer", name, end, err)
				}
				s.mu.Lock()
				if got := s.tries; len(got) != 1 || !slices.Contains(slices.Collect(maps.Values(got)), 2) {
					t.Errorf("%s after %q: tries %v, want 2", name, end, got)
				}
				clear(s.tries)
				s.mu.Unlock()
			}
			_ = c.Close()
			server.Stop()
		})
	}
}

// refusing is a coordinator that answers the first try of each call with an error, and later ones
// with one that is final.
type refusing struct {
	first error

	mu    sync.Mutex // guards the field below
	tries map[string]int
}

func (s *refusing) answer(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	name := method[strings.LastIndexByte(method, '/')+1:]
	s.mu.Lock()
	s.tries[name]++
	n := s.tries[name]
	s.mu.Unlock()
	if n > 1 {
		return wire.ToStatus(wire.ErrInvalid)
	}
	return wire.ToStatus(s.first)
}

// uploading is a coordinator that loses the lead in the middle of the first upload.
type uploading struct {
	layshaftv1.UnimplementedCoordinatorServiceServer
	got []string // content of each upload, as far as it was read
}

func (s *uploading) PutCode(stream grpc.ClientStreamingServer[layshaftv1.PutCodeRequest, layshaftv1.PutCodeResponse]) error {
	s.got = append(s.got, "")
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&layshaftv1.PutCodeResponse{})
		}
		if err != nil {
			return err
		}
		if s.got[len(s.got)-1] += string(m.GetData()); len(s.got) == 1 && len(s.got[0]) > 1<<20 {
			return fmt.Errorf("program 0123: %w: leadership lost while committing log", wire.ErrNoLeader)
		}
	}
}

// An upload is repeated from the start of the file.
func TestUploadIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &uploading{}
		l := bufconn.Listen(1 << 16)
		server := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
		layshaftv1.RegisterCoordinatorServiceServer(server, s)
		go func() { _ = server.Serve(l) }()
		c, err := Dial(Config{Address: "c1:1", Dial: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
		if err != nil {
			t.Fatal(err)
		}
		program := strings.Repeat("0123456789", 400_000)
		if err := c.PutCode(t.Context(), report.Code{SHA256: "0123", Size: int64(len(program))}, strings.NewReader(program)); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		server.Stop()
		if len(s.got) != 2 || s.got[1] != program {
			t.Errorf("%d uploads, want a second one with all of it", len(s.got))
		}
	})
}
