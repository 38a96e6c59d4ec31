package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/tasks"
)

// A client repeats each call that a coordinator ended because it does not lead, or no longer runs,
// and no other call.
func TestCallsAreRepeated(t *testing.T) {
	ends := []error{
		fmt.Errorf("%w: leadership lost while committing log", wire.ErrNoLeader),
		fmt.Errorf("%w: the coordinator shuts down", wire.ErrStopped),
		wire.ErrUnavailable,
		status.Error(codes.Unavailable, "connection reset by peer"),
	}
	calls := []struct {
		name, method string
		call         func(ctx context.Context, c *tasks.Client) error
	}{
		{"Do", "CallTasks", func(ctx context.Context, c *tasks.Client) error { _, err := tasks.Do[int](ctx, c, "f", 1); return err }},
		{"Scatter", "CallTasks", func(ctx context.Context, c *tasks.Client) error {
			for r := range tasks.Scatter[int](ctx, c, "f", []int{1, 2}) {
				return r.Err
			}
			return nil
		}},
		{"Enqueue", "CallTasks", func(ctx context.Context, c *tasks.Client) error { _, err := tasks.Enqueue(ctx, c, "f", 1); return err }},
		{"EnqueueAll", "SubmitTasks", func(ctx context.Context, c *tasks.Client) error {
			_, err := tasks.EnqueueAll(ctx, c, "f", []int{1, 2})
			return err
		}},
		{"Attach", "WaitTask", func(ctx context.Context, c *tasks.Client) error { _, err := tasks.Attach[int](ctx, c, 7); return err }},
		{"OpenGroup", "OpenGroup", func(ctx context.Context, c *tasks.Client) error { _, err := tasks.OpenGroup(ctx, c); return err }},
		{"Cancel", "CancelTasks", func(ctx context.Context, c *tasks.Client) error { _, err := c.Cancel(ctx, 7); return err }},
		{"RunNow", "RunTasks", func(ctx context.Context, c *tasks.Client) error { _, err := c.RunNow(ctx, 7); return err }},
		{"Retry", "RetryTasks", func(ctx context.Context, c *tasks.Client) error { _, err := c.Retry(ctx, 7); return err }},
		{"Drop", "DropTasks", func(ctx context.Context, c *tasks.Client) error { _, err := c.Drop(ctx, 7); return err }},
		{"Status", "GetTask", func(ctx context.Context, c *tasks.Client) error { _, err := c.Status(ctx, 7); return err }},
		{"Dead", "ListDeadTasks", func(ctx context.Context, c *tasks.Client) error { _, err := c.Dead(ctx, "f", 1); return err }},
		{"Pause", "PauseFunction", func(ctx context.Context, c *tasks.Client) error { return c.Pause(ctx, "f") }},
		{"SetLimits", "SetFunction", func(ctx context.Context, c *tasks.Client) error { return c.SetLimits(ctx, "f", tasks.Limits{}) }},
		{"SetBudget", "SetBudget", func(ctx context.Context, c *tasks.Client) error { return c.SetBudget(ctx, "b", 1) }},
		{"DropFunction", "DropFunction", func(ctx context.Context, c *tasks.Client) error { return c.DropFunction(ctx, "f") }},
		{"Overview", "ListFunctions", func(ctx context.Context, c *tasks.Client) error { _, err := c.Overview(ctx); return err }},
		{"Workers", "ListTaskWorkers", func(ctx context.Context, c *tasks.Client) error { _, err := c.Workers(ctx); return err }},
	}
	for _, end := range ends {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex // guards tries
			tries := map[string]int{}
			l := bufconn.Listen(1 << 16)
			server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
				method, _ := grpc.MethodFromServerStream(stream)
				mu.Lock()
				defer mu.Unlock()
				name := method[strings.LastIndexByte(method, '/')+1:]
				if tries[name]++; tries[name] > 1 {
					return wire.ToStatus(wire.ErrInvalid)
				}
				return wire.ToStatus(end)
			}))
			go func() { _ = server.Serve(l) }()
			c, err := tasks.Dial(tasks.Cluster{Address: "c1:1", Dial: func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }})
			if err != nil {
				t.Fatal(err)
			}
			for _, tt := range calls {
				if err := tt.call(t.Context(), c); !errors.Is(err, wire.ErrInvalid) {
					t.Errorf("%s after %q: %v, want the second answer", tt.name, end, err)
				}
				mu.Lock()
				if got := tries[tt.method]; got != 2 {
					t.Errorf("%s after %q: %d tries, want 2", tt.name, end, got)
				}
				clear(tries)
				mu.Unlock()
			}
			_ = c.Close()
			server.Stop()
		})
	}
}
