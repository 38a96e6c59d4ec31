package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
	"github.com/layshaft/layshaft/internal/wire"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// ErrGone means that the child has ended or violates the protocol; it should be killed.
var ErrGone = errors.New("child process is gone")

// Conn is a worker's connection to one child. Its methods may be called concurrently.
type Conn struct {
	cc        *grpc.ClientConn
	client    runnerv1.RunnerServiceClient
	tolerates bool // set by Load
	replays   bool // set by Load
}

// NewConn makes a Conn of a connection from the child. Close closes it.
func NewConn(conn net.Conn) (*Conn, error) {
	first := make(chan net.Conn, 1)
	first <- conn
	cc, err := grpc.NewClient("passthrough:///child", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return nil, ErrGone
			}
		}),
		grpc.WithIdleTimeout(0), grpc.WithStaticStreamWindowSize(perSlot), grpc.WithStaticConnWindowSize(math.MaxInt32),
		grpc.WithReadBufferSize(batch), grpc.WithWriteBufferSize(batch),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(record.MaxFrame+16<<20), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &Conn{cc: cc, client: runnerv1.NewRunnerServiceClient(cc)}, nil
}

// Close closes the connection. The child then ends, and so do calls of Run.
func (c *Conn) Close() error { return c.cc.Close() }

// Load sends the job to the child. It returns a *job.Failure when the child cannot run it, and an
// error that wraps ErrGone when the child is gone.
func (c *Conn) Load(ctx context.Context, spec *job.Spec) error {
	s := *spec
	s.Stages = append([]job.Stage(nil), spec.Stages...)
	for i := range s.Stages {
		s.Stages[i].Splits = nil // each attempt has its own splits
	}
	resp, err := c.client.Load(ctx, &runnerv1.LoadRequest{Spec: wire.SpecToProto(&s), Protocol: protocol})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	c.tolerates, c.replays = resp.GetToleratesBadRecords(), resp.GetReplays()
	return failureFrom(resp.GetFailure())
}

// Tolerates reports whether the job continues without bad records. It is known after Load.
func (c *Conn) Tolerates() bool { return c.tolerates }

// Replays reports whether the sinks of the child write nothing; see ReplayEnv. It is known after
// Load. A program with an older library does not know ReplayEnv, and answers false.
func (c *Conn) Replays() bool { return c.replays }

// Call describes one attempt for the child to run.
type Call struct {
	Run  *job.Run
	Slot int // attempts of one slot run one after the other
	// Scratch is the directory for scratch files. It must exist, and contain the file of NewMark
	// when Run.Isolated is set.
	Scratch string
	Check   func(need int64) error // called before scratch files grow; nil means unlimited space
	Idle    time.Duration          // time without progress after which the attempt is idle; zero means never
	Grace   time.Duration          // time that the child may continue after ctx ended
	Stuck   func()                 // called when it exceeds Grace; should kill the child
}

// Run replaces a stage function. It returns after the child ran the function, with nil or the
// failure of the function. Errors of run.Output are returned unchanged. An error that wraps ErrGone
// means that the connection ended first.
func (c *Conn) Run(ctx context.Context, call Call) error {
	live, hangUp := context.WithCancel(context.WithoutCancel(ctx)) // the stream must not end before the attempt
	defer hangUp()
	stream, err := c.client.Run(live)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	work, cancel := context.WithCancelCause(ctx)
	h := &host{call: call, run: call.Run, stream: stream, cancel: cancel, pending: make(chan struct{}, 1), ended: make(chan struct{})}
	start, err := h.start()
	if err == nil {
		err = h.send(start, nil)
	}
	if err != nil {
		cancel(nil)
		return err
	}
	var group sync.WaitGroup
	group.Go(h.feed)
	group.Go(func() { h.watch(work) })
	err = h.listen()
	close(h.ended)
	cancel(nil)
	group.Wait()
	_ = stream.CloseSend()
	if err == nil {
		_ = stream.RecvMsg(&incoming{Message: new(runnerv1.RunResponse)}) // the end of the stream
	}
	return err
}

// host is the worker's end of one Run stream.
type host struct {
	call   Call
	run    *job.Run
	stream runnerv1.RunnerService_RunClient
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed after the last message of the child

	sending sync.Mutex // held during the sending of a message

	// mu guards the fields below; pending has a token when questions is not empty.
	mu        sync.Mutex
	pending   chan struct{}
	questions []any           // messages of RunResponse
	runs      []job.RunReader // by number; nil when closed
	opened    int             // index of the first run of the last call of run.Part
}

func (h *host) send(m *runnerv1.RunRequest, data mem.BufferSlice) error {
	h.sending.Lock()
	defer h.sending.Unlock()
	if err := h.stream.SendMsg(&outgoing{m, data}); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// start returns the description of the attempt.
func (h *host) start() (*runnerv1.RunRequest, error) {
	r := h.run
	launch, err := wire.LaunchToProto(&job.Launch{Attempt: r.Attempt, Split: r.Split, Isolated: r.Isolated, Skips: r.Skips})
	if err != nil {
		return nil, err
	}
	s := &runnerv1.StartAttempt{Launch: launch, Tasks: int64(r.Tasks), Memory: r.Memory, Slots: int64(r.Slots), Slot: int64(h.call.Slot), Scratch: h.call.Scratch, MayOpenRuns: r.OpenPartition != nil, KeepsSetAside: r.SetAside != nil, IdleNanos: int64(h.call.Idle)}
	for _, in := range r.Inputs {
		s.Inputs = append(s.Inputs, &runnerv1.InputRuns{Runs: h.number(in)})
	}
	h.opened = len(h.runs)
	if out, ok := r.Output.(segment.Output); ok {
		s.MayWriteSegment, s.CompressesSegment = true, out.Compresses()
	}
	for _, parts := range r.Sinks {
		s.Sinks = append(s.Sinks, &runnerv1.SinkDescriptions{Descriptions: parts})
	}
	return &runnerv1.RunRequest{Body: &runnerv1.RunRequest_Start{Start: s}}, nil
}

// number stores runs and returns their descriptions for the child.
func (h *host) number(runs []job.RunReader) []*runnerv1.InputRun {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*runnerv1.InputRun, len(runs))
	for i, r := range runs {
		out[i] = &runnerv1.InputRun{Records: r.Records(), Bytes: r.Bytes(), File: placeOf(r)}
	}
	h.runs = append(h.runs, runs...)
	return out
}

// watch notifies the child when the attempt should end, and has the child killed if it does not
// end.
func (h *host) watch(work context.Context) {
	<-work.Done()
	select {
	case <-h.ended: // first
		return
	default:
	}
	late, stop := awake.After(h.call.Grace)
	defer stop()
	f := failureOf(context.Cause(work))
	// The message may wait for a child that does not read, so Grace starts before it.
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		_ = h.send(&runnerv1.RunRequest{Body: &runnerv1.RunRequest_Cancel{Cancel: wire.FailureToProto(f)}}, nil)
	})
	select {
	case <-h.ended:
	case <-late:
		h.call.Stuck()
	}
}

// listen handles the child's messages until the child has ended.
func (h *host) listen() error {
	var m runnerv1.RunResponse
	in := incoming{Message: &m, buf: make([]byte, 0, 1<<10)}
	var outErr error
	for {
		if err := h.stream.RecvMsg(&in); err != nil {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		var err error
		switch msg := m.GetBody().(type) {
		case *runnerv1.RunResponse_Append:
			if outErr == nil {
				if outErr, err = h.append(msg.Append.GetBlocks(), in.data); outErr != nil {
					h.cancel(outErr)
				}
			}
		case *runnerv1.RunResponse_Progress:
			h.progress(msg.Progress)
		case *runnerv1.RunResponse_SetAside:
			if h.run.SetAside == nil {
				err = errors.New("a record set aside, which was not requested")
			} else {
				h.run.SetAside(msg.SetAside)
			}
		case *runnerv1.RunResponse_End:
			h.progress(msg.End.GetProgress())
			if outErr != nil {
				return outErr
			}
			if f := failureFrom(msg.End.GetFailure()); f != nil {
				return f
			}
			if out, ok := h.run.Output.(segment.Output); ok {
				out.SetSum(msg.End.GetSum())
			}
			maps.Copy(h.run.Counters, msg.End.GetCounters())
			h.run.Sink, h.run.Keys = msg.End.GetSink(), wire.KeysFromProto(msg.End.GetKeys())
			return nil
		case *runnerv1.RunResponse_Pull, *runnerv1.RunResponse_Close, *runnerv1.RunResponse_Check, *runnerv1.RunResponse_Open, *runnerv1.RunResponse_Grow:
			err = h.question(msg)
		default:
			err = errors.New("an empty message")
		}
		if err != nil {
			return fmt.Errorf("%w: it broke the protocol: %w", ErrGone, err)
		}
	}
}

// append passes blocks to the attempt's output. err is set for messages that violate the protocol.
func (h *host) append(blocks []*runnerv1.OutputBlock, data []byte) (outErr, err error) {
	for _, b := range blocks {
		port, run, part, n := b.GetPort(), b.GetRun(), b.GetPartition(), b.GetSize()
		out, mayWrite := h.run.Output.(segment.Output)
		isStored := mayWrite && b.GetStored() != 0
		if min(port, run, part, b.GetRecords()) < 0 || max(port, run, part) > math.MaxInt32 || n < 0 || n > int64(len(data)) && !isStored {
			return nil, fmt.Errorf("block %v of %d bytes", b, len(data))
		}
		if isStored {
			if err := out.AppendStored(int(port), int(run), int(part), n, b.GetStored(), int(b.GetRecords()), b.First); err != nil {
				return err, nil
			}
			continue
		}
		if outErr := h.run.Output.Append(int(port), int(run), int(part), data[:n], int(b.GetRecords()), b.First); outErr != nil {
			return outErr, nil
		}
		data = data[n:]
	}
	return nil, nil
}

func (h *host) progress(p *runnerv1.RunProgress) {
	if to := h.run.Progress; to != nil {
		to.Records.Store(p.GetRecords())
		to.Bytes.Store(p.GetBytes())
		to.Spilled.Store(p.GetSpilled())
		to.Idle.Store(max(p.GetIdleNanos(), 0))
		if s := p.GetStacks(); s != "" {
			to.Stacks.Store(&s)
		} else if p.GetIdleNanos() <= 0 {
			to.Stacks.Store(nil)
		}
	}
}

// question passes a question to feed, so that slow input does not delay output.
func (h *host) question(say any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.questions) > 2*len(h.runs)+16 {
		return fmt.Errorf("%d questions at once about %d runs", len(h.questions), len(h.runs))
	}
	h.questions = append(h.questions, say)
	select {
	case h.pending <- struct{}{}:
	default:
	}
	return nil
}

// feed answers questions until the child has ended.
func (h *host) feed() {
	for {
		select {
		case <-h.ended:
			return
		case <-h.pending:
		}
		h.mu.Lock()
		questions := h.questions
		h.questions = nil
		h.mu.Unlock()
		for _, q := range questions {
			select {
			case <-h.ended:
				return
			default:
			}
			answer, data := h.answer(q)
			if answer != nil && h.send(answer, data) != nil {
				return // the child is gone; listen detects it too
			}
		}
	}
}

// answer answers one question. It returns nil when no answer is needed.
func (h *host) answer(question any) (*runnerv1.RunRequest, mem.BufferSlice) {
	switch msg := question.(type) {
	case *runnerv1.RunResponse_Pull:
		b := &runnerv1.Blocks{Run: msg.Pull.GetRun()}
		data := h.read(b, msg.Pull.GetBytes())
		return &runnerv1.RunRequest{Body: &runnerv1.RunRequest_Blocks{Blocks: b}}, data
	case *runnerv1.RunResponse_Close:
		if r := h.reader(msg.Close.GetRun()); r != nil {
			_ = r.Close()
		}
	case *runnerv1.RunResponse_Open:
		return &runnerv1.RunRequest{Body: &runnerv1.RunRequest_Opened{Opened: h.open(msg.Open.GetPartition())}}, nil
	case *runnerv1.RunResponse_Check:
		g := &runnerv1.Granted{}
		if h.call.Check != nil {
			g.Failure = failureTo(h.call.Check(msg.Check.GetBytes()))
		}
		return &runnerv1.RunRequest{Body: &runnerv1.RunRequest_Granted{Granted: g}}, nil
	case *runnerv1.RunResponse_Grow:
		return &runnerv1.RunRequest{Body: &runnerv1.RunRequest_Grown{Grown: h.grow(msg.Grow.GetBytes())}}, nil
	}
	return nil, nil
}

// grow makes room in the segment of the attempt.
func (h *host) grow(n int64) *runnerv1.GrownSegment {
	out, ok := h.run.Output.(segment.Output)
	if !ok {
		return &runnerv1.GrownSegment{Failure: wire.FailureToProto(&job.Failure{Kind: job.Fatal, Message: "the child asked for a segment, which the attempt does not have"})}
	}
	path, err := out.Grow(n)
	return &runnerv1.GrownSegment{Path: path, Failure: failureTo(err)}
}

// open opens the runs of one partition, and closes the runs of the previous call.
func (h *host) open(part int64) *runnerv1.OpenedRuns {
	if h.run.OpenPartition == nil || part < 0 || part > math.MaxInt32 {
		return &runnerv1.OpenedRuns{Failure: wire.FailureToProto(&job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("the child asked for partition %d, which the attempt does not have", part)})}
	}
	runs, err := h.run.OpenPartition(int(part))
	if err != nil {
		return &runnerv1.OpenedRuns{Failure: failureTo(err)}
	}
	h.mu.Lock()
	clear(h.runs[h.opened:])
	h.opened = len(h.runs)
	h.mu.Unlock()
	return &runnerv1.OpenedRuns{Runs: h.number(runs)}
}

func (h *host) reader(run int64) job.RunReader {
	h.mu.Lock()
	defer h.mu.Unlock()
	if run < 0 || run >= int64(len(h.runs)) {
		return nil
	}
	return h.runs[run]
}

// read reads the next blocks of a run: at least one block, and up to want bytes.
func (h *host) read(b *runnerv1.Blocks, want int64) (data mem.BufferSlice) {
	r := h.reader(b.GetRun())
	if r == nil {
		b.Failure = wire.FailureToProto(&job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("the child asked for run %d, which is not open", b.GetRun())})
		return nil
	}
	for n := int64(0); n < max(1, min(want, batch)); {
		block, err := r.Next()
		if err == io.EOF {
			b.End = true
			break
		}
		if err != nil {
			b.Failure = failureTo(err)
			break
		}
		b.Sizes = append(b.Sizes, int64(len(block)))
		data = append(data, mem.SliceBuffer(block))
		n += int64(len(block))
	}
	return data
}

// failureTo converts an error that may be nil.
func failureTo(err error) *layshaftv1.Failure {
	if err == nil {
		return nil
	}
	return wire.FailureToProto(failureOf(err))
}
