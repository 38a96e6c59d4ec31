package addresses_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/wire"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want addresses.List
		err  string
	}{
		{"c1:7070", addresses.List{"c1:7070"}, ""},
		{" c1:7070, [::1]:80 ,c1:7070,", addresses.List{"c1:7070", "[::1]:80"}, ""},
		{"", nil, `"" is not HOST:PORT, such as 127.0.0.1:7070`},
		{",", nil, `"" in "," is not HOST:PORT`},
		{"c1:7070,c2", nil, `"c2" in "c1:7070,c2" is not HOST:PORT, such as 127.0.0.1:7070; commas separate several addresses`},
		{"c1:7070 c2:7070", nil, `"c1:7070 c2:7070" is not HOST:PORT`},
		{"c1:7070,c2:70700", nil, `"c2:70700" in "c1:7070,c2:70700": the port must be a number up to 65535`},
	} {
		got, err := addresses.Parse(tt.text)
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Parse(%q) = %q, %v, want %q and the error %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// open is Open with options that suit the tests.
func open(t *testing.T, list addresses.List, dial func(context.Context, string) (net.Conn, error)) *addresses.Conn {
	t.Helper()
	c, err := addresses.Open(list, dial, true, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false)), retry.Connections(3*time.Second, 10*time.Millisecond, 100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask makes a call. It returns nil if a server answered.
func ask(ctx context.Context, c *addresses.Conn, options ...grpc.CallOption) error {
	err := c.Invoke(ctx, "/none/none", &emptypb.Empty{}, &emptypb.Empty{}, options...)
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return err
}

func serve(t *testing.T, address string) *grpc.Server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return s
}

// A connection takes the living one of several addresses, stays with it, and goes on to another
// when it dies.
func TestOneOfSeveral(t *testing.T) {
	first, second, third := porttest.Free(t), porttest.Free(t), porttest.Free(t)
	s := serve(t, second)
	c := open(t, addresses.List{first, second, third}, nil)
	if err := ask(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, next := range []string{third, first, second} {
		s.Stop()
		s = serve(t, next)
		err := ask(t.Context(), c, grpc.WaitForReady(true))
		if status.Code(err) == codes.Unavailable { // it was sent over the connection that broke
			err = ask(t.Context(), c, grpc.WaitForReady(true))
		}
		if err != nil {
			t.Errorf("after the server moved to %s: %v", next, err)
		}
	}
}

// A host that drops packets holds up a connection for a quarter of a second, not for the time limit
// of TCP.
func TestHostThatDropsPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 10)
		s := grpc.NewServer()
		go func() { _ = s.Serve(l) }()
		defer s.Stop()
		c := open(t, addresses.List{"drops:1", "lives:1"}, func(ctx context.Context, address string) (net.Conn, error) {
			if address == "lives:1" {
				return l.DialContext(ctx)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begun := time.Now()
		if err := ask(t.Context(), c); err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 500*time.Millisecond {
			t.Errorf("the answer came after %v", d)
		}
		_ = c.Close()
	})
}

// The error has all addresses with their reasons.
func TestAllUnreachable(t *testing.T) {
	pages := httptest.NewServer(nil)
	defer pages.Close()
	page, dead := pages.Listener.Addr().String(), porttest.Free(t)
	c := open(t, addresses.List{dead, page, "nowhere.invalid:1"}, nil)
	err := ask(t.Context(), c)
	if why := c.Mismatch(t.Context(), err); why != nil {
		t.Errorf("Mismatch = %v, though a coordinator may come to another address", why)
	}
	got := c.Unreachable(err)
	for _, want := range []string{"no coordinator can be reached: " + dead + ": connect: connection refused; ", "; " + page + ": ", "; nowhere.invalid:1: ", "no such host", "-cluster HOST:PORT,HOST:PORT"} {
		if !strings.Contains(got.Error(), want) || !errors.Is(got, wire.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable with %q", got, want)
		}
	}
}

// If all addresses have another protocol, waiting does not help.
func TestAllWrong(t *testing.T) {
	one, two := httptest.NewServer(nil), httptest.NewServer(nil)
	defer one.Close()
	defer two.Close()
	c := open(t, addresses.List{one.Listener.Addr().String(), two.Listener.Addr().String()}, nil)
	for range 2 { // the second answer is known
		why := c.Mismatch(t.Context(), ask(t.Context(), c))
		if !errors.Is(why, wire.ErrWrongPort) {
			t.Fatalf("%v, want ErrWrongPort", why)
		}
		for _, s := range []*httptest.Server{one, two} {
			if want := fmt.Sprintf("%s: %v: it speaks HTTP", s.Listener.Addr(), wire.ErrWrongPort); !strings.Contains(why.Error(), want) {
				t.Errorf("%v, want %s", why, want)
			}
		}
	}
}

// Update keeps a connection whose address stays, and leaves one whose address is gone.
func TestUpdate(t *testing.T) {
	first, second := porttest.Free(t), porttest.Free(t)
	serve(t, first)
	dialed := make(chan string, 100)
	c := open(t, addresses.List{first}, func(ctx context.Context, address string) (net.Conn, error) {
		dialed <- address
		return addresses.TCP(ctx, address)
	})
	if err := ask(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	serve(t, second)
	c.Update(addresses.List{second, first})
	if err := ask(t.Context(), c); err != nil || len(dialed) != 1 {
		t.Errorf("%v after %d connections, want the first one to stay", err, len(dialed))
	}
	c.Update(addresses.List{second})
	if err := ask(t.Context(), c); err != nil {
		t.Error(err)
	}
	if a, b := <-dialed, <-dialed; a != first || b != second {
		t.Errorf("dialed %s and %s, want %s and %s", a, b, first, second)
	}
}

// Skip goes from one coordinator to the next, and around.
func TestSkip(t *testing.T) {
	list := addresses.List{porttest.Free(t), porttest.Free(t), porttest.Free(t)}
	serve(t, list[0])
	serve(t, list[2])
	c := open(t, list, nil)
	c.Skip() // there is no connection yet
	for _, want := range []string{list[0], list[2], list[0]} {
		if err := ask(t.Context(), c); err != nil || c.Using() != want {
			t.Errorf("connected to %s, %v, want %s", c.Using(), err, want)
		}
		c.Skip()
	}
	var dialed atomic.Int32
	one := open(t, addresses.List{"any"}, func(ctx context.Context, _ string) (net.Conn, error) {
		dialed.Add(1)
		return addresses.TCP(ctx, list[0])
	})
	for range 2 { // the dialer chooses
		if err := ask(t.Context(), one); err != nil {
			t.Error(err)
		}
		one.Skip()
	}
	if err := ask(t.Context(), one); err != nil || dialed.Load() != 3 {
		t.Errorf("%d connections, %v, want 3", dialed.Load(), err)
	}
}

// hanging is a connection to a process that hangs once stop is closed.
type hanging struct {
	net.Conn
	stop, closed chan struct{}
	once         *sync.Once
}

func (h hanging) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	select {
	case <-h.stop:
		<-h.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (h hanging) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Conn.Close()
}

// A call to a coordinator that hangs breaks within seconds if there is another one, and the next
// call goes there. A coordinator that is only slow once keeps its calls.
func TestCoordinatorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listeners := map[string]*bufconn.Listener{"first:1": bufconn.Listen(1 << 10), "second:1": bufconn.Listen(1 << 10)}
		for _, l := range listeners {
			s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
				if m, _ := grpc.MethodFromServerStream(stream); m != "/none/none" {
					return status.Error(codes.Unimplemented, m)
				}
				select { // a call takes a minute
				case <-time.After(time.Minute):
				case <-stream.Context().Done():
				}
				return status.Error(codes.Unimplemented, "none")
			}))
			go func() { _ = s.Serve(l) }()
			defer s.Stop()
		}
		stop := make(chan struct{})
		c := open(t, addresses.List{"first:1", "second:1"}, func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := listeners[address].DialContext(ctx)
			if address == "first:1" && err == nil {
				conn = hanging{conn, stop, make(chan struct{}), &sync.Once{}}
			}
			return conn, err
		})
		if err := ask(t.Context(), c); err != nil || c.Using() != "first:1" {
			t.Errorf("a slow call: %v at %s", err, c.Using())
		}
		time.AfterFunc(time.Second, func() { close(stop) })
		begun := time.Now()
		if err := ask(t.Context(), c); status.Code(err) != codes.Unavailable || time.Since(begun) > 4*time.Second {
			t.Errorf("a call to a hanging coordinator: %v after %v", err, time.Since(begun))
		}
		if err := ask(t.Context(), c); err != nil || c.Using() != "second:1" {
			t.Errorf("the next call: %v at %s", err, c.Using())
		}
		_ = c.Close()
		time.Sleep(time.Minute)
	})
}

// The list of a Conn changes at the moment when its connection is ready.
func TestUpdateWhileConnecting(t *testing.T) {
	address := porttest.Free(t)
	serve(t, address)
	for range 300 {
		c, err := addresses.Open(addresses.List{address}, addresses.TCP, true, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			var both sync.WaitGroup
			both.Go(func() { _ = ask(t.Context(), c) }) // connects
			both.Go(func() {
				for n := range 20 {
					c.Update(addresses.List{address, fmt.Sprint("127.0.0.1:", n+1)})
					c.Skip()
				}
			})
			both.Wait()
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("a change of the list and a connection wait for each other")
		}
		_ = c.Close()
	}
}
