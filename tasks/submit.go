package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/spans"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// openStream opens a stream for tasks and the waits for their ends.
func (c *Client) openStream(ctx context.Context, options *tasksv1.CallTasksOptions) (taskStream, error) {
	options.Protocol = wire.Protocol
	stream, err := c.rpc.CallTasks(ctx)
	if err == nil {
		err = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Options{Options: options}})
	}
	if errors.Is(err, io.EOF) { // the cause is in the stream
		_, err = stream.Recv()
	}
	return stream, err
}

// withDeadline returns a context that ends with the deadline of s.
func (s *spec) withDeadline(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	if s.deadline == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.deadline, fmt.Errorf("%s: its Deadline of %v has passed: %w", what, s.deadline, context.DeadlineExceeded))
}

// do runs a task and returns the payload of its result.
func (c *Client) do(ctx context.Context, function string, input []byte, s *spec) (out []byte, err error) {
	ctx, cancel := s.withDeadline(ctx, "task "+function)
	defer cancel()
	s.setParent(ctx)
	if t := spans.Of(ctx); t != nil {
		var end func(error)
		s.trace, end = t.Call(ctx, "do", function)
		defer func() { end(err) }()
	}
	if s.update != nil || s.joined != nil {
		s.collect(ctx, c, function, [][]byte{input}, func(_ int, u Update, failed error) bool {
			out, err = u.Payload, failed
			return false
		})
		return out, err
	}
	err = c.retry(ctx, func(ctx context.Context) error {
		stream, err := c.shared.get(ctx)
		if err != nil {
			return err
		}
		call := &sharedCall{end: make(chan *tasksv1.TaskUpdate, 1)}
		i, err := stream.submit(s.proto(function, input), call)
		if err != nil {
			return err
		}
		select {
		case u, ok := <-call.end:
			if !ok {
				return stream.err
			}
			if err := refusal(function, u.GetAccepted()); err != nil {
				return err
			}
			last := updateOf(u)
			out, err = last.outcome(function)
			return err
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				stream.explain(i)
			}
			return notStarted(context.Cause(ctx), function, stream.leave(i))
		}
	})
	return out, err
}

// notStarted adds to the error of a caller that stopped waiting why the task has not started.
func notStarted(err error, function, why string) error {
	if err == nil || why == "" {
		return err
	}
	return fmt.Errorf("%w; task %s has not started: %s", err, plain.Text(function), why)
}

// setParent sets the task whose handler has ctx, unless CalledBy has set it. In a batch it is the
// first task that is still needed.
func (s *spec) setParent(ctx context.Context) {
	if s.parent != 0 {
		return
	}
	if b, ok := ctx.Value(batchKey{}).(*batchItems); ok {
		i := max(0, slices.IndexFunc(b.items, func(item context.Context) bool { return item.Err() == nil }))
		ctx = b.items[i]
	}
	if c, err := attemptFrom(ctx, "TaskID"); err == nil {
		if s.parent = c.task; c.batch != nil {
			c.batch.announce()
		}
	}
}

// window limits the inputs of one Scatter in progress.
const window = 16 << 10

var errStop = errors.New("enough")

// collect runs one task per input on its own stream, and passes each end to yield until yield
// returns false. Earlier updates go to s.update. When ctx ends or the coordinator cannot be
// reached, the tasks without an end get this error.
func (s *spec) collect(ctx context.Context, c *Client, function string, inputs [][]byte, yield func(i int, u Update, err error) bool) {
	s.setParent(ctx)
	// indexes of inputs without an end, otherwise -1
	todo := make([]int, len(inputs))
	for i := range todo {
		todo[i] = i
		if err := checkInput(function, inputs[i]); err != nil {
			if todo[i] = -1; !yield(i, Update{}, err) {
				return
			}
		}
	}
	// open: this round has reached the coordinator. lost: an earlier round had, and broke.
	open, lost := false, false
	why := ""
	begun := func() {
		if open = true; lost && s.update != nil {
			for _, i := range todo {
				s.update(Update{Index: i, Kind: KindRetry, N: 1, Reason: ErrLost})
			}
		}
		lost = false
	}
	err := c.retry(ctx, func(ctx context.Context) error {
		todo = unfinished(todo)
		open, lost = false, lost || open
		return s.round(ctx, c, function, inputs, todo, begun, &why, yield)
	})
	if errors.Is(err, errStop) {
		return
	}
	err = notStarted(err, function, why)
	for _, i := range unfinished(todo) {
		if !yield(i, Update{}, err) {
			return
		}
	}
}

// unfinished returns the indexes of todo that are not done.
func unfinished(todo []int) []int {
	var left []int
	for _, i := range todo {
		if i >= 0 {
			left = append(left, i)
		}
	}
	return left
}

// round is one attempt of collect at the inputs of todo. It calls begun when it has reached the
// coordinator, and sets why to the last reason why a task did not start.
func (s *spec) round(ctx context.Context, c *Client, function string, inputs [][]byte, todo []int, begun func(), why *string, yield func(i int, u Update, err error) bool) error {
	// After a deadline, the stream lives on for the answer why tasks have not started.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if ctx.Err() != context.DeadlineExceeded {
			cancel()
			return
		}
		late, stop := awake.After(explainWithin)
		defer stop()
		select {
		case <-late:
			cancel()
		case <-streamCtx.Done():
		}
	})()
	stream, err := c.openStream(streamCtx, &tasksv1.CallTasksOptions{OnlyEnds: s.update == nil})
	if err != nil {
		return err
	}
	begun()
	places := make(chan struct{}, window)
	if len(todo) <= window {
		places = nil
	}
	order := slices.Clone(todo)
	sender.Go(func() {
		s.send(ctx, stream, function, inputs, order, places)
		select {
		case <-ctx.Done():
			_ = stream.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Explain{Explain: &tasksv1.TaskIndexes{}}})
		case <-streamCtx.Done():
		}
	})
	for left := len(todo); left > 0; {
		all, err := receive(stream.Recv)
		if err != nil {
			return err
		}
		c.reached.Store(true)
		for _, p := range all {
			if w := p.GetWaiting(); w != nil && ctx.Err() != nil {
				*why = cmp.Or(w.GetReason(), *why)
				return context.Cause(ctx)
			}
			at := p.GetIndex()
			if at < 0 || at >= int64(len(todo)) || todo[at] < 0 {
				continue
			}
			if a := p.GetAccepted(); a != nil && s.joined != nil {
				*s.joined = a.GetJoined()
			}
			u := updateOf(p)
			if w := p.GetWaiting(); w != nil {
				if w.GetReason() == *why { // of another input
					continue
				}
				*why = w.GetReason()
			}
			if u.Index = todo[at]; s.update != nil && u.Kind != 0 {
				s.update(u)
			}
			if !isLastUpdate(p) {
				continue
			}
			i := todo[at]
			todo[at] = -1
			left--
			if places != nil {
				<-places
			}
			err := refusal(function, p.GetAccepted())
			if err == nil {
				_, err = u.outcome(function)
			}
			if !yield(i, u, err) {
				return errStop
			}
		}
	}
	return nil
}

// send sends the inputs of order while there are places; nil places mean no limit. The receiver
// notices a broken stream.
func (s *spec) send(ctx context.Context, stream taskStream, function string, inputs [][]byte, order []int, places chan struct{}) {
	var specs []*tasksv1.TaskSpec
	size := 0
	flush := func() bool {
		err := sendTasks(stream, specs)
		specs, size = specs[:0], 0
		return err == nil
	}
	for n, i := range order {
		if places != nil {
			select {
			case places <- struct{}{}:
			default:
				if !flush() {
					return
				}
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}
		if len(specs) > 0 && size+len(inputs[i]) > batchBytes && !flush() {
			return
		}
		if len(specs) == 0 { // the other tasks of a message have the same properties
			specs = append(specs, s.proto(function, inputs[i]))
		} else {
			specs = append(specs, &tasksv1.TaskSpec{Input: inputs[i]})
		}
		if size += len(inputs[i]); len(specs) == maxBatch || n == len(order)-1 {
			if !flush() {
				return
			}
		}
	}
}

// attach waits for the end of a task submitted earlier.
func (c *Client) attach(ctx context.Context, to taskName, s *spec) (out []byte, err error) {
	ctx, cancel := s.withDeadline(ctx, to.String())
	defer cancel()
	s.setParent(ctx)
	var seen follower
	why := ""
	defer func() {
		if ctx.Err() == context.DeadlineExceeded && why == "" {
			why = c.waitReason(ctx, to)
		}
		if ctx.Err() != nil {
			err = notStarted(err, to.function, why)
		}
	}()
	err = c.retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.WaitTask(ctx, &tasksv1.WaitTaskRequest{Name: to.proto(), OnlyEnds: s.update == nil, Parent: uint64(s.parent)})
		if err != nil {
			return err
		}
		for {
			all, err := receive(stream.Recv)
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("%s: %w: the coordinator closed the stream before the end of the task", to, ErrUnavailable)
			}
			if err != nil {
				return to.wrapUnknown(err)
			}
			for _, p := range all {
				u := updateOf(p)
				if w := p.GetWaiting(); w != nil {
					why = w.GetReason()
				}
				if s.update != nil {
					seen.forward(p, u, s.update)
				}
				// continue with the follower after a broken connection
				if u.Kind == KindFollowed {
					to = taskName{id: u.Next}
				}
				if u.Kind.isLast() {
					out, err = u.outcome(to.function)
					return err
				}
			}
		}
	})
	return out, err
}

// waitReason returns why a task does not run, or "" if it runs, has ended, or there is no answer in
// time. It does not end with ctx.
func (c *Client) waitReason(ctx context.Context, name taskName) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainWithin)
	defer cancel()
	out, err := c.rpc.GetTask(ctx, &tasksv1.GetTaskRequest{Name: name.proto()})
	if err != nil {
		return "" // the caller's error is the one that counts
	}
	return out.GetTask().GetWaitingReason()
}

// follower has what the caller of attach has received so far, over all connections.
type follower struct {
	epoch   uint64 // coordinator's epoch
	attempt int64  // attempt of the latest updates
	// gotPartial: partial results of this attempt were received.
	gotPartial bool
	// retryReported: a retry was reported that the coordinator may report again.
	retryReported bool
}

// forward passes an update to the caller. If a new connection finds another attempt after partial
// results were received, these will be repeated. hear then reports a retry, unless the coordinator
// does.
func (f *follower) forward(p *tasksv1.TaskUpdate, u Update, to func(Update)) {
	if a := p.GetAccepted(); a != nil {
		if f.gotPartial && (a.GetEpoch() != f.epoch || a.GetAttempt() != f.attempt) {
			f.gotPartial, f.retryReported = false, true
			to(Update{Task: u.Task, Kind: KindRetry, N: uint64(a.GetAttempt()), Reason: ErrLost})
		}
		f.epoch, f.attempt = a.GetEpoch(), a.GetAttempt()
		return
	}
	switch u.Kind {
	case 0:
		return
	case KindData:
		f.gotPartial, f.retryReported = true, false
	case KindFollowed:
		f.attempt, f.gotPartial = 1, false
	case KindRetry:
		reported := f.retryReported
		f.attempt, f.gotPartial, f.retryReported = int64(u.N), false, false
		if reported {
			return
		}
	}
	to(u)
}

// submit submits background tasks and returns their IDs, zero for refused tasks. It reports in
// joined, unless it is nil, whether the last task joined another.
func (c *Client) submit(ctx context.Context, joined *bool, specs iter.Seq[*tasksv1.TaskSpec]) ([]ID, error) {
	var ids []ID
	var refused error
	var batch []*tasksv1.TaskSpec
	size := 0
	flush := func() error {
		accepted, err := c.submitBatch(ctx, batch, size)
		if err != nil {
			return err
		}
		for k, a := range accepted {
			ids = append(ids, ID(a.GetTask()))
			if joined != nil {
				*joined = a.GetJoined()
			}
			if refused == nil && k < len(batch) {
				refused = refusal(batch[k].GetFunction(), a)
			}
		}
		batch, size = batch[:0], 0
		return nil
	}
	for spec := range specs {
		if len(batch) > 0 && (len(batch) == maxBackground || size+len(spec.Input) > pieceSize) {
			if err := flush(); err != nil {
				return ids, err
			}
		}
		batch, size = append(batch, spec), size+len(spec.Input)
	}
	if len(batch) > 0 {
		if err := flush(); err != nil {
			return ids, err
		}
	}
	return ids, refused
}

// maxBackground limits the background tasks in one message.
const maxBackground = 5000

// submitBatch submits one message of tasks. A body too large for the message is sent in pieces.
// Tokens let it repeat a submit without an answer.
func (c *Client) submitBatch(ctx context.Context, specs []*tasksv1.TaskSpec, size int) ([]*tasksv1.Accepted, error) {
	for _, s := range specs {
		if s.Token == 0 { // see Once
			s.Token = rand.Uint64()
		}
	}
	if len(specs) == 1 && size <= batchBytes {
		accepted, err := c.submitOne(ctx, specs[0])
		return []*tasksv1.Accepted{accepted}, err
	}
	markRepeated := func() {
		for _, s := range specs {
			s.Resubmitted = true
		}
	}
	if size <= pieceSize {
		submit := func(ctx context.Context, r *tasksv1.SubmitTasksRequest, options ...grpc.CallOption) (*tasksv1.SubmitTasksResponse, error) {
			defer markRepeated()
			return c.rpc.SubmitTasks(ctx, r, options...)
		}
		out, err := ask(ctx, c, submit, &tasksv1.SubmitTasksRequest{Tasks: specs})
		return out.GetAccepted(), err
	}
	spec, input := specs[0], specs[0].Input // a large body has its own batch
	spec.Background = true
	var accepted *tasksv1.Accepted
	err := c.retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.CallTasks(ctx)
		if err != nil {
			return err
		}
		defer markRepeated()
		spec.Input = input
		if err := sendTasks(stream, specs); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for accepted = nil; accepted == nil; {
			all, err := receive(stream.Recv)
			if err != nil {
				return err
			}
			for _, u := range all {
				accepted = u.GetAccepted()
			}
		}
		return nil
	})
	return []*tasksv1.Accepted{accepted}, err
}

// enqueue submits one task.
func (c *Client) enqueue(ctx context.Context, function string, in any, s *spec) (ID, error) {
	ids, err := enqueueAll(ctx, c, function, []any{in}, s)
	if len(ids) == 0 {
		return 0, err
	}
	return ids[0], err
}

// enqueueAll submits tasks with the same options.
func enqueueAll[In any](ctx context.Context, c *Client, function string, inputs []In, s *spec) (ids []ID, err error) {
	if t := spans.Of(ctx); t != nil {
		var end func(error)
		s.trace, end = t.Call(ctx, "enqueue", function)
		defer func() { end(err) }()
	}
	var wrong error
	var left []int // inputs that are too large
	ids, err = c.submit(ctx, s.joined, func(yield func(*tasksv1.TaskSpec) bool) {
		for i, in := range inputs {
			input, err := encode(in)
			if err != nil {
				wrong = fmt.Errorf("input %d of %s: %w", i, function, err)
				return
			}
			if err := checkInput(function, input); err != nil {
				left, wrong = append(left, i), cmp.Or(wrong, fmt.Errorf("input %d: %w", i, err))
				continue
			}
			if !yield(s.proto(function, input)) {
				return
			}
		}
	})
	for _, i := range left {
		if i <= len(ids) {
			ids = slices.Insert(ids, i, 0)
		}
	}
	return ids, errors.Join(wrong, err)
}

func (c *Client) openGroup(ctx context.Context, s *spec) (ID, error) {
	group := &tasksv1.TaskGroup{Then: protoNext(s.then, s.keep), Partial: s.partial}
	if s.lossy {
		group.Durability = tasksv1.Durability_DURABILITY_MEMORY
	}
	open := func(ctx context.Context, r *tasksv1.OpenGroupRequest, options ...grpc.CallOption) (*tasksv1.OpenGroupResponse, error) {
		defer func() { r.Resubmitted = true }()
		return c.rpc.OpenGroup(ctx, r, options...)
	}
	out, err := ask(ctx, c, open, &tasksv1.OpenGroupRequest{Group: group, Token: rand.Uint64()})
	return ID(out.GetGroup()), err
}

func (c *Client) closeGroup(ctx context.Context, id ID) error {
	_, err := ask(ctx, c, c.rpc.CloseGroup, &tasksv1.CloseGroupRequest{Group: uint64(id)})
	return err
}
