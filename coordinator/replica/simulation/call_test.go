package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// A caller waits for the end of a task, over changes of the leader. A foreground call begins the
// task, or joins it by its unique key. It is two operations of the model: the task lives, and the
// task has ended. Both lie between request and answer, so an answer from before is no answer.

// streamEnd is the server's end of a stream that a caller reads.
type streamEnd[T any] struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan *tasksv1.CallTasksRequest
	got  chan *T
}

func newStreamEnd[T any](ctx context.Context) *streamEnd[T] {
	return &streamEnd[T]{ctx: ctx, sent: make(chan *tasksv1.CallTasksRequest, 4), got: make(chan *T, 64)}
}

func (s *streamEnd[T]) Context() context.Context { return s.ctx }

func (s *streamEnd[T]) Recv() (*tasksv1.CallTasksRequest, error) {
	select {
	case m := <-s.sent:
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *streamEnd[T]) Send(m *T) error {
	select {
	case s.got <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// outcome is the end of a task as a caller gets it.
type outcome struct {
	id    uint64
	state phase
	text  string
}

// awaitOutcome runs a stream until the task has ended.
func awaitOutcome[T any](ctx context.Context, serve func(s *streamEnd[T]) error, updates func(m *T) []*tasksv1.TaskUpdate, first ...*tasksv1.CallTasksRequest) (outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newStreamEnd[T](ctx)
	for _, m := range first {
		s.sent <- m
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(s) }()
	defer func() {
		cancel()
		ended <- <-ended
	}()
	for {
		var m *T
		select {
		case m = <-s.got:
		case err := <-ended:
			ended <- err
			select {
			case m = <-s.got: // sent before the end
			default:
				if err == nil {
					err = fmt.Errorf("%w: %w", wire.ErrUnavailable, io.EOF)
				}
				return outcome{}, err
			}
		}
		for _, u := range updates(m) {
			out := outcome{id: u.GetTask(), text: string(u.GetResult())}
			switch e := u.GetEvent().(type) {
			case *tasksv1.TaskUpdate_Accepted:
				if e.Accepted.GetRefused() != "" {
					return outcome{}, status.Error(codes.ResourceExhausted, e.Accepted.GetRefused())
				}
				continue
			case *tasksv1.TaskUpdate_Result:
				out.state = stateDone
			case *tasksv1.TaskUpdate_Failed:
				if out.state = stateFailed; e.Failed.GetReason() == tasksv1.TaskReason_TASK_REASON_CANCELLED {
					out.state = stateCancelled
				}
			default:
				continue
			}
			return out, nil
		}
	}
}

// callWait limits one try of a call, as if the connection broke.
const callWait = 20 * time.Second

// call runs a task in the foreground. Each try is a submission of its own.
func (k *client) call(ctx context.Context, unique string) {
	text := fmt.Sprintf("%s/%d.%d", unique, k.n, len(k.ops))
	spec := &tasksv1.TaskSpec{Function: "f", Input: []byte(text), Unique: unique, Policy: &tasksv1.TaskPolicy{Attempts: 65535, KeepNanos: int64(time.Hour)}}
	if k.rng.IntN(3) == 0 {
		spec.Durability = tasksv1.Durability_DURABILITY_DISK
	}
	for ctx.Err() == nil {
		live := k.begin(input{op: opCall, unique: unique, text: text})
		ended := k.begin(input{op: opEnded, unique: unique})
		limited, cancel := context.WithTimeout(ctx, callWait)
		out, err := call(limited, k.c, k.rng, k.to, func(ctx context.Context, s *server) (outcome, error) {
			out, err := awaitOutcome(ctx, func(x *streamEnd[tasksv1.CallTasksResponse]) error { return s.tasks.CallTasks(x) }, (*tasksv1.CallTasksResponse).GetUpdates,
				&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Options{Options: &tasksv1.CallTasksOptions{OnlyEnds: true, Protocol: wire.Protocol}}},
				&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: &tasksv1.TaskBatch{Tasks: []*tasksv1.TaskSpec{spec}}}})
			return out, s.verify(err)
		})
		cancel()
		if err == nil {
			live(output{id: out.id})
			ended(output{id: out.id, state: out.state, text: out.text})
			return
		}
		k.ops = k.ops[:len(k.ops)-1] // nothing is known about an end
		var elsewhere errElsewhere
		if errors.As(err, &elsewhere) {
			k.ops = k.ops[:len(k.ops)-1]
		} else {
			live(output{lost: true})
		}
		if !k.again(ctx, err) {
			k.unexpected(ctx, input{op: opCall, unique: unique, text: text}, err)
			return
		}
	}
}

// wait waits for the end of a task that was enqueued.
func (k *client) wait(ctx context.Context, t task) {
	in := input{op: opEnded, unique: t.unique, id: t.id}
	end := k.begin(in)
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, callWait)
		out, err := call(limited, k.c, k.rng, k.to, func(ctx context.Context, s *server) (outcome, error) {
			out, err := awaitOutcome(ctx, func(x *streamEnd[tasksv1.WaitTaskResponse]) error {
				return s.tasks.WaitTask(&tasksv1.WaitTaskRequest{Name: &tasksv1.TaskName{Task: t.id}, OnlyEnds: true}, x)
			}, (*tasksv1.WaitTaskResponse).GetUpdates)
			return out, s.verify(err)
		})
		cancel()
		if err == nil {
			end(output{id: t.id, state: out.state, text: out.text})
			return
		}
		if !k.again(ctx, err) {
			k.unexpected(ctx, in, err)
			return
		}
	}
}

// verify returns the error of a request that changes nothing, or an error if its answer may be old.
// Package jobserver does so before it answers that something is unknown.
func (s *server) verify(err error) error {
	if err != nil && status.Code(wire.ToStatus(err)) == codes.NotFound || err == nil && s.ending.Load() {
		if verr := s.t.Verify(); verr != nil {
			return verr
		}
	}
	return err
}
