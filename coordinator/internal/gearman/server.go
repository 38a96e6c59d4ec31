// Package gearman is the front of a Gearman job server. It speaks the protocol of gearmand
// (PROTOCOL document of gearmand 1.1.20), binary packets and text commands on one port, so
// existing clients, workers and tools in any language work unchanged. The queue behind it is a
// Broker.
//
// Guarantees: answers on a connection keep the order of its requests. The cost of a connection is
// bounded, whatever its peer sends or does not read. A connection that breaks the protocol gets
// an error or is closed; other connections do not notice.
//
// Speed: the reader of a connection parses all packets of one read, passes them to the broker
// under one lock (a turn), and then writes the answers of all affected connections straight to
// their sockets. A packet costs no switch between goroutines, and many packets share one read and
// one write. Only retained data is allocated per packet. On Linux the reader is a loop for many
// sockets (see loop); elsewhere, and for connections that need waiting, each connection has a
// goroutine.
package gearman

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server accepts and serves connections. Do not change its fields after Run has started.
type Server struct {
	// Listener provides the connections. Run closes it.
	Listener net.Listener
	Broker   Broker

	// TLS wraps every connection if set, like gearmand --ssl. Its ClientAuth decides whether
	// clients are authenticated.
	TLS *tls.Config
	// MayWork decides, with TLS, whether a client may be a worker; otherwise its CAN_DO is
	// refused. Nil admits everybody.
	MayWork func(tls.ConnectionState) bool
	// HandlePrefix starts every job handle: the prefix H:host gives H:host:17. Empty means "H:"
	// and the host name. At most 40 bytes.
	HandlePrefix string
	// Version answers the text command version. Empty means 1.1.20, as clients expect of
	// gearmand.
	Version string
	// MaxBody is the largest packet body in bytes. 0 means 64 MiB. Memory is used only as bytes
	// arrive.
	MaxBody int
	// MaxArriving limits the bytes of large packets (over 16 KiB) arriving at the same time on
	// all connections. Others wait, and are refused after Stall. 0 means 256 MiB; the minimum is
	// MaxBody.
	MaxArriving int
	// MaxPending is the number of unsent bytes of one connection at which producers have to wait.
	// One turn may exceed it. 0 means 4 MiB.
	MaxPending int
	// MaxConnections is the limit of open connections; new ones are closed at once. 0 means
	// 50,000.
	MaxConnections int
	// Stall is the time after which a connection that accepts no output is closed. 0 means 30 s.
	// A large packet may take this time and one second per 64 KiB.
	Stall time.Duration
	// Exceptions sends WORK_EXCEPTION also to clients without OPTION_REQ exceptions, like
	// gearmand --exceptions.
	Exceptions bool
	// Shutdown is called by the text command shutdown, and must not wait for Run. Nil refuses the
	// command.
	Shutdown func(graceful bool)
	// Log receives the reasons for closed connections. Nil disables logging.
	Log *slog.Logger

	prefix string
	wg     sync.WaitGroup
	// loops start with their first connection.
	loops []*loop
	// noLoops gives every connection a goroutine.
	noLoops bool
	large   *arrivalLimit
	refused time.Time // when a refused connection was logged; only Run uses it

	// connsMu guards the field below. It is taken after the broker's lock, or alone.
	connsMu sync.Mutex
	conns   map[*conn]struct{}

	// The broker's lock guards the fields below.
	// turnOpen means that a goroutine is in a turn and will flush dirty.
	turnOpen bool
	// producer is the connection whose packets a loop is passing on.
	producer *conn
	// dirty lists the connections with new output.
	dirty []*conn
	// scratch is a buffer for building packets.
	scratch []byte
}

// keepAlive detects a vanished peer within 10 s, so that a dead worker does not hold its jobs for
// longer. The kernel answers probes, so a busy process stays connected.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3}

// Run serves connections until ctx ends, then closes all and returns after every goroutine has
// ended. It returns the cause of ctx, or the error of the listener.
func (s *Server) Run(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Listener.Close() })
	defer stop()
	var err error
	for id := 1; ; id++ {
		var c net.Conn
		if c, err = s.Listener.Accept(); err != nil {
			break
		}
		s.add(c, id)
	}
	s.Listener.Close()
	for _, c := range s.connections() {
		c.out.close()
	}
	for _, l := range s.loops {
		l.stop()
	}
	s.wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("gearman: listener %v: %w", s.Listener.Addr(), err)
}

func (s *Server) prepare() error {
	if s.Listener == nil || s.Broker == nil {
		return errors.New("gearman: Server needs a Listener and a Broker")
	}
	s.prefix = s.HandlePrefix
	if s.prefix == "" {
		s.prefix = strings.TrimSuffix(DefaultHandlePrefix(), ":")
	}
	if len(s.prefix) > 40 {
		return fmt.Errorf("gearman: HandlePrefix %q has %d bytes; the limit is 40, because clients keep 64 for a handle", s.prefix, len(s.prefix))
	}
	s.prefix += ":"
	s.Version = cmp.Or(s.Version, "1.1.20")
	s.MaxBody = cmp.Or(s.MaxBody, defaultMaxBody)
	s.MaxPending = cmp.Or(s.MaxPending, 4<<20)
	s.MaxConnections = cmp.Or(s.MaxConnections, 50_000)
	s.Stall = cmp.Or(s.Stall, 30*time.Second)
	s.Log = cmp.Or(s.Log, slog.New(slog.DiscardHandler))
	s.large = newArrivalLimit(max(cmp.Or(s.MaxArriving, 256<<20), s.MaxBody), s.Stall)
	s.conns = map[*conn]struct{}{}
	return nil
}

// DefaultHandlePrefix returns the default of Server.HandlePrefix, and a colon.
func DefaultHandlePrefix() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return "H:" + host[:min(len(host), 38)] + ":"
}

func (s *Server) add(nc net.Conn, id int) {
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(keepAlive) // a system without it still serves
	}
	if s.TLS != nil {
		nc = tls.Server(nc, s.TLS)
	}
	c := &conn{server: s, net: nc, number: id, exceptions: s.Exceptions}
	c.out = outbox{conn: nc, start: s.wg.Go, stall: s.Stall}
	c.out.room.L = &c.out.mu
	s.connsMu.Lock()
	full := len(s.conns) >= s.MaxConnections // only this goroutine adds connections
	s.connsMu.Unlock()
	if full {
		if now := time.Now(); now.Sub(s.refused) >= time.Minute { // clients try again all the time
			s.refused = now
			s.Log.Warn("too many connections", "limit", s.MaxConnections, "peer", nc.RemoteAddr())
		}
		nc.Close()
		return
	}
	inLoop := !s.noLoops && c.forLoop()
	if !inLoop {
		if c.direct = newDirect(nc); c.direct != nil {
			c.out.try = c.direct.try
		}
	}
	s.connsMu.Lock()
	s.conns[c] = struct{}{}
	s.connsMu.Unlock()
	if inLoop {
		s.adopt(c)
	} else {
		s.wg.Go(c.serve)
	}
}

func (s *Server) remove(c *conn) {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	delete(s.conns, c)
}

// connections returns the open connections, oldest first.
func (s *Server) connections() []*conn {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *conn) int { return a.number - b.number })
	return all
}

// beginTurn takes the broker's lock.
func (s *Server) beginTurn() {
	s.Broker.Lock()
	s.turnOpen = true
}

// endTurn releases the lock and sends the output of the turn, to all connections. It blocks while
// one of them has too much unsent output, so a fast producer waits for a slow reader. spare is
// the array for the dirty list of the next turn; the result is the array of this turn.
func (s *Server) endTurn(spare []*conn) []*conn {
	dirty := s.takeDirty(spare)
	s.Broker.Unlock()
	flush(dirty)
	for _, c := range dirty {
		c.out.waitForRoom(s.MaxPending)
	}
	clear(dirty)
	return dirty[:0]
}

// unlockNow releases the broker's lock without waiting. It reports whether a wait is due.
func (s *Server) unlockNow() (behind bool) {
	if b, ok := s.Broker.(Backlogged); ok {
		return b.UnlockNow()
	}
	s.Broker.Unlock()
	return false
}

// takeDirty closes the turn and returns the connections with new output. The lock is held.
func (s *Server) takeDirty(spare []*conn) []*conn {
	dirty := s.dirty
	for _, c := range dirty {
		c.dirty = false
	}
	s.dirty, s.turnOpen = spare, false
	return dirty
}

func flush(dirty []*conn) {
	for _, c := range dirty {
		c.out.flush()
	}
}

// appendHandle appends the handle of a job.
func (s *Server) appendHandle(dst []byte, id uint64) []byte {
	return strconv.AppendUint(append(dst, s.prefix...), id, 10)
}

// parseHandle returns the job ID of a handle, or 0, which no job has. Some clients append a NUL.
func (s *Server) parseHandle(handle []byte) uint64 {
	handle = bytes.TrimSuffix(handle, []byte{0})
	if len(handle) <= len(s.prefix) || string(handle[:len(s.prefix)]) != s.prefix {
		return 0
	}
	var id uint64
	digits := handle[len(s.prefix):]
	if digits[0] == '0' {
		return 0
	}
	for _, d := range digits {
		if d < '0' || d > '9' || id > (math.MaxUint64-uint64(d-'0'))/10 {
			return 0
		}
		id = id*10 + uint64(d-'0')
	}
	return id
}
