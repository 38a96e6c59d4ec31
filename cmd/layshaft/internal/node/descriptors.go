package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
)

// patientListener continues when the process is out of file descriptors. It keeps a spare one.
// With it, it accepts each waiting connection, answers it in its protocol, and closes it, so that
// clients get a reason instead of silence. Accept must be called by one goroutine.
type patientListener struct {
	net.Listener
	answer string                  // to connections over the limit
	secure func(net.Conn) net.Conn // encrypts the answer; nil means none
	log    *slog.Logger

	spare   io.Closer // nil when there was no descriptor for it
	refused int       // connections since logged
	logged  time.Time
}

const (
	// logEvery is the minimum interval between log lines about file descriptors.
	logEvery = time.Minute
	// refuseWait limits the wait for what a refused client sends, because others wait meanwhile.
	refuseWait = 200 * time.Millisecond
	// secureWait limits the handshake of TLS and the answer after it.
	secureWait = time.Second
	// fewFiles is the number of descriptors below which the log has a warning at the start.
	fewFiles = 4096
)

const noFiles = "the server is out of file descriptors; try again later, and raise its limit (ulimit -n, LimitNOFILE= of systemd)"

// The answers of the ports to connections over the limit.
var (
	grpcBusy    = goAway(noFiles)
	httpBusy    = fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 10\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(noFiles)+1, noFiles)
	gearmanBusy = gearmanError("TOO_MANY_FILES", noFiles)
)

// goAway returns a GOAWAY frame of HTTP/2. As first frame it ends the connection with an error that
// wire.Unreachable explains.
func goAway(text string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(text))<<8|7)
	b = append(b, 0, 0, 0, 0, 0)            // no flags, stream 0
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0xb) // no stream was taken; ENHANCE_YOUR_CALM
	return string(append(b, text...))
}

func (l *patientListener) Accept() (net.Conn, error) {
	for {
		if l.spare == nil {
			if f, err := os.Open(os.DevNull); err == nil {
				l.spare = f
			}
		}
		c, err := l.Listener.Accept()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			if err != nil && l.spare != nil {
				_ = l.spare.Close()
				l.spare = nil
			}
			return c, err
		}
		if now := time.Now(); now.Sub(l.logged) >= logEvery {
			l.log.Error("out of file descriptors: new connections are refused; raise the limit (ulimit -n, LimitNOFILE= of systemd)",
				"address", l.Addr(), "limit", fileLimit(), "refused", l.refused, "err", err)
			l.logged, l.refused = now, 0
		}
		if l.spare == nil {
			time.Sleep(refuseWait / 2) // another part of the process may close files
			continue
		}
		_ = l.spare.Close()
		l.spare = nil
		if c, err = l.Listener.Accept(); err == nil {
			l.refused++
			l.refuse(c)
		} else if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
	}
}

// refuse answers c and closes it. It waits for the first bytes of the client, because an HTTP
// client drops an answer that comes before its request. It reads what the client sends, because
// closing a connection with unread data may destroy the answer. A plain answer fits into the empty
// buffer of a new connection: its write has no deadline, which a busy machine could miss.
func (l *patientListener) refuse(c net.Conn) {
	defer c.Close()
	if l.secure != nil {
		_ = c.SetDeadline(time.Now().Add(secureWait))
		c = l.secure(c)
	} else {
		_ = c.SetReadDeadline(time.Now().Add(refuseWait / 2))
		_, _ = c.Read(make([]byte, 4096)) // a silent client gets its answer without a question
	}
	if _, err := io.WriteString(c, l.answer); err == nil {
		_ = c.SetReadDeadline(time.Now().Add(refuseWait))
		_, _ = io.Copy(io.Discard, c)
	}
}

// checkFiles warns when the process may have few files open. Go has raised the soft limit to the
// hard one when the process started.
func checkFiles(limit uint64, log *slog.Logger) {
	if limit > 0 && limit < fewFiles {
		log.Warn("few file descriptors: every connection and open file needs one; raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd)",
			"limit", limit, "recommended", "65536")
	}
}
