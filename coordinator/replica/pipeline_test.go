package replica

import (
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A sender goes on though nobody reads the answers: after a refusal, the library reads no more of
// them, and the sender notices that between two messages.
func TestPipelineNeverBlocks(t *testing.T) {
	open := func(id string) *raft.NetworkTransport {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &streams{self: id, listener: l, dial: dialTCP, incoming: make(chan net.Conn), closed: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- s.run() }()
		x := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: addressedStreams{s, joinAddress(id, l.Addr().String())}, MaxPool: 1, Timeout: time.Minute})
		t.Cleanup(func() {
			_ = x.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return x
	}
	from, to := open("from"), open("to")
	go func() {
		for {
			select {
			case r := <-to.Consumer():
				r.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	inner, err := from.AppendEntriesPipeline("to", to.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	p := newPipeline(inner)
	const messages = 100
	sent := make(chan error, 1)
	go func() {
		for range messages {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		_ = p.Close()
		t.Fatalf("the sender waits for a reader of its answers: %v", <-sent)
	}
	for range messages {
		if f := <-p.Consumer(); !f.Response().Success {
			t.Errorf("answer %+v", f.Response())
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
