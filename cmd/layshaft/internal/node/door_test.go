package node

import (
	"context"
	"net"
	"testing"
)

// TestDoorOfElected connects to a member that has just been elected, directly and forwarded by
// another one. Its servers are not there yet, and the connections wait for them.
func TestDoorOfElected(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoors(l)
	d.add(forwardGRPC, l)
	asked := make(chan struct{}, 8)
	d.elected = func() bool {
		asked <- struct{}{}
		return true
	}
	d.leader, d.changed = func() string { return "" }, func() <-chan struct{} { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, hello := range []string{"P", memberHello + string(rune(forwardGRPC))} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(hello)); err != nil {
			t.Fatal(err)
		}
	}
	<-asked
	<-asked
	opened := d.open()
	defer opened.closeAll()
	for range 2 {
		c, err := opened.grpc.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

// TestDoorOfSlowElected connects to an elected member whose servers take too long. The connection
// ends, so that its client connects again: the server that explains a missing leader is not for it.
func TestDoorOfSlowElected(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDoors(l)
	d.add(forwardGRPC, l)
	d.elected, d.leader, d.changed = func() bool { return true }, func() string { return "" }, func() <-chan struct{} { return nil }
	in, out := net.Pipe()
	defer in.Close()
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		d.pass(t.Context(), d.byKind[forwardGRPC], out)
	}()
	select {
	case c := <-d.standby.conns:
		_ = c.Close()
		t.Error("the connection is told that there is no leader")
	case <-passed:
	}
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Error("the connection stays")
	}
}
