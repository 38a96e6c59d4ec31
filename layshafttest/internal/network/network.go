// Package network is an in-memory network for clusters in synctest bubbles. Tests can cut, delay
// and reorder its links. It knows nothing of the protocols on its connections.
//
// It behaves like TCP. Data sent into a cut arrives after the cut ends. Dialling through a cut
// hangs. A port without a listener refuses. A host that shuts down resets its connections; its
// peers notice, unless a cut separates them.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network connects hosts. The zero value is ready. Its methods may be called concurrently.
type Network struct {
	// mu guards the fields below.
	mu        sync.Mutex
	listeners map[string]*Listener // by address
	pipes     map[*pipe]bool       // the open ones
	cut       func(from, to string) bool
	delay     func(from, to string) time.Duration
	changed   chan struct{} // closed and replaced when cut or listeners change
}

// Host is one process on the network, from its start to its end. Successive hosts may use the
// same place.
type Host struct {
	net   *Network
	place string

	// Stop closes down.
	down chan struct{}
	once sync.Once
}

// Host returns a new process at a place. Cut and Delay use the name of the place.
func (n *Network) Host(place string) *Host {
	return &Host{net: n, place: place, down: make(chan struct{})}
}

// Cut stops all data from one place to another, for each pair for which cut returns true. It
// replaces the previous cut; nil ends all cuts.
func (n *Network) Cut(cut func(from, to string) bool) {
	n.mu.Lock()
	n.cut = cut
	n.changeLocked()
	pipes := make([]*pipe, 0, len(n.pipes))
	for p := range n.pipes {
		pipes = append(pipes, p)
	}
	n.mu.Unlock()
	for _, p := range pipes {
		signal(p.readable)
	}
}

// Delay sets the delay of each piece of data from one place to another; nil means none. Pieces of
// one connection stay in order.
func (n *Network) Delay(delay func(from, to string) time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

func (n *Network) changeLocked() {
	if n.changed != nil {
		close(n.changed)
	}
	n.changed = nil
}

// state returns the listener of an address, and a channel that is closed when the listener or a
// cut changes.
func (n *Network) state(from, to string) (l *Listener, severed bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	if l = n.listeners[to]; l != nil {
		severed = n.cut != nil && (n.cut(from, l.host.place) || n.cut(l.host.place, from))
	}
	return l, severed, n.changed
}

func (n *Network) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut != nil && n.cut(from, to)
}

func (n *Network) arrival(from, to string) time.Time {
	n.mu.Lock()
	delay := n.delay
	n.mu.Unlock()
	if delay == nil {
		return time.Now()
	}
	return time.Now().Add(delay(from, to))
}

// Stop ends the host like the end of a process: it resets the connections and closes the
// listeners.
func (h *Host) Stop() {
	h.once.Do(func() {
		close(h.down)
		n := h.net
		n.mu.Lock()
		for address, l := range n.listeners {
			if l.host == h {
				delete(n.listeners, address)
			}
		}
		n.changeLocked()
		var from, to []*pipe
		for p := range n.pipes {
			if p.from == h {
				from = append(from, p)
			}
			if p.to == h {
				to = append(to, p)
			}
		}
		n.mu.Unlock()
		for _, p := range from {
			p.reset(false)
		}
		for _, p := range to {
			p.reset(true)
		}
	})
}

var errDown = errors.New("the process has ended")

// Listen listens at an address, which must be free.
func (h *Host) Listen(address string) (*Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("listen %s: %w", address, syscall.EADDRINUSE)
	}
	l := &Listener{host: h, addr: addr, conns: make(chan net.Conn, 1024), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[string]*Listener{}
	}
	n.listeners[address] = l
	n.changeLocked()
	return l, nil
}

// Dial connects to an address. It waits while the way is cut. It fails if nothing listens there,
// the host is shut, or ctx ends.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	n := h.net
	for {
		l, severed, changed := n.state(h.place, address)
		select {
		case <-h.down:
			return nil, fmt.Errorf("dial %s: %w", address, errDown)
		default:
		}
		if l == nil {
			return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
		}
		if !severed {
			return n.connect(h, l)
		}
		select {
		case <-changed:
		case <-h.down:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
		}
	}
}

func (n *Network) connect(h *Host, l *Listener) (net.Conn, error) {
	there, back := newPipe(n, h, l.host), newPipe(n, l.host, h)
	here := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	n.mu.Lock()
	if n.pipes == nil {
		n.pipes = map[*pipe]bool{}
	}
	n.pipes[there], n.pipes[back] = true, true
	n.mu.Unlock()
	select {
	case l.conns <- &conn{in: there, out: back, local: l.addr, remote: here}:
		return &conn{in: back, out: there, local: here, remote: l.addr}, nil
	default:
		return nil, fmt.Errorf("dial %s: %w", l.addr, syscall.ECONNREFUSED)
	}
}

// Listener is one port.
type Listener struct {
	host   *Host
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept returns the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.host.down:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

// Close frees the address and closes connections not yet accepted.
func (l *Listener) Close() error {
	l.once.Do(func() {
		n := l.host.net
		n.mu.Lock()
		if n.listeners[l.addr.String()] == l {
			delete(n.listeners, l.addr.String())
			n.changeLocked()
		}
		n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.conns:
				_ = c.Close()
				continue
			default:
			}
			break
		}
	})
	return nil
}

// Addr returns the address.
func (l *Listener) Addr() net.Addr { return l.addr }
