package addresses

import (
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/layshaft/layshaft/internal/wire"
)

// A coordinator without a leader is left for the next one.
func TestSkipWithoutLeader(t *testing.T) {
	t.Parallel()
	var list List
	for _, answer := range []error{wire.ErrNoLeader, wire.ErrInvalid} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return wire.ToStatus(answer) }))
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		list = append(list, l.Addr().String())
	}
	c, err := Open(list, nil, true, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	call := func() error {
		return wire.FromStatus(c.Invoke(t.Context(), "/some.Service/Call", &emptypb.Empty{}, &emptypb.Empty{}))
	}
	if err := call(); !errors.Is(err, wire.ErrNoLeader) {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		err := call()
		if errors.Is(err, wire.ErrInvalid) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A call that fails late at a coordinator without a leader leaves the connection alone if another
// call has gone on to the next coordinator: of two, Skip would lead back.
func TestSkipOnceForSeveralCalls(t *testing.T) {
	t.Parallel()
	var list List
	arrived, release := make(chan struct{}), make(chan struct{})
	for _, answer := range []error{wire.ErrNoLeader, wire.ErrInvalid} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			if method, _ := grpc.MethodFromServerStream(stream); method == "/some.Service/Slow" {
				close(arrived)
				<-release
			}
			return wire.ToStatus(answer)
		}))
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		list = append(list, l.Addr().String())
	}
	c, err := Open(list, nil, true, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	call := func(method string) error {
		return wire.FromStatus(c.Invoke(ctx, "/some.Service/"+method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true)))
	}
	slow := make(chan error, 1)
	go func() { slow <- call("Slow") }()
	<-arrived
	err = call("Call")
	for deadline := time.Now().Add(20 * time.Second); errors.Is(err, wire.ErrNoLeader) && time.Now().Before(deadline); err = call("Call") {
		time.Sleep(time.Millisecond)
	}
	if !errors.Is(err, wire.ErrInvalid) {
		t.Fatal(err)
	}
	before := c.skipped()
	close(release)
	if err := <-slow; !errors.Is(err, wire.ErrNoLeader) {
		t.Fatal(err)
	}
	if got := c.skipped(); got != before {
		t.Errorf("the slow call skipped the next coordinator")
	}
}
