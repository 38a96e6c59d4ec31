package network

import (
	"encoding/binary"
	"net"
)

// Repeat returns a gRPC client's connection that delivers messages of long-lived streams twice,
// in both directions, whenever twice returns true. A stream is long-lived if its client sends a
// message and keeps the stream open. The first message in each direction is never repeated,
// because it identifies the sender. Repeat is for protocols with idempotent messages.
func Repeat(c net.Conn, twice func() bool) net.Conn {
	r := &repeated{Conn: c}
	r.out = repeater{twice: twice, skip: len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), mark: r.mark, sent: map[uint32]int{}}
	r.in = repeater{twice: twice, mark: r.marked, sent: map[uint32]int{}}
	r.long = make(chan map[uint32]bool, 1)
	r.long <- map[uint32]bool{}
	return r
}

type repeated struct {
	net.Conn
	out, in repeater
	long    chan map[uint32]bool // holds the set of long-lived streams; receive to lock
	rest    []byte               // read from the connection, not yet returned
}

func (r *repeated) mark(stream uint32) bool {
	long := <-r.long
	long[stream] = true
	r.long <- long
	return true
}

func (r *repeated) marked(stream uint32) bool {
	long := <-r.long
	defer func() { r.long <- long }()
	return long[stream]
}

func (r *repeated) Write(b []byte) (int, error) {
	if _, err := r.Conn.Write(r.out.pass(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (r *repeated) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		n, err := r.Conn.Read(b)
		if n > 0 {
			r.rest = r.in.pass(b[:n])
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// repeater passes HTTP/2 frames in one direction.
type repeater struct {
	twice   func() bool
	mark    func(stream uint32) bool // reports whether a stream with such a message is long-lived
	sent    map[uint32]int           // messages by stream
	skip    int                      // bytes before the first frame
	partial []byte                   // the beginning of a frame
}

const (
	frameHeader = 9
	dataFrame   = 0
	endStream   = 0x1
	padded      = 0x8
)

// pass consumes bytes and returns the whole frames to deliver now.
func (p *repeater) pass(b []byte) (out []byte) {
	n := min(p.skip, len(b))
	p.skip -= n
	out = append(out, b[:n]...)
	p.partial = append(p.partial, b[n:]...)
	for len(p.partial) >= frameHeader {
		size := frameHeader + int(binary.BigEndian.Uint32(p.partial)>>8)
		if len(p.partial) < size {
			break
		}
		frame := p.partial[:size]
		out = append(out, frame...)
		if p.shouldRepeat(frame) {
			out = append(out, frame...)
		}
		p.partial = p.partial[size:]
	}
	return out
}

// shouldRepeat reports whether to repeat a frame: it must be one whole message of a long-lived
// stream, and not the first.
func (p *repeater) shouldRepeat(frame []byte) bool {
	kind, flags, stream, body := frame[3], frame[4], binary.BigEndian.Uint32(frame[5:]), frame[frameHeader:]
	if kind != dataFrame || flags&(endStream|padded) != 0 || !p.mark(stream) {
		return false
	}
	p.sent[stream]++
	const prefix = 5 // of a message: compression flag and length
	return p.sent[stream] > 1 && len(body) >= prefix && int(binary.BigEndian.Uint32(body[1:])) == len(body)-prefix && p.twice()
}
