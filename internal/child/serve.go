package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
)

// Build compiles the code of a job for one slot. ctx lives as long as the process.
type Build func(ctx context.Context, spec *job.Spec, slot int) (*job.Program, error)

// Address returns the value of Env for a child: the path of a Unix socket, and a token that
// authenticates the child.
func Address(token, socket string) string { return token + "@" + socket }

// Serve connects to the worker at address, the value of Env, and runs attempts until the worker
// closes the connection. Then it returns nil. Attempts may still be running then, so the caller
// should end the process.
func Serve(address string, build Build) error {
	token, socket, ok := strings.Cut(address, "@")
	if !ok {
		return fmt.Errorf("%s=%q: want TOKEN@SOCKET; only a worker should set it", Env, address)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("worker's socket: %w", err)
	}
	if _, err := io.WriteString(conn, token); err != nil {
		_ = conn.Close()
		return fmt.Errorf("worker's socket: %w", err)
	}
	defer stacksOnQuit()()
	if os.Getenv(ReplayEnv) != "" {
		return serve(conn, &server{build: build, replays: true})
	}
	return serve(conn, &server{build: build, tags: tagOutput()})
}

// StuckMark is printed by the child before the stacks of its attempts, when the worker sends
// SIGQUIT; then the child ends.
const StuckMark = "layshaft: the worker ends this process; its attempts are at:"

// stacksOnQuit handles SIGQUIT until stop is called. Go's own handler omits goroutines that are
// running, such as an endless loop.
func stacksOnQuit() (stop func()) {
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGQUIT)
	go func() {
		if _, ok := <-quit; !ok {
			return
		}
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		fmt.Fprintln(os.Stderr, StuckMark)
		for stack := range strings.SplitSeq(string(buf), "\n\n") {
			if head, _, _ := strings.Cut(stack, "\n"); strings.Contains(head, `labels:{"`+call.Label+`"`) {
				fmt.Fprintf(os.Stderr, "\n%s\n", stack)
			}
		}
		os.Exit(2)
	}()
	return func() {
		signal.Stop(quit)
		close(quit)
	}
}

// serve runs attempts for the worker at conn. s has its configuration.
func serve(conn net.Conn, s *server) error {
	one := &oneConn{Conn: conn, closed: make(chan struct{})}
	gs := grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.StaticStreamWindowSize(perSlot), grpc.StaticConnWindowSize(math.MaxInt32),
		grpc.ReadBufferSize(batch), grpc.WriteBufferSize(batch), grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(1<<16))
	ctx, cancel := context.WithCancelCause(context.Background())
	s.ctx, s.programs = ctx, make(map[int]*job.Program)
	runnerv1.RegisterRunnerServiceServer(gs, s)
	err := gs.Serve(one)
	cancel(errors.New("the worker is gone"))
	gs.Stop()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// oneConn is a connection, and a listener that accepts this connection once.
type oneConn struct {
	net.Conn
	taken  bool
	once   sync.Once
	closed chan struct{}
}

func (c *oneConn) Accept() (net.Conn, error) {
	if !c.taken {
		c.taken = true
		return c, nil
	}
	<-c.closed
	return nil, net.ErrClosed
}

func (c *oneConn) Addr() net.Addr { return c.LocalAddr() }

func (c *oneConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// server runs the attempts of one job.
type server struct {
	runnerv1.UnimplementedRunnerServiceServer
	ctx     context.Context
	build   Build
	tags    io.Writer // gets tags of attempts; nil means no tags
	replays bool      // runs attempts for a person; see ReplayEnv

	// mu guards the fields below.
	mu       sync.Mutex
	spec     *job.Spec
	programs map[int]*job.Program // by slot; nil while an attempt uses it
}

// Load stores the job.
func (s *server) Load(_ context.Context, req *runnerv1.LoadRequest) (*runnerv1.LoadResponse, error) {
	refuse := func(format string, a ...any) (*runnerv1.LoadResponse, error) {
		f := &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf(format, a...)}
		return &runnerv1.LoadResponse{Failure: wire.FailureToProto(f)}, nil
	}
	if req.GetProtocol() != protocol {
		return refuse("the worker speaks protocol %d to its children, this program %d: build it with the version of Layshaft that the cluster has, or update the worker", req.GetProtocol(), protocol)
	}
	spec, err := wire.SpecFromProto(req.GetSpec())
	if err != nil {
		return refuse("%v", err)
	}
	s.mu.Lock()
	s.spec = spec
	s.mu.Unlock()
	// Compile the first slot's program now, to refuse an unsuitable job before any attempt.
	p, err := s.take(0)
	if err != nil {
		return &runnerv1.LoadResponse{Failure: wire.FailureToProto(failureOf(err))}, nil
	}
	s.giveBack(0, p)
	return &runnerv1.LoadResponse{ToleratesBadRecords: p.Tolerates, Replays: s.replays}, nil
}

// take returns the program of a slot for one attempt.
func (s *server) take(slot int) (*job.Program, error) {
	s.mu.Lock()
	spec := s.spec
	p, made := s.programs[slot]
	s.programs[slot] = nil
	s.mu.Unlock()
	switch {
	case spec == nil:
		return nil, &job.Failure{Kind: job.Fatal, Message: "the worker sent an attempt before the job"}
	case p != nil:
		return p, nil
	case made:
		return nil, &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("slot %d still runs another attempt", slot)}
	}
	p, err := s.make(spec, slot)
	if err != nil {
		s.mu.Lock()
		delete(s.programs, slot)
		s.mu.Unlock()
	}
	return p, err
}

func (s *server) giveBack(slot int, p *job.Program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programs[slot] = p
}

// make compiles a program. It converts a panic to an error.
func (s *server) make(spec *job.Spec, slot int) (p *job.Program, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("panic while the plan is built: %v", v), Detail: string(debug.Stack())}
		}
	}()
	return s.build(s.ctx, spec, slot)
}

// Run runs one attempt.
func (s *server) Run(stream runnerv1.RunnerService_RunServer) error {
	var start runnerv1.RunRequest
	if err := stream.RecvMsg(&incoming{Message: &start}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	a := &attempt{stream: stream, ctx: ctx, cancel: cancel, waiting: make(map[int64]chan *answer)}
	a.out = output{attempt: a}
	defer a.out.close()
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(a.listen)
	end := s.attempt(a, start.GetStart())
	return a.send(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_End{End: end}}, nil)
}

// attempt runs the stage function and returns its outcome.
func (s *server) attempt(a *attempt, start *runnerv1.StartAttempt) *runnerv1.EndAttempt {
	failed := func(err error) *runnerv1.EndAttempt {
		return &runnerv1.EndAttempt{Failure: wire.FailureToProto(failureOf(err)), Progress: a.progressed()}
	}
	launch, err := wire.LaunchFromProto(start.GetLaunch())
	if err != nil {
		return failed(&job.Failure{Kind: job.Fatal, Message: err.Error()})
	}
	a.id.Store(&launch.Attempt)
	slot := int(start.GetSlot())
	p, err := s.take(slot)
	if err != nil {
		return failed(err)
	}
	defer s.giveBack(slot, p)
	stage := launch.Attempt.Task.Stage
	if stage >= len(p.Stages) {
		return failed(&job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("program has no stage %d, only %d: coordinator and worker run different code", stage, len(p.Stages))})
	}
	scratch := &call.Scratch{Dir: start.GetScratch(), Check: a.check, Allowance: scratchAllowance, Progress: &a.progress}
	defer scratch.Close()
	a.memory = start.GetMemory()
	a.out.isDirect, a.out.compresses = start.GetMayWriteSegment(), start.GetCompressesSegment()
	inputs := a.inputs(start.GetInputs())
	opened := slices.Concat(inputs...) // the function may change inputs
	r := &job.Run{Attempt: launch.Attempt, Tasks: int(start.GetTasks()), Split: launch.Split, Inputs: inputs, Output: &a.out, Memory: a.memory, Slots: int(start.GetSlots()),
		Temp: scratch.Temp, Counters: make(map[string]int64), Progress: &a.progress}
	if r.Isolated, r.Skips = launch.Isolated, launch.Skips; r.Isolated && r.Split != nil {
		m, err := openMark(start.GetScratch())
		if err != nil {
			return failed(err)
		}
		defer m.close()
		r.Mark = func(number int64, path string, offset, line int64) {
			if err := m.note(number, path, offset, line); err != nil {
				a.cancel(err)
			}
		}
	}
	if start.GetKeepsSetAside() {
		r.SetAside = func(line []byte) {
			// An error means that the worker is gone; other code detects it too.
			_ = a.send(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_SetAside{SetAside: line}}, nil)
		}
	}
	if start.GetMayOpenRuns() {
		r.OpenPartition = a.open
	}
	for _, s := range start.GetSinks() {
		r.Sinks = append(r.Sinks, s.GetDescriptions())
	}
	done := make(chan struct{})
	var ticker sync.WaitGroup
	watch := &idle{ctx: a.ctx, after: time.Duration(start.GetIdleNanos())}
	ticker.Go(func() { a.reportProgress(done, launch.Attempt, watch) })
	s.tag(tagBegins, launch.Attempt)
	err = call.Run(a.ctx, p.Stages[stage], r)
	closeFiles(opened)
	closeFiles(a.partition)
	s.tag(tagEnds, launch.Attempt)
	close(done)
	ticker.Wait()
	var sum uint64
	if err == nil {
		sum, err = a.out.end()
	}
	if err != nil {
		return failed(err)
	}
	return &runnerv1.EndAttempt{Sum: sum, Counters: wire.CountersToProto(r.Counters), Sink: r.Sink, Progress: a.progressed(), Keys: wire.KeysToProto(r.Keys)}
}

// scratchAllowance is the number of extra bytes of scratch files requested from the worker at once.
const scratchAllowance = 4 << 20

// progressEvery is the interval of progress messages to the worker.
const progressEvery = 100 * time.Millisecond

// reportProgress sends the attempt's progress to the worker until done is closed.
func (a *attempt) reportProgress(done <-chan struct{}, id job.Attempt, watch *idle) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-t.C:
			watch.look(id, &a.progress, now)
			// An error means that the worker is gone; other code detects it too.
			_ = a.send(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Progress{Progress: a.progressed()}}, nil)
		}
	}
}

func (a *attempt) progressed() *runnerv1.RunProgress {
	p := &a.progress
	out := &runnerv1.RunProgress{Records: p.Records.Load(), Bytes: p.Bytes.Load(), Spilled: p.Spilled.Load(), IdleNanos: p.Idle.Load()}
	if s := p.Stacks.Load(); s != nil && s != a.sentStacks {
		a.sentStacks, out.Stacks = s, *s
	}
	return out
}
