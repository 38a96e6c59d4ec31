package taskserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

type workServer = grpc.BidiStreamingServer[tasksv1.WorkTasksRequest, tasksv1.WorkTasksResponse]

const (
	// maxHeld is the limit of a worker's held tasks, and of its slots.
	maxHeld = 100_000
	// helloWait is how long a worker may take to send its hello.
	helloWait = 10 * time.Second
	// maxAbilities is the limit of a worker's functions.
	maxAbilities = 10_000
)

var errLeft = errors.New("worker left")

// workerStream is the stream of a worker: one goroutine receives, another sends.
type workerStream struct {
	t      *Server
	s      *desk.Session
	stream workServer
	name   string
	// functions are the worker's functions; only the receiver uses them.
	functions []string
	// share is the ID of the worker that lends its slots; empty when the worker has its own.
	share string
	// ended means that no join may follow; Server.mu guards it.
	ended bool
	// left means that the worker announced its end.
	left  atomic.Bool
	begun time.Time
	// lastMessage is the time of the last message, in nanoseconds since begun; zero while a message
	// is processed.
	lastMessage atomic.Int64
	// replaced is closed when another stream of the worker has begun.
	replaced chan struct{}
}

// WorkTasks runs the stream of a worker.
func (t *Server) WorkTasks(stream workServer) error {
	w := &workerStream{t: t, stream: stream, begun: time.Now(), replaced: make(chan struct{})}
	w.touch()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer w.leave()
	defer w.awaitReturn()
	defer w.watch(cancel)()
	joined := make(chan struct{})
	err := t.runBothSides(ctx, func() error {
		err := w.receive(joined)
		cancel(err)
		return err
	}, func() error {
		return w.send(ctx, joined)
	})
	if errors.Is(err, errLeft) {
		return nil
	}
	return err
}

// touch notes the time of a message.
func (w *workerStream) touch() { w.lastMessage.Store(max(int64(time.Since(w.begun)), 1)) }

// awaitReturn keeps the tasks of a worker whose stream has broken, if this process itself did not
// run a moment ago: the worker could not reach it and now connects again.
func (w *workerStream) awaitReturn() {
	lease := w.t.cfg.Lease
	w.t.mu.Lock()
	s := w.s
	w.t.mu.Unlock()
	if woke := w.t.desk.Clock().Woke(); s == nil || woke.IsZero() || time.Since(woke) >= lease {
		return
	}
	w.t.desk.Lock()
	s.SetSlots(0, 0, w.share) // no new tasks meanwhile
	w.t.desk.Unlock()
	late := time.NewTimer(lease)
	defer late.Stop()
	select {
	case <-late.C:
	case <-w.replaced:
	case <-w.t.stop:
	}
}

// watch ends the stream of a worker that is silent for longer than its lease. stop ends watching.
func (w *workerStream) watch(cancel context.CancelCauseFunc) (stop func()) {
	over := make(chan struct{})
	tick := time.NewTicker(w.t.cfg.Lease / 9) // a silent worker is gone within 10 s, with the default
	done := make(chan struct{})
	clock := w.t.desk.Clock()
	slept := clock.Slept(time.Now())
	go func() {
		defer close(done)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			at := w.lastMessage.Load()
			if now := clock.Slept(time.Now()); now != slept { // nobody could reach this process
				slept = now
				w.lastMessage.CompareAndSwap(at, int64(time.Since(w.begun)))
			} else if at != 0 && time.Since(w.begun)-time.Duration(at) > w.t.cfg.Lease {
				cancel(fmt.Errorf("%w: the worker was silent for %v", wire.ErrLeaseLost, w.t.cfg.Lease))
			}
		}
	}()
	return func() { close(over); <-done }
}

// receive processes messages of the worker until the stream ends or the worker leaves.
func (w *workerStream) receive(joined chan<- struct{}) error {
	m, err := w.stream.Recv()
	if err != nil {
		return wire.BrokenBy(err)
	}
	if err := w.join(m.GetHello()); err != nil {
		return err
	}
	close(joined)
	var first head
	for {
		w.touch()
		if m, err = w.stream.Recv(); err != nil {
			return wire.BrokenBy(err)
		}
		w.lastMessage.Store(0)
		switch msg := m.GetBody().(type) {
		case *tasksv1.WorkTasksRequest_Piece:
			first.add(msg.Piece)
		case *tasksv1.WorkTasksRequest_Reports:
			w.reports(msg.Reports.GetReports(), first)
			first = head{}
		case *tasksv1.WorkTasksRequest_Heartbeat:
		case *tasksv1.WorkTasksRequest_Abilities:
			w.t.desk.Lock()
			err = w.setAbilities(msg.Abilities)
			w.t.desk.Unlock()
		case *tasksv1.WorkTasksRequest_Leaving:
			w.left.Store(true)
			return errLeft
		default:
			err = fmt.Errorf("%w: unexpected %T of a worker that has joined", wire.ErrInvalid, m.GetBody())
		}
		if err != nil {
			return err
		}
	}
}

// join adds a worker, in place of its earlier stream.
func (w *workerStream) join(hello *tasksv1.TaskHello) error {
	t := w.t
	if w.name = hello.GetWorker(); w.name == "" || len(w.name) > 512 || len(hello.GetAttempts()) > maxHeld {
		return fmt.Errorf("%w: worker %.100q with %s; its first message must be a hello with a name of 1 to 512 bytes and at most %d tasks", wire.ErrInvalid,
			w.name, report.Plural(len(hello.GetAttempts()), "task"), maxHeld)
	}
	if err := wire.CheckProtocol("worker "+w.name, hello.GetProtocol()); err != nil {
		return err
	}
	if of := hello.GetCluster(); of != "" && of != t.cfg.Cluster {
		return fmt.Errorf("%w: worker %s has tasks of cluster %s, this is %s; it keeps them until its own coordinator is back, or until it is restarted", wire.ErrOtherCluster,
			w.name, of, t.cfg.Cluster)
	}
	if w.share = hello.GetSlotsOf(); len(w.share) > 512 || w.share != "" && !t.desk.SharesSlots() {
		return fmt.Errorf("%w: worker %s shares the slots of %.100q; here no slots are shared, let it have its own", wire.ErrInvalid, w.name, w.share)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.ended {
		return wire.ErrBroken
	}
	t.desk.Lock()
	defer t.desk.Unlock()
	w.s = t.desk.Join(w.name)
	var former *desk.Session
	if old := t.workers[w.name]; old != nil {
		former = old.s
		former.Disconnect(fmt.Errorf("%w: another stream of worker %s began", wire.ErrLeaseLost, w.name))
		defer former.Leave(false) // after the claims: what still runs stays with its worker
		close(old.replaced)
	}
	t.workers[w.name] = w
	abilities := hello.GetAbilities()
	if err := w.setFunctions(abilities); err != nil {
		return err
	}
	for _, a := range hello.GetAttempts() {
		w.s.Claim(queue.ID(a.GetTask()), a.GetAttempt(), former)
	}
	return w.setAbilities(abilities)
}

// setFunctions sets the functions of the worker. The caller holds the lock of the desk.
func (w *workerStream) setFunctions(a *tasksv1.TaskAbilities) error {
	if len(a.GetFunctions()) > maxAbilities || a.GetSlots() < 0 || a.GetSlots() > maxHeld || a.GetReserved() < 0 {
		return fmt.Errorf("%w: worker %s with %s and %s, %d of them reserved; at most %d and %d are possible", wire.ErrInvalid, w.name,
			report.Plural(len(a.GetFunctions()), "function"), report.Plural(a.GetSlots(), "slot"), a.GetReserved(), maxAbilities, maxHeld)
	}
	var now []string
	for _, f := range a.GetFunctions() {
		if len(f.GetFunction()) == 0 || len(f.GetFunction()) > 512 || f.GetTimeoutNanos() < 0 {
			return fmt.Errorf("%w: worker %s: function %.100q; a name has 1 to 512 bytes, and its time-out is not negative", wire.ErrInvalid, w.name, f.GetFunction())
		}
		now = append(now, f.GetFunction())
		w.s.CanDo(f.GetFunction(), time.Duration(f.GetTimeoutNanos()))
	}
	for _, f := range w.functions {
		if !slices.Contains(now, f) {
			w.s.CantDo(f)
		}
	}
	w.functions = now
	return nil
}

// setAbilities sets the functions and slots of the worker. The caller holds the lock of the desk.
func (w *workerStream) setAbilities(a *tasksv1.TaskAbilities) error {
	if err := w.setFunctions(a); err != nil {
		return err
	}
	w.s.SetSlots(int(a.GetSlots()), int(min(a.GetReserved(), a.GetSlots())), w.share)
	return nil
}

// leave ends the session.
func (w *workerStream) leave() {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.ended = true; w.s == nil {
		return
	}
	t.desk.Lock()
	w.s.Leave(w.left.Load())
	t.desk.Unlock()
	if t.workers[w.name] == w {
		delete(t.workers, w.name)
	}
}

// head is the beginning of a body. A body over the limit is counted and not kept: it fails its own
// task, and the worker's other tasks continue.
type head struct {
	bytes []byte
	size  int
}

func (h *head) add(piece []byte) {
	if h.size += len(piece); h.size > maxBody {
		h.bytes = nil
		return
	}
	h.bytes = append(h.bytes, piece...)
}

// reports processes reports, in slices, so that other callers get their turn. first is the
// beginning of the first report's body.
func (w *workerStream) reports(all []*tasksv1.TaskReport, first head) {
	for part := range slices.Chunk(all, underLock) {
		w.t.desk.Lock()
		for _, r := range part {
			w.report(r, first)
			first = head{}
		}
		w.t.desk.Unlock()
	}
}

func (w *workerStream) report(r *tasksv1.TaskReport, first head) {
	id, attempt := queue.ID(r.GetAttempt().GetTask()), r.GetAttempt().GetAttempt()
	var notice queue.Notice
	var body []byte
	switch content := r.GetContent().(type) {
	case *tasksv1.TaskReport_Data:
		notice, body = queue.Data, content.Data
	case *tasksv1.TaskReport_Warning:
		notice, body = queue.Warning, content.Warning
	case *tasksv1.TaskReport_Progress:
		notice = queue.Progress
	case *tasksv1.TaskReport_Result:
		notice, body = queue.Done, content.Result
	case *tasksv1.TaskReport_Failed:
		notice, body = queue.Failed, content.Failed
	case *tasksv1.TaskReport_Fatal:
		notice, body = queue.Fatal, content.Fatal
	case *tasksv1.TaskReport_Leader:
		w.s.Lead(id, queue.ID(content.Leader))
		return
	default:
		return
	}
	if size := first.size + len(body); size > maxBody {
		notice, body = queue.Fatal, fmt.Appendf(nil, "a report of %d bytes is over the limit of %d", size, maxBody)
	} else if first.size > 0 {
		body = append(first.bytes, body...)
	}
	w.s.Report(id, attempt, notice, r.GetProgress().GetDone(), r.GetProgress().GetTotal(), body)
}

// send sends assignments until the stream ends.
func (w *workerStream) send(ctx context.Context, joined <-chan struct{}) error {
	late := time.NewTimer(helloWait)
	defer late.Stop()
	select {
	case <-joined:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return fmt.Errorf("%w: no hello within %v", wire.ErrInvalid, helloWait)
	}
	if err := w.stream.Send(&tasksv1.WorkTasksResponse{Welcome: &tasksv1.TaskWelcome{LeaseNanos: int64(w.t.cfg.Lease), Cluster: w.t.cfg.Cluster}}); err != nil {
		return err
	}
	var notes []desk.Note
	for {
		var err error
		if notes, err = w.s.Take(notes[:0], pieceBytes); err != nil {
			return sessionError(err)
		}
		if len(notes) > 0 {
			if err := w.sendNotes(notes); err != nil {
				return err
			}
			clear(notes)
			continue
		}
		select {
		case <-w.s.Ready():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sendNotes sends notes.
func (w *workerStream) sendNotes(notes []desk.Note) error {
	m, size := &tasksv1.WorkTasksResponse{}, 0
	flush := func() error {
		if size == 0 {
			return nil
		}
		err := w.stream.Send(m)
		m, size = &tasksv1.WorkTasksResponse{}, 0
		return err
	}
	for i := range notes {
		n := &notes[i]
		if (n.Op != queue.Assign && len(m.Assigns) > 0) || size > pieceBytes/2 { // keeps the order of the notes
			if err := flush(); err != nil {
				return err
			}
		}
		size += 32
		switch {
		case n.Signal == desk.Ack:
			m.Acks = append(m.Acks, &tasksv1.TaskAttempt{Task: uint64(n.Task), Attempt: int64(n.N)})
		case n.Signal == desk.Pause:
			m.Pauses, m.Resumes = append(m.Pauses, uint64(n.Task)), slices.DeleteFunc(m.Resumes, func(id uint64) bool { return id == uint64(n.Task) })
		case n.Signal == desk.Resume:
			m.Pauses, m.Resumes = slices.DeleteFunc(m.Pauses, func(id uint64) bool { return id == uint64(n.Task) }), append(m.Resumes, uint64(n.Task))
		case n.Op == queue.Stop:
			m.Stops = append(m.Stops, stopOf(n))
		case n.Op == queue.Assign:
			a := w.assign(n)
			if a == nil {
				continue
			}
			if size+len(a.Input) > pieceBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			for ; len(a.Input) > pieceBytes; a.Input = a.Input[pieceBytes:] {
				if err := w.stream.Send(&tasksv1.WorkTasksResponse{Piece: a.Input[:pieceBytes]}); err != nil {
					return err
				}
			}
			m.Assigns = append(m.Assigns, a)
			size += 64 + len(a.Input)
		}
	}
	return flush()
}

func stopOf(n *desk.Note) *tasksv1.TaskStop {
	reason := tasksv1.TaskReason_TASK_REASON_TIMEOUT
	if n.Notice == queue.Cancelled {
		reason = tasksv1.TaskReason_TASK_REASON_CANCELLED
	}
	return &tasksv1.TaskStop{Attempt: &tasksv1.TaskAttempt{Task: uint64(n.Task), Attempt: int64(n.N)}, Soft: n.Notice == queue.Soft, Reason: reason}
}

// assign returns a task with its input. It returns nil when the task is gone, and frees its slot.
func (w *workerStream) assign(n *desk.Note) *tasksv1.TaskAssign {
	in, err := w.t.desk.Input(n.Task)
	if err != nil {
		if !errors.Is(err, bodies.ErrNotFound) {
			w.t.log.Error("task failed: its input cannot be read", "task", n.Task, "err", err)
		}
		w.t.desk.Lock()
		w.s.Report(n.Task, int64(n.N), queue.Fatal, 0, 0, []byte(err.Error()))
		w.t.desk.Unlock()
		return nil
	}
	return &tasksv1.TaskAssign{Attempt: &tasksv1.TaskAttempt{Task: uint64(n.Task), Attempt: int64(n.N)}, Function: n.Function, Input: in.Data,
		Unique: in.Unique, Gathered: in.Gathered, SoftNanos: int64(n.Limits.Soft), HardNanos: int64(n.Limits.Hard), Last: n.Limits.Last, Origin: n.Limits.Origin, Trace: in.Trace}
}
