package gearman

import (
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/layshaft/layshaft/internal/machine"
)

const (
	loopRead   = 256 << 10
	loopEvents = 256
	// loopBatch is the number of bytes in one turn before other goroutines get the lock.
	loopBatch = 1 << 20
)

// loop serves many plain sockets with one goroutine. In a round it reads all sockets with input,
// passes everything to the broker under one lock, and then writes the answers. Compared with a
// goroutine per connection, a packet wakes no goroutine and waits for no lock, and answers to
// several packets leave together.
//
// A loop never waits for one connection. A connection that needs waiting moves out to a goroutine
// of its own and stays there. Reasons: text commands, of which some take long; large packets; a
// client that reads slowly but sends more requests; and the end.
type loop struct {
	server *Server
	epoll  int
	// woken is an eventfd that ends the wait.
	woken int

	// Only the goroutine of run uses the fields below.
	in []byte
	// round lists the connections with input.
	round   []*conn
	leaving []leavingConn
	// spare is an array for the next turn; see Server.endTurn.
	spare []*conn

	// mu guards the fields below.
	mu     sync.Mutex
	conns  map[int32]*conn // by descriptor
	ending bool
}

// leavingConn is a connection on its way out of the loop. With an error it ends; otherwise a
// goroutine serves it.
type leavingConn struct {
	c   *conn
	err error
}

// forLoop prepares the connection for a loop. It returns false if it is not a plain socket.
func (c *conn) forLoop() bool {
	s := newSocket(c.net)
	if s == nil {
		return false
	}
	c.net, c.out.conn, c.out.try, c.release = s, s, s.try, s.release
	return true
}

// adopt assigns a connection to a loop. Without a loop a goroutine serves it: the connection may
// have taken the last descriptor of the process, and must get its answers nevertheless.
func (s *Server) adopt(c *conn) {
	c.attach()
	err := s.startLoops()
	if n := len(s.loops); n > 0 {
		err = s.loops[c.number%n].add(c)
	}
	if err != nil {
		s.wg.Go(leavingConn{c: c}.serve)
	}
}

// startLoops starts one loop per two processors, at most eight: the rest of the process needs the
// others.
func (s *Server) startLoops() error {
	for len(s.loops) < max(1, min(8, machine.Processors()/2)) {
		l := &loop{server: s, in: make([]byte, loopRead), conns: map[int32]*conn{}}
		var err error
		if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return err
		}
		if l.woken, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
			if err = l.watch(l.woken); err != nil {
				unix.Close(l.woken)
			}
		}
		if err != nil {
			unix.Close(l.epoll)
			return err
		}
		s.loops = append(s.loops, l)
		s.wg.Go(l.run)
	}
	return nil
}

func (l *loop) watch(fd int) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// stop makes run return after the last connection has ended.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	_, _ = unix.Write(l.woken, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (l *loop) add(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.loop = l
	fd := c.net.(*socket).fd
	if err := l.watch(fd); err != nil {
		c.loop = nil
		return err
	}
	l.conns[int32(fd)] = c
	return nil
}

// forget removes a connection, and its events.
func (l *loop) forget(c *conn) {
	fd := c.net.(*socket).fd
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	l.mu.Lock()
	delete(l.conns, int32(fd))
	l.mu.Unlock()
	c.loop = nil
}

func (l *loop) run() {
	events := make([]unix.EpollEvent, loopEvents)
	for !l.hasEnded() {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			l.server.Log.Error("gearman: epoll", "err", err)
		}
		l.serve(events[:max(0, n)])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.Close(l.epoll)
	unix.Close(l.woken)
}

func (l *loop) hasEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending && len(l.conns) == 0
}

// serve runs one round.
func (l *loop) serve(events []unix.EpollEvent) {
	s := l.server
	l.mu.Lock()
	for _, e := range events {
		if c := l.conns[e.Fd]; c != nil {
			l.round = append(l.round, c)
		}
	}
	if l.ending {
		var count [8]byte
		_, _ = unix.Read(l.woken, count[:])
	}
	l.mu.Unlock()
	locked, taken := false, 0
	for _, c := range l.round {
		have := copy(l.in, c.rest)
		n, err := c.net.(*socket).tryRead(l.in[have:])
		switch {
		case err == unix.EAGAIN:
			continue
		case err != nil:
			l.moveOut(c, err)
			continue
		case !locked:
			s.beginTurn()
			locked = true
		}
		l.feed(c, l.in[:have+n])
		if taken += n; taken >= loopBatch {
			l.endTurn()
			locked, taken = false, 0
		}
	}
	if locked {
		l.endTurn()
	}
	for _, x := range l.leaving {
		s.wg.Go(x.serve)
	}
	clear(l.round)
	clear(l.leaving)
	l.round, l.leaving = l.round[:0], l.leaving[:0]
}

// feed passes on the input of one connection. The broker's lock is held.
func (l *loop) feed(c *conn, in []byte) {
	c.locked, l.server.producer = true, c
	used, err := c.parse(in)
	c.locked, l.server.producer = false, nil
	c.keepRest(in[used:])
	if err != nil || used < len(in) && (in[used] != 0 || c.startsLarge()) {
		l.moveOut(c, err)
	}
}

// endTurn is Server.endTurn without waiting: connections that would have to wait, for slow
// readers or for the broker, move out.
func (l *loop) endTurn() {
	dirty := l.server.takeDirty(l.spare)
	behind := l.server.unlockNow()
	flush(dirty)
	clear(dirty)
	l.spare = dirty[:0]
	for _, c := range l.round {
		if c.slow != nil && c.slow.out.hasRoom(l.server.MaxPending) {
			c.slow = nil
		}
		if c.loop != nil && (c.slow != nil || behind && c.gaveWork) {
			l.moveOut(c, nil)
		}
		c.gaveWork = false
	}
}

// moveOut removes the connection from the loop. At the end of the round a goroutine serves it, or
// ends it if err is not nil.
func (l *loop) moveOut(c *conn, err error) {
	l.forget(c)
	l.leaving = append(l.leaving, leavingConn{c, err})
}

// serve serves the connection in a goroutine of its own.
func (x leavingConn) serve() {
	if x.err == nil {
		x.err = x.c.readAlone()
	}
	x.c.finish(x.err)
}

func (c *conn) readAlone() error {
	if slow := c.slow; slow != nil {
		c.slow = nil
		slow.out.waitForRoom(c.server.MaxPending)
	}
	if b, ok := c.server.Broker.(Backlogged); ok {
		b.WaitForBacklog()
	}
	if c.direct = newDirect(c.net); c.direct == nil {
		return net.ErrClosed
	}
	if err := c.handle(c.rest); err != nil {
		return err
	}
	return c.readAll()
}
