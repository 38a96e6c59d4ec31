package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/wire"
)

// connectParams has connections tried again soon: what they are for is tried again by its own rules. connectSoon is for those to the coordinator.
var (
	connectParams = retry.Connections(5*time.Second, minPause, 2*time.Second)
	connectSoon   = retry.Connections(5*time.Second, minPause, maxPause)
)

const (
	// maxPeers is how many peers are known at a time. The coordinator tells them again when a worker joins anew.
	maxPeers = 20_000
	// peerIdle is how long a connection to a peer is kept, and made again when it breaks, without being used.
	peerIdle = time.Minute
)

// peers are the other workers: where they are, and the connections to those that were needed. The name of a process always has the
// same address; a lasting name has that of the last process that is known.
type peers struct {
	dial func(address string) (*grpc.ClientConn, error)
	seen *manifestCache
	got  atomic.Int64 // bytes of their outputs that were read

	// mu guards the fields below.
	mu        sync.Mutex
	closed    bool
	addresses map[string]string
	conns     map[string]*grpc.ClientConn // by name
	remotes   map[string]*remoteOutputs
}

func newPeers(dial func(address string) (*grpc.ClientConn, error)) *peers {
	return &peers{dial: dial, seen: newManifestCache(), addresses: map[string]string{}, conns: map[string]*grpc.ClientConn{}, remotes: map[string]*remoteOutputs{}}
}

// know adds workers.
func (p *peers) add(addresses map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, address := range addresses {
		if p.addresses[name] == address {
			continue
		}
		for other := range p.addresses {
			if len(p.addresses) < maxPeers {
				break
			}
			if conn := p.conns[other]; conn == nil || conn.GetState() == connectivity.Idle {
				p.forget(other)
			}
		}
		p.forget(name)
		p.addresses[name] = address
	}
}

// forget closes the connection to a worker. The caller holds mu.
func (p *peers) forget(name string) {
	if conn := p.conns[name]; conn != nil {
		_ = conn.Close()
	}
	delete(p.conns, name)
	delete(p.remotes, name)
	delete(p.addresses, name)
}

// conn returns a connection to a worker; nil when it is not known.
func (p *peers) conn(name string) *grpc.ClientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connLocked(name)
}

func (p *peers) connLocked(name string) *grpc.ClientConn {
	if conn := p.conns[name]; conn != nil {
		return conn
	}
	address := p.addresses[name]
	if address == "" || p.closed {
		return nil
	}
	conn, err := p.dial(address)
	if err != nil { // the address makes no sense
		return nil
	}
	p.conns[name] = conn
	return conn
}

// remote returns the outputs of a worker; nil when it is not known.
func (p *peers) remote(name string) *remoteOutputs {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remotes[name]
	if r == nil {
		conn := p.connLocked(name)
		if conn == nil {
			return nil
		}
		r = newRemote(conn, name, p.seen)
		r.got = &p.got
		p.remotes[name] = r
	}
	return r
}

// outputs is remote for Config.Peer.
func (p *peers) outputs(name string) Outputs {
	if r := p.remote(name); r != nil {
		return r
	}
	return nil
}

// close closes all connections, which ends the calls at work.
func (p *peers) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var err error
	for name, conn := range p.conns {
		err = errors.Join(err, conn.Close())
		delete(p.conns, name)
	}
	return err
}

// coordinator is the connection to the coordinator, wherever that is now.
type coordinatorConn struct {
	find  func(ctx context.Context) (string, error)
	dial  func(address string) (*grpc.ClientConn, error)
	plain bool // over TCP without TLS

	// mu guards the fields below.
	mu      sync.Mutex
	address string
	conn    *grpc.ClientConn
}

// connect looks for the coordinator and returns a connection to it, which close or the next connect may close.
func (c *coordinatorConn) connect(ctx context.Context) (*grpc.ClientConn, error) {
	address, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.address == address {
		return c.conn, nil
	}
	conn, err := c.dial(address)
	if err != nil {
		return nil, err
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.address, c.conn = address, conn
	return conn, nil
}

// distrust returns why the coordinator and this worker do not trust each other when err means that, else nil.
func (c *coordinatorConn) explainDistrust(ctx context.Context, err error) error {
	c.mu.Lock()
	address := c.address
	c.mu.Unlock()
	return wire.Distrust(ctx, err, address, c.plain)
}

var errNoCoordinator = errors.New("no coordinator was found yet")

// current returns the connection that connect returned last.
func (c *coordinatorConn) current() (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil, errNoCoordinator
	}
	return c.conn, nil
}

func (c *coordinatorConn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}
