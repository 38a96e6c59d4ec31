package gossip

import (
	"bytes"
	"context"
	"net"
	"time"
)

const (
	// wrongPortEvery is the interval between log lines about an address of Join that is not a
	// gossip port. The reason is certain, so it is repeated, not logged once.
	wrongPortEvery = time.Minute
	probeWait      = time.Second
)

// findPort returns what the port at an address is for, if not for gossip; "" if it is not known.
func findPort(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")); err != nil {
		return ""
	}
	answer := make([]byte, 1024)
	n := 0
	for n < len(answer) {
		m, err := conn.Read(answer[n:])
		if n += m; err != nil {
			break
		}
	}
	switch answer = answer[:n]; {
	case bytes.Contains(answer, []byte("the port for gRPC")):
		return "gRPC (-listen)"
	case bytes.HasPrefix(answer, []byte("\x15\x03")):
		return "gRPC or Gearman with TLS (-listen, -gearman)"
	case bytes.HasPrefix(answer, []byte("HTTP/")):
		return "HTTP (-http)"
	case bytes.HasPrefix(answer, []byte("ERR ")), bytes.HasPrefix(answer, []byte("\x00RES")):
		return "Gearman (-gearman)"
	}
	return ""
}

// reportWrongPort logs, once a minute, that target is no gossip port. It returns false if that is
// not known.
func (g *Gossip) reportWrongPort(ctx context.Context, target string) bool {
	if g.cfg.Transport != nil {
		return false // not over TCP
	}
	what := findPort(ctx, target)
	if what == "" {
		return false
	}
	g.mu.Lock()
	now := time.Now()
	due := now.Sub(g.wrongPort) >= wrongPortEvery
	if due {
		g.wrongPort = now
	}
	g.mu.Unlock()
	if due {
		g.cfg.Log.Error("cannot join: the port of -join is not for gossip; give the coordinator's gossip address (its flag -gossip, by default port 7946)", "join", target, "port", what)
	}
	return true
}
