package gearman

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// The tests run on the broker of package desk, which imports this one, so they are an external package. Below is all that they use of the inside.

// Sizes at which packets are treated in another way.
const (
	KeepSize = keepSize
	ReadSize = readSize
)

// TypeNamed returns the type of the packet with a name of the protocol, such as SUBMIT_JOB.
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

// ReadPacket reads one packet of the server. Of ERROR it returns the code only.
func ReadPacket(r io.Reader) (Type, [][]byte, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	p := packet{typ: Type(binary.BigEndian.Uint32(head[4:])), body: make([]byte, binary.BigEndian.Uint32(head[8:]))}
	if _, err := io.ReadFull(r, p.body); err != nil {
		return 0, nil, err
	}
	if p.typ.known() && p.typ != Error { // gearmand ends the text of some errors, not of others, with a NUL
		var args [maxArgs][]byte
		if err := p.args(&args); err != nil {
			return 0, nil, err
		}
		return p.typ, args[:types[p.typ].args], nil
	}
	code, _, _ := strings.Cut(string(p.body), "\x00")
	return p.typ, [][]byte{[]byte(code)}, nil
}

// CutAnswer returns what follows the first packet of the server in b. ok is false if b does not begin with one. The packet may be cut short.
func CutAnswer(b []byte) (rest []byte, ok bool) {
	if len(b) < headerSize {
		return nil, true
	}
	p, size, _, err := decodeHeader(b, 1<<30)
	return b[min(len(b), headerSize+size):], err == nil && p.response
}

// ServeAlone gives each connection a goroutine of its own, also where there are loops. Call it before Run.
func (s *Server) ServeAlone() { s.noLoops = true }

// Remotes returns the address of the other end of every open connection.
func (s *Server) Remotes() (all []net.Addr) {
	for _, c := range s.connections() {
		all = append(all, c.net.RemoteAddr())
	}
	return all
}

// MostPending returns how many bytes wait to be sent to the connection that has most of them.
func (s *Server) MostPending() (most int) {
	for _, c := range s.connections() {
		c.out.mu.Lock()
		most = max(most, c.out.pending)
		c.out.mu.Unlock()
	}
	return most
}

// Feeder returns a function that hands packets over as if one connection had read them. Answers are dropped. The server must not run.
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
