package node

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// The main port of a member of a group also takes connections from other members. They begin with
// memberHello and one byte, the kind of the connection.
const memberHello = "LSCOORD1"

// The kinds of connections from other members: one for the messages of raft, and one for each port,
// whose connections are forwarded.
const (
	memberStream       = 'm'
	forwardGRPC        = 'g'
	forwardHTTP        = 'h'
	forwardGearman     = 'q'
	forwardGearmanHTTP = 'w'
)

// helloWait limits the wait for the first bytes of a connection.
const helloWait = 10 * time.Second

// doors are the ports of a member. While the member leads, its own servers get the connections;
// otherwise they are forwarded to the leader, byte by byte. Encryption stays between the two ends.
// Two kinds of connections stay here: connections to the pages, whose server forwards single
// requests, and gRPC connections while there is no leader.
type doors struct {
	// elected reports whether this member leads, or is about to: its servers follow.
	elected func() bool
	// leader returns the address of the leader's main port, or "".
	leader func() string
	// find asks other members, and returns the address of the main port of the leader, or
	// "". It may take a second; nil finds none.
	find func(context.Context) string
	// changed returns a channel that is closed when leader may return something else.
	changed func() <-chan struct{}
	// admit refuses a connection that must not be forwarded; nil admits all. It is for the main
	// port.
	admit func(net.Conn) error

	byKind map[byte]*door
	// members gets the connections of kind memberStream.
	members *inside
	// standby gets gRPC connections that cannot be forwarded; page gets connections to the pages.
	standby, page *inside
	wg            sync.WaitGroup
}

// door is one port.
type door struct {
	net.Listener
	kind byte

	// mu guards the fields below.
	mu sync.Mutex
	// inside takes the connections; nil while this process does not lead.
	inside *inside
	// opened is closed when inside is set.
	opened chan struct{}
	// forwarded are the connections that end with the next change of the leader.
	forwarded map[net.Conn]struct{}
}

func newDoors(main net.Listener) *doors {
	return &doors{elected: func() bool { return false }, byKind: map[byte]*door{}, members: newInside(main.Addr()), standby: newInside(main.Addr())}
}

// add adds a port. Nil adds none.
func (d *doors) add(kind byte, l net.Listener) {
	if l != nil {
		d.byKind[kind] = &door{Listener: l, kind: kind, opened: make(chan struct{}), forwarded: map[net.Conn]struct{}{}}
		if kind == forwardHTTP {
			d.page = newInside(l.Addr())
		}
	}
}

// run accepts connections until ctx ends.
func (d *doors) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		for _, x := range d.byKind {
			_ = x.Close()
		}
	})
	defer stop()
	failed := make(chan error, len(d.byKind))
	for _, x := range d.byKind {
		go func() { failed <- d.accept(ctx, x) }()
	}
	var err error
	for range d.byKind {
		if e := <-failed; e != nil && ctx.Err() == nil {
			err = errors.Join(err, e)
		}
	}
	for _, x := range d.byKind {
		x.cut()
	}
	d.wg.Wait()
	return err
}

func (d *doors) accept(ctx context.Context, x *door) error {
	for {
		c, err := x.Accept()
		if err != nil {
			return err
		}
		d.wg.Go(func() {
			if x.kind == forwardGRPC {
				d.receive(ctx, x, c)
			} else {
				d.pass(ctx, x, c)
			}
		})
	}
}

// receive looks at the first bytes of a connection to the main port.
func (d *doors) receive(ctx context.Context, x *door, c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(helloWait))
	first := make([]byte, 1, len(memberHello)+1)
	_, err := io.ReadFull(c, first)
	if err == nil && first[0] == memberHello[0] {
		first = first[:cap(first)]
		_, err = io.ReadFull(c, first[1:])
	}
	if err != nil || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close()
		return
	}
	if len(first) == 1 {
		d.pass(ctx, x, &begunConn{Conn: c, begun: first})
		return
	}
	kind := first[len(memberHello)]
	switch to := d.byKind[kind]; {
	case string(first[:len(memberHello)]) != memberHello:
	case kind == memberStream && (d.admit == nil || d.admit(c) == nil) && d.members.put(c):
		return
	case to != nil && d.awaitLead(ctx, to) && to.lead(c): // forwarded connections go no further
		return
	}
	_ = c.Close()
}

// begunConn is a connection whose first bytes were read.
type begunConn struct {
	net.Conn
	begun []byte
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.begun) > 0 {
		n := copy(b, c.begun)
		c.begun = c.begun[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite ends the sending side.
func (c *begunConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

const (
	// leaderWait is how long a connection waits for a leader.
	leaderWait = 5 * time.Second
	// standbyAfter is the same time for gRPC. Its clients give up a connection after 3 s.
	standbyAfter = 2 * time.Second
	// leaderLook is the pause between two tries to reach the leader.
	leaderLook = 20 * time.Millisecond
	// findEvery is the number of tries without a leader between two questions to the other members.
	findEvery = 25
	// forwardDial limits the dial of the leader.
	forwardDial = time.Second
)

// pass gives a connection to a server of this process, or forwards it to the leader.
func (d *doors) pass(ctx context.Context, x *door, c net.Conn) {
	wait := leaderWait
	switch {
	case x.kind == forwardHTTP && d.stay(x, c, d.page, func() bool { return true }):
		return
	case x.kind == forwardGRPC && d.admit != nil && !x.leads() && d.admit(c) != nil:
		if !d.stay(x, c, d.standby, func() bool { return true }) { // the server there says why
			_ = c.Close()
		}
		return
	case x.kind == forwardGRPC:
		wait = standbyAfter
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if x.lead(c) {
			return
		}
		if out, err := d.dialLeader(waiting, x); err == nil {
			x.forward(c, out)
			return
		}
		if !x.leads() {
			break
		}
	}
	if ctx.Err() != nil || x.kind != forwardGRPC || !d.stay(x, c, d.standby, func() bool { return d.leader() == "" && !d.elected() }) {
		_ = c.Close()
	}
}

// stay gives a connection to a server of this process for the time in which it does not lead, and
// while still holds. It returns false otherwise.
func (d *doors) stay(x *door, c net.Conn, to *inside, still func() bool) bool {
	x.mu.Lock()
	x.forwarded[c] = struct{}{}
	x.mu.Unlock()
	ended := func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.forwarded, c)
	}
	// A change of the leader after this look closes the connection.
	if !x.leads() && still() && to.put(&stayingConn{Conn: c, ended: ended}) {
		return true
	}
	ended()
	return false
}

// stayingConn is a connection in door.forwarded.
type stayingConn struct {
	net.Conn
	once  sync.Once
	ended func()
}

func (c *stayingConn) Close() error {
	c.once.Do(c.ended)
	return c.Conn.Close()
}

// errNoLeader means that there was no leader in reach for a while.
var errNoLeader = errors.New("no coordinator leads")

// dialLeader opens a connection to a port of the leader. It tries until ctx ends or this process
// leads.
func (d *doors) dialLeader(ctx context.Context, x *door) (net.Conn, error) {
	err := errNoLeader
	for tries := 0; ; tries++ {
		changed := d.changed()
		address := d.leader()
		if address == "" && d.awaitLead(ctx, x) {
			return nil, err
		}
		if address == "" && tries%findEvery == findEvery-1 && d.find != nil && !x.leads() {
			address = d.find(ctx)
		}
		if address != "" {
			var out net.Conn
			if out, err = dialMember(ctx, address, x.kind); err == nil {
				return out, nil
			}
		}
		if x.leads() {
			return nil, err
		}
		select {
		case <-changed:
		case <-time.After(leaderLook):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// dialMember opens a connection to the main port of another member.
func dialMember(ctx context.Context, address string, kind byte) (net.Conn, error) {
	d := net.Dialer{Timeout: forwardDial}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(append([]byte(memberHello), kind)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// lead passes a connection to the server of this process. It returns false if there is none.
func (x *door) lead(c net.Conn) bool {
	x.mu.Lock()
	inside := x.inside
	x.mu.Unlock()
	return inside != nil && inside.put(c)
}

// leads reports whether a server of this process has the port.
func (x *door) leads() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.inside != nil
}

// awaitLead blocks while this member leads and its servers are not there yet. It returns false if
// this member does not lead.
func (d *doors) awaitLead(ctx context.Context, x *door) bool {
	for {
		changed := d.changed()
		x.mu.Lock()
		leads, opened := x.inside != nil, x.opened
		x.mu.Unlock()
		if leads || !d.elected() {
			return leads
		}
		select {
		case <-opened:
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// forward copies between two connections until one ends, and closes both.
func (x *door) forward(in, out net.Conn) {
	x.mu.Lock()
	x.forwarded[in], x.forwarded[out] = struct{}{}, struct{}{}
	x.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [2][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, err := io.Copy(way[1], way[0])
			if err != nil || closeWrite(way[1]) != nil {
				_, _ = in.Close(), out.Close()
			}
		})
	}
	both.Wait()
	_, _ = in.Close(), out.Close()
	x.mu.Lock()
	delete(x.forwarded, in)
	delete(x.forwarded, out)
	x.mu.Unlock()
}

// cut closes the forwarded connections, so that their clients come again.
func (x *door) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.forwarded {
		_ = c.Close()
	}
}

// open makes the ports lead to listeners for the servers of this process. A closed listener makes
// its port forward again.
func (d *doors) open() *served {
	listen := func(kind byte) net.Listener {
		x := d.byKind[kind]
		if x == nil {
			return nil
		}
		l := newInside(x.Addr())
		l.onClose = func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.inside == l {
				x.inside, x.opened = nil, make(chan struct{})
			}
		}
		x.mu.Lock()
		if x.inside == nil {
			close(x.opened)
		}
		x.inside = l
		x.mu.Unlock()
		x.cut()
		return l
	}
	return &served{grpc: listen(forwardGRPC), http: listen(forwardHTTP), gearman: listen(forwardGearman), gearmanHTTP: listen(forwardGearmanHTTP)}
}

// cut closes the forwarded connections of all ports.
func (d *doors) cut() {
	for _, x := range d.byKind {
		x.cut()
	}
}

// closeAll closes all listeners of a tenure.
func (s *served) closeAll() {
	for _, l := range []net.Listener{s.grpc, s.http, s.gearman, s.gearmanHTTP} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// inside is a listener that gets its connections from a door.
type inside struct {
	addr    net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	onClose func()
}

func newInside(addr net.Addr) *inside {
	return &inside{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put passes a connection to Accept. It returns false after Close.
func (l *inside) put(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

// Accept implements net.Listener.
func (l *inside) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *inside) Close() error {
	l.once.Do(func() {
		close(l.closed)
		if l.onClose != nil {
			l.onClose()
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *inside) Addr() net.Addr { return l.addr }
