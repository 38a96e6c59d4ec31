package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// boss is a coordinator that tests lead by hand.
type boss struct {
	layshaftv1.UnimplementedCoordinatorServiceServer
	t        *testing.T
	address  string
	sessions chan *bossSession // one for each worker that said hello
	specs    map[string]*layshaftv1.JobCode
	code     map[string][]byte
	workers  []*layshaftv1.WorkerStatus
	welcome  *layshaftv1.Welcome
	stop     func()

	// mu guards the fields below.
	mu   sync.Mutex
	gets map[string]int // calls of GetSpec and GetCode, by what was asked for
}

// bossSession is the session of one worker.
type bossSession struct {
	t        *testing.T
	hello    *layshaftv1.Hello // all of it
	received chan *layshaftv1.WorkRequest
	asks     chan *layshaftv1.WorkResponse
	beats    chan *layshaftv1.Heartbeat // the newest, if nobody took it
	end      chan error
}

// startBoss starts a coordinator. change, if any, changes it before a worker can reach it.
func startBoss(t *testing.T, address string, change ...func(*boss)) *boss {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveBoss(t, l, change...)
}

func serveBoss(t *testing.T, l net.Listener, change ...func(*boss)) *boss {
	b := &boss{t: t, sessions: make(chan *bossSession, 10), specs: map[string]*layshaftv1.JobCode{},
		code: map[string][]byte{}, gets: map[string]int{}, welcome: &layshaftv1.Welcome{Epoch: 3, Cluster: "c", LeaseNanos: int64(200 * time.Millisecond)}}
	b.address = l.Addr().String()
	for _, c := range change {
		c(b)
	}
	server := grpc.NewServer(wire.ServerOptions(testLog(t), nil)...)
	layshaftv1.RegisterCoordinatorServiceServer(server, b)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	b.stop = sync.OnceFunc(func() {
		server.Stop()
		serving.Wait()
	})
	t.Cleanup(b.stop)
	return b
}

// epoch and cluster change what the coordinator says of itself.
func epoch(n int64) func(*boss) { return func(b *boss) { b.welcome.Epoch = n } }

func cluster(name string) func(*boss) { return func(b *boss) { b.welcome.Cluster = name } }

func (b *boss) Work(stream grpc.BidiStreamingServer[layshaftv1.WorkRequest, layshaftv1.WorkResponse]) error {
	s := &bossSession{t: b.t, received: make(chan *layshaftv1.WorkRequest, 1000), asks: make(chan *layshaftv1.WorkResponse, 1000),
		beats: make(chan *layshaftv1.Heartbeat, 1), end: make(chan error, 1)}
	for more := true; more; {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if s.hello == nil {
			s.hello = m.GetHello()
		} else {
			proto.Merge(s.hello, m.GetHello())
		}
		more = m.GetHello().GetMore()
	}
	if err := stream.Send(&layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Welcome{Welcome: b.welcome}}); err != nil {
		return err
	}
	b.sessions <- s
	over := make(chan error, 1)
	go func() { over <- s.listen(stream) }()
	for {
		select {
		case ask := <-s.asks:
			if err := stream.Send(ask); err != nil {
				return err
			}
		case err := <-over:
			return err
		case err := <-s.end:
			return err
		}
	}
}

func (s *bossSession) listen(stream grpc.BidiStreamingServer[layshaftv1.WorkRequest, layshaftv1.WorkResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if beat := m.GetHeartbeat(); beat != nil {
			select {
			case <-s.beats:
			default:
			}
			s.beats <- beat
			continue
		}
		s.received <- m
		if m.GetLeaving() != nil {
			return nil
		}
	}
}

// count counts a call, and returns how many there were.
func (b *boss) count(what string, calls int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets[what] += calls
	return b.gets[what]
}

func (b *boss) GetSpec(req *layshaftv1.GetSpecRequest, stream grpc.ServerStreamingServer[layshaftv1.GetSpecResponse]) error {
	b.count(req.GetJob(), 1)
	code := b.specs[req.GetJob()]
	if code == nil {
		return fmt.Errorf("job %s: %w", req.GetJob(), wire.ErrUnknownJob)
	}
	data, err := proto.Marshal(code)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(data, 7) {
		if err := stream.Send(&layshaftv1.GetSpecResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

func (b *boss) GetCode(req *layshaftv1.GetCodeRequest, stream grpc.ServerStreamingServer[layshaftv1.GetCodeResponse]) error {
	b.count(req.GetSha256(), 1)
	for piece := range slices.Chunk(b.code[req.GetSha256()], 1000) {
		if err := stream.Send(&layshaftv1.GetCodeResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

func (b *boss) ListWorkers(context.Context, *layshaftv1.ListWorkersRequest) (*layshaftv1.ListWorkersResponse, error) {
	return &layshaftv1.ListWorkersResponse{Workers: b.workers}, nil
}

// spec makes a job known whose stages have two tasks, each reading the one before.
func (b *boss) spec(id job.ID, n int) {
	spec := &job.Spec{ID: id, Name: "test"}
	for i := range n {
		s := job.Stage{Name: fmt.Sprint("stage ", i), Tasks: 2}
		if i > 0 {
			s.Inputs = []job.Edge{{From: i - 1}}
		}
		spec.Stages = append(spec.Stages, s)
	}
	b.specs[string(id)] = &layshaftv1.JobCode{Spec: wire.SpecToProto(spec)}
}

// patience is how long tests wait for an event.
const patience = 20 * time.Second

// next returns the next session.
func (b *boss) next() *bossSession {
	b.t.Helper()
	select {
	case s := <-b.sessions:
		return s
	case <-time.After(patience):
		b.t.Fatal("no worker said hello")
		return nil
	}
}

// hear returns the next thing that is no heartbeat.
func (s *bossSession) hear() *layshaftv1.WorkRequest {
	s.t.Helper()
	select {
	case m := <-s.received:
		return m
	case <-time.After(patience):
		s.t.Fatal("the worker said nothing")
		return nil
	}
}

func (s *bossSession) done(a job.Attempt) *layshaftv1.AttemptDone {
	s.t.Helper()
	m := s.hear()
	if got, err := wire.AttemptFromProto(m.GetDone().GetAttempt()); err != nil || got != a {
		s.t.Fatalf("received %v, want that %s is done", m, a)
	}
	return m.GetDone()
}

// beat waits for a heartbeat that ok is content with.
func (s *bossSession) beat(ok func(h *layshaftv1.Heartbeat) bool) {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case h := <-s.beats:
			if ok(h) {
				return
			}
		case <-late:
			s.t.Fatal("no such heartbeat")
		}
	}
}

func (s *bossSession) launch(l job.Launch) {
	s.t.Helper()
	p, err := wire.LaunchToProto(&l)
	if err != nil {
		s.t.Fatal(err)
	}
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Launch{Launch: p}}
}

func (s *bossSession) ack(a job.Attempt) {
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Ack{Ack: wire.AttemptToProto(a)}}
}

func (s *bossSession) drop(a job.Attempt) {
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Drop{Drop: wire.AttemptToProto(a)}}
}

func (s *bossSession) dropJob(id string) {
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_DropJob{DropJob: id}}
}

func (s *bossSession) peers(addresses map[string]string) {
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Peers{Peers: &layshaftv1.Peers{Addresses: addresses}}}
}

func (s *bossSession) take(a job.Attempt, from string) {
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Copy{Copy: &layshaftv1.Producer{Attempt: wire.AttemptToProto(a), Worker: from}}}
}

// stages is a Runner of stage functions.
type stages struct {
	fs    []stage
	ended chan job.ID // hears of End, if there is room

	// mu guards the fields below.
	mu    sync.Mutex
	paths []string
}

func (s *stages) Program(_ job.ID, _ int, _ *job.Spec, path string, _ []string) (*job.Program, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, path)
	return &job.Program{Stages: s.fs}, nil
}

func (s *stages) End(id job.ID) {
	select {
	case s.ended <- id:
	default:
	}
}

func (s *stages) Close() error { return nil }

// node is a Node that runs.
type node struct {
	*Node
	ended chan struct{}
	err   error // of Run, when it has ended
	end   func()
}

// at returns NodeConfig.Coordinators for addresses that stay.
func at(addresses ...string) func(ctx context.Context, known []string) ([]string, error) {
	return func(ctx context.Context, known []string) ([]string, error) {
		if len(known) == 0 {
			return addresses, nil
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
}

// startNode runs a node until the test ends, or its end is called.
func startNode(t *testing.T, b *boss, dir string, runner Runner, change func(*NodeConfig)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := NodeConfig{Dir: dir, Slots: 2, Memory: 8 << 20, Listener: l, Runner: runner, Reserve: -1, Log: testLog(t),
		Coordinators: at(b.address)}
	if change != nil {
		change(&cfg)
	}
	if cfg.Listener != l {
		_ = l.Close()
	}
	x, err := NewNode(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Node: x, ended: make(chan struct{})}
	go func() {
		defer close(n.ended)
		n.err = x.Run(ctx)
	}()
	n.end = func() {
		cancel()
		if err := n.wait(t); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		cancel()
		_ = n.wait(t)
	})
	return n
}

// wait returns how Run ended.
func (n *node) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-n.ended:
		return n.err
	case <-time.After(patience):
		t.Fatal("the node goes on")
		return nil
	}
}

func (n *node) address() string { return n.cfg.Listener.Addr().String() }

func (n *node) producer(a job.Attempt) job.Producer {
	return job.Producer{Attempt: a, Worker: n.Name()}
}

// noLeaks fails the test when goroutines are left at its end.
func noLeaks(t *testing.T) {
	old := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, old) })
}

// testLog returns a log that is shown when the test fails.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var quiet = slog.New(slog.DiscardHandler)
