package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// ErrDistrust means that the two ends of a connection reject each other: their certificates do not
// fit, or only one end uses TLS. Waiting does not help.
var ErrDistrust = errors.New("the two ends do not trust each other")

// ErrWrongPort means that the port at an address does not speak gRPC. Waiting does not help.
var ErrWrongPort = errors.New("this is not a gRPC port")

// Mismatch explains err, the error of a call to address, if the two ends cannot understand each
// other. It returns an error wrapping ErrDistrust for a lack of trust, and ErrWrongPort for a port
// of another protocol, with advice for the user; otherwise nil. Set plain when the caller connects
// over TCP without TLS: if the peer broke the connection, Mismatch then tests the peer for other
// protocols, for up to two seconds.
func Mismatch(ctx context.Context, err error, address string, plain bool) error {
	if err == nil {
		return nil
	}
	if isSilent(err) {
		return nil // other protocols would have answered
	}
	text := err.Error() // gRPC keeps nothing else
	has := func(part string) bool { return strings.Contains(text, part) }
	hint := ""
	if plain && has("error reading server preface") || has("first record does not look like a TLS handshake") {
		if what := findProtocol(ctx, address, has("HTTP/1.1 header")); what != "" {
			return wrongPort(address, what)
		}
	}
	if i := strings.Index(text, notInForce); i >= 0 {
		return fmt.Errorf("%w: %s: %s", ErrDistrust, address, strings.TrimSuffix(text[i:], `"`))
	}
	switch {
	case has("no application protocol"), has("ALPN"):
		return wrongPort(address, "HTTP, for browsers and scrapers of metrics")
	case plain && has("error reading server preface") && speaksTLS(ctx, address):
		return fmt.Errorf("%w: %s requires TLS; give a certificate of its CA with -tls-ca, -tls-cert and -tls-key", ErrDistrust, address)
	case has("first record does not look like a TLS handshake"):
		hint = address + " runs without TLS; leave the certificate out, or start it with one"
	case has("remote error: tls: "):
		hint = address + " does not accept this certificate; it must come from the same CA, and be in force"
	case has("signed by unknown authority") && has("has expired"):
		hint = "the certificate of the CA has expired: make another with layshaft cert init, and issue all certificates again"
	case has("signed by unknown authority"):
		hint = "the certificate of " + address + " is of another CA than -tls-ca"
	case has("x509: "), has("tls: "):
		hint = "the certificates do not fit"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s (%s)", ErrDistrust, hint, strings.TrimPrefix(text, "rpc error: code = Unavailable desc = "))
}

// notInForce begins the errors of package security about the validity of a certificate. gRPC keeps
// only the text of a failed handshake.
const notInForce = "certificate not in force: "

// IsDistrust reports whether err, of a call over TLS, is about certificates. Mismatch explains it.
func IsDistrust(err error) bool {
	text := err.Error()
	return strings.Contains(text, "x509: ") || strings.Contains(text, "tls: ") || strings.Contains(text, notInForce)
}

// Unreachable returns the error for a coordinator out of reach, with the way out. err is the error
// of the last call.
func Unreachable(address string, err error) error {
	if isOutOfFiles(err) {
		return fmt.Errorf("coordinator %s is out of file descriptors: try again later, and raise its limit (ulimit -n, LimitNOFILE= of systemd)", address)
	}
	if isSilent(err) {
		return fmt.Errorf("coordinator %s cannot be reached: %w; look at that process (layshaft coordinator), or name another with -cluster HOST:PORT", address, withoutDialing(FromStatus(err)))
	}
	if closesConnections(err) {
		return fmt.Errorf("coordinator %s cannot be reached: %w; the port closes connections, as a gossip port does: give the coordinator's address for clients and workers (its flag -listen, by default port 7070)", address, FromStatus(err))
	}
	return fmt.Errorf("coordinator %s cannot be reached: %w; start one there (layshaft coordinator, or layshaft dev for a whole cluster), or name another with -cluster HOST:PORT", address, withoutDialing(FromStatus(err)))
}

// Reason returns why a call that failed with err did not reach its coordinator, in few words.
func Reason(err error) string {
	switch {
	case isOutOfFiles(err):
		return "it is out of file descriptors"
	case closesConnections(err):
		return "the port closes connections, as a gossip port does"
	}
	return withoutDialing(FromStatus(err)).Error()
}

// isOutOfFiles reports whether the coordinator had no file descriptor for the connection: no other
// server begins with this frame.
func isOutOfFiles(err error) bool { return strings.Contains(err.Error(), "GoAwayFrame") }

// isSilent reports whether a handshake reached its time limit: the kernel of the peer accepted the
// connection, but its process did not answer. gRPC then closes the connection that it reads from.
func isSilent(err error) bool {
	text := err.Error()
	return strings.Contains(text, "error reading server preface: ") && strings.Contains(text, "use of closed network connection") ||
		strings.Contains(text, "authentication handshake failed: context deadline exceeded")
}

// noAnswer describes a peer that isSilent.
const noAnswer = "it accepts connections, but does not answer; its process may be stopped or overloaded"

func closesConnections(err error) bool {
	return strings.Contains(err.Error(), "error reading server preface: EOF")
}

// dialError is an error of a call with the words of gRPC about it left out.
type dialError struct {
	error
	text string
}

func (e dialError) Error() string { return e.text }

func (e dialError) Unwrap() error { return e.error }

// noAddresses is what gRPC reports for a host that is not known.
const noAddresses = "name resolver error: produced zero addresses"

// withoutDialing returns err without the words of gRPC around an error of the network.
func withoutDialing(err error) error {
	if isSilent(err) {
		return dialError{err, noAnswer}
	}
	if text := err.Error(); strings.Contains(text, noAddresses) {
		return dialError{err, strings.ReplaceAll(text, noAddresses, "no address is known for its name, so check the spelling and the DNS")}
	}
	before, after, ok := strings.Cut(err.Error(), "connection error: desc = ")
	quoted, quoteErr := strconv.QuotedPrefix(after)
	if !ok || quoteErr != nil {
		return err
	}
	cause, _ := strconv.Unquote(quoted) // it is a quoted string
	rest := after[len(quoted):]
	return dialError{err, before + strings.TrimPrefix(strings.TrimPrefix(cause, "transport: "), "Error while dialing: ") + rest}
}

func wrongPort(address, what string) error {
	return fmt.Errorf("%s: %w: it speaks %s; give the coordinator's address for clients and workers (its flag -listen, by default port 7070)", address, ErrWrongPort, what)
}

// findProtocol returns the protocol of the server at address if it is another one of a coordinator.
// isHTTP means that HTTP is known already.
func findProtocol(ctx context.Context, address string, isHTTP bool) string {
	head := "HTTP/"
	if !isHTTP {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return ""
		}
		defer func() { _ = conn.Close() }()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		_, _ = conn.Write([]byte("version\r\n\r\n")) // a command of Gearman, a bad request of HTTP
		b := make([]byte, 5)
		n, _ := io.ReadFull(conn, b)
		head = string(b[:n])
	}
	switch {
	case strings.HasPrefix(head, "HTTP/"):
		return "HTTP, for browsers and scrapers of metrics"
	case strings.HasPrefix(head, "OK "):
		return "the protocol of Gearman"
	}
	return ""
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
