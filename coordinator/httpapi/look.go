package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// created answers a submit.
type created struct {
	ID     string `json:"id"`
	Joined bool   `json:"joined"`
}

// Task is the JSON of a task. Up to Joined it has the fields of layshaft task status -o json.
type Task struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	State       string    `json:"state"`
	Dead        bool      `json:"dead"`
	Priority    string    `json:"priority"`
	Durable     bool      `json:"durable"`
	Attempts    int64     `json:"attempts"`
	Lost        int64     `json:"lost"`
	MaxAttempts int64     `json:"max_attempts"`
	Waiters     int64     `json:"waiters"`
	Size        int64     `json:"size"` // bytes of the input
	Due         time.Time `json:"due,omitzero"`
	Ended       time.Time `json:"ended,omitzero"`
	N           uint64    `json:"n"`
	M           uint64    `json:"m"`
	Worker      string    `json:"worker,omitempty"`
	Unique      string    `json:"unique,omitempty"`
	Error       string    `json:"error,omitempty"`
	Reason      string    `json:"reason,omitempty"` // why it does not run now

	// Joined means that the submit joined a task that was there.
	Joined bool `json:"joined,omitempty"`
	// The result of a done task is in one of the following: a JSON value, a text that is no JSON,
	// or other bytes.
	Result       json.RawMessage `json:"result,omitempty"`
	ResultText   *string         `json:"result_text,omitempty"`
	ResultBase64 []byte          `json:"result_base64,omitempty"`

	bytes []byte // the result
}

// The states of a task that has ended.
var (
	stateDone = queue.WasDone.String()
	ends      = map[string]bool{stateDone: true, queue.WasFailed.String(): true, queue.WasCancelled.String(): true}
)

func (t *Task) hasEnded() bool { return ends[t.State] }

// setResult stores the result.
func (t *Task) setResult(b []byte) {
	t.State, t.bytes, t.Reason, t.Worker = stateDone, b, "", ""
	switch {
	case json.Valid(b):
		t.Result = b
	case utf8.Valid(b):
		text := string(b)
		t.ResultText = &text
	default:
		t.ResultBase64 = b
	}
}

func taskID(id uint64) string { return queue.ID(id).String() }

// state returns the state of a task, without its result.
func (a *api) state(ctx context.Context, id uint64) (*Task, error) {
	answer, err := a.Tasks.GetTask(ctx, &tasksv1.GetTaskRequest{Name: &tasksv1.TaskName{Task: id}})
	if err != nil {
		return nil, err
	}
	p := answer.GetTask()
	t := &Task{ID: taskID(p.GetTask()), Function: plain.Bytes(p.GetFunction()), State: queue.State(p.GetState()).String(), Dead: p.GetDead(), Priority: priorities[p.GetPriority()],
		Durable: p.GetDurable(), Attempts: p.GetAttempts(), Lost: p.GetLost(), MaxAttempts: p.GetPolicy().GetAttempts(), Waiters: p.GetWaiters(), Size: p.GetSize(),
		N: p.GetProgress().GetDone(), M: p.GetProgress().GetTotal(), Worker: plain.Bytes(p.GetWorker()), Unique: plain.Bytes(p.GetUnique()),
		Error: plain.Bytes(string(p.GetError())), Reason: p.GetWaitingReason()}
	if n := p.GetDueNanos(); n > 0 {
		t.Due = time.Unix(0, n).UTC()
	}
	if n := p.GetEndedNanos(); n > 0 {
		t.Ended = time.Unix(0, n).UTC()
	}
	return t, nil
}

// look returns the state of a task, with its result. It waits at most that long for the end.
func (a *api) look(ctx context.Context, control *http.ResponseController, id uint64, wait waiting) (*Task, error) {
	_ = control.SetWriteDeadline(time.Now().Add(wait.limit + bodyTime))
	t, err := a.state(ctx, id)
	if err != nil || t.State != stateDone && (t.hasEnded() || wait.limit == 0) {
		return t, err
	}
	if t.State == stateDone {
		wait.limit = bodyTime / 2 // its result is there
	}
	within, stop := context.WithTimeout(ctx, wait.limit)
	defer stop()
	f := &follower{ctx: within}
	err = a.Tasks.WaitTask(&tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: id}, OnlyEnds: true, Parent: wait.parent}, f)
	switch {
	case f.done:
		if again, err := a.state(ctx, id); err == nil {
			t = again
		}
		t.setResult(f.body)
		return t, nil
	case f.failed != nil: // a foreground task that failed is forgotten at once
		again, err := a.state(ctx, id)
		if status.Code(err) == codes.NotFound {
			t.State, t.Reason, t.Worker = queue.WasFailed.String(), "", ""
			if f.failed.GetReason() == tasksv1.TaskReason_TASK_REASON_CANCELLED {
				t.State = queue.WasCancelled.String()
			}
			t.Error = plain.Bytes(string(f.failed.GetError()))
			return t, nil
		}
		return again, err
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	return a.state(ctx, id)
}

// follower receives the updates of one task until its end.
type follower struct {
	grpc.ServerStream
	ctx    context.Context
	body   []byte
	done   bool
	failed *tasksv1.TaskFailed
}

// Context returns the context of the request.
func (f *follower) Context() context.Context { return f.ctx }

// Send receives updates.
func (f *follower) Send(m *tasksv1.WaitTaskResponse) error {
	f.body = append(f.body, m.GetPiece()...)
	for _, u := range m.GetUpdates() {
		switch event := u.GetEvent().(type) {
		case *tasksv1.TaskUpdate_Result:
			f.body, f.done = append(f.body, event.Result...), true
		case *tasksv1.TaskUpdate_Failed:
			f.failed = event.Failed
		}
	}
	return nil
}

// schedules answers with all schedules, or with the schedule of the given name.
func (a *api) schedules(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	answer, err := a.Tasks.ListSchedules(ctx, &tasksv1.ListSchedulesRequest{Name: name})
	if err != nil {
		return err
	}
	all := []report.Schedule{}
	for _, p := range answer.GetSchedules() {
		all = append(all, taskwire.ScheduleFromProto(p))
	}
	if name == "" {
		write(w, http.StatusOK, plain.JSON(all))
		return nil
	}
	write(w, http.StatusOK, plain.JSON(all[0]))
	return nil
}
