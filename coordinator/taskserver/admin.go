package taskserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

const (
	// maxSubmit is the limit of tasks in one message.
	maxSubmit = 100_000
	// underLock is how many tasks are processed under one lock before other callers get their turn.
	underLock = 256
	// maxPage is the longest page of a listing.
	maxPage = 1000
	// maxShown is the limit of a shown body, in bytes.
	maxShown = 1 << 20
	// maxListedError is the limit of an error in a list, in bytes.
	maxListedError = 1 << 10
	// watchEvery is the time between two looks of a watcher.
	watchEvery = 250 * time.Millisecond
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// durably runs change under the lock, and returns when its effects are durable.
func (t *Server) durably(ctx context.Context, change func(d *desk.Desk) error) error {
	t.desk.Lock()
	err := change(t.desk)
	commit := t.desk.LastBatch()
	t.desk.Unlock()
	if err != nil {
		return taskError(err)
	}
	return t.awaitDurable(ctx, commit)
}

// awaitDurable blocks until a batch of the desk is durable.
func (t *Server) awaitDurable(ctx context.Context, batch uint64) error {
	return taskError(t.desk.Durable(ctx, batch))
}

// submitAll submits tasks, in slices, so that other callers get their turn. It passes each answer
// to each, under the lock. When the disk is behind, it waits. An error that ends the desk is no
// answer: submitAll returns it, and the client repeats all tasks.
func (t *Server) submitAll(ctx context.Context, s *desk.Session, all []desk.Submission, each func(i int, n desk.Note, err error)) error {
	for i := 0; i < len(all); {
		t.desk.Lock()
		var err error
		for end := min(len(all), i+underLock); i < end; i++ {
			var n desk.Note
			if n, err = t.desk.Submit(s, &all[i]); t.desk.IsBacklog(err) || errors.Is(err, desk.ErrStopped) {
				break // no task is refused
			}
			each(i, n, err)
		}
		behind := t.desk.IsBacklog(err)
		next := t.desk.NextDurable()
		t.desk.Unlock()
		if errors.Is(err, desk.ErrStopped) {
			return err
		}
		if !behind {
			continue
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.stop:
			return t.stopping()
		}
	}
	return nil
}

// SubmitTasks submits background tasks.
func (t *Server) SubmitTasks(ctx context.Context, r *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
	if len(r.GetTasks()) > maxSubmit {
		return nil, fmt.Errorf("%w: %d tasks in a message; %d is the most", wire.ErrInvalid, len(r.GetTasks()), maxSubmit)
	}
	out := &tasksv1.SubmitTasksResponse{Accepted: make([]*tasksv1.Accepted, len(r.GetTasks()))}
	commit := uint64(0)
	if g := r.GetNewGroup(); g != nil {
		// A repeated request finds the group by the token of its first task.
		token, repeated := uint64(0), false
		if len(r.GetTasks()) > 0 && r.GetTasks()[0].GetToken() != 0 {
			token, repeated = ^r.GetTasks()[0].GetToken(), r.GetTasks()[0].GetResubmitted()
		}
		t.desk.Lock()
		n, err := t.openGroup(g, token, repeated)
		commit = t.desk.LastBatch()
		t.desk.Unlock()
		if err != nil {
			return nil, taskError(err)
		}
		out.Group = uint64(n.Task)
	}
	all := make([]desk.Submission, len(r.GetTasks()))
	now := time.Now()
	for i, p := range r.GetTasks() {
		all[i] = submissionFromProto(p, true, now)
		if out.Group != 0 {
			all[i].Group, all[i].Place = queue.ID(out.Group), i+1
		}
	}
	var refused error
	err := t.submitAll(ctx, nil, all, func(i int, n desk.Note, err error) {
		commit = max(commit, n.Batch)
		out.Accepted[i] = acceptedToProto(&n, err)
		if refused == nil {
			refused = err
		}
	})
	if err == nil && out.Group != 0 {
		err = refused
	}
	if out.Group != 0 {
		t.desk.Lock()
		for _, a := range out.GetAccepted() {
			if err != nil && a.GetTask() != 0 { // all or none of a group
				t.desk.Cancel(queue.ID(a.GetTask()))
			}
		}
		commit = max(commit, t.desk.CloseGroup(queue.ID(out.Group)))
		t.desk.Unlock()
	}
	if err != nil {
		return nil, taskError(err)
	}
	return out, t.awaitDurable(ctx, commit)
}

func acceptedToProto(n *desk.Note, err error) *tasksv1.Accepted {
	if err != nil {
		return &tasksv1.Accepted{Refused: err.Error(), Full: status.Code(taskError(err)) == codes.ResourceExhausted}
	}
	return &tasksv1.Accepted{Task: uint64(n.Task), Joined: n.N == 1}
}

func (t *Server) openGroup(g *tasksv1.TaskGroup, token uint64, repeated bool) (desk.Note, error) {
	return t.desk.OpenGroup(nextFromProto(g.GetThen()), g.GetPartial(), isDurable(g.GetDurability(), true), token, repeated)
}

// OpenGroup opens a group.
func (t *Server) OpenGroup(ctx context.Context, r *tasksv1.OpenGroupRequest) (*tasksv1.OpenGroupResponse, error) {
	out := &tasksv1.OpenGroupResponse{}
	return out, t.durably(ctx, func(*desk.Desk) error {
		n, err := t.openGroup(r.GetGroup(), r.GetToken(), r.GetResubmitted())
		out.Group = uint64(n.Task)
		return err
	})
}

// CloseGroup closes a group: it has all its tasks.
func (t *Server) CloseGroup(ctx context.Context, r *tasksv1.CloseGroupRequest) (*tasksv1.CloseGroupResponse, error) {
	return &tasksv1.CloseGroupResponse{}, t.durably(ctx, func(d *desk.Desk) error {
		d.CloseGroup(queue.ID(r.GetGroup()))
		return nil
	})
}

// CancelTasks ends tasks.
func (t *Server) CancelTasks(ctx context.Context, r *tasksv1.CancelTasksRequest) (*tasksv1.CancelTasksResponse, error) {
	t.audit(ctx, "cancel tasks", "tasks", len(r.GetTasks()))
	out := &tasksv1.CancelTasksResponse{}
	var err error
	out.Tasks, err = t.forEach(ctx, r.GetTasks(), t.desk.Cancel)
	return out, err
}

// RunTasks makes delayed tasks ready.
func (t *Server) RunTasks(ctx context.Context, r *tasksv1.RunTasksRequest) (*tasksv1.RunTasksResponse, error) {
	t.audit(ctx, "run tasks", "tasks", len(r.GetTasks()))
	out := &tasksv1.RunTasksResponse{}
	var err error
	out.Tasks, err = t.forEach(ctx, r.GetTasks(), t.desk.RunNow)
	return out, err
}

// RetryTasks runs dead letters again.
func (t *Server) RetryTasks(ctx context.Context, r *tasksv1.RetryTasksRequest) (*tasksv1.RetryTasksResponse, error) {
	t.audit(ctx, "retry tasks", "tasks", len(r.GetTasks()), "function", r.GetFunction(), "error", r.GetError())
	out := &tasksv1.RetryTasksResponse{}
	var err error
	out.Tasks, err = t.forEach(ctx, t.selected(r), t.desk.Retry)
	return out, err
}

// DropTasks deletes tasks that have ended.
func (t *Server) DropTasks(ctx context.Context, r *tasksv1.DropTasksRequest) (*tasksv1.DropTasksResponse, error) {
	t.audit(ctx, "drop tasks", "tasks", len(r.GetTasks()), "function", r.GetFunction(), "error", r.GetError())
	out := &tasksv1.DropTasksResponse{}
	var err error
	out.Tasks, err = t.forEach(ctx, t.selected(r), t.desk.Forget)
	return out, err
}

// selection is a request about tasks by ID, or about dead letters.
type selection interface {
	GetTasks() []uint64
	GetAll() bool
	deadSelection
}

// selected returns the tasks of a request.
func (t *Server) selected(r selection) []uint64 {
	tasks := r.GetTasks()
	if len(tasks) > 0 || r.GetFunction() == "" && r.GetError() == "" && r.GetOlderNanos() == 0 && !r.GetAll() {
		return tasks
	}
	t.eachDead(r, math.MaxInt, true, func(i queue.Info) bool {
		tasks = append(tasks, uint64(i.ID))
		return true
	})
	return tasks
}

// deadSelection is a request about dead letters. Empty fields select all.
type deadSelection interface {
	GetFunction() string
	GetError() string
	GetOlderNanos() int64
}

// eachDead yields the dead letters of a request, at most n per function, until yield returns false.
// Within a function, the latest comes first, or the oldest if oldest is set. It takes the lock of
// the desk for one function at a time.
func (t *Server) eachDead(r deadSelection, n int, oldest bool, yield func(i queue.Info) bool) {
	text := strings.ToLower(r.GetError())
	t.desk.Lock()
	functions := t.desk.Functions()
	t.desk.Unlock()
	for _, f := range functions {
		if f.Dead == 0 || r.GetFunction() != "" && r.GetFunction() != f.Name {
			continue
		}
		var infos []queue.Info
		before := time.Now().Add(-time.Duration(r.GetOlderNanos()))
		t.desk.Lock()
		t.desk.DeadLetters(f.Name, f.Dead, func(i queue.Info) {
			if r.GetOlderNanos() <= 0 || !i.Died.After(before) {
				infos = append(infos, i)
			}
		})
		t.desk.Unlock()
		if oldest {
			slices.Reverse(infos)
		}
		left := n
		for _, i := range infos {
			if text != "" {
				message, _ := t.desk.Result(i.ID) // which may have been forgotten meanwhile
				if !strings.Contains(strings.ToLower(string(message)), text) {
					continue
				}
			}
			if left--; left < 0 {
				break
			}
			if !yield(i) {
				return
			}
		}
	}
}

// forEach runs change for tasks, and returns the changed ones when that is durable.
func (t *Server) forEach(ctx context.Context, tasks []uint64, change func(queue.ID) bool) (done []uint64, err error) {
	commit := uint64(0)
	for part := range slices.Chunk(tasks, underLock) {
		t.desk.Lock()
		for _, id := range part {
			if change(queue.ID(id)) {
				done = append(done, id)
			}
		}
		commit = t.desk.LastBatch()
		t.desk.Unlock()
	}
	return done, t.awaitDurable(ctx, commit)
}

// GetTask returns the state of a task.
func (t *Server) GetTask(ctx context.Context, r *tasksv1.GetTaskRequest) (*tasksv1.GetTaskResponse, error) {
	n := r.GetName()
	t.desk.Lock()
	info, ok := t.desk.Status(queue.ID(n.GetTask()))
	if n.GetTask() == 0 && n.GetUnique() != "" {
		info, ok = t.desk.StatusUnique(n.GetFunction(), n.GetUnique())
	}
	worker, why, written := t.desk.PeerName(info.Worker), t.desk.WaitReason(cmp.Or(info.ID, queue.ID(n.GetTask()))), t.desk.LastBatch()
	t.desk.Unlock()
	if info.Durable { // the reported state must survive a restart
		if err := t.awaitDurable(ctx, written); err != nil {
			return nil, err
		}
	}
	if !ok && why != "" { // a group that has not ended
		return &tasksv1.GetTaskResponse{Task: &tasksv1.TaskInfo{Task: n.GetTask(), State: tasksv1.TaskState_TASK_STATE_WAITING, WaitingReason: why}}, nil
	}
	if !ok {
		return nil, status.Errorf(codes.NotFound, "task %x, function %q, unique %q: %v", n.GetTask(), n.GetFunction(), n.GetUnique(), desk.ErrUnknown)
	}
	p := t.describe(info, worker, r.GetBodies())
	p.WaitingReason = why
	return &tasksv1.GetTaskResponse{Task: p}, nil
}

// describe returns the state of a task with its texts from the store.
func (t *Server) describe(info queue.Info, worker string, bodies bool) *tasksv1.TaskInfo {
	p := infoToProto(info, worker)
	if in, err := t.desk.Input(info.ID); err == nil {
		if p.Unique = in.Unique; bodies && in.Gathered {
			if in.Data, err = taskwire.GatheredJSON(in.Data); err != nil {
				t.log.Warn("input of a task cannot be shown", "task", info.ID, "err", err)
			}
		}
		if bodies {
			p.Input = in.Data[:min(len(in.Data), maxShown)]
		}
	}
	if result, err := t.desk.Result(info.ID); err == nil {
		if result = result[:min(len(result), maxShown)]; info.State == queue.WasFailed {
			p.Error = result
		} else if bodies && info.State == queue.WasDone {
			p.Result = result
		}
	}
	return p
}

// page returns the size of a page: limit, within bounds.
func page(limit int64) int {
	if limit <= 0 {
		return 100
	}
	return int(min(limit, maxPage))
}

// ListTasks lists tasks.
func (t *Server) ListTasks(_ context.Context, r *tasksv1.ListTasksRequest) (*tasksv1.ListTasksResponse, error) {
	out := &tasksv1.ListTasksResponse{}
	limit, next := page(r.GetLimit()), int(min(r.GetFrom(), 1<<32))
	for looked := 0; looked < 50*maxPage; looked += underLock { // then an empty page, rather than a long wait
		t.desk.Lock()
		next = t.desk.Tasks(next, min(underLock, limit-len(out.GetTasks())), func(i queue.Info) {
			if (r.GetFunction() == "" || r.GetFunction() == i.Function) &&
				(len(r.GetStates()) == 0 || slices.Contains(r.GetStates(), tasksv1.TaskState(i.State))) {
				out.Tasks = append(out.Tasks, infoToProto(i, t.desk.PeerName(i.Worker)))
			}
		})
		t.desk.Unlock()
		if next == 0 || len(out.GetTasks()) == limit {
			break
		}
	}
	for _, p := range out.GetTasks() {
		if p.GetState() == tasksv1.TaskState_TASK_STATE_FAILED {
			text, _ := t.desk.Result(queue.ID(p.GetTask())) // which may have been forgotten meanwhile
			p.Error = text[:min(len(text), maxListedError)]
		}
	}
	out.Next = uint64(next)
	return out, nil
}

// ListDeadTasks lists dead letters.
func (t *Server) ListDeadTasks(_ context.Context, r *tasksv1.ListDeadTasksRequest) (*tasksv1.ListDeadTasksResponse, error) {
	out := &tasksv1.ListDeadTasksResponse{}
	size := 0
	t.eachDead(r, page(r.GetLimit()), false, func(i queue.Info) bool {
		p := t.describe(i, "", false)
		if size += proto.Size(p); size > wire.MaxMessage/2 {
			return false
		}
		out.Tasks = append(out.Tasks, p)
		return true
	})
	return out, nil
}

// SetFunction sets the limits of a function.
func (t *Server) SetFunction(ctx context.Context, r *tasksv1.SetFunctionRequest) (*tasksv1.SetFunctionResponse, error) {
	t.audit(ctx, "set function", "function", r.GetFunction(), "limits", r.GetLimits().String())
	limits, err := limitsFromProto(r.GetLimits())
	if err != nil {
		return nil, err
	}
	if err := t.checkNeeds("function "+plain.Text(r.GetFunction()), limits.Needs); err != nil {
		return nil, err
	}
	return &tasksv1.SetFunctionResponse{}, t.setFunction(ctx, r.GetFunction(), func(l queue.Limits) queue.Limits {
		limits.Paused = l.Paused
		return limits
	})
}

// PauseFunction pauses a function, or resumes it.
func (t *Server) PauseFunction(ctx context.Context, r *tasksv1.PauseFunctionRequest) (*tasksv1.PauseFunctionResponse, error) {
	t.audit(ctx, "pause function", "function", r.GetFunction(), "paused", r.GetPaused())
	return &tasksv1.PauseFunctionResponse{}, t.setFunction(ctx, r.GetFunction(), func(l queue.Limits) queue.Limits {
		l.Paused = r.GetPaused()
		return l
	})
}

func (t *Server) setFunction(ctx context.Context, name string, change func(queue.Limits) queue.Limits) error {
	if len(name) == 0 || len(name) > 512 {
		return fmt.Errorf("%w: a function has a name of 1 to 512 bytes, not %d", wire.ErrInvalid, len(name))
	}
	return t.durably(ctx, func(d *desk.Desk) error {
		f, _ := d.Function(name)
		d.SetFunction(name, change(f.Limits))
		if _, ok := d.Function(name); !ok {
			return fmt.Errorf("function %q: %w: there are too many functions", name, desk.ErrFull)
		}
		return nil
	})
}

// DropFunction deletes a function.
func (t *Server) DropFunction(ctx context.Context, r *tasksv1.DropFunctionRequest) (*tasksv1.DropFunctionResponse, error) {
	t.audit(ctx, "drop function", "function", r.GetFunction())
	return &tasksv1.DropFunctionResponse{}, t.durably(ctx, func(d *desk.Desk) error {
		if err := d.DropFunction(r.GetFunction()); err != nil {
			return fmt.Errorf("function %q: %w", r.GetFunction(), err)
		}
		return nil
	})
}

// SetBudget sets the size of a budget.
func (t *Server) SetBudget(ctx context.Context, r *tasksv1.SetBudgetRequest) (*tasksv1.SetBudgetResponse, error) {
	t.audit(ctx, "set budget", "budget", r.GetBudget(), "size", r.GetSize())
	if len(r.GetBudget()) == 0 || len(r.GetBudget()) > 512 {
		return nil, fmt.Errorf("%w: a budget has a name of 1 to 512 bytes, not %d", wire.ErrInvalid, len(r.GetBudget()))
	}
	if err := checkAmount("size of a budget:", r.GetSize()); err != nil {
		return nil, err
	}
	return &tasksv1.SetBudgetResponse{}, t.durably(ctx, func(d *desk.Desk) error {
		d.SetBudget(r.GetBudget(), int(r.GetSize()))
		return nil
	})
}

// CheckNeeds returns an error if an attempt of a stage needs more than a whole budget has, so that
// it could never start. A budget of size 0 has not been set, or is closed for a while.
func (t *Server) CheckNeeds(stage string, needs []job.Need) error {
	return t.checkNeeds("each attempt of stage "+stage, needsOf(needs))
}

func (t *Server) checkNeeds(what string, needs []queue.Need) error {
	t.desk.Lock()
	budgets := t.desk.Budgets()
	t.desk.Unlock()
	for _, n := range needs {
		for _, b := range budgets {
			if b.Name == n.Budget && b.Size > 0 && n.N > b.Size {
				return fmt.Errorf("%w: %s needs %d of budget %s, which has size %d: need less, or layshaft task budget %s %d", wire.ErrInvalid, what, n.N, b.Name, b.Size, b.Name, n.N)
			}
		}
	}
	return nil
}

// functions returns the state of all functions and budgets.
func (t *Server) functions() *tasksv1.FunctionsStatus {
	t.desk.Lock()
	totals, functions, budgets := t.status()
	t.desk.Unlock()
	out := &tasksv1.FunctionsStatus{Totals: taskwire.TaskCountsToProto(totals)}
	for i := range functions {
		out.Functions = append(out.Functions, taskwire.FunctionToProto(&functions[i]))
	}
	for _, b := range budgets {
		out.Budgets = append(out.Budgets, &tasksv1.BudgetStatus{Budget: b.Name, Size: int64(b.Size), Used: int64(b.Used), Waiting: int64(b.WaitingAcquires)})
	}
	return out
}

// ListFunctions returns the state of functions and budgets.
func (t *Server) ListFunctions(context.Context, *tasksv1.ListFunctionsRequest) (*tasksv1.ListFunctionsResponse, error) {
	return &tasksv1.ListFunctionsResponse{Status: t.functions()}, nil
}

// WatchFunctions sends the state of functions and budgets at each change.
func (t *Server) WatchFunctions(_ *tasksv1.WatchFunctionsRequest, stream grpc.ServerStreamingServer[tasksv1.WatchFunctionsResponse]) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last *tasksv1.FunctionsStatus
	for {
		if now := t.functions(); !proto.Equal(now, last) {
			if err := stream.Send(&tasksv1.WatchFunctionsResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		case <-t.stop:
			return t.stopping()
		}
	}
}

// ListTaskWorkers lists workers.
func (t *Server) ListTaskWorkers(context.Context, *tasksv1.ListTaskWorkersRequest) (*tasksv1.ListTaskWorkersResponse, error) {
	t.desk.Lock()
	workers := t.desk.Workers()
	t.desk.Unlock()
	out := &tasksv1.ListTaskWorkersResponse{}
	for _, w := range workers {
		p := &tasksv1.TaskWorkerStatus{Worker: w.Name, Functions: w.Functions, Slots: int64(w.Slots), Reserved: int64(w.Reserved), Gearman: w.Gearman, SlotsOf: w.Share}
		for _, id := range w.Running {
			p.Running = append(p.Running, uint64(id))
		}
		out.Workers = append(out.Workers, p)
	}
	return out, nil
}
