package gearman

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connection outside the Go runtime's poller, so that its input wakes only its loop.
// The blocking methods of net.Conn and SyscallConn register it with the runtime, permanently.
type socket struct {
	local, remote net.Addr

	// mu guards the fields below. It is held during system calls, which never block, so that the
	// descriptor cannot be closed and reused meanwhile.
	mu sync.Mutex
	// fd is -1 after release.
	fd     int
	closed bool
	// watched is the same descriptor in the runtime's poller; nil before the first blocking call.
	// It is no copy: a connection needs no second descriptor, of which there may be none.
	watched *os.File
}

// newSocket takes over a connection. It returns nil, and leaves c unchanged, if c has no
// descriptor.
func newSocket(c net.Conn) *socket {
	raw := rawOf(c)
	if raw == nil {
		return nil
	}
	s := &socket{local: c.LocalAddr(), remote: c.RemoteAddr(), fd: -1}
	// The runtime's watching ends with the original descriptor; the copy stays.
	err := raw.Control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			s.fd = n
		}
	})
	if err != nil || s.fd < 0 {
		return nil
	}
	c.Close()
	return s
}

// tryRead reads the available bytes. It returns EAGAIN if there are none.
func (s *socket) tryRead(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// try writes as much as the kernel accepts at once.
func (s *socket) try(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := writeNow(s.fd, bufs)
	if err == unix.EAGAIN {
		err = nil
	}
	return max(n, 0), err
}

// watch registers the socket with the runtime's poller.
func (s *socket) watch() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if s.watched == nil {
		s.watched = os.NewFile(uintptr(s.fd), s.remote.String()) // polled, because it does not block
	}
	return s.watched, nil
}

// Close ends the connection, and with it blocked calls. The descriptor stays open until the reader
// notices and calls release.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	return unix.Shutdown(s.fd, unix.SHUT_RDWR)
}

// release closes the connection and its descriptor.
func (s *socket) release() {
	_ = s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fd < 0:
	case s.watched != nil:
		s.watched.Close()
	default:
		unix.Close(s.fd)
	}
	s.fd = -1
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return s.remote }

func (s *socket) Read(b []byte) (int, error) {
	c, err := s.watch()
	if err != nil {
		return 0, err
	}
	return c.Read(b)
}

func (s *socket) Write(b []byte) (int, error) {
	c, err := s.watch()
	if err != nil {
		return 0, err
	}
	return c.Write(b)
}

func (s *socket) SetDeadline(t time.Time) error {
	c, err := s.watch()
	if err != nil {
		return err
	}
	return c.SetDeadline(t)
}

func (s *socket) SetReadDeadline(t time.Time) error {
	c, err := s.watch()
	if err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

func (s *socket) SetWriteDeadline(t time.Time) error {
	c, err := s.watch()
	if err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (s *socket) SyscallConn() (syscall.RawConn, error) {
	c, err := s.watch()
	if err != nil {
		return nil, err
	}
	return c.SyscallConn()
}
