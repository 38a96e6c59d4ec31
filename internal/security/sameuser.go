package security

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"github.com/layshaft/layshaft/internal/wire"
)

// SameUser returns the credentials of a gRPC server on a loopback address without TLS. They learn
// from the kernel which user owns the other end of a connection, for AuthorizeSameUser. Nothing is
// added to the connection.
func SameUser() credentials.TransportCredentials {
	return sameUser{insecure.NewCredentials()}
}

type sameUser struct {
	credentials.TransportCredentials
}

// localUser is the owner of the other end of a connection.
type localUser struct {
	uid int
	err error // the owner is not known
}

func (localUser) AuthType() string { return "local user" }

func (s sameUser) Clone() credentials.TransportCredentials { return s }

func (sameUser) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := peerUser(c.RemoteAddr(), c.LocalAddr())
	return c, localUser{uid, err}, nil
}

// RequestContext returns the context of an HTTP request with its caller, as a gRPC server has it:
// for Authorize and PeerIdentity; with sameUser also for AuthorizeSameUser.
func RequestContext(r *http.Request, sameUser bool) context.Context {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.Context() // a caller without an address may do nothing
	}
	p := &peer.Peer{Addr: net.TCPAddrFromAddrPort(remote)}
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{State: *r.TLS}
	} else if own, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && sameUser {
		uid, err := peerUser(p.Addr, own)
		p.AuthInfo = localUser{uid, err}
	}
	return peer.NewContext(r.Context(), p)
}

// AuthorizeSameUser returns an error, which wraps wire.ErrForbidden, unless the caller runs as the
// user of this process or as root.
func AuthorizeSameUser(ctx context.Context, fullMethod string) error {
	u := localUser{err: errors.New("it did not connect through this machine's loopback")}
	if p, ok := peer.FromContext(ctx); ok {
		if known, ok := p.AuthInfo.(localUser); ok {
			u = known
		}
	}
	if err := u.check(); err != nil {
		return fmt.Errorf("%s: %w", fullMethod, err)
	}
	return nil
}

// CheckSameUser returns an error, which wraps wire.ErrForbidden, unless the other end of a
// connection belongs to the user of this process or to root.
func CheckSameUser(c net.Conn) error {
	uid, err := peerUser(c.RemoteAddr(), c.LocalAddr())
	return localUser{uid, err}.check()
}

func (u localUser) check() error {
	switch own := os.Getuid(); {
	case u.err != nil:
		return fmt.Errorf("%w: the caller's user is not known: %w", wire.ErrForbidden, u.err)
	case u.uid != own && u.uid != 0:
		return fmt.Errorf("%w: the caller runs as user %d, and this cluster accepts only user %d (-same-user; layshaft dev has -any-user)", wire.ErrForbidden, u.uid, own)
	}
	return nil
}
