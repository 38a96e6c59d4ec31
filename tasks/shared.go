package tasks

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

type taskStream = grpc.BidiStreamingClient[layshaftv1.CallTasksRequest, layshaftv1.CallTasksResponse]

// sharedStreams is a stream shared by all callers of a client that wait for the end of one task and
// need no other updates. A stream per caller would cost more than everything else.
type sharedStreams struct {
	open   func(ctx context.Context, options *layshaftv1.CallTasksOptions) (taskStream, error)
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
	stream, err := s.open(within, &layshaftv1.CallTasksOptions{OnlyEnds: true})
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	now := &sharedStream{stream: stream, waiting: map[int64]*sharedCall{}}
	s.mu.Lock()
	s.stream = now
	s.mu.Unlock()
	s.family.Go(func() {
		defer cancel()
		now.receive()
	})
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

	// mu guards the fields below.
	mu       sync.Mutex
	tasks    []*layshaftv1.TaskSpec         // to be sent, in the order of their indexes
	messages []*layshaftv1.CallTasksRequest // to be sent after tasks
	sending  bool                           // a goroutine is sending
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
	// end receives the end of the task. It is closed if the stream ends first.
	end chan *layshaftv1.TaskUpdate
	// why is the last reason why the task did not start. sharedStream.mu guards it.
	why string
}

// submit submits a task and returns its index.
func (c *sharedStream) submit(spec *layshaftv1.TaskSpec, call *sharedCall) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	i := c.next
	c.next++
	c.waiting[i] = call
	c.tasks = append(c.tasks, spec)
	c.send()
	return i, nil
}

// leave stops waiting for a task. The task then ends, unless another client waits for it. leave
// returns why it has not started, if known.
func (c *sharedStream) leave(i int64) (why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[i] == nil || c.err != nil {
		return ""
	}
	why = c.waiting[i].why
	delete(c.waiting, i)
	c.messages = append(c.messages, &layshaftv1.CallTasksRequest{Body: &layshaftv1.CallTasksRequest_Leave{Leave: &layshaftv1.TaskIndexes{Indexes: []int64{i}}}})
	c.send()
	return why
}

// send sends everything waiting to be sent, unless another goroutine is sending: that goroutine
// then sends this too. It is called with mu held, and unlocks mu while it sends.
func (c *sharedStream) send() {
	if c.sending {
		return
	}
	c.sending = true
	var tasks []*layshaftv1.TaskSpec
	var says []*layshaftv1.CallTasksRequest
	for len(c.tasks)+len(c.messages) > 0 && c.err == nil {
		tasks, c.tasks = c.tasks, tasks[:0]
		says, c.messages = c.messages, says[:0]
		c.mu.Unlock()
		err := sendTasks(c.stream, tasks) // the receiver gets the cause of a broken stream
		for _, say := range says {
			if err == nil {
				err = c.stream.Send(say)
			}
		}
		clear(tasks)
		c.mu.Lock()
		if err != nil {
			break
		}
	}
	c.sending = false
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
				call.why = w.GetReason()
			}
			if isLastUpdate(u) {
				call.end <- u
				delete(c.waiting, u.GetIndex())
			}
		}
		c.mu.Unlock()
	}
}

// isLastUpdate reports whether no further update follows u.
func isLastUpdate(u *layshaftv1.TaskUpdate) bool {
	switch event := u.GetEvent().(type) {
	case *layshaftv1.TaskUpdate_Result, *layshaftv1.TaskUpdate_Failed:
		return true
	case *layshaftv1.TaskUpdate_Accepted:
		return event.Accepted.GetRefused() != ""
	}
	return false
}
