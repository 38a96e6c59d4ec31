package taskserver

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

const (
	// pieceBytes is the limit of a piece of a body, and about the size of the largest message.
	pieceBytes = 1 << 20
	// maxBody is the limit of a body in pieces. The desk has the same limit.
	maxBody = 64 << 20
	// maxTaskBatch is the limit of tasks in one message of a stream.
	maxTaskBatch = 10_000
)

// clientStream is the stream of a client with foreground tasks: one goroutine receives, another
// sends.
type clientStream struct {
	t    *Server
	s    *desk.Session
	emit func(updates []*tasksv1.TaskUpdate, piece []byte) error
	// last is closed after the last message of the client.
	last chan struct{}

	// mu guards the fields below. It is taken before the lock of the desk.
	mu      sync.Mutex
	options *tasksv1.CallTasksOptions
	// next is the index of the next task.
	next int64
	// tasks has the running tasks by index.
	tasks map[int64]queue.ID
	// waiting has the indexes of a task; the core has one wait per task.
	waiting map[queue.ID][]int64
	// reasons has the last sent reason of tasks that do not start.
	reasons map[queue.ID]string
	// answers has the answers to explain.
	answers chan []*tasksv1.TaskUpdate
	// inFlight counts tasks without a sent end, or, in the background, without a sent acceptance.
	inFlight int
}

func (t *Server) newClientStream(name string, emit func([]*tasksv1.TaskUpdate, []byte) error) *clientStream {
	t.desk.Lock()
	defer t.desk.Unlock()
	return &clientStream{t: t, s: t.desk.Join(name), emit: emit, last: make(chan struct{}), tasks: map[int64]queue.ID{},
		waiting: map[queue.ID][]int64{}, reasons: map[queue.ID]string{}, answers: make(chan []*tasksv1.TaskUpdate)}
}

// leave ends the stream.
func (c *clientStream) leave() {
	c.t.desk.Lock()
	c.s.Leave(false)
	c.t.desk.Unlock()
}

// CallTasks runs tasks and sends their updates.
func (t *Server) CallTasks(stream grpc.BidiStreamingServer[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse]) error {
	c := t.newClientStream(t.cfg.Identity(stream.Context()), func(updates []*tasksv1.TaskUpdate, piece []byte) error {
		return stream.Send(&tasksv1.CallTasksResponse{Updates: updates, Piece: piece})
	})
	defer c.leave()
	return t.runBothSides(stream.Context(), func() error { return c.receive(stream) }, func() error { return c.send(stream.Context().Done()) })
}

// WaitTask sends the updates of a task.
func (t *Server) WaitTask(r *tasksv1.WaitTaskRequest, stream grpc.ServerStreamingServer[tasksv1.WaitTaskResponse]) error {
	c := t.newClientStream(t.cfg.Identity(stream.Context()), func(updates []*tasksv1.TaskUpdate, piece []byte) error {
		return stream.Send(&tasksv1.WaitTaskResponse{Updates: updates, Piece: piece})
	})
	defer c.leave()
	close(c.last)
	c.options = &tasksv1.CallTasksOptions{OnlyEnds: r.GetOnlyEnds()}
	c.mu.Lock()
	t.desk.Lock()
	n, err := c.s.Attach(desk.NoRef, queue.ID(r.GetName().GetTask()), r.GetName().GetFunction(), r.GetName().GetUnique(), queue.ID(r.GetParent()))
	accepted := &tasksv1.Accepted{Task: uint64(n.Task), Epoch: t.epoch, Attempt: int64(t.desk.AttemptNumber(n.Task))}
	t.desk.Unlock()
	c.tasks[0], c.waiting[n.Task], c.inFlight = n.Task, []int64{0}, 1
	c.mu.Unlock()
	if err != nil {
		return taskError(err)
	}
	if err := c.emit([]*tasksv1.TaskUpdate{{Event: &tasksv1.TaskUpdate_Accepted{Accepted: accepted}}}, nil); err != nil {
		return err
	}
	return t.runBothSides(stream.Context(), func() error { return nil }, func() error { return c.send(stream.Context().Done()) })
}

// receive processes messages of the client until the stream ends.
func (c *clientStream) receive(stream grpc.BidiStreamingServer[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse]) error {
	var piece []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			close(c.last)
			return nil
		}
		if err != nil {
			return err
		}
		switch msg := m.GetBody().(type) {
		case *tasksv1.CallTasksRequest_Piece:
			piece, err = addPiece(piece, msg.Piece)
		case *tasksv1.CallTasksRequest_Tasks:
			specs := msg.Tasks.GetTasks()
			if len(specs) > 0 && len(piece) > 0 {
				specs[0].Input, piece = append(piece, specs[0].GetInput()...), nil
			}
			if msg.Tasks.GetAbbreviated() {
				specs = filled(specs)
			}
			if err = c.submit(stream, specs); err == nil {
				c.s.WaitForRoom()
			}
		case *tasksv1.CallTasksRequest_Cancel:
			c.cancel(msg.Cancel.GetIndexes())
		case *tasksv1.CallTasksRequest_Leave:
			c.forget(msg.Leave.GetIndexes())
		case *tasksv1.CallTasksRequest_Explain:
			select {
			case c.answers <- c.explain(msg.Explain.GetIndexes()):
			case <-stream.Context().Done():
			}
		case *tasksv1.CallTasksRequest_Options:
			err = wire.CheckProtocol("the client", msg.Options.GetProtocol())
			c.mu.Lock()
			c.options = msg.Options
			c.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// addPiece appends a piece to a body.
func addPiece(body, piece []byte) ([]byte, error) {
	if len(body)+len(piece) > maxBody {
		return nil, fmt.Errorf("%w: a body of more than %d bytes", wire.ErrInvalid, maxBody)
	}
	return append(body, piece...), nil
}

// filled completes tasks without a function from the last task with one.
func filled(specs []*tasksv1.TaskSpec) []*tasksv1.TaskSpec {
	var like *tasksv1.TaskSpec
	for i, p := range specs {
		if p.GetFunction() != "" || like == nil {
			like = p
			continue
		}
		specs[i] = &tasksv1.TaskSpec{Function: like.GetFunction(), Input: p.GetInput(), Unique: p.GetUnique(), Fresh: p.GetFresh(), Priority: like.GetPriority(),
			DueNanos: like.GetDueNanos(), DelayNanos: like.GetDelayNanos(), Policy: like.GetPolicy(), Durability: like.GetDurability(),
			Then: like.GetThen(), Group: like.GetGroup(), Place: p.GetPlace(), Background: like.GetBackground(), Parent: like.GetParent(), Trace: like.GetTrace()}
	}
	return specs
}

// The Ref of a submission is its index and a bit for background tasks.
func refOf(index int64, background bool) uint64 {
	ref := uint64(index) << 1
	if background {
		ref |= 1
	}
	return ref
}

// submit submits tasks.
func (c *clientStream) submit(stream grpc.ServerStream, specs []*tasksv1.TaskSpec) error {
	if len(specs) > maxTaskBatch {
		return fmt.Errorf("%w: %d tasks in a message; %d is the most", wire.ErrInvalid, len(specs), maxTaskBatch)
	}
	all := make([]desk.Submission, len(specs))
	now := time.Now()
	c.mu.Lock()
	first := c.next
	c.next += int64(len(specs))
	c.inFlight += len(specs)
	c.mu.Unlock()
	for i, p := range specs {
		all[i] = submissionFromProto(p, p.GetBackground(), now)
		all[i].Ref = refOf(first+int64(i), p.GetBackground())
	}
	for part := range slices.Chunk(all, underLock) { // the sender can take the lock in between
		c.mu.Lock()
		err := c.t.submitAll(stream.Context(), c.s, part, func(i int, n desk.Note, err error) { c.submitted(&part[i], n, err) })
		c.mu.Unlock()
		if err != nil {
			return taskError(err)
		}
	}
	return nil
}

// submitted processes the answer to one submission. The caller holds both locks.
func (c *clientStream) submitted(x *desk.Submission, n desk.Note, err error) {
	switch {
	case err != nil:
		full := uint64(0)
		if status.Code(taskError(err)) == codes.ResourceExhausted {
			full = 1
		}
		c.s.Post(desk.Note{Op: queue.Rejected, Ref: x.Ref, Body: []byte(err.Error()), N: full})
	case !x.Background:
		index := int64(x.Ref >> 1)
		c.tasks[index] = n.Task
		if c.waiting[n.Task] != nil {
			c.s.Detach(n.Task) // once is enough
		}
		c.waiting[n.Task] = append(c.waiting[n.Task], index)
	}
}

// cancel ends tasks.
func (c *clientStream) cancel(indexes []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.desk.Lock()
	defer c.t.desk.Unlock()
	for _, i := range indexes {
		if id := c.tasks[i]; id != 0 {
			c.t.desk.Cancel(id)
		}
	}
}

// forget stops waiting for tasks, and ends those without another waiter.
func (c *clientStream) forget(indexes []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.desk.Lock()
	defer c.t.desk.Unlock()
	for _, i := range indexes {
		id := c.tasks[i]
		if id == 0 {
			continue
		}
		delete(c.tasks, i)
		c.inFlight--
		if c.waiting[id] = slices.DeleteFunc(c.waiting[id], func(x int64) bool { return x == i }); len(c.waiting[id]) == 0 {
			delete(c.waiting, id)
			c.s.Detach(id)
		}
	}
}

// send sends updates until all tasks have ended.
func (c *clientStream) send(gone <-chan struct{}) error {
	var notes []desk.Note
	last := c.last
	tick := time.NewTicker(reasonEvery)
	defer tick.Stop()
	for {
		var err error
		if notes, err = c.s.Take(notes[:0], pieceBytes); err != nil {
			return sessionError(err)
		}
		if len(notes) == 0 {
			if last == nil && c.allEnded() {
				return nil
			}
			select {
			case <-c.s.Ready():
			case <-last:
				last = nil
			case <-tick.C:
				if err := c.sendReasons(); err != nil {
					return err
				}
			case updates := <-c.answers:
				if err := c.emit(updates, nil); err != nil {
					return err
				}
			case <-gone:
				return nil
			}
			continue
		}
		if err := c.sendNotes(notes); err != nil {
			return err
		}
		clear(notes)
		c.s.ConfirmTaken()
	}
}

const (
	// reasonEvery is the time between two looks for tasks that do not start. Two looks in a row
	// must find a task waiting.
	reasonEvery = time.Second
	// maxReasons limits the tasks of one look.
	maxReasons = 256
)

// sendReasons sends, for tasks that have not started for two looks, what they wait for. An empty
// reason means that the task has started.
func (c *clientStream) sendReasons() error {
	c.mu.Lock()
	var updates []*tasksv1.TaskUpdate
	send := func(id queue.ID, why string) {
		c.reasons[id] = why
		for _, i := range c.waiting[id] {
			updates = append(updates, &tasksv1.TaskUpdate{Index: i, Task: uint64(id), Event: &tasksv1.TaskUpdate_Waiting{Waiting: &tasksv1.TaskWaiting{Reason: why}}})
		}
	}
	var ids []queue.ID
	for id := range c.waiting {
		if ids = append(ids, id); len(ids) == maxReasons {
			break
		}
	}
	slices.Sort(ids)
	c.t.desk.Lock()
	c.t.desk.WaitReasons(ids, func(id queue.ID, why string) {
		before, seen := c.reasons[id]
		switch {
		case why == "" && !seen, seen && why == before:
		case !seen:
			c.reasons[id] = ""
		default:
			send(id, why)
		}
	})
	c.t.desk.Unlock()
	for id := range c.reasons {
		if c.waiting[id] == nil {
			delete(c.reasons, id)
		}
	}
	c.mu.Unlock()
	if len(updates) == 0 {
		return nil
	}
	return c.emit(updates, nil)
}

// explain returns why tasks have not started, or, without indexes, why one of the tasks of the
// stream has not. The reason is empty for a task that runs or has ended.
func (c *clientStream) explain(indexes []int64) []*tasksv1.TaskUpdate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.desk.Lock()
	defer c.t.desk.Unlock()
	var updates []*tasksv1.TaskUpdate
	answer := func(i int64, id queue.ID, why string) {
		updates = append(updates, &tasksv1.TaskUpdate{Index: i, Task: uint64(id), Event: &tasksv1.TaskUpdate_Waiting{Waiting: &tasksv1.TaskWaiting{Reason: why}}})
	}
	for _, i := range indexes[:min(len(indexes), maxReasons)] {
		c.t.desk.WaitReasons([]queue.ID{c.tasks[i]}, func(id queue.ID, why string) { answer(i, id, why) })
	}
	if len(indexes) > 0 {
		return updates
	}
	var ids []queue.ID
	for id := range c.waiting {
		if ids = append(ids, id); len(ids) == maxReasons {
			break
		}
	}
	c.t.desk.WaitReasons(ids, func(id queue.ID, why string) {
		if why != "" && updates == nil {
			answer(c.waiting[id][0], id, why)
		}
	})
	if updates == nil {
		answer(0, 0, "")
	}
	return updates
}

// sessionError returns the status for a stream that the desk ended.
func sessionError(err error) error {
	if errors.Is(err, desk.ErrStalled) {
		return status.Errorf(codes.ResourceExhausted, "%v: the stream is not read", err)
	}
	return fmt.Errorf("%w: %w", wire.ErrUnavailable, err)
}

func (c *clientStream) allEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight == 0
}

// sendNotes sends notes.
func (c *clientStream) sendNotes(notes []desk.Note) error {
	var updates []*tasksv1.TaskUpdate
	size := 0
	flush := func() error {
		if len(updates) == 0 {
			return nil
		}
		err := c.emit(updates, nil)
		updates, size = nil, 0
		return err
	}
	for i := range notes {
		n := &notes[i]
		if n.Stored {
			n.Body, _ = c.t.desk.Result(n.Task) // which may have none
		}
		for _, index := range c.indexes(n) {
			body := n.Body
			if size+len(body) > pieceBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			for len(body) > pieceBytes {
				if err := c.emit(nil, body[:pieceBytes]); err != nil {
					return err
				}
				body = body[pieceBytes:]
			}
			if u := updateOf(n, index, body); u != nil {
				updates = append(updates, u)
				size += len(body) + 32
			}
		}
	}
	return flush()
}

// indexes returns the indexes of the tasks with the update n. If n ends the tasks, it removes them.
func (c *clientStream) indexes(n *desk.Note) []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n.Op {
	case queue.Accepted:
		if n.Ref == desk.NoRef {
			return nil
		}
		if background := n.Ref&1 != 0; background {
			c.inFlight--
		} else if n.N == 0 && n.Batch == 0 {
			return nil
		}
		return []int64{int64(n.Ref >> 1)}
	case queue.Rejected:
		c.inFlight--
		return []int64{int64(n.Ref >> 1)}
	}
	indexes := c.waiting[n.Task]
	switch n.Notice {
	case queue.Data, queue.Warning, queue.Progress, queue.Retrying:
		if c.options.GetOnlyEnds() {
			return nil
		}
		return slices.Clone(indexes)
	case queue.Followed:
		next := queue.ID(n.N)
		c.waiting[next] = append(c.waiting[next], indexes...)
		for _, i := range indexes {
			c.tasks[i] = next
		}
	default:
		for _, i := range indexes {
			delete(c.tasks, i)
		}
		c.inFlight -= len(indexes)
	}
	delete(c.waiting, n.Task)
	return indexes
}

// updateOf returns the message of an update, or nil for none.
func updateOf(n *desk.Note, index int64, body []byte) *tasksv1.TaskUpdate {
	u := &tasksv1.TaskUpdate{Index: index, Task: uint64(n.Task)}
	if n.Op == queue.Accepted {
		u.Event = &tasksv1.TaskUpdate_Accepted{Accepted: &tasksv1.Accepted{Task: uint64(n.Task), Joined: n.N == 1}}
		return u
	}
	if n.Op == queue.Rejected {
		u.Event = &tasksv1.TaskUpdate_Accepted{Accepted: &tasksv1.Accepted{Refused: string(body), Full: n.N == 1}}
		return u
	}
	switch n.Notice {
	case queue.Data:
		u.Event = &tasksv1.TaskUpdate_Data{Data: body}
	case queue.Warning:
		u.Event = &tasksv1.TaskUpdate_Warning{Warning: body}
	case queue.Progress:
		u.Event = &tasksv1.TaskUpdate_Progress{Progress: &tasksv1.TaskProgress{Done: n.N, Total: n.M}}
	case queue.Retrying:
		u.Event = &tasksv1.TaskUpdate_Retrying{Retrying: &tasksv1.TaskRetrying{Attempt: int64(n.N), Reason: reasonToProto(queue.Notice(n.M)), Error: body}}
	case queue.Followed:
		u.Event = &tasksv1.TaskUpdate_Next{Next: n.N}
	case queue.Done:
		u.Event = &tasksv1.TaskUpdate_Result{Result: body}
	case queue.Failed:
		u.Event = &tasksv1.TaskUpdate_Failed{Failed: &tasksv1.TaskFailed{Reason: reasonToProto(queue.Notice(n.M)), Error: body}}
	case queue.Cancelled:
		u.Event = &tasksv1.TaskUpdate_Failed{Failed: &tasksv1.TaskFailed{Reason: tasksv1.TaskReason_TASK_REASON_CANCELLED}}
	default:
		return nil
	}
	return u
}
