// Package gossiptest provides an in-memory network for tests of gossip, also in synctest bubbles.
// As on a real network, packets to a stopped or cut-off peer are dropped, and connections to it
// time out.
package gossiptest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network connects transports. Its zero value is ready to use. Its methods may be called
// concurrently.
type Network struct {
	// Loss is the share of lost packets, from 0 to 1. Set it before the first transport is made.
	Loss float64
	// Arrive returns the delays after which the copies of a packet arrive. No delay means a loss,
	// several mean repeats. A nil Arrive delivers immediately. Set it before the first transport is
	// made. It must not call the network.
	Arrive func() []time.Duration

	// mu guards the fields below.
	mu    sync.Mutex
	peers map[string]*Transport
	cut   func(a, b string) bool
	conns map[*conn]struct{}
	rand  *rand.Rand
}

// Transport is one socket of the network.
type Transport struct {
	net     *Network
	addr    *net.TCPAddr
	packets chan *memberlist.Packet
	streams chan net.Conn
}

// Listen returns a new transport. Its address is 10.0.0.N with port 7946, N counting from 1.
func (n *Network) Listen() *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers == nil {
		n.peers, n.conns, n.rand = map[string]*Transport{}, map[*conn]struct{}{}, rand.New(rand.NewPCG(1, 0))
	}
	i := len(n.peers) + 1
	return n.listen(&net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: 7946})
}

// listen makes a transport. The caller must hold mu.
func (n *Network) listen(addr *net.TCPAddr) *Transport {
	t := &Transport{net: n, addr: addr, packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn)}
	n.peers[t.Address()] = t
	return t
}

// Restart stops the transport and returns a new one at its address, like a restarted process.
func (t *Transport) Restart() *Transport {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	return t.net.listen(t.addr)
}

// Cut blocks traffic from one address to another where cut returns true, and closes connections
// between them. It replaces the previous cut; nil removes all cuts.
func (n *Network) Cut(cut func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for c := range n.conns {
		if n.isCut(c.from, c.to) || n.isCut(c.to, c.from) {
			_ = c.Conn.Close()
			delete(n.conns, c)
		}
	}
}

func (n *Network) isCut(from, to string) bool { return n.cut != nil && n.cut(from, to) }

// Address returns the address of the transport, host:port.
func (t *Transport) Address() string { return t.addr.String() }

// Stop makes the transport unreachable permanently, like a killed process.
func (t *Transport) Stop() {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	if t.net.peers[t.Address()] == t {
		t.net.peers[t.Address()] = nil
	}
}

// FinalAdvertiseAddr returns the address of the transport.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.IP, t.addr.Port, nil
}

// WriteTo sends a packet, or drops it.
func (t *Transport) WriteTo(b []byte, to string) (time.Time, error) {
	n, now := t.net, time.Now()
	times := []time.Duration{0}
	if n.Arrive != nil {
		times = n.Arrive()
	}
	p := &memberlist.Packet{Buf: slices.Clone(b), From: t.addr, Timestamp: now}
	for _, after := range times {
		if after == 0 {
			n.deliver(t, p, to)
		} else {
			time.AfterFunc(after, func() { n.deliver(t, p, to) })
		}
	}
	return now, nil
}

// deliver passes a packet to the transport at an address, or drops it.
func (n *Network) deliver(from *Transport, p *memberlist.Packet, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := n.peers[to]
	if peer == nil || n.peers[from.Address()] != from || n.isCut(from.Address(), to) || n.Loss > 0 && n.rand.Float64() < n.Loss {
		return
	}
	copied := *p
	copied.Buf = slices.Clone(p.Buf) // the receiver may write to it
	select {
	case peer.packets <- &copied:
	default:
	}
}

// PacketCh returns the received packets.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns the accepted connections.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown stops the transport.
func (t *Transport) Shutdown() error {
	t.Stop()
	return nil
}

// DialTimeout connects to another transport. It fails after timeout when that transport is
// unreachable.
func (t *Transport) DialTimeout(to string, timeout time.Duration) (net.Conn, error) {
	n := t.net
	n.mu.Lock()
	peer := n.peers[to]
	if n.peers[t.Address()] != t || n.isCut(t.Address(), to) || n.isCut(to, t.Address()) {
		peer = nil
	}
	n.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	if peer == nil {
		<-timer.C
		return nil, fmt.Errorf("dial %s: %w", to, errTimeout)
	}
	here, there := net.Pipe()
	select {
	case peer.streams <- n.track(there, to, t.Address()):
		return n.track(here, t.Address(), to), nil
	case <-timer.C:
		return nil, fmt.Errorf("dial %s: %w", to, errTimeout)
	}
}

var errTimeout = errors.New("timeout")

// conn is one end of a connection.
type conn struct {
	net.Conn
	net      *Network
	from, to string
}

func (n *Network) track(c net.Conn, from, to string) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	tracked := &conn{c, n, from, to}
	n.conns[tracked] = struct{}{}
	return tracked
}

// RemoteAddr returns the address of the other end.
func (c *conn) RemoteAddr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", c.to)
	if err != nil {
		return c.Conn.RemoteAddr()
	}
	return addr
}

func (c *conn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
