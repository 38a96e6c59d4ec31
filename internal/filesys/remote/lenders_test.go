package remote

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// lendEnd is a worker's end of a stream; the test is the other end.
type lendEnd struct {
	grpc.ServerStream
	in  chan *layshaftv1.LendRequest
	out chan *layshaftv1.LendResponse
}

func (e *lendEnd) Recv() (*layshaftv1.LendRequest, error) {
	if in, ok := <-e.in; ok {
		return in, nil
	}
	return nil, io.EOF
}

func (e *lendEnd) Send(m *layshaftv1.LendResponse) error {
	e.out <- m
	return nil
}

// A call waits a while for its client, gets its own answer, and ends when the client leaves.
func TestLenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lenders
		end := &lendEnd{in: make(chan *layshaftv1.LendRequest), out: make(chan *layshaftv1.LendResponse, 9)}
		ask := func(volume, name string) *layshaftv1.CallResponse {
			resp, err := l.Call(t.Context(), &layshaftv1.CallRequest{Volume: volume, Name: name, Id: 77})
			if err != nil {
				t.Error(err)
			}
			return resp
		}
		var all sync.WaitGroup
		start, got := time.Now(), make(map[string]*layshaftv1.CallResponse)
		var mu sync.Mutex
		for _, name := range []string{"a", "b", "never"} {
			all.Go(func() {
				resp := ask("client/me", name)
				mu.Lock()
				defer mu.Unlock()
				got[name] = resp
			})
		}
		all.Go(func() {
			if resp := ask("client/other", "x"); resp.Reason != layshaftv1.FileError_FILE_ERROR_GONE || time.Since(start) != lendWait {
				t.Errorf("a client that never came: %v after %v", resp, time.Since(start))
			}
		})
		time.Sleep(time.Second)
		all.Go(func() { l.Serve(end) })
		end.in <- &layshaftv1.LendRequest{Volume: "client/me"}
		end.in <- &layshaftv1.LendRequest{Answer: &layshaftv1.CallResponse{Id: 1234, Error: "nobody asked"}}
		end.in <- &layshaftv1.LendRequest{}
		for range 3 {
			if call := (<-end.out).Call; call.Name != "never" {
				end.in <- &layshaftv1.LendRequest{Answer: &layshaftv1.CallResponse{Id: call.Id, Data: []byte(call.Name)}}
			}
		}
		synctest.Wait()
		close(end.in)
		all.Wait()
		if string(got["a"].Data) != "a" || string(got["b"].Data) != "b" || got["a"].Id != 77 {
			t.Errorf("%v", got)
		}
		if r := got["never"]; r.Reason != layshaftv1.FileError_FILE_ERROR_GONE || !strings.Contains(r.Error, "client/me") {
			t.Errorf("a client that left: %v", r)
		}
		for _, volume := range []string{"", "dataset/d", "client/", "client/a/b", "client/a@b"} {
			end := &lendEnd{in: make(chan *layshaftv1.LendRequest, 1)}
			end.in <- &layshaftv1.LendRequest{Volume: volume}
			if err := l.Serve(end); err == nil || err == io.EOF {
				t.Errorf("volume %q is taken: %v", volume, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Call(ctx, &layshaftv1.CallRequest{Volume: "client/me"}); err != context.Canceled {
			t.Error(err)
		}
	})
}
