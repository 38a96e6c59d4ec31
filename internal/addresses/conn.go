package addresses

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/layshaft/layshaft/internal/wire"
)

// connectLimit is how long TCP waits for one IP address. A host that is off drops packets, and the
// system alone would wait for minutes.
const connectLimit = time.Second

// TCP connects to an address within a second for each IP address of its host.
func TCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectLimit}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil || len(ips) == 1 {
		return d.DialContext(ctx, "tcp", address)
	}
	for _, ip := range ips {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, "tcp", net.JoinHostPort(ip, port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Conn is a connection to one of several coordinators. It connects on first use.
type Conn struct {
	*grpc.ClientConn
	plain    bool // over TCP without TLS
	resolver *manual.Resolver
	tries    *tries
	watch    *watch

	// updating is held while the resolver gets a new list. gRPC then waits for its callbacks, which
	// take mu. Lock it before mu.
	updating sync.Mutex

	// mu guards the fields below.
	mu    sync.Mutex
	list  List
	skips int // calls of Skip
}

// scheme is the scheme of targets whose addresses Open sets.
const scheme = "coordinators"

// Open returns a connection to the coordinators of a list. dial opens network connections; nil
// means TCP. Set plain if they are TCP connections without TLS.
func Open(list List, dial func(ctx context.Context, address string) (net.Conn, error), plain bool, options ...grpc.DialOption) (*Conn, error) {
	c := &Conn{list: list, plain: plain, tries: &tries{}}
	c.watch = &watch{conn: c}
	c.tries.ready = c.watch.start
	target := list[0] // gRPC finds all IP addresses of its host, and connects to one
	if dial != nil || len(list) > 1 {
		if dial == nil {
			dial = TCP
		}
		c.resolver = manual.NewBuilderWithScheme(scheme)
		c.resolver.InitialState(c.state(list, 0))
		target = scheme + ":///coordinators"
		options = append(slices.Clone(options), grpc.WithResolvers(c.resolver), grpc.WithDefaultServiceConfig(serviceConfig), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err == nil {
				c.watch.add(address, conn)
			}
			return conn, err
		}))
	}
	options = append(slices.Clone(options), grpc.WithChainUnaryInterceptor(c.skipUnary), grpc.WithChainStreamInterceptor(c.skipStream))
	var err error
	if c.ClientConn, err = grpc.NewClient(target, options...); err != nil {
		return nil, err
	}
	return c, nil
}

// state returns the addresses for gRPC. Addresses with another number of skips count as others, so
// that gRPC connects again.
func (c *Conn) state(list List, skips int) resolver.State {
	s := resolver.State{Attributes: attributes.New(triesKey{}, c.tries)}
	for _, a := range list {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a, ServerName: a, Attributes: attributes.New(skipsKey{}, skips)}}})
	}
	return s
}

type skipsKey struct{}

// Update replaces the list. A connection to an address that stays in it is kept; calls on another
// one continue. It is not for connections that Open made without dial.
func (c *Conn) Update(list List) {
	c.updating.Lock()
	c.mu.Lock()
	changed, skips := !slices.Equal(list, c.list), c.skips
	c.list = list
	c.mu.Unlock()
	if changed {
		c.resolver.UpdateState(c.state(list, skips))
	}
	c.updating.Unlock()
	c.watch.start()
}

// Skip connects to another coordinator than the present one, if one can be reached. Calls on the
// present connection continue. Without a connection it does nothing.
func (c *Conn) Skip() { c.skipAfter(c.skipped()) }

// skipped returns the number of calls of Skip so far.
func (c *Conn) skipped() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skips
}

// skipAfter is Skip, unless there were others since the first n.
func (c *Conn) skipAfter(n int) {
	using := c.Using()
	c.updating.Lock()
	defer c.updating.Unlock()
	c.mu.Lock()
	i := slices.Index(c.list, using)
	if i < 0 || c.resolver == nil || c.skips != n {
		c.mu.Unlock()
		return
	}
	c.skips++
	list, skips := slices.Concat(c.list[i+1:], c.list[:i+1]), c.skips
	c.mu.Unlock()
	c.resolver.UpdateState(c.state(list, skips))
}

// List returns the addresses.
func (c *Conn) List() List {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list
}

// Using returns the address of the coordinator to which it is connected; empty without one.
func (c *Conn) Using() string {
	using, _ := c.tries.last()
	return using
}

// Away describes err, the error of a call, as coordinators out of reach, with the last reason of
// each address. The result wraps what wire.FromStatus makes of err.
func (c *Conn) Away(err error) error {
	list, cause := c.List(), wire.FromStatus(err)
	using, failed := c.tries.last()
	var reasons []string
	for _, a := range list {
		if e := failed[a]; e != nil {
			reasons = append(reasons, a+": "+strings.TrimPrefix(wire.Reason(e), "dial tcp "+a+": "))
		}
	}
	switch {
	case len(list) == 1 && failed[list[0]] != nil: // err may have the words of a call that waited
		return awayError{cause, fmt.Sprintf("coordinator %s cannot be reached: %s", list[0], wire.Reason(failed[list[0]]))}
	case len(list) == 1:
		return awayError{cause, fmt.Sprintf("coordinator %s cannot be reached: %s", list[0], wire.Reason(err))}
	case using != "": // this coordinator, or its connection, returned err
		return awayError{cause, fmt.Sprintf("coordinator %s cannot be reached: %s", using, wire.Reason(err))}
	case len(reasons) < len(list): // a connection has just broken, or the list is new
		return awayError{cause, fmt.Sprintf("no coordinator of %s can be reached: %s", list, wire.Reason(err))}
	}
	return awayError{cause, "no coordinator can be reached: " + strings.Join(reasons, "; ")}
}

// Unreachable is Away with the way out.
func (c *Conn) Unreachable(err error) error {
	if list := c.List(); len(list) == 1 {
		return wire.Unreachable(list[0], err)
	}
	return fmt.Errorf("%w; start one of them (layshaft coordinator), or name others with -cluster HOST:PORT,HOST:PORT", c.Away(err))
}

// EndedWhileAway returns the cause of the end of ctx, which ended a call. The result tells if no
// coordinator could be reached at that time, and why: away has the reason of the attempt before,
// and is nil in the first one.
func (c *Conn) EndedWhileAway(ctx context.Context, away error) error {
	if away == nil && c.GetState() == connectivity.Connecting {
		away = awayError{wire.ErrUnavailable, fmt.Sprintf("no answer yet from coordinator %s", c.List())}
	}
	if away == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; %w", context.Cause(ctx), away)
}

type awayError struct {
	error
	text string
}

func (e awayError) Error() string { return e.text }

func (e awayError) Unwrap() error { return e.error }

// Mismatch is wire.Mismatch for the address of err. With several addresses, all must have failed
// that way: otherwise another one may answer soon.
func (c *Conn) Mismatch(ctx context.Context, err error) error {
	list := c.List()
	if len(list) == 1 {
		return wire.Mismatch(ctx, err, list[0], c.plain)
	}
	using, failed := c.tries.last()
	if using != "" || err == nil {
		return nil
	}
	var first error
	var texts []string
	for _, a := range list {
		e := failed[a]
		if e == nil {
			return nil
		}
		why := c.tries.mismatch(a, e, func() error { return wire.Mismatch(ctx, e, a, c.plain) })
		if why == nil {
			return nil
		}
		if first == nil {
			first = why
		}
		texts = append(texts, why.Error())
	}
	return awayError{first, strings.Join(texts, "; ")}
}
