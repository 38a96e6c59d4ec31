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
