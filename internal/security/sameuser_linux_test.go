package security

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/peer"

	"github.com/layshaft/layshaft/internal/wire"
)

// The kernel names the owner of the other end, over IPv4 and IPv6, and of a process of another user.
func TestPeerUser(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if uid, err := peerUser(c.LocalAddr(), c.RemoteAddr()); err != nil || uid != os.Getuid() {
			t.Errorf("%s: %d, %v, want %d", address, uid, err, os.Getuid())
		}
		if uid, err := peerUser(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, l.Addr()); err == nil {
			t.Errorf("no connection: user %d", uid)
		}
		if address[0] == '[' || os.Getuid() != 0 {
			continue
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		other := exec.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; cat <&3")
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := other.Start(); err != nil {
			t.Skipf("bash as another user: %v", err)
		}
		var conn net.Conn
		for range 2 { // the first is ours
			if conn, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		_, info, err := SameUser().ServerHandshake(conn)
		ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: info})
		if err = errors.Join(err, AuthorizeSameUser(ctx, "/m")); !errors.Is(err, wire.ErrForbidden) || !strings.Contains(err.Error(), "user 65534") {
			t.Errorf("another user: %v", err)
		}
		conn.Close()
		_ = other.Wait()
	}
}

// The owner of an HTTP request is known too, if the server wants to know it.
func TestRequestOfSameUser(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := AuthorizeSameUser(RequestContext(r, true), "/m"); err != nil {
			t.Error(err)
		}
		if err := AuthorizeSameUser(RequestContext(r, false), "/m"); !errors.Is(err, wire.ErrForbidden) {
			t.Errorf("an unknown owner: %v", err)
		}
	}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestAuthorizeSameUser(t *testing.T) {
	for uid, ok := range map[int]bool{os.Getuid(): true, 0: true, 65533: false} {
		ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: localUser{uid: uid}})
		if err := AuthorizeSameUser(ctx, "/m"); (err == nil) != ok {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	if err := AuthorizeSameUser(context.Background(), "/m"); !errors.Is(err, wire.ErrForbidden) {
		t.Errorf("no peer: %v", err)
	}
}
