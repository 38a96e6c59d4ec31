package tasks

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/awake"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

type taskStream = grpc.BidiStreamingClient[tasksv1.CallTasksRequest, tasksv1.CallTasksResponse]

// sharedStreams is a stream shared by all callers of a client that wait for the end of one task and
// need no other updates, or for the acceptance of one background task. A stream or an RPC per
// caller would cost more than everything else.
type sharedStreams struct {
	open   func(ctx context.Context, options *tasksv1.CallTasksOptions) (taskStream, error)
	turn   chan struct{} // held while opening a stream
	family sync.WaitGroup

	// mu guards the field below.
	mu     sync.Mutex
	stream *sharedStream
}

// get returns the stream and opens one if necessary.
func (s *sharedStreams) get(ctx context.Context) (*sharedStream, error) {
	if now := s.current(); now != nil {
		return now, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if now := s.current(); now != nil {
		return now, nil
	}
	within, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	stream, err := s.open(within, &tasksv1.CallTasksOptions{OnlyEnds: true})
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	now := &sharedStream{stream: stream, work: make(chan struct{}, 1), waiting: map[int64]*sharedCall{}}
	s.mu.Lock()
	s.stream = now
	s.mu.Unlock()
	s.family.Go(func() {
		defer cancel()
		now.receive()
	})
	s.family.Go(func() { now.send(within) })
	return now, nil
}

// current returns the stream, or nil if it has ended.
func (s *sharedStreams) current() *sharedStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil && s.stream.hasEnded() {
		s.stream = nil
	}
	return s.stream
}

// wait blocks until all streams have ended. The connection must be closed.
func (s *sharedStreams) wait() { s.family.Wait() }

// sharedStream is a stream shared by many callers.
type sharedStream struct {
	stream taskStream
	work   chan struct{} // has a value when there is something to send
	// isSending is set while send passes messages to the stream, which may be full.
	isSending atomic.Bool

	// mu guards the fields below.
	mu       sync.Mutex
	tasks    []*tasksv1.TaskSpec         // to be sent, in the order of their indexes
	messages []*tasksv1.CallTasksRequest // to be sent after tasks
	next     int64
	waiting  map[int64]*sharedCall // by index
	err      error                 // cause of the stream's end
}

func (c *sharedStream) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// sharedCall is one caller of a shared stream.
type sharedCall struct {
	// end receives the end of the task, or the acceptance of a background task. It is closed if the
	// stream ends first.
	end        chan *tasksv1.TaskUpdate
	background bool
	// reason explains why the task did not start. explained is closed when the coordinator has
	// answered a question for it; nil if there was none. sharedStream.mu guards both.
	reason    string
	explained chan struct{}
}

// submit submits a task and returns its index.
func (c *sharedStream) submit(spec *tasksv1.TaskSpec, call *sharedCall) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	i := c.next
	c.next++
	c.waiting[i] = call
	c.tasks = append(c.tasks, spec)
	c.signal()
	return i, nil
}

// explainWithin limits the time in which the coordinator answers why a task has not started, after
// the deadline of its caller.
const explainWithin = 100 * time.Millisecond

// explain asks why a task has not started, if that is not known, and waits for the answer. It does
// not wait for a stream that is full.
func (c *sharedStream) explain(i int64) {
	c.mu.Lock()
	call := c.waiting[i]
	if call == nil || c.err != nil || call.reason != "" || c.isSending.Load() {
		c.mu.Unlock()
		return
	}
	explained := make(chan struct{})
	call.explained = explained
	c.messages = append(c.messages, &tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Explain{Explain: &tasksv1.TaskIndexes{Indexes: []int64{i}}}})
	c.signal()
	c.mu.Unlock()
	late, stop := awake.After(explainWithin)
	defer stop()
	select {
	case <-explained:
	case <-call.end: // too late for the result
	case <-late:
	}
}

// leave stops waiting for a task. A foreground task then ends, unless another client waits for it.
// leave returns why it has not started, if known.
func (c *sharedStream) leave(i int64) (why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[i] == nil || c.err != nil {
		return ""
	}
	call := c.waiting[i]
	delete(c.waiting, i)
	if !call.background {
		c.messages = append(c.messages, &tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Leave{Leave: &tasksv1.TaskIndexes{Indexes: []int64{i}}}})
		c.signal()
	}
	return call.reason
}

// signal wakes send.
func (c *sharedStream) signal() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// send sends everything that waits to be sent, until ctx ends or the stream breaks. Callers do not
// send themselves, so that a full stream holds up none beyond its deadline.
func (c *sharedStream) send(ctx context.Context) {
	var tasks []*tasksv1.TaskSpec
	var says []*tasksv1.CallTasksRequest
	for {
		select {
		case <-c.work:
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // callers that were answered together also submit together
		c.mu.Lock()
		tasks, c.tasks = c.tasks, tasks[:0]
		says, c.messages = c.messages, says[:0]
		c.mu.Unlock()
		c.isSending.Store(true)
		err := sendTasks(c.stream, tasks)
		for _, say := range says {
			if err == nil {
				err = c.stream.Send(say)
			}
		}
		if err != nil {
			return // the receiver gets the cause
		}
		c.isSending.Store(false)
		clear(tasks)
		clear(says)
	}
}

// receive passes ends to the callers until the stream breaks.
func (c *sharedStream) receive() {
	for {
		all, err := receive(c.stream.Recv)
		c.mu.Lock()
		if err != nil {
			c.err = err
			for _, call := range c.waiting {
				close(call.end)
			}
			c.waiting = nil
			c.mu.Unlock()
			return
		}
		for _, u := range all {
			call := c.waiting[u.GetIndex()]
			if call == nil {
				continue
			}
			if w := u.GetWaiting(); w != nil {
				if call.reason = w.GetReason(); call.explained != nil {
					close(call.explained)
					call.explained = nil
				}
			}
			if isLastUpdate(u) || call.background && u.GetAccepted() != nil {
				call.end <- u
				delete(c.waiting, u.GetIndex())
			}
		}
		c.mu.Unlock()
	}
}

// isLastUpdate reports whether no further update follows u.
func isLastUpdate(u *tasksv1.TaskUpdate) bool {
	switch event := u.GetEvent().(type) {
	case *tasksv1.TaskUpdate_Result, *tasksv1.TaskUpdate_Failed:
		return true
	case *tasksv1.TaskUpdate_Accepted:
		return event.Accepted.GetRefused() != ""
	}
	return false
}

// submitOne submits a background task on the shared stream for such tasks, and returns the answer.
// Its token lets it repeat a submit without an answer.
func (c *Client) submitOne(ctx context.Context, spec *tasksv1.TaskSpec) (accepted *tasksv1.Accepted, err error) {
	spec.Background = true
	err = c.retry(ctx, func(ctx context.Context) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		stream, err := c.background.get(ctx)
		if err != nil {
			return err
		}
		call := &sharedCall{end: make(chan *tasksv1.TaskUpdate, 1), background: true}
		i, err := stream.submit(spec, call)
		if err != nil {
			return err
		}
		late, stop := awake.After(rpcTimeout)
		defer stop()
		select {
		case u, ok := <-call.end:
			if ok {
				accepted = u.GetAccepted()
				return nil
			}
			spec = proto.CloneOf(spec) // the stream may still use the message
			spec.Resubmitted = true
			return stream.err
		case <-late:
			stream.leave(i)
			return status.FromContextError(context.DeadlineExceeded).Err()
		case <-ctx.Done():
			stream.leave(i)
			return context.Cause(ctx)
		}
	})
	return accepted, err
}
