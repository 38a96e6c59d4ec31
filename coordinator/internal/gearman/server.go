// Package gearman is a Gearman job server's front: it speaks the protocol of gearmand, binary packets and text commands on one
// port, so that existing clients, workers and tools in any language work without change. The queue behind it is a Broker, which package desk implements.
//
// Always true: answers to a connection keep the order of its requests; what a connection costs is bounded, whatever its peer sends or
// does not read; a connection that breaks the protocol is told or closed, and no other notices.
//
// How it is fast: who reads a connection parses all packets that one read brought, hands them to the broker under one lock, and then
// writes the answers of all connections concerned straight to their sockets. So a packet costs no hand-over between goroutines, and
// many packets cost one read and one write. Nothing is allocated per packet but what is kept. On Linux the reader is a loop that serves
// many sockets by rounds; else, and for connections that have to be waited for, it is a goroutine of the connection's own.
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

// Server accepts connections and serves them. Its fields are not changed after Run was called.
type Server struct {
	// Listener is where connections come from. Run closes it.
	Listener net.Listener
	Broker   Broker

	// TLS wraps every connection when set, as gearmand's --ssl does. Clients are authenticated if its ClientAuth says so.
	TLS *tls.Config
	// MayWork says, with TLS, who may be a worker; CAN_DO of others is refused. Nil means everybody.
	MayWork func(tls.ConnectionState) bool
	// HandlePrefix begins the handles of jobs, such as H:host:17. Empty means "H:" and the name of this machine. At most 40 bytes.
	HandlePrefix string
	// Version is the answer to the text command of that name. Empty means 1.1.20: what clients that ask expect of a gearmand.
	Version string
	// MaxBody is the largest body of a packet in bytes. 0 means 64 MiB. A packet costs memory only as it arrives.
	MaxBody int
	// MaxArriving is how many bytes of large packets, of more than 16 KiB, may be on their way at once, on all connections. Others wait, and are refused after Stall.
	// 0 means 256 MiB, and never less than MaxBody.
	MaxArriving int
	// MaxPending is how many bytes may wait to be sent to one connection before those that produce them are held up. A connection
	// may exceed it by what one batch of packets produces. 0 means 4 MiB.
	MaxPending int
	// MaxConnections is the number of connections beyond which new ones are closed at once. 0 means 50,000.
	MaxConnections int
	// Stall is how long a connection may take nothing of what waits for it before it is closed. 0 means 30 s.
	// A large packet must be there after it and another second for each 64 KiB.
	Stall time.Duration
	// Exceptions gives WORK_EXCEPTION to clients that did not ask for it by OPTION_REQ, as gearmand's --exceptions does.
	Exceptions bool
	// Shutdown is called by the text command of that name, and must not wait for Run. Nil means that the command is refused.
	Shutdown func(graceful bool)
	// Log hears of connections that were closed for cause. Nil is silence.
	Log *slog.Logger

	prefix  string
	wg      sync.WaitGroup
	loops   []*loop // begun with the first connection for them
	noLoops bool    // all connections have goroutines of their own
	large   *arrivalLimit

	// connsMu guards the field below. It is taken after the broker's lock, or alone.
	connsMu sync.Mutex
	conns   map[*conn]struct{}

	// The broker's lock guards the fields below.
	turnOpen bool    // a goroutine has begun and not ended: it flushes dirty
	producer *conn   // whose packets a loop hands over
	dirty    []*conn // have something new to send
	scratch  []byte  // in which packets are put together
}

// keepAlive finds connections whose peer is gone without a word, in 10 seconds: a dead worker must not hold its jobs for longer. Probes cost nothing that counts, and a busy
// process answers them, since its kernel does.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3}

// Run accepts and serves connections until ctx ends, then closes all and returns when every goroutine has ended. It returns the cause of
// ctx's end, or the error that ended the listener.
func (s *Server) Run(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Listener.Close() })
	defer stop()
	var err error
	for id := 1; ; id++ {
		var c net.Conn
		if c, err = s.accept(ctx); err != nil {
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
		return fmt.Errorf("gearman: HandlePrefix %q has %d bytes; clients keep 64 for a handle, so it may have 40", s.prefix, len(s.prefix))
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

// DefaultHandlePrefix returns what handles begin with when Server.HandlePrefix is empty; the number of the job follows.
func DefaultHandlePrefix() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return "H:" + host[:min(len(host), 38)] + ":"
}

// accept returns the next connection. Passing errors, such as too many open files, only make it wait.
func (s *Server) accept(ctx context.Context) (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		var passing interface{ Temporary() bool }
		if err == nil || ctx.Err() != nil || !errors.As(err, &passing) || !passing.Temporary() {
			return c, err
		}
		s.Log.Warn("connection not accepted", "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Server) add(nc net.Conn, id int) {
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(keepAlive) // a system without it still serves
	}
	if s.TLS != nil {
		nc = tls.Server(nc, s.TLS)
	}
	c := &conn{server: s, net: nc, number: id, name: "-", exceptions: s.Exceptions}
	c.out = outbox{conn: nc, start: s.wg.Go, stall: s.Stall}
	c.out.room.L = &c.out.mu
	s.connsMu.Lock()
	full := len(s.conns) >= s.MaxConnections // and remains below: nobody else adds
	s.connsMu.Unlock()
	if full {
		s.Log.Warn("too many connections", "limit", s.MaxConnections, "peer", nc.RemoteAddr())
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

// connections returns the open ones, oldest first.
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

// begin takes the broker's lock for a batch of packets.
func (s *Server) beginTurn() {
	s.Broker.Lock()
	s.turnOpen = true
}

// end releases the lock and sends what the batch has produced, for whomever. spare is an array that the caller lends for the next
// batch; it gets back the one of this batch. It blocks while one of the connections has too much waiting, so that who produces faster
// than others read is slowed down.
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

// unlockNow releases the broker's lock without the wait that may be due. It tells whether one is.
func (s *Server) unlockNow() (behind bool) {
	if b, ok := s.Broker.(Backlogged); ok {
		return b.UnlockNow()
	}
	s.Broker.Unlock()
	return false
}

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

// parseHandle returns the job of a handle, or 0: no job has that ID. Some clients end a handle with NUL.
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
