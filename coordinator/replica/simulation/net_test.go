package simulation

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network connects the members. A connection behaves like TCP: bytes arrive in order, once, or the
// connection breaks. Bytes on a link that is cut are kept and arrive after the cut, as the kernel
// repeats them. Messages are therefore never lost silently, but any number of them may come late,
// and on another connection than later ones.
type network struct {
	seed uint64
	// mu guards everything, also the pipes.
	mu      sync.Mutex
	hosts   map[string]*endpoint
	links   map[[2]string]*link
	pipes   map[*pipe]struct{}
	changed chan struct{} // closed and replaced when a link changes
}

// link is one direction between two members.
type link struct {
	cuts int           // number of faults that cut it
	slow time.Duration // added to the latency
	rng  *rand.Rand    // one for each link, so that a seed changes little when a message is added
}

// endpoint is the network of one process.
type endpoint struct {
	n        *network
	address  string
	accepted chan net.Conn
	closed   chan struct{} // the listener is closed
	dead     bool          // the process has been killed
	silent   bool          // nobody has been told
	once     sync.Once
}

func newNetwork(seed uint64) *network {
	return &network{seed: seed, hosts: map[string]*endpoint{}, links: map[[2]string]*link{}, pipes: map[*pipe]struct{}{}, changed: make(chan struct{})}
}

// link returns the link from one address to another. The caller holds n.mu.
func (n *network) link(from, to string) *link {
	l := n.links[[2]string{from, to}]
	if l == nil {
		h := fnv.New64()
		_, _ = h.Write([]byte(from + to))
		l = &link{rng: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
		n.links[[2]string{from, to}] = l
	}
	return l
}

// latency returns the time of one packet. The caller holds n.mu.
func (n *network) latency(l *link) time.Duration {
	d := 100*time.Microsecond + time.Duration(l.rng.Int64N(int64(400*time.Microsecond)))
	if l.rng.IntN(64) == 0 {
		d += time.Duration(l.rng.Int64N(int64(20 * time.Millisecond)))
	}
	if l.slow > 0 {
		d += l.slow/2 + time.Duration(l.rng.Int64N(int64(l.slow)))
	}
	return d
}

// cut adds or removes a cut of the link from one address to another.
func (n *network) cut(from, to string, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	if l.cuts += by; l.cuts > 0 {
		return
	}
	close(n.changed)
	n.changed = make(chan struct{})
	now := time.Now()
	for p := range n.pipes {
		if p.from == from && p.to == to && !p.owner.dead { // a dead sender repeats nothing
			late := time.Duration(l.rng.Int64N(int64(200 * time.Millisecond))) // until the next repetition
			for i := range p.queue {
				if p.queue[i].at.IsZero() {
					p.last = latest(p.last, now.Add(late))
					p.queue[i].at = p.last
				}
			}
			p.signal()
		}
	}
}

// slow sets the additional latency of a link.
func (n *network) slow(from, to string, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).slow = by
}

// reset breaks all connections between two addresses.
func (n *network) reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.pipes {
		if p.from == a && p.to == b || p.from == b && p.to == a {
			p.fail(syscall.ECONNRESET)
		}
	}
}

// listen starts the network of a process.
func (n *network) listen(address string) *endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.hosts[address]; old != nil && old.silent { // the new kernel does not know the connections
		n.breakAll(old)
	}
	e := &endpoint{n: n, address: address, accepted: make(chan net.Conn, 64), closed: make(chan struct{})}
	n.hosts[address] = e
	return e
}

// kill ends the network of a process. After a silent end, the others notice nothing until the next
// process at the address.
func (e *endpoint) kill(silent bool) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	e.dead, e.silent = true, silent
	if !silent {
		e.n.breakAll(e)
	}
}

// breakAll breaks all connections of a dead process. The caller holds n.mu.
func (n *network) breakAll(e *endpoint) {
	e.silent = false
	for p := range n.pipes {
		if p.owner == e || p.reader == e {
			p.fail(syscall.ECONNRESET)
		}
	}
}

// Accept implements net.Listener.
func (e *endpoint) Accept() (net.Conn, error) {
	select {
	case c := <-e.accepted:
		return c, nil
	case <-e.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (e *endpoint) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

// Addr implements net.Listener.
func (e *endpoint) Addr() net.Addr { return addr(e.address) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// dial connects to an address.
func (e *endpoint) dial(ctx context.Context, to string) (net.Conn, error) {
	n := e.n
	for {
		n.mu.Lock()
		out, back := n.link(e.address, to), n.link(to, e.address)
		if e.dead || out.cuts > 0 || back.cuts > 0 || n.hosts[to] != nil && n.hosts[to].dead && n.hosts[to].silent {
			changed := n.changed
			n.mu.Unlock()
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		trip := n.latency(out) + n.latency(back)
		n.mu.Unlock()
		if err := sleep(ctx, trip); err != nil {
			return nil, err
		}
		n.mu.Lock()
		host := n.hosts[to]
		if host == nil || host.dead || isClosed(host.closed) {
			n.mu.Unlock()
			return nil, syscall.ECONNREFUSED
		}
		there, here := n.pipe(e, host), n.pipe(host, e)
		n.mu.Unlock()
		select {
		case host.accepted <- &conn{in: there, out: here}:
		default:
			return nil, syscall.ECONNREFUSED
		}
		return &conn{in: here, out: there}, nil
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// packet is a number of bytes, or the end of a direction, that arrives at a time; zero while the
// link is cut.
type packet struct {
	at   time.Time
	data []byte
	end  bool
}

// pipe is one direction of a connection.
type pipe struct {
	n             *network
	from, to      string
	owner, reader *endpoint
	queue         []packet
	last          time.Time
	err           error
	wake          chan struct{} // capacity 1
	// deadline is the read deadline.
	deadline time.Time
}

func (n *network) pipe(from, to *endpoint) *pipe {
	p := &pipe{n: n, from: from.address, to: to.address, owner: from, reader: to, wake: make(chan struct{}, 1)}
	n.pipes[p] = struct{}{}
	return p
}

func (p *pipe) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// fail breaks the direction. The caller holds n.mu.
func (p *pipe) fail(err error) {
	if p.err == nil {
		p.err, p.queue = err, nil
		delete(p.n.pipes, p)
		p.signal()
	}
}

// push sends a packet, unless the process is dead. The caller holds n.mu.
func (p *pipe) push(k packet) {
	if p.owner.dead {
		return
	}
	if l := p.n.link(p.from, p.to); l.cuts == 0 {
		p.last = latest(p.last, time.Now().Add(p.n.latency(l)))
		k.at = p.last
	}
	p.queue = append(p.queue, k)
	p.signal()
}

// conn is one end of a connection. It implements net.Conn.
type conn struct {
	in, out *pipe
}

func (c *conn) Read(b []byte) (int, error) {
	p := c.in
	for {
		p.n.mu.Lock()
		now := time.Now()
		wait := time.Duration(-1)
		switch {
		case p.err != nil:
			p.n.mu.Unlock()
			return 0, p.err
		case !p.deadline.IsZero() && !now.Before(p.deadline):
			p.n.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p.queue) > 0 && !p.queue[0].at.IsZero() && !p.queue[0].at.After(now):
			k := &p.queue[0]
			if k.end {
				p.n.mu.Unlock()
				return 0, io.EOF
			}
			n := copy(b, k.data)
			if k.data = k.data[n:]; len(k.data) == 0 {
				p.queue = p.queue[1:]
			}
			p.n.mu.Unlock()
			return n, nil
		case len(p.queue) > 0 && !p.queue[0].at.IsZero():
			wait = p.queue[0].at.Sub(now)
		}
		if !p.deadline.IsZero() && (wait < 0 || p.deadline.Sub(now) < wait) {
			wait = p.deadline.Sub(now)
		}
		p.n.mu.Unlock()
		if wait < 0 {
			<-p.wake
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-p.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// maxUnread is the size of the buffers between two processes.
const maxUnread = 4 << 20

func (c *conn) Write(b []byte) (int, error) {
	p := c.out
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	size := 0
	for _, k := range p.queue {
		size += len(k.data)
	}
	if size > maxUnread { // nobody reads: a real write would block until its deadline
		return 0, os.ErrDeadlineExceeded
	}
	p.push(packet{data: append([]byte(nil), b...)})
	return len(b), nil
}

func (c *conn) Close() error {
	c.in.n.mu.Lock()
	defer c.in.n.mu.Unlock()
	if c.out.err == nil {
		c.out.push(packet{end: true})
	}
	c.in.fail(net.ErrClosed)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return addr(c.in.to) }
func (c *conn) RemoteAddr() net.Addr { return addr(c.in.from) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.n.mu.Lock()
	defer c.in.n.mu.Unlock()
	c.in.deadline = t
	c.in.signal()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error { return nil } // writes do not block
