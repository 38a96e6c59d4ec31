package jobserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// network is a coordinator's port that can be down.
type network struct {
	mu    sync.Mutex // guards the fields below
	l     *bufconn.Listener
	acked map[job.Task]time.Time // when a report on a task was acknowledged
	again []job.Attempt          // launched after that
}

func (n *network) launched(a job.Attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.acked[a.Task]; ok && time.Now().After(at) { // at the same moment, it may have been on its way
		n.again = append(n.again, a)
	}
}

func (n *network) ack(a job.Attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.acked == nil {
		n.acked = map[job.Task]time.Time{}
	}
	n.acked[a.Task] = time.Now()
}

func (n *network) listen() *bufconn.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.l = bufconn.Listen(1 << 20)
	return n.l
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	l := n.l
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.DialContext(ctx)
}

func (n *network) options() []grpc.DialOption {
	return append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(n.dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: 50 * time.Millisecond}}))
}

// serve runs a coordinator and its server on the network until stop is called or the test ends.
func (n *network) serve(t *testing.T, cfg coordinator.Config, sc Config) (s *Server, stop func()) {
	t.Helper()
	c, stopCoordinator := coordtest.Start(t, cfg)
	sc.Coordinator = c
	if sc.Data == nil {
		sc.Data = memoryData(t)
	}
	s, err := New(sc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := n.listen()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, wire.ErrStopped) { // at the end of the test both stop at once
			t.Errorf("Server.Run = %v", err)
		}
		stopCoordinator()
	})
	t.Cleanup(stop)
	return s, stop
}

// memoryData is the data directory of a coordinator without a journal.
func memoryData(t *testing.T) *datadir.Data {
	t.Helper()
	store, err := datadir.OpenCodeStore(filepath.Join(t.TempDir(), "code"))
	if err != nil {
		t.Fatal(err)
	}
	return &datadir.Data{Cluster: "c1", Code: store}
}

func (n *network) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(client.Config{Address: "coordinator:7070", Dial: n.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// remoteWorker is a worker at the other end of a network, which runs attempts for a second each.
type remoteWorker struct {
	n     *network
	hello *layshaftv1.Hello
	end   context.CancelFunc
	gone  chan struct{} // closed when run has returned

	mu      sync.Mutex // guards the fields below
	conn    *grpc.ClientConn
	stream  layshaftv1.CoordinatorService_WorkClient
	welcome *layshaftv1.Welcome
	store   map[job.Attempt]bool
	running map[job.Attempt]bool
	unacked map[job.Attempt]bool
	peers   map[string]string
	runs    []string
	heard   []string // what else was asked
	errs    []error  // ends of sessions
	silent  bool     // no heartbeats
	away    time.Duration
}

func (n *network) worker(t *testing.T, name string, slots int) *remoteWorker {
	w := &remoteWorker{n: n, hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: name, Slots: int64(slots), Address: name + ":1", Platform: "linux/amd64"}, gone: make(chan struct{}),
		store: map[job.Attempt]bool{}, running: map[job.Attempt]bool{}, unacked: map[job.Attempt]bool{}, peers: map[string]string{}, away: 100 * time.Millisecond}
	w.start(t)
	return w
}

func (w *remoteWorker) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w.end = func() { cancel(); <-w.gone }
	go w.run(ctx)
	t.Cleanup(w.end)
}

// run has one session after the other.
func (w *remoteWorker) run(ctx context.Context) {
	defer close(w.gone)
	for ctx.Err() == nil {
		err := w.session(ctx)
		w.mu.Lock()
		w.errs = append(w.errs, err)
		away := w.away
		w.mu.Unlock()
		if errors.Is(err, errLeft) {
			return
		}
		select {
		case <-time.After(away):
		case <-ctx.Done():
		}
	}
}

func (w *remoteWorker) session(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///c", w.n.options()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := layshaftv1.NewCoordinatorServiceClient(conn).Work(ctx)
	if err != nil {
		return wire.FromStatus(err)
	}
	w.mu.Lock()
	w.conn, w.stream = conn, stream
	hello := proto.Clone(w.hello).(*layshaftv1.Hello)
	for a := range w.store {
		if !w.unacked[a] {
			hello.Outputs = append(hello.Outputs, wire.AttemptToProto(a))
		}
	}
	for _, m := range []map[job.Attempt]bool{w.running, w.unacked} {
		for a := range m {
			hello.Running = append(hello.Running, wire.AttemptToProto(a))
		}
	}
	again := slices.Collect(maps.Keys(w.unacked))
	w.mu.Unlock()
	_ = w.say(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: hello}})
	for _, a := range again {
		w.done(a)
	}
	go func() {
		for beat := time.NewTicker(2 * time.Second); ; {
			select {
			case <-beat.C:
				w.beat()
			case <-ctx.Done():
				beat.Stop()
				return
			}
		}
	}()
	for {
		m, err := stream.Recv()
		if err != nil {
			return wire.FromStatus(err)
		}
		if w.handleMessage(m) {
			_ = w.say(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Leaving{Leaving: &layshaftv1.Leaving{}}})
			for err == nil {
				_, err = stream.Recv()
			}
			return errLeft
		}
	}
}

func (w *remoteWorker) say(m *layshaftv1.WorkRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stream.Send(m)
}

func (w *remoteWorker) beat() {
	w.mu.Lock()
	h := &layshaftv1.Heartbeat{FreeBytes: 1 << 30}
	for a := range w.running {
		h.Running = append(h.Running, &layshaftv1.AttemptProgress{Attempt: wire.AttemptToProto(a), Records: 7, Bytes: 70})
	}
	silent := w.silent
	w.mu.Unlock()
	if !silent {
		_ = w.say(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Heartbeat{Heartbeat: h}})
	}
}

func (w *remoteWorker) done(a job.Attempt) {
	_ = w.say(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Done{Done: &layshaftv1.AttemptDone{Attempt: wire.AttemptToProto(a),
		Summary: &layshaftv1.Summary{Bytes: 5, Records: 3, Counters: map[string]int64{"rows": 10}}}}})
}

// hear obeys; it returns true when the worker can leave.
func (w *remoteWorker) handleMessage(m *layshaftv1.WorkResponse) (leave bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch msg := m.GetBody().(type) {
	case *layshaftv1.WorkResponse_Welcome:
		w.welcome = msg.Welcome
		maps.Copy(w.peers, msg.Welcome.GetPeers())
	case *layshaftv1.WorkResponse_Peers:
		maps.Copy(w.peers, msg.Peers.GetAddresses())
	case *layshaftv1.WorkResponse_Launch:
		l, err := wire.LaunchFromProto(msg.Launch)
		if err != nil {
			panic(err)
		}
		for _, edge := range l.Producers {
			for _, p := range edge {
				if p.Worker != w.hello.Worker && w.peers[p.Worker] == "" {
					w.heard = append(w.heard, "launch without the address of "+p.Worker)
				}
			}
		}
		w.n.launched(l.Attempt)
		w.runs = append(w.runs, l.Attempt.String())
		w.running[l.Attempt] = true
		go func() {
			time.Sleep(time.Second)
			w.mu.Lock()
			if w.running[l.Attempt] {
				delete(w.running, l.Attempt)
				w.store[l.Attempt], w.unacked[l.Attempt] = true, true
			}
			w.mu.Unlock()
			w.done(l.Attempt)
		}()
	case *layshaftv1.WorkResponse_Ack:
		a, _ := wire.AttemptFromProto(msg.Ack)
		delete(w.unacked, a)
		w.n.ack(a)
	case *layshaftv1.WorkResponse_Drop:
		a, _ := wire.AttemptFromProto(msg.Drop)
		delete(w.store, a)
		delete(w.unacked, a)
	case *layshaftv1.WorkResponse_Cancel:
		a, _ := wire.AttemptFromProto(msg.Cancel)
		delete(w.running, a)
		delete(w.unacked, a)
	case *layshaftv1.WorkResponse_Copy:
		a, _ := wire.AttemptFromProto(msg.Copy.GetAttempt())
		w.store[a] = true
		w.heard = append(w.heard, fmt.Sprintf("take %s from %s", a, msg.Copy.GetWorker()))
		go func() {
			_ = w.say(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Moved{Moved: &layshaftv1.Moved{Attempt: msg.Copy.GetAttempt()}}})
		}()
	case *layshaftv1.WorkResponse_DropJob:
		w.heard = append(w.heard, "drop job "+msg.DropJob)
	case *layshaftv1.WorkResponse_Drain:
		w.heard = append(w.heard, "drain")
	case *layshaftv1.WorkResponse_Drained:
		w.heard = append(w.heard, "drained")
		return true
	}
	return false
}

// reset breaks the worker's connection.
func (w *remoteWorker) reset(away time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
	_ = w.conn.Close()
}

func (w *remoteWorker) ran() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.runs, " ")
}

func (w *remoteWorker) was() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.heard, "; ")
}

// ended returns why the last session ended.
func (w *remoteWorker) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) == 0 {
		return nil
	}
	return w.errs[len(w.errs)-1]
}

func (w *remoteWorker) holds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.store)
}

// settle waits until all that was said has been taken in.
func settle() { synctest.Wait() }
