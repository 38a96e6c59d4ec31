package tasks

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

type callsStream = grpc.BidiStreamingClient[layshaftv1.CallTasksRequest, layshaftv1.CallTasksResponse]

// sharedCalls is the one stream that all calls of a client share which want to hear the end of one task and nothing else: a stream of its own
// would cost each more than all the rest.
type sharedCalls struct {
	open   func(ctx context.Context, options *layshaftv1.CallTasksOptions) (callsStream, error)
	turn   chan struct{} // held by whoever opens a stream
	family sync.WaitGroup

	// mu guards the field below.
	mu  sync.Mutex
	now *calls
}

// get returns the stream, a new one if need be.
func (s *sharedCalls) get(ctx context.Context) (*calls, error) {
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
	now := &calls{stream: stream, waiting: map[int64]chan<- *layshaftv1.TaskUpdate{}}
	s.mu.Lock()
	s.now = now
	s.mu.Unlock()
	s.family.Go(func() {
		defer cancel()
		now.receive()
	})
	return now, nil
}

// current returns the stream, unless it has ended.
func (s *sharedCalls) current() *calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil && s.now.over() {
		s.now = nil
	}
	return s.now
}

// wait blocks until no stream is left, after the connection was closed.
func (s *sharedCalls) wait() { s.family.Wait() }

// calls is a stream of many callers.
type calls struct {
	stream callsStream

	// mu guards the fields below.
	mu      sync.Mutex
	tasks   []*layshaftv1.TaskSpec         // to be sent, in the order of their indexes
	says    []*layshaftv1.CallTasksRequest // to be sent after them
	sending bool                           // somebody sends
	next    int64
	waiting map[int64]chan<- *layshaftv1.TaskUpdate // by index; closed when the stream ends
	err     error                                   // why it has ended
}

func (c *calls) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// call hands over a task and returns its index. Its end comes through end, which has room for it and is closed without one when the stream ends.
func (c *calls) call(spec *layshaftv1.TaskSpec, end chan<- *layshaftv1.TaskUpdate) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	i := c.next
	c.next++
	c.waiting[i] = end
	c.tasks = append(c.tasks, spec)
	c.send()
	return i, nil
}

// leave stops waiting for a call, whose task ends then unless somebody else wants it.
func (c *calls) leave(i int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[i] == nil || c.err != nil {
		return
	}
	delete(c.waiting, i)
	c.says = append(c.says, &layshaftv1.CallTasksRequest{Say: &layshaftv1.CallTasksRequest_Leave{Leave: &layshaftv1.TaskIndexes{Indexes: []int64{i}}}})
	c.send()
}

// send sends what is there to be sent, unless somebody does so: whoever comes first sends for all that come while it does. It is called with mu
// held, and lets go of it meanwhile.
func (c *calls) send() {
	if c.sending {
		return
	}
	c.sending = true
	var tasks []*layshaftv1.TaskSpec
	var says []*layshaftv1.CallTasksRequest
	for len(c.tasks)+len(c.says) > 0 && c.err == nil {
		tasks, c.tasks = c.tasks, tasks[:0]
		says, c.says = c.says, says[:0]
		c.mu.Unlock()
		err := sendTasks(c.stream, tasks) // the receiver sees why the stream broke
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

// receive hands out ends until the stream breaks.
func (c *calls) receive() {
	for {
		all, err := receive(c.stream.Recv)
		c.mu.Lock()
		if err != nil {
			c.err = err
			for _, end := range c.waiting {
				close(end)
			}
			c.waiting = nil
			c.mu.Unlock()
			return
		}
		for _, u := range all {
			if !ends(u) {
				continue
			}
			if end := c.waiting[u.GetIndex()]; end != nil {
				end <- u
				delete(c.waiting, u.GetIndex())
			}
		}
		c.mu.Unlock()
	}
}

// ends tells whether nothing follows u.
func ends(u *layshaftv1.TaskUpdate) bool {
	switch what := u.GetWhat().(type) {
	case *layshaftv1.TaskUpdate_Result, *layshaftv1.TaskUpdate_Failed:
		return true
	case *layshaftv1.TaskUpdate_Accepted:
		return what.Accepted.GetRefused() != ""
	}
	return false
}
