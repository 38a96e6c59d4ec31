package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/retry"
)

// connectParams are for connections to peers, connectSoon for those to the coordinator. Pauses
// are short, as callers have retry rules of their own.
var (
	connectParams = retry.Connections(5*time.Second, minPause, 2*time.Second)
	connectSoon   = retry.Connections(5*time.Second, minPause, maxPause)
)

const (
	// maxPeers limits the known peers. The coordinator sends all peers again when a worker joins.
	maxPeers = 20_000
	// peerIdle is how long an unused connection to a peer is kept open.
	peerIdle = time.Minute
)

// peers holds the addresses of other workers, and connections to the ones needed so far. The name
// of a process always has one address. A worker ID has the address of the worker's newest known
// process.
type peers struct {
	dial      func(address string) (*grpc.ClientConn, error)
	manifests *manifestCache
	received  atomic.Int64 // bytes read from their outputs
	// readsFiles allows to read files of workers on the same machine. It is set before the first
	// use.
	readsFiles bool

	// mu guards the fields below.
	mu        sync.Mutex
	closed    bool
	addresses map[string]string
	conns     map[string]*grpc.ClientConn // by name
	remotes   map[string]*remoteOutputs
}

func newPeers(dial func(address string) (*grpc.ClientConn, error)) *peers {
	return &peers{dial: dial, manifests: newManifestCache(), addresses: map[string]string{}, conns: map[string]*grpc.ClientConn{}, remotes: map[string]*remoteOutputs{}}
}

// add adds workers, by name or ID.
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

// conn returns a connection to a worker, nil if the worker is unknown.
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
	if err != nil { // the address is not valid
		return nil
	}
	p.conns[name] = conn
	return conn
}

// remote returns the outputs of a worker, nil if the worker is unknown.
func (p *peers) remote(name string) *remoteOutputs {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remotes[name]
	if r == nil {
		conn := p.connLocked(name)
		if conn == nil {
			return nil
		}
		r = newRemote(conn, name, p.manifests)
		r.received, r.readsFiles = &p.received, p.readsFiles
		p.remotes[name] = r
	}
	return r
}

// outputs is remote with the type of Config.Peer.
func (p *peers) outputs(name string) Outputs {
	if r := p.remote(name); r != nil {
		return r
	}
	return nil
}

// close closes all connections, which ends running calls.
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

// coordinatorConn is the connection to one of the present coordinators.
type coordinatorConn struct {
	find func(ctx context.Context, known []string) ([]string, error)
	open func(list addresses.List) (*addresses.Conn, error)

	// mu guards the fields below.
	mu    sync.Mutex
	found []string // the result of find
	conn  *addresses.Conn
}

// connect finds the coordinators and returns the connection to one of them.
func (c *coordinatorConn) connect(ctx context.Context) (*addresses.Conn, error) {
	found, err := c.find(ctx, nil)
	if err != nil {
		return nil, err
	}
	return c.update(found)
}

// update sets the coordinators' addresses.
func (c *coordinatorConn) update(found []string) (conn *addresses.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = found
	if c.conn == nil {
		c.conn, err = c.open(found)
		return c.conn, err
	}
	c.conn.Update(found)
	return c.conn, nil
}

// follow updates the addresses whenever they change, until ctx ends.
func (c *coordinatorConn) follow(ctx context.Context) {
	for {
		c.mu.Lock()
		known := c.found
		c.mu.Unlock()
		found, err := c.find(ctx, known)
		if err == nil {
			_, err = c.update(found)
		}
		if err != nil {
			return
		}
	}
}

var errNoCoordinator = errors.New("no coordinator was found yet")

// last returns the connection, nil before connect.
func (c *coordinatorConn) last() *addresses.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// current returns the connection for calls.
func (c *coordinatorConn) current() (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil, errNoCoordinator
	}
	return c.conn.ClientConn, nil
}

func (c *coordinatorConn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}
