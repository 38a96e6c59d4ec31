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
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// serveTasks runs tasks and a server of theirs. The returned function ends both.
func serveTasks(t testing.TB, cfg Config) (layshaftv1.TasksServiceClient, *Server, func()) {
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
	return layshaftv1.NewTasksServiceClient(conn), tasks, func() {
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
	stream grpc.BidiStreamingClient[layshaftv1.WorkTasksRequest, layshaftv1.WorkTasksResponse]
}

func startWork(t testing.TB, ctx context.Context, c layshaftv1.TasksServiceClient, hello *layshaftv1.TaskHello) *taskWorker {
	t.Helper()
	stream, err := c.WorkTasks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &taskWorker{t: t, stream: stream}
	w.say(&layshaftv1.WorkTasksRequest{Body: &layshaftv1.WorkTasksRequest_Hello{Hello: hello}})
	if m := w.next(); m.GetWelcome().GetLeaseNanos() == 0 {
		t.Fatalf("welcomed with %v", m)
	}
	return w
}

func helloOf(name string, slots int64, functions ...string) *layshaftv1.TaskHello {
	h := &layshaftv1.TaskHello{Protocol: wire.Protocol, Worker: name, Abilities: &layshaftv1.TaskAbilities{Slots: slots}}
	for _, f := range functions {
		h.Abilities.Functions = append(h.Abilities.Functions, &layshaftv1.TaskFunction{Function: f})
	}
	return h
}

func (w *taskWorker) say(m *layshaftv1.WorkTasksRequest) {
	w.t.Helper()
	if err := w.stream.Send(m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *taskWorker) next() *layshaftv1.WorkTasksResponse {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// assigned returns the next task.
func (w *taskWorker) assigned() *layshaftv1.TaskAssign {
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

func (w *taskWorker) report(r *layshaftv1.TaskReport) {
	w.say(&layshaftv1.WorkTasksRequest{Body: &layshaftv1.WorkTasksRequest_Reports{Reports: &layshaftv1.TaskReports{Reports: []*layshaftv1.TaskReport{r}}}})
}

func (w *taskWorker) done(a *layshaftv1.TaskAssign, result []byte) {
	for ; len(result) > 1<<20; result = result[1<<20:] {
		w.say(&layshaftv1.WorkTasksRequest{Body: &layshaftv1.WorkTasksRequest_Piece{Piece: result[:1<<20]}})
	}
	w.report(&layshaftv1.TaskReport{Attempt: a.GetAttempt(), Content: &layshaftv1.TaskReport_Result{Result: result}})
}

// acked waits for an acknowledgement.
func (w *taskWorker) acked() {
	w.t.Helper()
	for len(w.next().GetAcks()) == 0 {
	}
}

// updatesOf collects what is told until the end, bodies whole, in words.
func updatesOf[M interface {
	GetUpdates() []*layshaftv1.TaskUpdate
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
			case *layshaftv1.TaskUpdate_Accepted:
				word = "accepted" + event.Accepted.GetRefused()
				if event.Accepted.GetJoined() {
					word = "joined"
				}
			case *layshaftv1.TaskUpdate_Data:
				word = "data " + string(event.Data)
			case *layshaftv1.TaskUpdate_Progress:
				word = fmt.Sprintf("%d/%d", event.Progress.GetDone(), event.Progress.GetTotal())
			case *layshaftv1.TaskUpdate_Retrying:
				word = fmt.Sprintf("retrying %d %s", event.Retrying.GetAttempt(), event.Retrying.GetError())
			case *layshaftv1.TaskUpdate_Result:
				if size += len(event.Result); size > 1000 {
					event.Result = fmt.Appendf(nil, "%d bytes", size)
				}
				word = "result " + string(event.Result)
			case *layshaftv1.TaskUpdate_Failed:
				word = fmt.Sprintf("failed %v %s", event.Failed.GetReason(), event.Failed.GetError())
			default:
				word = fmt.Sprint(u)
			}
			said, size = append(said, fmt.Sprintf("%d: %s", u.GetIndex(), word)), 0
		}
	}
}

func callTasks(t *testing.T, ctx context.Context, c layshaftv1.TasksServiceClient, specs ...*layshaftv1.TaskSpec) grpc.BidiStreamingClient[layshaftv1.CallTasksRequest, layshaftv1.CallTasksResponse] {
	t.Helper()
	stream, err := c.CallTasks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for len(specs[0].Input) > 1<<20 {
		if err := stream.Send(&layshaftv1.CallTasksRequest{Body: &layshaftv1.CallTasksRequest_Piece{Piece: specs[0].Input[:1<<20]}}); err != nil {
			t.Fatal(err)
		}
		specs[0].Input = specs[0].Input[1<<20:]
	}
	if err := stream.Send(&layshaftv1.CallTasksRequest{Body: &layshaftv1.CallTasksRequest_Tasks{Tasks: &layshaftv1.TaskBatch{Tasks: specs, Abbreviated: true}}}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// told compares what is told until the end.
func told[M interface {
	GetUpdates() []*layshaftv1.TaskUpdate
	GetPiece() []byte
}](t *testing.T, recv func() (M, error), want ...string) {
	t.Helper()
	if got := strings.Join(updatesOf(t, recv), "; "); got != strings.Join(want, "; ") {
		t.Errorf("told %s\nwant %s", got, strings.Join(want, "; "))
	}
}

// tasksBubble runs a test with tasks in memory, under a fake clock.
func tasksBubble(t *testing.T, test func(t *testing.T, ctx context.Context, c layshaftv1.TasksServiceClient, tasks *Server)) {
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
