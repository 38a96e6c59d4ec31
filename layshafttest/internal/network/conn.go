package network

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// window limits the bytes on their way in one direction of a connection.
const window = 1 << 20

// pipe is one direction of a connection, with one reader and one writer at a time.
type pipe struct {
	net      *Network
	from, to *Host
	readable chan struct{} // capacity 1: wakes the reader
	writable chan struct{} // capacity 1: wakes the writer

	// mu guards the fields below.
	mu       sync.Mutex
	queue    []piece
	queued   int   // bytes in queue
	in, out  error // errors for the reader and the writer
	readBy   time.Time
	writeBy  time.Time
	finished time.Time // arrival of the last piece; later pieces cannot overtake it
}

// piece is data with its time of arrival. The last piece of a connection has an error instead.
type piece struct {
	data []byte
	at   time.Time
	err  error
}

func newPipe(n *Network, from, to *Host) *pipe {
	return &pipe{net: n, from: from, to: to, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put queues a piece. The caller holds mu.
func (p *pipe) put(x piece) {
	x.at = p.net.arrival(p.from.place, p.to.place)
	if x.at.Before(p.finished) {
		x.at = p.finished
	}
	p.finished = x.at
	p.queue = append(p.queue, x)
	p.queued += len(x.data)
	signal(p.readable)
}

// reset ends the pipe after one of its hosts, the reader's or the writer's, was shut down. The
// other end gets an error as soon as the network allows.
func (p *pipe) reset(reader bool) {
	severed := p.net.isCut(p.to.place, p.from.place)
	p.mu.Lock()
	if reader {
		p.in, p.queue = net.ErrClosed, nil
		if !severed {
			p.out, p.queued = syscall.ECONNRESET, 0
		}
	} else {
		p.out = net.ErrClosed
		p.queue, p.queued = nil, 0
		p.put(piece{err: syscall.ECONNRESET})
	}
	p.mu.Unlock()
	signal(p.readable)
	signal(p.writable)
	p.forget()
}

// forget removes a pipe that needs no signal after a change of cuts.
func (p *pipe) forget() {
	p.mu.Lock()
	over := p.in != nil
	p.mu.Unlock()
	if !over {
		return
	}
	p.net.mu.Lock()
	delete(p.net.pipes, p)
	p.net.mu.Unlock()
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		severed := p.net.isCut(p.from.place, p.to.place)
		now := time.Now()
		p.mu.Lock()
		var until time.Time // the next arrival, if no signal comes first
		switch {
		case p.in != nil:
			p.mu.Unlock()
			return 0, p.in
		case !p.readBy.IsZero() && !now.Before(p.readBy):
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case severed || len(p.queue) == 0:
		case p.queue[0].at.After(now):
			until = p.queue[0].at
		case p.queue[0].err != nil:
			p.in = p.queue[0].err
			p.mu.Unlock()
			p.forget()
			continue
		default:
			n := copy(b, p.queue[0].data)
			if p.queue[0].data = p.queue[0].data[n:]; len(p.queue[0].data) == 0 {
				p.queue = p.queue[1:]
			}
			p.queued -= n
			p.mu.Unlock()
			signal(p.writable)
			return n, nil
		}
		if !p.readBy.IsZero() && (until.IsZero() || p.readBy.Before(until)) {
			until = p.readBy
		}
		p.mu.Unlock()
		wait(p.readable, until)
	}
}

func (p *pipe) write(b []byte) (written int, err error) {
	for len(b) > 0 {
		p.mu.Lock()
		switch {
		case p.out != nil:
			p.mu.Unlock()
			return written, p.out
		case !p.writeBy.IsZero() && !time.Now().Before(p.writeBy):
			p.mu.Unlock()
			return written, os.ErrDeadlineExceeded
		case p.queued < window:
			n := min(len(b), window-p.queued)
			p.put(piece{data: slices.Clone(b[:n])})
			b, written = b[n:], written+n
			p.mu.Unlock()
		default:
			until := p.writeBy
			p.mu.Unlock()
			wait(p.writable, until)
		}
	}
	return written, nil
}

// wait waits for a signal, at most until a time; zero means no limit.
func wait(c <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-c
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
	}
}

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return c.in.read(b)
}

func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends the connection: the other end reads the written data, and then EOF.
func (c *conn) Close() error {
	c.out.mu.Lock()
	if c.out.out == nil {
		c.out.out = net.ErrClosed
		c.out.put(piece{err: io.EOF})
	}
	c.out.mu.Unlock()
	c.in.mu.Lock()
	if c.in.in == nil {
		c.in.in = net.ErrClosed
	}
	if c.in.out == nil {
		c.in.out = syscall.EPIPE
	}
	c.in.queue, c.in.queued = nil, 0
	c.in.mu.Unlock()
	for _, p := range []*pipe{c.in, c.out} {
		signal(p.readable)
		signal(p.writable)
		p.forget()
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	c.in.readBy = t
	c.in.mu.Unlock()
	signal(c.in.readable)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	c.out.writeBy = t
	c.out.mu.Unlock()
	signal(c.out.writable)
	return nil
}
