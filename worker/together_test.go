package worker

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gatedConn answers no call before open is closed, and all with NotFound.
type gatedConn struct {
	grpc.ClientConnInterface
	open chan struct{}
}

func (c gatedConn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	<-c.open
	return status.Error(codes.NotFound, "nothing here")
}

// A run that is closed while another asks for the first pieces of both does not hold that one up.
func TestCloseWhileReadTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := gatedConn{open: make(chan struct{})}
		r := newRemote(conn, "w", newManifestCache())
		first, second := r.bytes(launch(0, 0, 1).Attempt, false, 0, 10), r.bytes(launch(0, 1, 1).Attempt, false, 0, 10)
		done := make(chan error, 1)
		go func() {
			_, err := first.ReadAt(make([]byte, 10), 0)
			done <- err
		}()
		synctest.Wait()
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		close(conn.open)
		if err := <-done; err == nil {
			t.Error("read what nobody has")
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
}
