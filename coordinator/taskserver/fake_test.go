package taskserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// serveTasks runs tasks and a server of theirs. The returned function ends both.
func serveTasks(t testing.TB, cfg Config) (tasksv1.TasksServiceClient, *Server, func()) {
	t.Helper()
	tasks, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	tasks.Register(server)
	l := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- tasks.Run(ctx) }()
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///tasks", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	return tasksv1.NewTasksServiceClient(conn), tasks, func() {
		cancel()
		err := <-ran
		_ = conn.Close()
		server.Stop()
		<-served
		if err := errors.Join(err, tasks.Close()); err != nil {
			t.Error(err)
		}
	}
}

// taskWorker is a worker that a test plays.
type taskWorker struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[tasksv1.WorkTasksRequest, tasksv1.WorkTasksResponse]
}

func startWork(t testing.TB, ctx context.Context, c tasksv1.TasksServiceClient, hello *tasksv1.TaskHello) *taskWorker {
	t.Helper()
	stream, err := c.WorkTasks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &taskWorker{t: t, stream: stream}
	w.say(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: hello}})
	if m := w.next(); m.GetWelcome().GetLeaseNanos() == 0 {
		t.Fatalf("welcomed with %v", m)
	}
	return w
}

func helloOf(name string, slots int64, functions ...string) *tasksv1.TaskHello {
	h := &tasksv1.TaskHello{Protocol: wire.Protocol, Worker: name, Abilities: &tasksv1.TaskAbilities{Slots: slots}}
	for _, f := range functions {
		h.Abilities.Functions = append(h.Abilities.Functions, &tasksv1.TaskFunction{Function: f})
	}
	return h
}

func (w *taskWorker) say(m *tasksv1.WorkTasksRequest) {
	w.t.Helper()
	if err := w.stream.Send(m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *taskWorker) next() *tasksv1.WorkTasksResponse {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// assigned returns the next task.
func (w *taskWorker) assigned() *tasksv1.TaskAssign {
	w.t.Helper()
	var input []byte
	for {
		m := w.next()
		input = append(input, m.GetPiece()...)
		if a := m.GetAssigns(); len(a) > 0 {
			a[0].Input = append(input, a[0].Input...)
			return a[0]
		}
	}
}

func (w *taskWorker) report(r *tasksv1.TaskReport) {
	w.say(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: []*tasksv1.TaskReport{r}}}})
}

func (w *taskWorker) done(a *tasksv1.TaskAssign, result []byte) {
	for ; len(result) > 1<<20; result = result[1<<20:] {
		w.say(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Piece{Piece: result[:1<<20]}})
	}
	w.report(&tasksv1.TaskReport{Attempt: a.GetAttempt(), Content: &tasksv1.TaskReport_Result{Result: result}})
}

// acked waits for an acknowledgement.
func (w *taskWorker) acked() {
	w.t.Helper()
	for len(w.next().GetAcks()) == 0 {
	}
}

// updatesOf collects what is told until the end, bodies whole, in words.
func updatesOf[M interface {
	GetUpdates() []*tasksv1.TaskUpdate
	GetPiece() []byte
}](t *testing.T, recv func() (M, error)) (said []string) {
	t.Helper()
	size := 0
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return said
		}
		if err != nil {
			t.Fatal(err)
		}
		size += len(m.GetPiece())
		for _, u := range m.GetUpdates() {
			word := ""
			switch event := u.GetEvent().(type) {
			case *tasksv1.TaskUpdate_Accepted:
				word = "accepted" + event.Accepted.GetRefused()
				if event.Accepted.GetJoined() {
					word = "joined"
				}
			case *tasksv1.TaskUpdate_Data:
				word = "data " + string(event.Data)
			case *tasksv1.TaskUpdate_Progress:
				word = fmt.Sprintf("%d/%d", event.Progress.GetDone(), event.Progress.GetTotal())
			case *tasksv1.TaskUpdate_Retrying:
				word = fmt.Sprintf("retrying %d %s", event.Retrying.GetAttempt(), event.Retrying.GetError())
			case *tasksv1.TaskUpdate_Result:
				if size += len(event.Result); size > 1000 {
					event.Result = fmt.Appendf(nil, "%d bytes", size)
				}
				word = "result " + string(event.Result)
			case *tasksv1.TaskUpdate_Failed:
				word = fmt.Sprintf("failed %v %s", event.Failed.GetReason(), event.Failed.GetError())
			default:
				word = fmt.Sprint(u)
			}
			said, size = append(said, fmt.Sprintf("%d: %s", u.GetIndex(), word)), 0
		}
	}
}

func callTasks(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, specs ...*tasksv1.TaskSpec) grpc.BidiStreamingClient[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse] {
	t.Helper()
	stream, err := c.CallTasks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for len(specs[0].Input) > 1<<20 {
		if err := stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Piece{Piece: specs[0].Input[:1<<20]}}); err != nil {
			t.Fatal(err)
		}
		specs[0].Input = specs[0].Input[1<<20:]
	}
	if err := stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: &tasksv1.TaskBatch{Tasks: specs, Abbreviated: true}}}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// told compares what is told until the end.
func told[M interface {
	GetUpdates() []*tasksv1.TaskUpdate
	GetPiece() []byte
}](t *testing.T, recv func() (M, error), want ...string) {
	t.Helper()
	if got := strings.Join(updatesOf(t, recv), "; "); got != strings.Join(want, "; ") {
		t.Errorf("told %s\nwant %s", got, strings.Join(want, "; "))
	}
}

// tasksBubble runs a test with tasks in memory, under a fake clock.
func tasksBubble(t *testing.T, test func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, tasks *Server)) {
	synctest.Test(t, func(t *testing.T) {
		c, tasks, stop := serveTasks(t, Config{})
		ctx, cancel := context.WithCancel(context.Background())
		test(t, ctx, c, tasks)
		cancel()
		synctest.Wait()
		tasks.desk.Lock()
		for _, bad := range tasks.desk.Audit() {
			t.Error(bad)
		}
		if w := tasks.desk.Workers(); len(w) > 0 {
			t.Errorf("workers are left: %+v", w)
		}
		tasks.desk.Unlock()
		stop()
	})
}
