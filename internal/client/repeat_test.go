package client

import (
	"context"
	"errors"
	"fmt"
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
		"ListJobs":    func(ctx context.Context, c *Client) error { _, err := c.Jobs(ctx, 1); return err },
		"GetSpec":     func(ctx context.Context, c *Client) error { _, _, err := c.Spec(ctx, "j", true); return err },
		"GetHistory":  func(ctx context.Context, c *Client) error { _, err := c.History(ctx, "j"); return err },
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
