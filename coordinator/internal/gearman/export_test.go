package gearman

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// The tests use the broker of package desk, which imports this package, so they are an external
// package. The declarations below are their access to internals.

// Limits for the tests of packet sizes.
const (
	KeepSize = keepSize
	ReadSize = readSize
)

// TypeNamed returns the type of a packet by its name in the PROTOCOL document, such as
// SUBMIT_JOB.
func TypeNamed(name string) (Type, bool) {
	for t := range types {
		if types[t].name == name {
			return Type(t), true
		}
	}
	return 0, false
}

// RequestPacket encodes a packet of a client or worker.
func RequestPacket(t Type, args ...[]byte) []byte {
	b := appendPacket(nil, t, args...)
	b[3] = 'Q'
	return b
}

// ReadPacket reads one response packet. For ERROR it returns only the code.
func ReadPacket(r io.Reader) (Type, [][]byte, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	p := packet{typ: Type(binary.BigEndian.Uint32(head[4:])), body: make([]byte, binary.BigEndian.Uint32(head[8:]))}
	if _, err := io.ReadFull(r, p.body); err != nil {
		return 0, nil, err
	}
	if p.typ.isKnown() && p.typ != Error { // gearmand ends the text of some errors with a NUL
		var args [maxArgs][]byte
		if err := p.args(&args); err != nil {
			return 0, nil, err
		}
		return p.typ, args[:types[p.typ].args], nil
	}
	code, _, _ := strings.Cut(string(p.body), "\x00")
	return p.typ, [][]byte{[]byte(code)}, nil
}

// CutAnswer returns the bytes after the first response packet in b, which may be incomplete. ok
// is false if b does not start with one.
func CutAnswer(b []byte) (rest []byte, ok bool) {
	if len(b) < headerSize {
		return nil, true
	}
	p, size, _, err := decodeHeader(b, 1<<30)
	return b[min(len(b), headerSize+size):], err == nil && p.response
}

// ServeAlone gives each connection a goroutine instead of a loop. Call it before Run.
func (s *Server) ServeAlone() { s.noLoops = true }

// Remotes returns the remote address of every open connection.
func (s *Server) Remotes() (all []net.Addr) {
	for _, c := range s.connections() {
		all = append(all, c.net.RemoteAddr())
	}
	return all
}

// MostPending returns the largest number of unsent bytes of a connection.
func (s *Server) MostPending() (most int) {
	for _, c := range s.connections() {
		c.out.mu.Lock()
		most = max(most, c.out.pending)
		c.out.mu.Unlock()
	}
	return most
}

// Feeder returns a function that handles packets as if a connection had read them, and drops the
// answers. The server must not run.
func (s *Server) Feeder() (feed func(packets []byte) error, err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	c := &conn{server: s}
	c.out = outbox{start: func(func()) {}}
	c.out.room.L = &c.out.mu
	c.session = s.Broker.Attach(c)
	c.out.try = func(bufs [][]byte) (n int, _ error) {
		for _, b := range bufs {
			n += len(b)
		}
		return n, nil
	}
	return func(packets []byte) error {
		defer c.endTurn()
		_, err := c.parse(packets)
		return err
	}, nil
}
