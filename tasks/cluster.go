package tasks

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// Cluster is the address of a coordinator with the settings of the connection. The zero value is a
// coordinator on this machine at its default port.
type Cluster struct {
	// Address of the coordinator, HOST:PORT. Separate several addresses by commas: a client or
	// worker tries them in turn, stays with one that answers, and goes on to another when the
	// connection breaks. Empty means 127.0.0.1:7070.
	Address string
	// TLS has the certificate files. The zero value means a connection without TLS. A Worker needs
	// a certificate with the role worker. A Client needs one with the role client or worker.
	TLS TLSFiles
	// Connect is how long a client tries to reach a coordinator for the first time. Zero
	// means 10 s.
	Connect time.Duration
	// Patience is how long a client tries to reach a coordinator that it has reached before and
	// that may be restarting. Zero means 2 minutes.
	Patience time.Duration
	// OnWait, if set, is called once a request of a client has waited for the coordinator for a
	// second, with the reason in words. A worker calls it after two seconds without a coordinator,
	// once until it is connected again; if OnWait is nil, a worker without Log prints the reason to
	// standard error.
	OnWait func(why string)
	// Dial opens connections to an address of Address, which may then have any form without
	// commas; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Log receives messages for the operator; nil means none. Give a worker slog.Default(): it logs
	// that it has joined or lost its coordinator, and each attempt that fails.
	Log *slog.Logger
}

// TLSFiles names PEM files for mutual TLS. Set all three fields, or none.
type TLSFiles struct {
	// CA is the file with the certificate of the cluster's CA. It may contain several certificates.
	CA string
	// Cert is the file with the certificate of this process.
	Cert string
	// Key is the file with the private key of Cert.
	Key string
}

// Flags registers the flags -cluster, -tls-ca, -tls-cert and -tls-key in fs. It returns a Cluster
// that is filled when fs is parsed. The defaults come from the environment, for example from
// LAYSHAFT_TLS_CA.
func Flags(fs *flag.FlagSet) *Cluster {
	c := &Cluster{}
	env := func(name, otherwise string) string {
		if v := os.Getenv("LAYSHAFT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")); v != "" {
			return v
		}
		return otherwise
	}
	fs.StringVar(&c.Address, "cluster", env("cluster", defaultAddress), "address of the coordinator, `HOST:PORT`, or several separated by commas (LAYSHAFT_CLUSTER)")
	fs.StringVar(&c.TLS.CA, "tls-ca", env("tls-ca", ""), "PEM `FILE` with the certificate of the cluster's CA (LAYSHAFT_TLS_CA)")
	fs.StringVar(&c.TLS.Cert, "tls-cert", env("tls-cert", ""), "PEM `FILE` with the certificate of this process (LAYSHAFT_TLS_CERT)")
	fs.StringVar(&c.TLS.Key, "tls-key", env("tls-key", ""), "PEM `FILE` with its private key (LAYSHAFT_TLS_KEY)")
	return c
}

const defaultAddress = "127.0.0.1:7070"

const (
	// The pause before the next attempt to connect grows from minPause to maxPause. Another
	// coordinator takes over within about 20 ms.
	minPause, maxPause = 10 * time.Millisecond, 2 * time.Second
	// deadlineSlack is how much earlier than a client the coordinator may report a deadline.
	deadlineSlack = 50 * time.Millisecond
	// patientFor is how long a request waits for the coordinator before OnWait.
	patientFor = time.Second
	// answered is the duration from which a broken attempt counts as having reached the
	// coordinator: connecting takes less.
	answered = 5 * time.Second
	// rpcTimeout limits the duration of an RPC with little data.
	rpcTimeout = 30 * time.Second
)

// withDefaults returns a checked copy with defaults.
func (c Cluster) withDefaults() (Cluster, error) {
	if c.Connect < 0 || c.Patience < 0 {
		return c, fmt.Errorf("%w: Connect %v and Patience %v of a cluster must not be negative", ErrInvalid, c.Connect, c.Patience)
	}
	if c.Address == "" {
		c.Address = defaultAddress
	}
	if c.Connect == 0 {
		c.Connect = 10 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// dial returns a connection that opens on first use, and its certificates, if any.
func (c Cluster) dial() (*addresses.Conn, *security.TLS, error) {
	list, err := addresses.Split(c.Address), error(nil)
	if c.Dial == nil {
		list, err = addresses.Parse(c.Address)
	}
	if err != nil || len(list) == 0 {
		return nil, nil, fmt.Errorf("%w: Address of the cluster: %w", ErrInvalid, cmp.Or(err, errors.New("there is none")))
	}
	var certs *security.TLS
	var creds credentials.TransportCredentials = insecure.NewCredentials()
	if c.TLS != (TLSFiles{}) {
		if certs, err = security.Load(security.Files(c.TLS), c.Log); err != nil {
			return nil, nil, err
		}
		creds = certs.Client(security.Coordinator)
	}
	conn, err := addresses.Open(list, c.Dial, certs == nil && c.Dial == nil, append(wire.DialOptions(), grpc.WithTransportCredentials(creds),
		// the retry loops in this package need the cause of the error
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false)),
		retry.Connections(retry.Try(c.Connect), minPause, maxPause))...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: coordinator %s: %w; the address must be HOST:PORT", ErrInvalid, list, err)
	}
	return conn, certs, nil
}

// isRetryable reports whether another attempt may avoid err.
func isRetryable(err error) bool {
	return status.Code(err) == codes.Unavailable && !wire.IsDistrust(err)
}

// retry repeats an RPC until it succeeds or fails for good.
func (c *Client) retry(ctx context.Context, call func(ctx context.Context) error) error {
	var patience retry.Patience
	patience.Reset()
	pause := retry.Backoff{Min: minPause, Max: maxPause}
	var away error // says that the coordinator cannot be reached, and why
	reported := false
	for {
		begun := time.Now()
		err := call(ctx)
		if err == nil {
			c.reached.Store(true)
			return nil
		}
		var ended *Error
		if errors.As(err, &ended) || errors.Is(err, errStop) {
			return err
		}
		if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Canceled {
			// The coordinator has the same deadline and may report it a moment earlier.
			if end, ok := ctx.Deadline(); ok && time.Until(end) < deadlineSlack {
				<-ctx.Done()
			}
		}
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return err // it may say more than the cause
		}
		if ctx.Err() != nil {
			return c.conn.EndedWhileAway(ctx, away)
		}
		if time.Since(begun) > answered {
			c.reached.Store(true)
			pause.Reset()
			patience.Reset()
			reported = false
		}
		limit := c.cluster.Connect
		if c.reached.Load() {
			limit = c.cluster.Patience
		}
		if why := c.conn.Mismatch(ctx, err); why != nil {
			return fmt.Errorf("coordinator: %w", why)
		}
		if !isRetryable(err) {
			return wire.FromStatus(err)
		}
		if patience.Spent() >= limit {
			return c.conn.Unreachable(err)
		}
		away = c.conn.Away(err)
		if c.cluster.OnWait != nil && !reported && patience.Spent() >= patientFor {
			reported = true
			c.cluster.OnWait(fmt.Sprintf("%v; trying for %v", away, limit))
		}
		if pause.WaitAtMost(ctx, limit-patience.Spent()) != nil {
			return c.conn.EndedWhileAway(ctx, away)
		}
	}
}
