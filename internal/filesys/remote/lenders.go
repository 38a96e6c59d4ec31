package remote

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Lenders are the clients that offer files to this worker, each by its own stream. The zero value
// is ready.
type Lenders struct {
	// mu guards the fields below.
	mu      sync.Mutex
	streams map[string]*lendStream // by volume; the newest of each
	changed chan struct{}          // closed when a stream arrives
}

// lendStream is the stream of one client.
type lendStream struct {
	send  func(*layshaftv1.LendResponse) error
	ended chan struct{} // closed at the end of the stream

	// mu guards the fields below and is held while a call is sent.
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *layshaftv1.CallResponse
}

// Serve serves the worker's end of a stream. It returns when the client leaves or the stream's
// context ends.
func (l *Lenders) Serve(stream grpc.BidiStreamingServer[layshaftv1.LendRequest, layshaftv1.LendResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	volume := first.GetVolume()
	if id := strings.TrimPrefix(volume, clientVolume); id == volume || id == "" || strings.ContainsAny(id, "/@") {
		return fmt.Errorf("volume %q: a client lends client/ID", volume)
	}
	s := &lendStream{send: stream.Send, ended: make(chan struct{}), waiting: map[uint64]chan *layshaftv1.CallResponse{}}
	l.mu.Lock()
	if l.streams == nil {
		l.streams = map[string]*lendStream{}
	}
	l.streams[volume] = s
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	l.mu.Unlock()
	defer func() {
		close(s.ended)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.streams[volume] == s {
			delete(l.streams, volume)
		}
	}()
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		answer := in.GetAnswer()
		s.mu.Lock()
		out := s.waiting[answer.GetId()]
		delete(s.waiting, answer.GetId())
		s.mu.Unlock()
		if out != nil {
			out <- answer
		}
	}
}

// lendWait is how long a call waits for the stream of a client that has just begun or comes back.
const lendWait = 5 * time.Second

// Call sends a call to its client and returns the answer.
func (l *Lenders) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	s, err := l.stream(ctx, req.GetVolume())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return errorResponse(req, err), nil
	}
	out, own := make(chan *layshaftv1.CallResponse, 1), proto.CloneOf(req)
	s.mu.Lock()
	s.last++
	own.Id = s.last
	s.waiting[own.Id] = out
	err = s.send(&layshaftv1.LendResponse{Call: own})
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, own.Id)
	}()
	if err != nil {
		return errorResponse(req, clientGone(req.Volume)), nil
	}
	select {
	case resp := <-out:
		resp.Id = req.Id
		return resp, nil
	case <-s.ended:
		return errorResponse(req, clientGone(req.Volume)), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func clientGone(volume string) error {
	return fmt.Errorf("the machine of the client that submitted the job (%s) %w", volume, filesys.ErrGone)
}

// stream returns the stream of a client. It waits up to lendWait for it.
func (l *Lenders) stream(ctx context.Context, volume string) (*lendStream, error) {
	late, stop := awake.After(lendWait)
	defer stop()
	for {
		l.mu.Lock()
		s := l.streams[volume]
		if s == nil && l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-late:
			return nil, clientGone(volume)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
