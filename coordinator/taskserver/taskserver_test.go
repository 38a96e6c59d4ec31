package taskserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

func TestCallTasks(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, tasks *Server) {
		stream := callTasks(t, ctx, c,
			&tasksv1.TaskSpec{Function: "f", Input: []byte("a"), Unique: "k"}, &tasksv1.TaskSpec{Input: []byte("b"), Unique: "k"},
			&tasksv1.TaskSpec{Input: bytes.Repeat([]byte("c"), 3), Policy: nil}, &tasksv1.TaskSpec{Function: "f", Background: true}, &tasksv1.TaskSpec{Function: strings.Repeat("x", 600)})
		synctest.Wait()
		w := startWork(t, ctx, c, helloOf("w", 1, "f"))
		a := w.assigned()
		if string(a.GetInput()) != "a" || a.GetUnique() != "k" || a.GetAttempt().GetAttempt() != 1 {
			t.Errorf("assigned %v", a)
		}
		w.report(&tasksv1.TaskReport{Attempt: a.GetAttempt(), Content: &tasksv1.TaskReport_Data{Data: []byte("half")}})
		w.report(&tasksv1.TaskReport{Attempt: a.GetAttempt(), Content: &tasksv1.TaskReport_Progress{Progress: &tasksv1.TaskProgress{Done: 1, Total: 2}}})
		w.report(&tasksv1.TaskReport{Attempt: a.GetAttempt(), Content: &tasksv1.TaskReport_Failed{Failed: []byte("oops")}})
		w.done(w.assigned(), []byte("C"))
		w.done(w.assigned(), nil)
		w.done(w.assigned(), []byte("A"))
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		told(t, stream.Recv, "1: joined", "3: accepted", "4: accepted"+`function "`+strings.Repeat("x", 600)+`": invalid task: its name must have 1 to 512 bytes, durations and limits must not be negative, its group must be open, and its place in the group must follow the last one`,
			"0: data half", "1: data half", "0: 1/2", "1: 1/2", "0: retrying 2 oops", "1: retrying 2 oops", "2: result C", "0: result A", "1: result A")
		now := tasks.Overview()
		totals, functions := now.Totals, now.Functions
		if totals.Submitted != 3 || totals.Done != 3 || functions[0].Name != "f" || functions[0].Workers != 1 {
			t.Errorf("totals %+v, functions %+v", totals, functions)
		}
	})
}

// TestLargeBodies sends 9 MiB there and back.
func TestLargeBodies(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		w := startWork(t, ctx, c, helloOf("w", 1, "f"))
		stream := callTasks(t, ctx, c, &tasksv1.TaskSpec{Function: "f", Input: make([]byte, 9<<20+3)})
		_ = stream.CloseSend()
		a := w.assigned()
		if len(a.GetInput()) != 9<<20+3 {
			t.Errorf("an input of %d bytes arrived", len(a.GetInput()))
		}
		w.done(a, a.GetInput())
		told(t, stream.Recv, fmt.Sprintf("0: result %d bytes", 9<<20+3))
	})
}

// A report that is too large fails its task, and the session and its other tasks go on. The limit is not rounded up to whole pieces.
func TestTooLargeReport(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 64 MiB, which takes long with the race detector")
	}
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		w := startWork(t, ctx, c, helloOf("w", 2, "f"))
		other := callTasks(t, ctx, c, &tasksv1.TaskSpec{Function: "f"})
		_ = other.CloseSend()
		a := w.assigned()
		stream := callTasks(t, ctx, c, &tasksv1.TaskSpec{Function: "f"})
		_ = stream.CloseSend()
		w.done(w.assigned(), make([]byte, maxBody+1))
		w.acked()
		told(t, stream.Recv, fmt.Sprintf("0: failed TASK_REASON_ERROR a report of %d bytes is over the limit of %d", maxBody+1, maxBody))
		w.done(a, []byte("fine"))
		w.acked()
		told(t, other.Recv, "0: result fine")
	})
}

// TestLeftCalls drops what was called when the stream breaks, or cancels it.
func TestLeftCalls(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, tasks *Server) {
		w := startWork(t, ctx, c, helloOf("w", 1, "f"))
		calling, hangUp := context.WithCancel(ctx)
		stream, err := c.CallTasks(calling)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Options{Options: &tasksv1.CallTasksOptions{Protocol: wire.Protocol}}})
		_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: &tasksv1.TaskBatch{Tasks: []*tasksv1.TaskSpec{
			{Function: "f"}, {Function: "f"}, {Function: "f"}, {Function: "f"}}}}})
		a := w.assigned()
		_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Leave{Leave: &tasksv1.TaskIndexes{Indexes: []int64{1, 77}}}})
		_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Cancel{Cancel: &tasksv1.TaskIndexes{Indexes: []int64{2, -1}}}})
		m, err := stream.Recv()
		if err != nil || m.GetUpdates()[0].GetIndex() != 2 || m.GetUpdates()[0].GetFailed().GetReason() != tasksv1.TaskReason_TASK_REASON_CANCELLED {
			t.Errorf("told %v, %v", m, err)
		}
		hangUp()
		if m := w.next(); len(m.GetStops()) != 1 || m.GetStops()[0].GetAttempt().GetTask() != a.GetAttempt().GetTask() {
			t.Errorf("asked %v, want a stop", m)
		}
		w.done(a, nil)
		w.acked()
		if totals := tasks.Totals(); totals.Cancelled != 4 {
			t.Errorf("totals %+v", totals)
		}
	})
}

// TestTaskWorkerLost gives the task of a worker that says nothing, and of one whose connection breaks, to others.
func TestTaskWorkerLost(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, tasks *Server) {
		silent := startWork(t, ctx, c, helloOf("silent", 1, "f"))
		stream := callTasks(t, ctx, c, &tasksv1.TaskSpec{Function: "f", Policy: &tasksv1.TaskPolicy{BackoffNanos: 1}})
		_ = stream.CloseSend()
		silent.assigned()
		begin := time.Now()
		breaking, cut := context.WithCancel(ctx)
		broken := startWork(t, breaking, c, helloOf("broken", 1, "f"))
		go func() { // lives
			for range 3 {
				time.Sleep(3 * time.Second)
				_ = broken.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Heartbeat{}})
			}
		}()
		broken.assigned()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("a silent worker was lost after %v", took)
		}
		if _, err := silent.stream.Recv(); !errors.Is(wire.FromStatus(err), wire.ErrLeaseLost) {
			t.Errorf("the silent worker heard %v", err)
		}
		cut()
		w := startWork(t, ctx, c, helloOf("w", 1, "f"))
		w.done(w.assigned(), []byte("end"))
		told(t, stream.Recv, "0: retrying 2 ", "0: retrying 3 ", "0: result end")
		w.say(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Leaving{Leaving: &tasksv1.TaskLeaving{}}})
		if _, err := w.stream.Recv(); err == nil {
			_, err = w.stream.Recv()
			if !errors.Is(err, io.EOF) {
				t.Errorf("a worker that leaves hears %v", err)
			}
		}
	})
}

// TestLimitsAreChecked sends limits that make no sense.
func TestLimitsAreChecked(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		for _, tt := range []struct {
			want   string
			limits *tasksv1.FunctionLimits
		}{
			{"queue limit -1 must be 0", &tasksv1.FunctionLimits{QueueLow: -1}},
			{"concurrency -2 must be 0", &tasksv1.FunctionLimits{Concurrency: -2}},
			{"burst 4294967296 must be 0 to 2147483647", &tasksv1.FunctionLimits{Burst: 1 << 32}},
			{"rate -3 must be", &tasksv1.FunctionLimits{Rate: -3}},
			{"rate NaN must be", &tasksv1.FunctionLimits{Rate: math.NaN()}},
			{"rate +Inf must be", &tasksv1.FunctionLimits{Rate: math.Inf(1)}},
			{`need of budget "pg": -1 must be 0`, &tasksv1.FunctionLimits{Needs: map[string]int64{"pg": -1}}},
		} {
			_, err := c.SetFunction(ctx, &tasksv1.SetFunctionRequest{Function: "f", Limits: tt.limits})
			if !errors.Is(wire.FromStatus(err), wire.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want ErrInvalid that says %s", err, tt.want)
			}
		}
		_, err := c.SetBudget(ctx, &tasksv1.SetBudgetRequest{Budget: "pg", Size: -5})
		if !errors.Is(wire.FromStatus(err), wire.ErrInvalid) || !strings.Contains(err.Error(), "size of a budget: -5 must be 0") {
			t.Errorf("%v, want ErrInvalid", err)
		}
		if out, err := c.ListFunctions(ctx, &tasksv1.ListFunctionsRequest{}); err != nil || len(out.GetStatus().GetFunctions())+len(out.GetStatus().GetBudgets()) > 0 {
			t.Errorf("something was set: %v, %v", out, err)
		}
	})
}

// TestTaskAdministration uses what is not about one call.
func TestTaskAdministration(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		must(c.SetFunction(ctx, &tasksv1.SetFunctionRequest{Function: "f", Limits: &tasksv1.FunctionLimits{QueueNormal: 2, Needs: map[string]int64{"pg": 1}}}))
		must(c.SetBudget(ctx, &tasksv1.SetBudgetRequest{Budget: "pg", Size: 1}))
		must(c.PauseFunction(ctx, &tasksv1.PauseFunctionRequest{Function: "f", Paused: true}))
		out, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f", Input: []byte("x"), Unique: "u"}, {Function: "f"}, {Function: "f"}}})
		if err != nil || out.GetAccepted()[1].GetTask() == 0 || !out.GetAccepted()[2].GetFull() {
			t.Errorf("%v, %v", out, err)
		}
		w := startWork(t, ctx, c, helloOf("w", 2, "f"))
		must(c.PauseFunction(ctx, &tasksv1.PauseFunctionRequest{Function: "f"}))
		a := w.assigned()
		w.report(&tasksv1.TaskReport{Attempt: a.GetAttempt(), Content: &tasksv1.TaskReport_Fatal{Fatal: []byte("no good")}})
		b := w.assigned()
		w.done(b, nil)
		w.acked()
		dead, err := c.ListDeadTasks(ctx, &tasksv1.ListDeadTasksRequest{})
		if err != nil || len(dead.GetTasks()) != 1 || string(dead.GetTasks()[0].GetError()) != "no good" || dead.GetTasks()[0].GetUnique() != "u" {
			t.Errorf("%v, %v", dead, err)
		}
		again, err := c.RetryTasks(ctx, &tasksv1.RetryTasksRequest{Function: "f"})
		if err != nil || len(again.GetTasks()) != 1 {
			t.Errorf("%v, %v", again, err)
		}
		r := w.assigned()
		got, err := c.GetTask(ctx, &tasksv1.GetTaskRequest{Name: &tasksv1.TaskName{Function: "f", Unique: "u"}, Bodies: true})
		if err != nil || got.GetTask().GetWorker() != "w" || string(got.GetTask().GetInput()) != "x" || got.GetTask().GetState() != tasksv1.TaskState_TASK_STATE_RUNNING {
			t.Errorf("%v, %v", got, err)
		}
		list, err := c.ListTasks(ctx, &tasksv1.ListTasksRequest{States: []tasksv1.TaskState{tasksv1.TaskState_TASK_STATE_RUNNING}})
		if err != nil || len(list.GetTasks()) != 1 || list.GetNext() != 0 {
			t.Errorf("%v, %v", list, err)
		}
		if _, err := c.DropFunction(ctx, &tasksv1.DropFunctionRequest{Function: "f"}); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("a function in use was dropped: %v", err)
		}
		stopped, err := c.CancelTasks(ctx, &tasksv1.CancelTasksRequest{Tasks: []uint64{r.GetAttempt().GetTask(), 1 << 40}})
		if err != nil || len(stopped.GetTasks()) != 1 {
			t.Errorf("%v, %v", stopped, err)
		}
		wait, err := c.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: 1 << 40}})
		if err == nil {
			_, err = wait.Recv()
		}
		if status.Code(err) != codes.NotFound {
			t.Errorf("waited for a task that never was: %v", err)
		}
		watch, err := c.WatchFunctions(ctx, &tasksv1.WatchFunctionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := watch.Recv()
		if c := m.GetStatus().GetTotals(); err != nil || c.GetSubmitted() != c.GetWaiting()+c.GetDelayed()+c.GetRunning()+c.GetDone()+c.GetFailed()+c.GetCancelled() || c.GetSubmitted() != 2 {
			t.Errorf("%v, %v", m, err)
		}
	})
}

// A worker or a client of another protocol version is refused before anything else.
func TestOtherProtocol(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		work, err := c.WorkTasks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hello := helloOf("w", 1, "f")
		hello.Protocol = 0
		_ = work.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: hello}})
		_, err = work.Recv()
		want := "worker w speaks version 0, this coordinator speaks version 1; install the release of the other side for worker w"
		if err = wire.FromStatus(err); !errors.Is(err, wire.ErrOtherProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("a worker: %v, want %q", err, want)
		}
		call, err := c.CallTasks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = call.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Options{Options: &tasksv1.CallTasksOptions{Protocol: 9}}})
		_, err = call.Recv()
		want = "the client speaks version 9, this coordinator speaks version 1; install the release of the other side for the coordinator"
		if err = wire.FromStatus(err); !errors.Is(err, wire.ErrOtherProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("a client: %v, want %q", err, want)
		}
	})
}

// TestSubmitWhileStopping submits a task to a server that has stopped writing. The client must
// learn that a later try may succeed.
func TestSubmitWhileStopping(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = s.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f"}}})
	if code := status.Code(wire.ToStatus(err)); code != codes.Unavailable {
		t.Errorf("submit after the end: %v, %v; want Unavailable", code, err)
	}
}

// ledReplica is a replica whose lead is lost.
type ledReplica struct{ db *state.DB }

func (r ledReplica) DB() *state.DB { return r.db }

func (r ledReplica) Flush() error { return nil }

func (r ledReplica) Propose(iter.Seq2[[]byte, []byte]) (wait func() error) {
	return func() error { return errors.New("leadership lost") }
}

// TestSubmitAfterLostLead submits tasks to a server that no longer leads. No task is refused for
// that: the client repeats the call elsewhere.
func TestSubmitAfterLostLead(t *testing.T) {
	db, err := state.OpenMemory(state.Options{}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := Open(Config{Replica: ledReplica{db}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(t.Context()); err == nil {
		t.Fatal("the server runs on without its lead")
	}
	out, err := s.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f"}}})
	if code := status.Code(wire.ToStatus(err)); code != codes.Unavailable {
		t.Errorf("answer %v, %v, %v; want Unavailable", out, code, err)
	}
}

// TestGroupOverTheWire submits a group in one call, and waits for what follows it.
func TestGroupOverTheWire(t *testing.T) {
	tasksBubble(t, func(t *testing.T, ctx context.Context, c tasksv1.TasksServiceClient, _ *Server) {
		out, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{NewGroup: &tasksv1.TaskGroup{Then: []*tasksv1.NextTask{{Function: "sum"}}},
			Tasks: []*tasksv1.TaskSpec{{Function: "f", Input: []byte("1")}, {Function: "f", Input: []byte("2")}}})
		if err != nil {
			t.Fatal(err)
		}
		wait, err := c.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: out.GetGroup()}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w := startWork(t, ctx, c, helloOf("w", 1, "f", "sum"))
		for range 2 {
			a := w.assigned()
			w.done(a, append(a.GetInput(), '!'))
		}
		sum := w.assigned()
		var in tasksv1.GatheredResults
		if err := proto.Unmarshal(sum.GetInput(), &in); err != nil || !sum.GetGathered() || len(in.GetResults()) != 2 || string(in.GetResults()[1].GetResult()) != "2!" {
			t.Errorf("gathered %v, %v", &in, err)
		}
		w.done(sum, []byte("3"))
		said := updatesOf(t, wait.Recv)
		if len(said) != 3 || said[0] != "0: accepted" || !strings.Contains(said[1], "next:") || said[2] != "0: result 3" {
			t.Errorf("told %q", said)
		}

		refused, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{NewGroup: &tasksv1.TaskGroup{}, Tasks: []*tasksv1.TaskSpec{{Function: "g"}, {}}})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("half a group: %v, %v", refused, err)
		}
		refused, err = c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{NewGroup: &tasksv1.TaskGroup{}, Tasks: []*tasksv1.TaskSpec{{Function: "g", Unique: "u"}}})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "unique key") {
			t.Errorf("a unique key in a group: %v, %v", refused, err)
		}
	})
}

// A request that makes a group is repeated, at the same coordinator and after a restart: it finds
// the group and its tasks, also when both have ended.
func TestRepeatedGroup(t *testing.T) {
	dir := t.TempDir()
	for _, then := range [][]*tasksv1.NextTask{nil, {{Function: "sum", Policy: &tasksv1.TaskPolicy{KeepNanos: int64(time.Hour)}}}} {
		ctx := t.Context()
		request := func(repeated bool) *tasksv1.SubmitTasksRequest {
			r := &tasksv1.SubmitTasksRequest{NewGroup: &tasksv1.TaskGroup{Then: then}}
			for i := range 3 {
				r.Tasks = append(r.Tasks, &tasksv1.TaskSpec{Function: "f", Input: []byte("x"), Token: uint64(100*len(then) + i + 1), Resubmitted: repeated, Policy: &tasksv1.TaskPolicy{KeepNanos: int64(time.Hour)}})
			}
			return r
		}
		c, _, stop := serveTasks(t, Config{Dir: dir, Reserve: -1})
		first, err := c.SubmitTasks(ctx, request(false))
		if err != nil {
			t.Fatal(err)
		}
		same := func(when string) {
			t.Helper()
			again, err := c.SubmitTasks(ctx, request(true))
			if err != nil || again.GetGroup() != first.GetGroup() {
				t.Fatalf("%s: group %x, %v, want %x", when, again.GetGroup(), err, first.GetGroup())
			}
			for i, a := range again.GetAccepted() {
				if a.GetTask() != first.GetAccepted()[i].GetTask() {
					t.Errorf("%s: task %d is %x, want %x", when, i, a.GetTask(), first.GetAccepted()[i].GetTask())
				}
			}
		}
		same("at once")
		stop()
		c, _, stop = serveTasks(t, Config{Dir: dir, Reserve: -1})
		same("after a restart")
		w := startWork(t, ctx, c, helloOf("w", 1, "f", "sum"))
		for range 3 + len(then) {
			w.done(w.assigned(), []byte("1"))
		}
		wait, err := c.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: first.GetGroup()}})
		if err != nil {
			t.Fatal(err)
		}
		updatesOf(t, wait.Recv) // until the end
		same("after the end")
		stop()
		c, _, stop = serveTasks(t, Config{Dir: dir, Reserve: -1})
		same("after the end and a restart")
		stop()
	}
}

// TestTasksSurvive restarts durable tasks: what was acknowledged is there, and a worker goes on with what it runs.
func TestTasksSurvive(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, _, stop := serveTasks(t, Config{Dir: dir, Reserve: -1})
	out, err := c.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f", Input: []byte("x"), Policy: &tasksv1.TaskPolicy{KeepNanos: int64(time.Hour)}},
		{Function: "f", Durability: tasksv1.Durability_DURABILITY_MEMORY}}})
	if err != nil {
		t.Fatal(err)
	}
	w := startWork(t, ctx, c, helloOf("w", 1, "f"))
	a := w.assigned()
	stop()

	c, tasks, stop := serveTasks(t, Config{Dir: dir, Reserve: -1})
	defer stop()
	hello := helloOf("w2", 1, "f")
	hello.Attempts = []*tasksv1.TaskAttempt{a.GetAttempt()}
	w = startWork(t, ctx, c, hello)
	w.done(a, []byte("end"))
	w.acked()
	wait, err := c.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: out.GetAccepted()[0].GetTask()}})
	if err != nil {
		t.Fatal(err)
	}
	told(t, wait.Recv, "0: accepted", "0: result end")
	if totals := tasks.Totals(); totals.Submitted != 1 || totals.Done != 1 {
		t.Errorf("totals %+v", totals)
	}
}

// workScript says what is in a list, and then closes.
type workScript struct {
	grpc.ServerStream
	ctx context.Context
	say []*tasksv1.WorkTasksRequest
}

func (s *workScript) Context() context.Context              { return s.ctx }
func (s *workScript) Send(*tasksv1.WorkTasksResponse) error { return nil }
func (s *workScript) Recv() (*tasksv1.WorkTasksRequest, error) {
	if len(s.say) == 0 {
		return nil, io.EOF
	}
	m := s.say[0]
	s.say = s.say[1:]
	return m, nil
}

// workScriptOf frames messages as the fuzzer sees them: each after its length.
func workScriptOf(ms ...*tasksv1.WorkTasksRequest) []byte {
	var out []byte
	for _, m := range ms {
		b, _ := proto.Marshal(m)
		out = append(binary.AppendUvarint(out, uint64(len(b))), b...)
	}
	return out
}

// FuzzWorkTasks plays hostile workers to a desk with tasks: errors for them, no panic, and nothing of them is left.
func FuzzWorkTasks(f *testing.F) {
	hello := &tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: helloOf("w", 3, "f", "g")}}
	one := &tasksv1.TaskAttempt{Task: 1 << 26, Attempt: 1}
	f.Add(workScriptOf(hello, &tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Piece{Piece: []byte("x")}},
		&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: []*tasksv1.TaskReport{
			{Attempt: one, Content: &tasksv1.TaskReport_Data{Data: []byte("d")}}, {Attempt: one, Content: &tasksv1.TaskReport_Failed{}}, {Attempt: one, Content: &tasksv1.TaskReport_Result{}}, {}}}}},
		&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Heartbeat{}},
		&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Abilities{Abilities: &tasksv1.TaskAbilities{Slots: 1, Reserved: 5}}},
		&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Leaving{}}))
	f.Add(workScriptOf(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: &tasksv1.TaskHello{Protocol: wire.Protocol, Worker: "w", Attempts: []*tasksv1.TaskAttempt{one, one, {}}, Abilities: &tasksv1.TaskAbilities{Slots: -1}}}}))
	f.Add(workScriptOf(hello, hello))
	f.Add(workScriptOf(&tasksv1.WorkTasksRequest{}))
	c, tasks, stop := serveTasks(f, Config{})
	f.Cleanup(stop)
	f.Fuzz(func(t *testing.T, script []byte) {
		var say []*tasksv1.WorkTasksRequest
		for len(script) > 0 {
			n, k := binary.Uvarint(script)
			if k <= 0 || n > uint64(len(script)-k) {
				break
			}
			m := &tasksv1.WorkTasksRequest{}
			if proto.Unmarshal(script[k:k+int(n)], m) == nil {
				say = append(say, m)
			}
			script = script[k+int(n):]
		}
		if _, err := c.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f", Unique: "u", Policy: &tasksv1.TaskPolicy{Attempts: 3}}}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = tasks.WorkTasks(&workScript{ctx: ctx, say: say})
		tasks.desk.Lock()
		defer tasks.desk.Unlock()
		for _, bad := range tasks.desk.Audit() {
			t.Error(bad)
		}
		if w := tasks.desk.Workers(); len(w) > 0 {
			t.Errorf("workers are left: %+v", w)
		}
	})
}
