//go:build unix

package gearman

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// direct reads and writes a socket without the waiting of net.Conn: a waiting reader holds no
// buffer, and writers never block.
type direct struct {
	raw syscall.RawConn
	// read and write are tryRead and tryWrite, stored because a method value allocates.
	read  func(fd uintptr) bool
	write func(fd uintptr) bool
	// in is the buffer of the last read, after rest.
	in   *[readSize]byte
	rest []byte
	n    int
	err  error
	out  [][]byte
	sent int
	werr error
}

// rawOf returns access to the descriptor of a connection; nil if it has none.
func rawOf(c net.Conn) syscall.RawConn {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// newDirect returns nil if c is not a plain socket.
func newDirect(c net.Conn) *direct {
	raw := rawOf(c)
	if raw == nil {
		return nil
	}
	d := &direct{raw: raw}
	d.read, d.write = d.tryRead, d.tryWrite
	return d
}

func (d *direct) tryRead(fd uintptr) bool {
	d.in = readBuffers.Get().(*[readSize]byte)
	for {
		d.n, d.err = syscall.Read(int(fd), d.in[copy(d.in[:], d.rest):])
		if d.err == syscall.EINTR {
			continue
		}
		if d.err == syscall.EAGAIN {
			readBuffers.Put(d.in)
			d.in = nil
			return false
		}
		return true
	}
}

// wait blocks until bytes arrive. It returns them, after rest, in a buffer of readBuffers; the
// caller returns the buffer.
func (d *direct) wait(rest []byte) (*[readSize]byte, int, error) {
	d.in, d.rest, d.n, d.err = nil, rest, 0, nil
	err := d.raw.Read(d.read)
	if err == nil && d.err != nil {
		err = d.err
	}
	if err == nil && d.n == 0 {
		err = io.EOF
	}
	if err != nil && d.in != nil {
		readBuffers.Put(d.in)
		d.in = nil
	}
	return d.in, len(rest) + d.n, err
}

func (d *direct) tryWrite(fd uintptr) bool {
	d.sent, d.werr = writeNow(int(fd), d.out)
	return true
}

// writeNow writes to a non-blocking descriptor.
func writeNow(fd int, bufs [][]byte) (n int, err error) {
	for {
		if len(bufs) == 1 {
			n, err = unix.Write(fd, bufs[0])
		} else {
			n, err = unix.Writev(fd, bufs[:min(len(bufs), 1024)])
		}
		if err != unix.EINTR {
			return n, err
		}
	}
}

// try writes as much as the kernel accepts at once. Only the sending goroutine calls it.
func (d *direct) try(bufs [][]byte) (int, error) {
	d.out, d.sent, d.werr = bufs, 0, nil
	err := d.raw.Write(d.write)
	d.out = nil
	if err == nil && d.werr != syscall.EAGAIN {
		err = d.werr
	}
	if err != nil {
		return 0, err
	}
	return max(d.sent, 0), nil
}
