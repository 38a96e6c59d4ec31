package simulation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/anishathalye/porcupine"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// client makes requests, one after another, and repeats each until it has an answer.
type client struct {
	c    *cluster
	n    int
	rng  *rand.Rand
	to   string
	seen []task // tasks of accepted submits
	ops  []porcupine.Operation
}

// task is an accepted task.
type task struct {
	unique string
	id     uint64
}

func newClient(c *cluster, n int, seed uint64) *client {
	return &client{c: c, n: n, rng: rand.New(rand.NewPCG(seed, 200+uint64(n))), to: c.peers[n%len(c.peers)]}
}

// uniques is the number of unique keys.
const uniques = 3

// run makes requests until ctx ends or it has made all.
func (k *client) run(ctx context.Context, requests int) {
	for i := 0; i < requests && ctx.Err() == nil; i++ {
		if sleep(ctx, time.Duration(k.rng.Int64N(int64(400*time.Millisecond)))) != nil {
			return
		}
		unique := fmt.Sprintf("u%d", k.rng.IntN(uniques))
		choice := k.rng.IntN(20)
		switch {
		case choice < 5:
			k.call(ctx, unique)
		case choice < 11 || len(k.seen) == 0:
			k.enqueue(ctx, unique)
		case choice < 16:
			k.status(ctx, k.seen[k.rng.IntN(len(k.seen))])
		case choice < 18:
			k.wait(ctx, k.seen[k.rng.IntN(len(k.seen))])
		default:
			k.cancel(ctx, k.seen[len(k.seen)-1])
		}
	}
}

// forever is the end of a request without an answer.
const forever = math.MaxInt64

// begin notes a request. The returned function notes its answer.
func (k *client) begin(in input) (end func(out output)) {
	h := k.c.log
	h.note("c%d: %v", k.n, in)
	at := len(k.ops)
	k.ops = append(k.ops, porcupine.Operation{ClientId: k.n, Input: in, Call: int64(time.Since(h.begin)), Output: output{lost: true}, Return: forever})
	return func(out output) {
		k.ops[at].Output, k.ops[at].Return = out, int64(time.Since(h.begin))
		h.note("c%d: %v: %v", k.n, in, out)
	}
}

// try repeats a request until it has an answer. repeated means that an earlier try may have had an
// effect. It returns the number of such tries, and an error of the request itself, or ctx.
func try[T any](ctx context.Context, k *client, request func(ctx context.Context, s *server, repeated bool) (T, error)) (answer T, lost int, err error) {
	for {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		repeated := lost > 0
		answer, err = call(limited, k.c, k.rng, k.to, func(ctx context.Context, s *server) (T, error) { return request(ctx, s, repeated) })
		cancel()
		if err == nil {
			return answer, lost, nil
		}
		if isLost(err) {
			lost++
		}
		if !k.again(ctx, err) {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return answer, lost, err
		}
	}
}

// isLost reports whether a request without an answer may have had an effect.
func isLost(err error) bool {
	return errors.Is(err, errConnection) || errors.Is(err, wire.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// again prepares another try after an error: it chooses the member, and waits. It returns false if
// the error is the answer, or if ctx has ended.
func (k *client) again(ctx context.Context, err error) bool {
	var elsewhere errElsewhere
	switch {
	case ctx.Err() != nil:
		return false
	case errors.As(err, &elsewhere):
		k.to = elsewhere.leader
	case isLost(err):
		k.to = ""
	case status.Code(wire.ToStatus(err)) == codes.ResourceExhausted: // refused
	default:
		return false
	}
	if k.to == "" {
		k.to = k.c.peers[k.rng.IntN(len(k.c.peers))]
	}
	return sleep(ctx, 20*time.Millisecond+time.Duration(k.rng.Int64N(int64(200*time.Millisecond)))) == nil
}

func (k *client) enqueue(ctx context.Context, unique string) {
	token := k.rng.Uint64() | 1
	in := input{op: opEnqueue, unique: unique, text: fmt.Sprintf("%s/%d.%d", unique, k.n, len(k.ops))}
	end := k.begin(in)
	a, lost, err := try(ctx, k, func(ctx context.Context, s *server, repeated bool) (*tasksv1.Accepted, error) {
		out, err := s.tasks.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: "f", Input: []byte(in.text), Unique: unique, Token: token, Resubmitted: repeated,
			Policy: &tasksv1.TaskPolicy{Attempts: 65535, KeepNanos: int64(time.Hour)}}}})
		if err != nil {
			return nil, err
		}
		a := out.GetAccepted()[0]
		if a.GetRefused() != "" {
			return nil, status.Error(codes.ResourceExhausted, a.GetRefused())
		}
		return a, nil
	})
	if err != nil {
		k.unexpected(ctx, in, err)
		return
	}
	end(output{id: a.GetTask(), joined: a.GetJoined(), repeated: lost > 0})
	k.seen = append(k.seen, task{unique, a.GetTask()})
}

func (k *client) unexpected(ctx context.Context, in input, err error) {
	if ctx.Err() == nil {
		k.c.problem("c%d: %v: %v", k.n, in, err)
	}
}

func (k *client) status(ctx context.Context, t task) {
	in := input{op: opStatus, unique: t.unique, id: t.id}
	end := k.begin(in)
	info, _, err := try(ctx, k, func(ctx context.Context, s *server, _ bool) (*tasksv1.TaskInfo, error) {
		out, err := s.tasks.GetTask(ctx, &tasksv1.GetTaskRequest{Name: &tasksv1.TaskName{Task: t.id}, Bodies: true})
		return out.GetTask(), s.verify(err)
	})
	switch {
	case status.Code(err) == codes.NotFound:
		end(output{state: stateUnknown})
	case err != nil:
		k.unexpected(ctx, in, err)
	default:
		end(output{state: stateOf(info), text: string(info.GetResult())})
	}
}

func (k *client) cancel(ctx context.Context, t task) {
	in := input{op: opCancel, unique: t.unique, id: t.id}
	end := k.begin(in)
	done, lost, err := try(ctx, k, func(ctx context.Context, s *server, _ bool) (bool, error) {
		out, err := s.tasks.CancelTasks(ctx, &tasksv1.CancelTasksRequest{Tasks: []uint64{t.id}})
		return len(out.GetTasks()) > 0, err
	})
	if err != nil {
		k.unexpected(ctx, in, err)
		return
	}
	end(output{done: done, repeated: lost > 0})
}

func stateOf(info *tasksv1.TaskInfo) phase {
	switch info.GetState() {
	case tasksv1.TaskState_TASK_STATE_DONE:
		return stateDone
	case tasksv1.TaskState_TASK_STATE_CANCELLED:
		return stateCancelled
	case tasksv1.TaskState_TASK_STATE_FAILED:
		return stateFailed
	}
	return stateLive
}
