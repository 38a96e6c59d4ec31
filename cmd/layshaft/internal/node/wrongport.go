package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// answeringListener accepts connections for gRPC. A peer that speaks HTTP/1 or Gearman gets an
// answer in its own protocol that names the right flag, instead of a closed connection.
type answeringListener struct{ net.Listener }

func (l answeringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &answeringConn{Conn: c}, nil
}

// answeringConn checks the first bytes that it reads. Until then it holds back what the server
// writes: a server of HTTP/2 begins without waiting for the client.
type answeringConn struct {
	net.Conn
	checked atomic.Bool

	// mu guards the field below and the change of checked.
	mu       sync.Mutex
	buffered []byte
}

func (c *answeringConn) Write(p []byte) (int, error) {
	if c.checked.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked.Load() {
		return c.Conn.Write(p)
	}
	c.buffered = append(c.buffered, p...)
	return len(p), nil
}

func (c *answeringConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.checked.Load() {
		return n, err
	}
	if answer := wrongPortAnswer(string(p[:n])); answer != "" {
		_, _ = io.WriteString(c.Conn, answer)
		return 0, io.EOF
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, werr := c.Conn.Write(c.buffered); err == nil {
		err = werr
	}
	c.buffered = nil
	c.checked.Store(true)
	return n, err
}

// wrongPortAnswer returns the answer to the first bytes of a connection; empty for gRPC and TLS.
func wrongPortAnswer(head string) string {
	const (
		page    = "this is the port for gRPC; the pages are at the address of -http, by default port 7071\n"
		gearman = "this is the port for gRPC; Gearman's protocol is at the address of -gearman, by default port 4730"
	)
	method, _, _ := strings.Cut(head, " ")
	switch {
	case strings.HasPrefix(head, "\x00REQ"):
		return gearmanError("WRONG_PORT", gearman)
	case method == "GET", method == "POST", method == "HEAD", method == "PUT", method == "DELETE", method == "OPTIONS":
		return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)
	case len(head) > 1 && head[0] >= 'a' && head[0] <= 'z' && strings.HasSuffix(head, "\n"):
		return "ERR WRONG_PORT " + strings.ReplaceAll(gearman, " ", "+") + "\r\n"
	}
	return ""
}

// gearmanError returns a packet of the type ERROR.
func gearmanError(code, text string) string {
	text = code + "\x00" + text
	packet := binary.BigEndian.AppendUint32([]byte("\x00RES"), 19)
	return string(binary.BigEndian.AppendUint32(packet, uint32(len(text)))) + text
}
