package gearman

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	readSize = 64 << 10
	// maxLine is the longest text command in bytes. The longest sensible command is maxqueue with
	// a long name.
	maxLine = 8 << 10
	// handshakeTime limits a TLS handshake.
	handshakeTime = 10 * time.Second
)

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// conn is one connection: one reader, which is a goroutine or a loop, and an outbox open to all
// goroutines.
type conn struct {
	server *Server
	net    net.Conn
	// release frees what Close of net leaves; it may be nil.
	release func()
	// direct reads the socket; nil means reading through net.
	direct  *direct
	out     outbox
	session Session
	number  int
	// barredFromWork means that the client's certificate is not a worker's.
	barredFromWork bool

	// Only the reading goroutine uses the fields below.

	// rest is the read part of an incomplete packet.
	rest []byte
	// spare is an array for the next turn; see Server.endTurn.
	spare []*conn
	// locked means that this goroutine has begun a turn.
	locked bool
	args   [maxArgs][]byte
	// skip is the number of bytes of a refused packet that have not arrived yet.
	skip int
	// loop reads the connection; nil means a goroutine of its own.
	loop *loop
	// slow is a connection with too much to send because of this one.
	slow *conn
	// gaveWork means that the broker may have to store something, or to hold it for a reader.
	gaveWork bool

	// The broker's lock guards the fields below.
	dirty      bool
	exceptions bool
	// name is the argument of SET_CLIENT_ID, any bytes; empty before it.
	name string
}

// serve reads until the connection ends.
func (c *conn) serve() {
	err := c.handshake()
	if err == nil {
		c.attach()
		err = c.readAll()
	}
	c.finish(err)
}

func (c *conn) attach() {
	s := c.server
	s.Broker.Lock()
	defer s.unlockNow()
	c.session = s.Broker.Attach(c)
}

// finish ends the connection. err is the reason, or nil.
func (c *conn) finish(err error) {
	s := c.server
	if c.session != nil {
		c.out.waitForRoom(0) // a client may send, close its side at once, and still read the answers
		s.beginTurn()
		c.session.Close()
		s.remove(c)
		s.endTurn(nil)
	} else {
		s.remove(c)
	}
	c.out.close()
	if c.release != nil {
		c.release()
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		s.Log.Info("gearman connection closed", "peer", c.net.RemoteAddr(), "err", err)
	}
}

// handshake bounds the cost of a silent peer by handshakeTime.
func (c *conn) handshake() error {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := t.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.barredFromWork = c.server.MayWork != nil && !c.server.MayWork(t.ConnectionState())
	return t.SetDeadline(time.Time{})
}

func (c *conn) readAll() error {
	for {
		if c.startsLarge() {
			if err := c.readLarge(); err != nil {
				return err
			}
		}
		buf, n, err := c.read()
		if err != nil {
			return err
		}
		err = c.handle(buf[:n])
		readBuffers.Put(buf)
		if err != nil {
			return err
		}
	}
}

// handle processes the complete messages at the start of in, and keeps the rest.
func (c *conn) handle(in []byte) error {
	defer c.endTurn()
	used, err := c.parse(in)
	c.keepRest(in[used:])
	return err
}

func (c *conn) keepRest(rest []byte) {
	c.rest = nil
	if len(rest) > 0 {
		c.rest = append(make([]byte, 0, len(rest)), rest...)
	}
}

// read waits for bytes and returns them, after rest, in a buffer of readBuffers.
func (c *conn) read() (*[readSize]byte, int, error) {
	if c.direct != nil {
		return c.direct.wait(c.rest)
	}
	buf := readBuffers.Get().(*[readSize]byte)
	have := copy(buf[:], c.rest)
	n, err := c.net.Read(buf[have:])
	if n == 0 && err != nil {
		readBuffers.Put(buf)
		return nil, 0, err
	}
	return buf, have + n, nil
}

// startsLarge reports whether rest begins a packet larger than keepSize.
func (c *conn) startsLarge() bool {
	_, size, ok, err := decodeHeader(c.rest, c.server.MaxBody)
	return ok && err == nil && size > keepSize
}

// readLarge reads the remainder of a large packet into a buffer of its own, and handles it.
func (c *conn) readLarge() error {
	p, size, _, err := decodeHeader(c.rest, c.server.MaxBody)
	if err != nil {
		return err
	}
	deadline, err := c.server.large.reserve(size)
	if err != nil {
		c.beginTurn()
		c.sendRefusal(err)
		c.endTurn()
		return err
	}
	defer c.server.large.free(size)
	if err := c.net.SetReadDeadline(deadline); err != nil {
		return err
	}
	body := append(make([]byte, 0, min(size, 1<<20)), c.rest[headerSize:]...)
	c.rest = nil
	for len(body) < size {
		if len(body) == cap(body) { // memory grows with received bytes, not with the size in the header
			body = append(make([]byte, 0, min(size, 2*cap(body))), body...)
		}
		n, err := c.net.Read(body[len(body):cap(body)])
		if body = body[:len(body)+n]; err != nil && len(body) < size {
			return err
		}
	}
	if err := c.net.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	p.body = body
	c.beginTurn()
	err = c.request(p, true)
	c.endTurn()
	return err
}

// parse handles the complete messages at the start of in and returns their size. An error ends
// the connection. It begins a turn. In a loop, which must not wait, it stops before a text
// command.
func (c *conn) parse(in []byte) (used int, err error) {
	for used < len(in) {
		if c.skip > 0 {
			n := min(c.skip, len(in)-used)
			used, c.skip = used+n, c.skip-n
			continue
		}
		b := in[used:]
		if b[0] != 0 && c.loop != nil {
			break
		}
		if b[0] != 0 {
			n := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
			if n < 0 {
				if len(b) >= maxLine {
					return used, fmt.Errorf("text command longer than %d bytes", maxLine)
				}
				break
			}
			c.beginTurn()
			c.command(b[:n])
			used += n + 1
			continue
		}
		p, size, ok, err := decodeHeader(b, c.server.MaxBody)
		if errors.Is(err, errLarge) && p.belongsToJob() {
			start := min(size, maxHandle)
			if len(b) < headerSize+start {
				break
			}
			c.beginTurn()
			c.refuse(p, b[headerSize:headerSize+start], err)
			used, c.skip = used+headerSize, size
			continue
		}
		if err != nil {
			c.beginTurn()
			c.sendRefusal(err)
			return used, err
		}
		if !ok || len(b) < headerSize+size {
			break
		}
		p.body = b[headerSize : headerSize+size]
		c.beginTurn()
		if err := c.request(p, false); err != nil {
			return used, err
		}
		used += headerSize + size
	}
	return used, nil
}

func (c *conn) beginTurn() {
	if !c.locked {
		c.server.beginTurn()
		c.locked = true
	}
}

func (c *conn) endTurn() {
	if c.locked {
		c.locked = false
		c.spare = c.server.endTurn(c.spare)
	}
}

// scheduleFlush arranges the sending of the outbox: at the end of the turn, or, outside of one,
// by a goroutine.
func (c *conn) scheduleFlush() {
	s := c.server
	if s.producer != nil && !c.out.hasRoom(s.MaxPending) {
		s.producer.slow = c
	}
	switch {
	case !s.turnOpen:
		s.wg.Go(c.out.flush)
	case !c.dirty:
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// send adds a packet to the outbox. The broker's lock is held.
func (c *conn) send(t Type, args ...[]byte) {
	s := c.server
	s.scratch = appendPacket(s.scratch[:0], t, args...)
	c.out.add(0, false, s.scratch, nil)
	c.scheduleFlush()
}

// Wake sends NOOP to a sleeping worker.
func (c *conn) Wake() { c.send(Noop) }

// Durable releases the answers that waited for the batch.
func (c *conn) Durable(batch uint64) {
	c.out.markDurable(batch)
	c.scheduleFlush()
}

// Update sends a WORK_* packet to a client. WORK_EXCEPTION becomes WORK_FAIL unless the client
// set the option exceptions (OPTION_REQ).
func (c *conn) Update(u Update) {
	s := c.server
	if u.Kind == WorkException && !c.exceptions {
		u.Kind, u.Data = WorkFail, nil
	}
	b := s.scratch[:0]
	b = appendHeader(b, u.Kind, 0)
	b = s.appendHandle(b, u.ID)
	switch u.Kind {
	case WorkFail:
	case WorkStatus:
		b = append(append(append(append(b, 0), u.Data...), 0), u.Denominator...)
		u.Data = nil
	default:
		b = append(b, 0)
	}
	s.scratch = b
	setSize(b, len(b)-headerSize+len(u.Data))
	c.out.add(0, u.Immutable, b, u.Data)
	c.scheduleFlush()
}
