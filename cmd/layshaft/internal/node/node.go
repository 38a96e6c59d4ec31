// Package node assembles the processes of a cluster: a coordinator or a worker with its
// listeners, certificates, gossip and status page. It reads no flags and no environment.
// RunCoordinator and RunWorker take a config and block until the process should end.
package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// Common is the configuration of both roles. Listen and Gossip are required.
type Common struct {
	// Listen is the address for gRPC, host:port; port 0 chooses a free port.
	Listen string
	// HTTP is the address of the status page, metrics and health checks; empty means none.
	HTTP string
	// Gossip is the address for gossip between members.
	Gossip string
	// Advertise is the host under which others reach this machine. Empty means the host of
	// Listen. If Listen is on all addresses, it means the address with a route to the first of
	// Join.
	Advertise string
	// Join lists gossip addresses of other members. One reachable address is enough.
	Join []string
	// GossipKey encrypts gossip; see gossip.Config.
	GossipKey []byte
	// GossipAllowed lists the networks of permitted members; nil permits all.
	GossipAllowed []netip.Prefix
	// Label separates clusters on the same network; see gossip.Config.
	Label string
	// TLS secures all ports except gossip. The zero value means no TLS, on loopback addresses
	// only.
	TLS security.Files
	// Insecure permits unprotected ports on other addresses than loopback.
	Insecure bool
	// SameUser refuses gRPC calls of other users of this machine, except root. It needs a loopback
	// address without TLS.
	SameUser bool
	// Version is the version of the program, for people.
	Version string
	// Diagnose is what the process tells about itself in debug bundles; nil means nothing.
	Diagnose *report.Process
	// Log receives messages for the operator; nil disables logging.
	Log *slog.Logger
	// Ready, if set, is called when the process serves.
	Ready func(Addresses)
}

// Addresses are the addresses of a process.
type Addresses struct {
	GRPC   string // as advertised to others
	HTTP   string // empty without a status page
	Gossip string // as advertised to others
}

// ports are the listeners of a process, and their protection.
type ports struct {
	grpc, http net.Listener // http may be nil
	tls        *security.TLS
	advertise  string // host:port
	sameUser   bool
}

// Refused is the error of an unusable config. Nothing was opened.
type Refused struct{ error }

// Unwrap returns the reason.
func (r Refused) Unwrap() error { return r.error }

// open checks the config before it opens any address.
func (c *Common) open(role security.Role) (*ports, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &ports{}
	if err := c.check(p, role); err != nil {
		return nil, Refused{err}
	}
	return p, c.listen(p)
}

// check loads the certificates and validates the config.
func (c *Common) check(p *ports, role security.Role) (err error) {
	if c.TLS != (security.Files{}) {
		if p.tls, err = security.Load(c.TLS, c.Log); err != nil {
			return err
		}
		if id := p.tls.Identity(); id.Role != role {
			return fmt.Errorf("-tls-cert %s is the certificate of %s, and other processes would not accept it from a %s: issue one with layshaft cert issue -role %s", c.TLS.Cert, id, role, role)
		}
	}
	if c.SameUser && (p.tls != nil || !security.Loopback(c.Listen)) {
		return fmt.Errorf("-same-user needs -listen on a loopback address, without certificates: -listen is %s; users of other machines need certificates (layshaft cert)", c.Listen)
	}
	p.sameUser = c.SameUser
	const certificates = "-tls-ca, -tls-cert and -tls-key (layshaft cert makes them)"
	err = security.CheckListen("listen", c.Listen, p.tls != nil, c.Insecure, certificates, c.Log)
	if err == nil && c.HTTP != "" {
		err = security.CheckListen("http", c.HTTP, p.tls != nil, c.Insecure, certificates, c.Log)
	}
	if err == nil {
		err = security.CheckListen("gossip", c.Gossip, c.GossipKey != nil, c.Insecure, "-gossip-key (openssl rand -hex 32 makes one)", c.Log)
	}
	if err != nil {
		return err
	}
	return c.checkJoin()
}

// resolveWait limits the resolution of the addresses to join.
const resolveWait = 2 * time.Second

// checkJoin refuses to join members on other machines if this process listens on loopback only.
// They would send it work and could not fetch its outputs. An unknown host name counts as this
// machine.
func (c *Common) checkJoin() error {
	ctx, cancel := context.WithTimeout(context.Background(), resolveWait)
	defer cancel()
	for _, join := range c.Join {
		other := remoteAddress(ctx, join)
		if other == "" {
			continue
		}
		for _, f := range []struct{ name, value, like string }{{"-listen", c.Listen, "0.0.0.0:7080"}, {"-gossip", c.Gossip, "0.0.0.0:7946"}} {
			switch {
			case !security.Loopback(f.value):
			case f.name == "-listen" && c.Advertise != "" && remoteAddress(ctx, net.JoinHostPort(c.Advertise, "1")) != "": // a proxy may forward
			default:
				return fmt.Errorf("%s %s is reachable from this machine only, but -join %s (%s) is another machine: others could not reach this process; listen on a reachable address, such as %s %s with certificates (layshaft cert) and a gossip key, and give -advertise if others use another address for this machine",
					f.name, f.value, join, other, f.name, f.like)
			}
		}
	}
	return nil
}

// remoteAddress returns an IP address of host:port outside loopback, or "" if none is known.
func remoteAddress(ctx context.Context, address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return ""
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return ""
	}
	for _, ip := range ips {
		if ip = ip.Unmap(); !ip.IsLoopback() && !ip.IsUnspecified() {
			return ip.String()
		}
	}
	return ""
}

// listen opens the addresses.
func (c *Common) listen(p *ports) (err error) {
	if p.grpc, err = net.Listen("tcp", c.Listen); err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	checkFiles(fileLimit(), c.Log)
	p.grpc = answeringListener{c.answerWhenFull(p, p.grpc, grpcBusy, "h2")}
	if c.HTTP != "" {
		if p.http, err = net.Listen("tcp", c.HTTP); err != nil {
			return errors.Join(fmt.Errorf("-http: %w", err), p.grpc.Close())
		}
		p.http = c.answerWhenFull(p, p.http, httpBusy, "http/1.1")
	}
	if p.advertise, err = c.reachable(p.grpc); err != nil {
		return errors.Join(err, p.close())
	}
	return nil
}

// answerWhenFull returns l with an answer to connections while there are no file descriptors.
// protocols are the names for ALPN in TLS.
func (c *Common) answerWhenFull(p *ports, l net.Listener, answer string, protocols ...string) net.Listener {
	patient := &patientListener{Listener: l, answer: answer, log: c.Log}
	if p.tls != nil {
		config := p.tls.Browser()
		config.NextProtos = protocols
		patient.secure = func(conn net.Conn) net.Conn { return tls.Server(conn, config) }
	}
	return patient
}

// close closes the listeners without a server.
func (p *ports) close() error {
	err := p.grpc.Close()
	if p.http != nil {
		err = errors.Join(err, p.http.Close())
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// reachable returns the address of l as seen by others.
func (c *Common) reachable(l net.Listener) (string, error) {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	ip := net.ParseIP(host)
	switch {
	case c.Advertise != "":
		host = c.Advertise
	case ip == nil || !ip.IsUnspecified():
	case len(c.Join) > 0:
		conn, err := net.Dial("udp", c.Join[0]) // sends nothing
		if err != nil {
			return "", fmt.Errorf("-join %s: %w", c.Join[0], err)
		}
		defer conn.Close()
		host = conn.LocalAddr().(*net.UDPAddr).IP.String()
	default:
		if host = firstAddress(); host == "" {
			return "", fmt.Errorf("-listen %s: this machine has no address for other machines; give one with -advertise", c.Listen)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// firstAddress returns the machine's first address outside loopback.
func firstAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// gossip returns the gossip of the process.
func (c *Common) gossip(self gossip.Member, changed func([]gossip.Member)) (*gossip.Gossip, error) {
	advertise, _, err := net.SplitHostPort(self.Address)
	if err != nil {
		return nil, err
	}
	if host, _, err := net.SplitHostPort(c.Gossip); err == nil && c.Advertise == "" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			advertise = "" // gossip listens on an address of its own
		}
	}
	self.Platform, self.Version = runtime.GOOS+"/"+runtime.GOARCH, shortenVersion(c.Version)
	return gossip.New(gossip.Config{Self: self, Listen: c.Gossip, Advertise: advertise, Join: c.Join, Key: c.GossipKey,
		Allowed: c.GossipAllowed, Label: c.Label, Changed: changed, Log: c.Log})
}

// shortenVersion limits the length of a version in gossip.
func shortenVersion(version string) string { return version[:min(len(version), 32)] }

// httpAddress returns the address of the status page as seen by others, or "".
func (p *ports) httpAddress() string {
	if p.http == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(p.http.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if host, _, err = net.SplitHostPort(p.advertise); err != nil {
			return ""
		}
	}
	return net.JoinHostPort(host, port)
}

// clientCreds returns credentials for connections to servers of a role.
func (p *ports) clientCreds(to security.Role) credentials.TransportCredentials {
	if p.tls == nil {
		return insecure.NewCredentials()
	}
	return p.tls.Client(to)
}

// notice returns a sentence about the end of this process's certificate for its pages, or "".
func (p *ports) notice() string {
	if p.tls == nil {
		return ""
	}
	return p.tls.Notice()
}

// watch looks after the certificates until ctx ends.
func (p *ports) watch(ctx context.Context) error {
	if p.tls != nil {
		p.tls.Watch(ctx)
	}
	return nil
}

// serverCreds returns credentials for incoming connections.
func (p *ports) serverCreds() credentials.TransportCredentials {
	switch {
	case p.tls != nil:
		return p.tls.Server()
	case p.sameUser:
		return security.SameUser()
	}
	return insecure.NewCredentials()
}

// authorize returns the check of incoming RPCs; nil permits everything.
func (p *ports) authorize() func(context.Context, string) error {
	switch {
	case p.tls != nil:
		return security.Authorize
	case p.sameUser:
		return security.AuthorizeSameUser
	}
	return nil
}

// caller returns the context of an HTTP request with its caller, for authorize.
func (p *ports) caller(r *http.Request) context.Context {
	return security.RequestContext(r, p.sameUser)
}

// dial returns a function that connects to processes of a role.
func (p *ports) dial(to security.Role) func(address string) (*grpc.ClientConn, error) {
	creds := p.clientCreds(to)
	return func(address string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+address, append(wire.DialOptions(), grpc.WithTransportCredentials(creds))...)
	}
}

// ready calls c.Ready once gossip listens.
func (c *Common) ready(ctx context.Context, p *ports, g *gossip.Gossip) error {
	addr, err := g.Address(ctx)
	if err != nil {
		return nil // the family ends with its own error
	}
	a := Addresses{GRPC: p.advertise, HTTP: p.httpAddress(), Gossip: addr}
	c.Log.Info("serving", "address", a.GRPC, "http", cmp.Or(a.HTTP, "none"), "gossip", a.Gossip, "tls", p.tls != nil, "version", c.Version)
	notifyStates(ctx)
	if c.Ready != nil {
		c.Ready(a)
	}
	return nil
}
