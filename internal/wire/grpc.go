package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	// MaxMessage is the limit of one message, in bytes. The largest messages are launches, with
	// about two bytes for each task whose output the attempt reads.
	MaxMessage = 16 << 20
	// PieceSize is the largest piece of a body in one message, in bytes.
	PieceSize = 256 << 10

	// A peer pings a silent connection after pingEvery and closes it when no answer arrives within
	// pingWait. Servers accept pings every minPing, more often than clients send them.
	pingEvery = 10 * time.Second
	pingWait  = 5 * time.Second
	minPing   = 5 * time.Second

	streamWindow = 1 << 20
	connWindow   = 4 << 20
	maxStreams   = 1 << 12
)

// DialOptions returns the dial options of every client of the cluster, without credentials.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage), grpc.WaitForReady(true)),
	}
}

// ServerOptions returns the options of every server of the cluster, without credentials. authorize
// may be nil; its error rejects the call. Errors of authorize and of handlers pass through
// ToStatus. When a handler panics, the caller gets an INTERNAL error and log gets the stack.
func ServerOptions(log *slog.Logger, authorize func(ctx context.Context, fullMethod string) error) []grpc.ServerOption {
	guard := func(ctx context.Context, method string, handle func() error) (err error) {
		defer func() {
			if v := recover(); v != nil {
				log.Error("handler panicked", "method", method, "err", v, "stack", string(debug.Stack()))
				err = status.Error(codes.Internal, fmt.Sprintf("%s panicked; its log has the stack", method))
			}
		}()
		if authorize != nil {
			if err := authorize(ctx, method); err != nil {
				return ToStatus(err)
			}
		}
		return ToStatus(handle())
	}
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (out any, err error) {
			err = guard(ctx, info.FullMethod, func() (err error) {
				out, err = h(ctx, req)
				return err
			})
			return out, err
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return guard(stream.Context(), info.FullMethod, func() error { return h(srv, stream) })
		}),
	}
}

// PieceReader is an io.Reader of a body in pieces.
type PieceReader struct {
	// Recv returns the next piece, or io.EOF after the last one.
	Recv func() ([]byte, error)
	rest []byte
}

func (p *PieceReader) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		var err error
		if p.rest, err = p.Recv(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// PieceWriter sends a body in pieces of at most PieceSize.
type PieceWriter func([]byte) error

func (send PieceWriter) Write(b []byte) (int, error) {
	for piece := range slices.Chunk(b, PieceSize) {
		if err := send(piece); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// CallerName names a caller by its certificate, else by its address.
func CallerName(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "unknown"
	}
	if tls, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(tls.State.PeerCertificates) > 0 {
		return tls.State.PeerCertificates[0].Subject.CommonName
	}
	if host, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
		return host
	}
	return p.Addr.String()
}

// ErrBroken means that the connection of a worker broke.
var ErrBroken = errors.New("connection broken")

// BrokenBy wraps the error of a stream in ErrBroken. io.EOF means that the worker closed the
// stream.
func BrokenBy(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("the worker closed the stream")
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}
