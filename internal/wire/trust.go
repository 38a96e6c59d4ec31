package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// ErrDistrust means that the two ends of a connection reject each other: their certificates do not
// fit, or only one end uses TLS. Waiting does not help.
var ErrDistrust = errors.New("the two ends do not trust each other")

// Distrust explains err, the error of a call to address. If the cause is a lack of trust, it
// returns an error wrapping ErrDistrust with advice for the user; otherwise it returns nil. Set
// plain when the caller connects over TCP without TLS: if the peer broke the connection, Distrust
// then tests the peer for TLS, for up to one second.
func Distrust(ctx context.Context, err error, address string, plain bool) error {
	if err == nil {
		return nil
	}
	text := err.Error() // gRPC keeps nothing else
	has := func(part string) bool { return strings.Contains(text, part) }
	hint := ""
	switch {
	case plain && has("error reading server preface") && speaksTLS(ctx, address):
		return fmt.Errorf("%w: %s wants TLS; give a certificate of its CA with -tls-ca, -tls-cert and -tls-key", ErrDistrust, address)
	case has("first record does not look like a TLS handshake"):
		hint = address + " runs without TLS; leave the certificate out, or start it with one"
	case has("remote error: tls: "):
		hint = address + " does not accept this certificate; it must come from the same CA, and be in force"
	case has("signed by unknown authority"):
		hint = "the certificate of " + address + " is of another CA than that of -tls-ca"
	case has("x509: "), has("tls: "):
		hint = "the certificates do not fit"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s (%s)", ErrDistrust, hint, strings.TrimPrefix(text, "rpc error: code = Unavailable desc = "))
}

// Plain reports whether creds are for connections without TLS.
func Plain(creds credentials.TransportCredentials) bool {
	return creds.Info().SecurityProtocol == insecure.NewCredentials().Info().SecurityProtocol
}

// speaksTLS reports whether the server at address answers the start of a TLS handshake.
func speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	answered := false
	err = tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, // the connection carries no data
		VerifyConnection:   func(tls.ConnectionState) error { answered = true; return nil },
	}).HandshakeContext(ctx)
	var alert tls.AlertError
	return answered || err == nil || errors.As(err, &alert)
}
