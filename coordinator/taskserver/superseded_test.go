package taskserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// lostReplica is the database of a coordinator that loses the lead.
type lostReplica struct {
	db   *state.DB
	lost *atomic.Bool
}

func (r lostReplica) DB() *state.DB { return r.db }

func (r lostReplica) Flush() error { return nil }

func (r lostReplica) Propose(iter.Seq2[[]byte, []byte]) (wait func() error) {
	return func() error {
		if r.lost.Load() {
			return errors.New("leadership lost while committing log")
		}
		return nil
	}
}

// openLost serves the tasks of a coordinator that has lost the lead, and has noticed that.
func openLost(t *testing.T) (tasksv1.TasksServiceClient, *Server) {
	t.Helper()
	db, err := state.OpenMemory(state.Options{}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	tasks, err := Open(Config{Replica: lostReplica{db, &lost}})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	tasks.Register(server)
	l := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///tasks", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		_ = tasks.Close()
		_ = db.Close()
	})
	c := tasksv1.NewTasksServiceClient(conn)
	ran := make(chan error, 1)
	go func() { ran <- tasks.desk.Run(context.Background()) }() // streams may begin still
	if _, err := c.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f"}}}); err != nil {
		t.Fatal(err)
	}
	lost.Store(true)
	_, err = c.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f"}}})
	if got := status.Code(err); got != codes.Unavailable {
		t.Errorf("the submit during which the lead is lost: %v, %v", got, err)
	}
	if err := <-ran; err == nil {
		t.Error("Run has returned nil")
	}
	return c, tasks
}

// TestSupersededIsUnavailable asks a coordinator that has lost the lead, before its connections
// end. Clients repeat UNAVAILABLE alone.
func TestSupersededIsUnavailable(t *testing.T) {
	c, tasks := openLost(t)
	spec := func() []*tasksv1.TaskSpec { return []*tasksv1.TaskSpec{{Function: "f", Unique: "u"}} }
	calls := map[string]func(ctx context.Context) error{
		"SubmitTasks": func(ctx context.Context) error {
			out, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: spec()})
			if err == nil {
				err = errors.New(out.String())
			}
			return err
		},
		"SubmitTasks of a group": func(ctx context.Context) error {
			_, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: spec(), NewGroup: &tasksv1.TaskGroup{}})
			return err
		},
		"CallTasks":                   func(ctx context.Context) error { return callLost(ctx, c, false) },
		"CallTasks in the background": func(ctx context.Context) error { return callLost(ctx, c, true) },
		"WaitTask": func(ctx context.Context) error {
			stream, err := c.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: 1 << 60}})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"OpenGroup": func(ctx context.Context) error {
			_, err := c.OpenGroup(ctx, &tasksv1.OpenGroupRequest{Group: &tasksv1.TaskGroup{}})
			return err
		},
		"CancelTasks": func(ctx context.Context) error {
			list, err := c.ListTasks(ctx, &tasksv1.ListTasksRequest{Function: "f"})
			if err != nil || len(list.GetTasks()) == 0 {
				return fmt.Errorf("there are no tasks: %w", err)
			}
			_, err = c.CancelTasks(ctx, &tasksv1.CancelTasksRequest{Tasks: []uint64{list.GetTasks()[0].GetTask()}})
			return err
		},
		"SetFunction": func(ctx context.Context) error {
			_, err := c.SetFunction(ctx, &tasksv1.SetFunctionRequest{Function: "g", Limits: &tasksv1.FunctionLimits{Concurrency: 3}})
			return err
		},
		"SetBudget": func(ctx context.Context) error {
			_, err := c.SetBudget(ctx, &tasksv1.SetBudgetRequest{Budget: "b", Size: 3})
			return err
		},
	}
	for name, call := range calls {
		if err := call(t.Context()); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Run("gearman", func(t *testing.T) {
		l := bufconn.Listen(1 << 10)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- tasks.ServeGearman(ctx, l, GearmanOptions{}) }()
		defer func() {
			stop()
			<-served
		}()
		conn, err := l.DialContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("\x00REQ\x00\x00\x00\x12\x00\x00\x00\x05f\x00\x00in")); err != nil { // SUBMIT_JOB_BG
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || len(answer) > 0 {
			t.Errorf("%q, %v, want the end of the connection", answer, err)
		}
	})
	t.Run("http", func(t *testing.T) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/f", strings.NewReader("in"))
		(&httpFront{b: tasks.broker(GearmanOptions{}), maxBody: 1 << 10, stop: tasks.stop}).ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d, %v", w.Code, w.Header())
		}
	})
}

// callLost runs a task on a stream, and returns the error of the stream.
func callLost(ctx context.Context, c tasksv1.TasksServiceClient, background bool) error {
	stream, err := c.CallTasks(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Options{Options: &tasksv1.CallTasksOptions{Protocol: wire.Protocol}}})
	_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: &tasksv1.TaskBatch{Tasks: []*tasksv1.TaskSpec{{Function: "f", Background: background}}}}})
	m, err := stream.Recv()
	if err == nil {
		err = errors.New(m.String())
	}
	return err
}
