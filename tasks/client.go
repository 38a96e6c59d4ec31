package tasks

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Client submits tasks, waits for them and manages them. It is safe for concurrent use.
//
// If the coordinator cannot be reached, a client tries again for the time set in [Cluster], so a
// restart goes unnoticed. A submit without an answer is repeated, and makes no second task.
type Client struct {
	cluster Cluster
	conn    *addresses.Conn
	rpc     tasksv1.TasksServiceClient
	reached atomic.Bool
	// shared is for foreground tasks, background for others: while the disk is behind, the
	// coordinator does not read a stream that submits durable tasks.
	shared, background sharedStreams
}

// check returns an error if the client is nil.
func (c *Client) check() error {
	if c == nil {
		return fmt.Errorf("%w: the client is nil; take it from tasks.Dial", ErrInvalid)
	}
	return nil
}

// Dial returns a client. The client connects on first use. The error reports an invalid field of
// cluster or unreadable certificates.
func Dial(cluster Cluster) (*Client, error) {
	cluster, err := cluster.withDefaults()
	if err != nil {
		return nil, err
	}
	conn, _, err := cluster.dial()
	if err != nil {
		return nil, err
	}
	c := &Client{cluster: cluster, conn: conn, rpc: tasksv1.NewTasksServiceClient(conn)}
	for _, s := range []*sharedStreams{&c.shared, &c.background} {
		s.open = c.openStream
		s.turn = make(chan struct{}, 1)
	}
	return c, nil
}

// Close closes the connection. Requests in progress fail.
func (c *Client) Close() error {
	err := c.conn.Close()
	c.shared.wait()
	c.background.wait()
	return err
}

// ask makes an RPC with a small answer.
func ask[Q, A any](ctx context.Context, c *Client, method func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) (out A, err error) {
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := awake.WithTimeout(ctx, rpcTimeout)
		defer cancel()
		out, err = method(ctx, q)
		return err
	})
	return out, err
}

func (n taskName) proto() *tasksv1.TaskName {
	return &tasksv1.TaskName{Task: uint64(n.id), Function: n.function, Unique: n.unique}
}

// wrapUnknown turns err into an ErrUnknown with the name of the task, if it means that.
func (n taskName) wrapUnknown(err error) error {
	if status.Code(err) != codes.NotFound {
		return err
	}
	return fmt.Errorf("%s: %w", n, ErrUnknown)
}

// proto returns the message for a submit.
func (s *spec) proto(function string, input []byte) *tasksv1.TaskSpec {
	p := &tasksv1.TaskSpec{
		Function: function, Input: input, Unique: s.unique, Fresh: s.fresh, Priority: tasksv1.TaskPriority(s.priority),
		DelayNanos: int64(s.after), Policy: s.policy.proto(s.keep), Then: protoNext(s.then, s.keep), Group: uint64(s.group),
	}
	if !s.due.IsZero() {
		p.DueNanos = s.due.UnixNano()
	}
	p.Parent, p.Trace = uint64(s.parent), s.trace
	if s.once != "" {
		p.Token, p.Resubmitted = wire.TokenOf(function, s.once), true
	}
	if s.lossy {
		p.Durability = tasksv1.Durability_DURABILITY_MEMORY
	}
	if s.group != 0 {
		s.place++
		p.Place = s.place
	}
	return p
}

func (p policy) proto(keep time.Duration) *tasksv1.TaskPolicy {
	if p.keep != nil {
		keep = *p.keep
	}
	return &tasksv1.TaskPolicy{Attempts: int64(p.attempts), BackoffNanos: int64(p.backoff), MaxBackoffNanos: int64(p.maxBackoff),
		SoftNanos: int64(p.soft), HardNanos: int64(p.hard), KeepNanos: int64(keep)}
}

func protoNext(then []next, keep time.Duration) []*tasksv1.NextTask {
	var out []*tasksv1.NextTask
	for _, n := range then {
		out = append(out, &tasksv1.NextTask{Function: n.function, Priority: tasksv1.TaskPriority(n.priority), Policy: n.policy.proto(keep)})
	}
	return out
}

var reasons = map[tasksv1.TaskReason]error{
	tasksv1.TaskReason_TASK_REASON_UNSPECIFIED: ErrFailed,
	tasksv1.TaskReason_TASK_REASON_ERROR:       ErrFailed,
	tasksv1.TaskReason_TASK_REASON_TIMEOUT:     ErrTimedOut,
	tasksv1.TaskReason_TASK_REASON_LOST:        ErrLost,
	tasksv1.TaskReason_TASK_REASON_CANCELLED:   ErrCancelled,
}

// updateOf converts an update. Its kind is zero if users do not see it.
func updateOf(u *tasksv1.TaskUpdate) Update {
	out := Update{Task: ID(u.GetTask())}
	switch event := u.GetEvent().(type) {
	case *tasksv1.TaskUpdate_Data:
		out.Kind, out.Payload = KindData, event.Data
	case *tasksv1.TaskUpdate_Warning:
		out.Kind, out.Payload = KindWarning, event.Warning
	case *tasksv1.TaskUpdate_Progress:
		out.Kind, out.N, out.M = KindProgress, event.Progress.GetDone(), event.Progress.GetTotal()
	case *tasksv1.TaskUpdate_Retrying:
		out.Kind, out.N, out.Payload = KindRetry, uint64(event.Retrying.GetAttempt()), event.Retrying.GetError()
		out.Reason = reasons[event.Retrying.GetReason()]
	case *tasksv1.TaskUpdate_Waiting:
		if why := event.Waiting.GetReason(); why != "" {
			out.Kind, out.Payload = KindWaiting, []byte(why)
		}
	case *tasksv1.TaskUpdate_Next:
		out.Kind, out.Next = KindFollowed, ID(event.Next)
	case *tasksv1.TaskUpdate_Result:
		out.Kind, out.Payload = KindDone, event.Result
	case *tasksv1.TaskUpdate_Failed:
		out.Kind, out.Payload = KindFailed, event.Failed.GetError()
		if out.Reason = reasons[event.Failed.GetReason()]; out.Reason == ErrCancelled {
			out.Kind, out.Reason = KindCancelled, nil
		}
	}
	return out
}

// outcome converts the last update of a task into its result or error.
func (u *Update) outcome(function string) ([]byte, error) {
	switch u.Kind {
	case KindDone:
		return u.Payload, nil
	case KindCancelled:
		return nil, &Error{ID: u.Task, Function: function, Reason: ErrCancelled, Message: string(u.Payload)}
	}
	return nil, &Error{ID: u.Task, Function: function, Reason: u.Reason, Message: string(u.Payload)}
}

// refusal returns the error of a refused task, or nil.
func refusal(function string, a *tasksv1.Accepted) error {
	switch {
	case a.GetRefused() == "":
		return nil
	case a.GetFull():
		return fmt.Errorf("task %s was refused: %w: %s", function, ErrFull, a.GetRefused())
	}
	return fmt.Errorf("task %s was refused: %w: %s", function, ErrInvalid, a.GetRefused())
}

const (
	// pieceSize is the number of bytes of a large body sent in each message ahead of its own.
	pieceSize = 1 << 20
	// A message has at most maxBatch tasks, and bodies of about batchBytes.
	maxBatch   = 500
	batchBytes = 256 << 10
)

// sendTasks sends tasks in as many messages as necessary.
func sendTasks(stream grpc.BidiStreamingClient[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse], specs []*tasksv1.TaskSpec) error {
	for len(specs) > 0 {
		n, size := 0, 0
		for n < len(specs) && n < maxBatch && (n == 0 || size+len(specs[n].Input) <= batchBytes) {
			size += len(specs[n].Input)
			n++
		}
		for first := specs[0]; len(first.Input) > pieceSize; first.Input = first.Input[pieceSize:] {
			if err := stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Piece{Piece: first.Input[:pieceSize]}}); err != nil {
				return err
			}
		}
		batch := &tasksv1.TaskBatch{Tasks: specs[:n], Abbreviated: true}
		if err := stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: batch}}); err != nil {
			return err
		}
		specs = specs[n:]
	}
	return nil
}

// updates is a message with updates.
type updates interface {
	GetUpdates() []*tasksv1.TaskUpdate
	GetPiece() []byte
}

// receive returns the next updates with complete bodies.
func receive[M updates](recv func() (M, error)) ([]*tasksv1.TaskUpdate, error) {
	var body []byte
	for {
		m, err := recv()
		if err != nil {
			return nil, err
		}
		if len(m.GetPiece()) > 0 {
			body = append(body, m.GetPiece()...)
			continue
		}
		if all := m.GetUpdates(); len(body) > 0 && len(all) > 0 {
			prefix(all[0], body)
		}
		return m.GetUpdates(), nil
	}
}

// prefix inserts body before the body of u.
func prefix(u *tasksv1.TaskUpdate, body []byte) {
	switch event := u.GetEvent().(type) {
	case *tasksv1.TaskUpdate_Data:
		event.Data = append(body, event.Data...)
	case *tasksv1.TaskUpdate_Warning:
		event.Warning = append(body, event.Warning...)
	case *tasksv1.TaskUpdate_Retrying:
		event.Retrying.Error = append(body, event.Retrying.GetError()...)
	case *tasksv1.TaskUpdate_Result:
		event.Result = append(body, event.Result...)
	case *tasksv1.TaskUpdate_Failed:
		event.Failed.Error = append(body, event.Failed.GetError()...)
	}
}
