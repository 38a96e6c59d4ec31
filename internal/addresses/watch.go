package addresses

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A coordinator that hangs breaks no connection: its system acknowledges what arrives. gRPC's
// keepalive notices that after 15 s and does not allow less. If there are other coordinators, that
// is too long, so a Conn with several addresses pings its coordinator itself.
const (
	// pingEvery is the pause after an answered ping, pingWait the time limit of a ping. maxMissed
	// pings without an answer close the connection, after 2.6 s at most.
	pingEvery = 800 * time.Millisecond
	pingWait  = 900 * time.Millisecond
	maxMissed = 2
	// stoppedFor is how much later than its time limit a ping ends if this process itself did not
	// run.
	stoppedFor = time.Second
)

// pingMethod is a method that no server has. gRPC itself answers, without the server's handlers.
const pingMethod = "/layshaft.v1.Ping/Ping"

// watch pings the coordinator of a Conn. It is idle without a connection.
type watch struct {
	conn *Conn

	// mu guards the fields below.
	mu     sync.Mutex
	opened map[string]net.Conn // the last network connection to each address
	timer  *time.Timer         // runs ping; nil while idle
	missed int                 // pings without an answer, in a row
}

// add stores a network connection.
func (w *watch) add(address string, c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opened == nil {
		w.opened = map[string]net.Conn{}
	}
	w.opened[address] = c
}

// start begins to ping, if there is a connection and more than one address.
func (w *watch) start() {
	if w.conn.Using() == "" || len(w.conn.List()) < 2 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		w.missed = 0
		w.timer = time.AfterFunc(pingEvery, w.ping)
	}
}

// ping pings once and plans the next ping.
func (w *watch) ping() {
	using, begun := w.conn.Using(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), pingWait)
	err := w.conn.Invoke(ctx, pingMethod, &emptypb.Empty{}, &emptypb.Empty{})
	cancel()
	w.mu.Lock()
	w.timer = nil
	switch {
	case status.Code(err) != codes.DeadlineExceeded, using != w.conn.Using():
		w.missed = 0
	case time.Since(begun) < pingWait+stoppedFor:
		w.missed++
	}
	var hung net.Conn
	if w.missed >= maxMissed {
		hung, w.missed = w.opened[using], 0
	} else if w.conn.Using() != "" && len(w.conn.List()) > 1 {
		pause := pingEvery
		if w.missed > 0 {
			pause = 0
		}
		w.timer = time.AfterFunc(pause, w.ping)
	}
	w.mu.Unlock()
	if hung != nil {
		_ = hung.Close()
	}
}
