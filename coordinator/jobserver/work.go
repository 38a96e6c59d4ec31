package jobserver

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	// helloWait is the time limit for a worker's hello.
	helloWait = 10 * time.Second
	// maxHello is the limit of attempts in a hello.
	maxHello = 20_000_000
	// maxWelcome is how many addresses of workers a welcome has. Other addresses are sent when
	// needed.
	maxWelcome = 256
	// maxQueued is the limit of waiting messages for a worker that does not read. It is enough for
	// all that a job of the largest size may send to one worker.
	maxQueued = 20_000_000
)

var (
	errLeft = errors.New("worker left")
)

// workerStream is the stream of one worker, from its hello to its end. It is the
// coordinator.RemoteWorker of that worker: it queues orders, so that the coordinator never waits
// for a network, and the goroutine of the call sends them. Another goroutine receives.
type workerStream struct {
	s     *Server
	hello *layshaftv1.Hello // nil until the join, and never changed
	over  chan struct{}     // closed by end
	wake  chan struct{}     // capacity 1: there is something to send
	// sent are the sent addresses of workers; only the sender uses it after the join.
	sent map[string]string

	// mu guards the fields below.
	mu          sync.Mutex
	queue       []order
	cause       error // why it is over; nil while it is not
	lastMessage time.Time
	// free is the free space of the worker's disk, in bytes.
	free    int64
	running []*layshaftv1.AttemptProgress
}

// order is a message to send. A launch becomes a message when it is sent, because the conversion
// takes time.
type order struct {
	launch *job.Launch
	msg    *layshaftv1.WorkResponse
}

// Work runs the stream of a worker.
func (s *Server) Work(stream grpc.BidiStreamingServer[layshaftv1.WorkRequest, layshaftv1.WorkResponse]) error {
	x := &workerStream{s: s, over: make(chan struct{}), wake: make(chan struct{}, 1), sent: map[string]string{}}
	joined := make(chan struct{})
	s.receivers.Go(func() { x.end(x.receive(stream, joined)) })
	late := time.NewTimer(helloWait)
	defer late.Stop()
	select {
	case <-joined:
		x.send(stream)
	case <-late.C:
		x.end(fmt.Errorf("%w: no hello within %v", wire.ErrInvalid, helloWait))
	case <-x.over:
	case <-s.stop:
		x.end(s.stopping())
	}
	return s.endStream(x)
}

// receive processes messages of the worker until the stream ends, and returns the reason.
func (x *workerStream) receive(stream grpc.BidiStreamingServer[layshaftv1.WorkRequest, layshaftv1.WorkResponse], joined chan<- struct{}) error {
	hello, held, running, err := readHello(stream.Recv)
	if err != nil {
		return err
	}
	certificate := ""
	if x.s.cfg.Certificate != nil {
		certificate = x.s.cfg.Certificate(stream.Context())
	}
	if err := x.s.join(x, hello, held, running, certificate); err != nil {
		if errors.Is(err, wire.ErrForbidden) {
			x.s.audit(stream.Context(), "refuse", "worker", hello.GetWorker(), "err", err)
		}
		return err
	}
	x.s.audit(stream.Context(), "join", "worker", hello.GetWorker())
	close(joined)
	for {
		m, err := stream.Recv()
		if err != nil {
			return wire.BrokenBy(err)
		}
		select {
		case <-x.over:
			return wire.ErrBroken // for another reason, which is noted
		default:
		}
		if err := x.handleMessage(m); err != nil {
			return err
		}
	}
}

// readHello reads all of a worker's hello.
func readHello(recv func() (*layshaftv1.WorkRequest, error)) (hello *layshaftv1.Hello, outputs, running []job.Attempt, err error) {
	for more := true; more; {
		m, err := recv()
		if err != nil {
			return nil, nil, nil, wire.BrokenBy(err)
		}
		part := m.GetHello()
		if part == nil {
			return nil, nil, nil, fmt.Errorf("%w: the first message of a worker must be its hello", wire.ErrInvalid)
		}
		if hello == nil {
			hello = part
		}
		if outputs, err = addAttempts(outputs, part.GetOutputs()); err != nil {
			return nil, nil, nil, err
		}
		if running, err = addAttempts(running, part.GetRunning()); err != nil {
			return nil, nil, nil, err
		}
		if len(outputs)+len(running) > maxHello {
			return nil, nil, nil, fmt.Errorf("%w: a worker that holds more than %d outputs; remove its data directory", wire.ErrInvalid, maxHello)
		}
		more = part.GetMore()
	}
	hello.Outputs, hello.Running = nil, nil
	return hello, outputs, running, nil
}

func addAttempts(to []job.Attempt, attempts []*layshaftv1.Attempt) ([]job.Attempt, error) {
	for _, p := range attempts {
		a, err := wire.AttemptFromProto(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
		}
		to = append(to, a)
	}
	return to, nil
}

// maxStrangers is how many workers of other clusters logStranger tells apart.
const maxStrangers = 1000

// logStranger logs a worker of another cluster, once. A person who starts a coordinator with a new
// directory looks here for the workers.
func (s *Server) logStranger(name, cluster string) {
	s.mu.Lock()
	known := s.strangers[name] || len(s.strangers) >= maxStrangers
	if s.strangers == nil {
		s.strangers = map[string]bool{}
	}
	if !known {
		s.strangers[name] = true
	}
	s.mu.Unlock()
	if !known {
		s.log.Warn("a worker of another cluster waits here", "worker", name, "its", cluster, "this", s.cfg.Data.Cluster,
			"next", "if the coordinator's former data was lost, restore a backup, and the worker continues; without one, start the worker with an empty data directory")
	}
}

// join adds a worker, or refuses it. It ends the worker's former stream. certificate is the
// identity in the caller's certificate, or "".
func (s *Server) join(x *workerStream, hello *layshaftv1.Hello, outputs, running []job.Attempt, certificate string) error {
	name, cluster, epoch := hello.GetWorker(), s.cfg.Data.Cluster, int64(s.c.Epoch())
	if err := wire.CheckProtocol("worker "+name, hello.GetProtocol()); err != nil {
		return err
	}
	switch {
	case hello.GetCluster() != "" && hello.GetCluster() != cluster:
		s.logStranger(name, hello.GetCluster())
		return fmt.Errorf("%w: worker %s belongs to cluster %s, this is %s; join its own coordinator, or give it an empty data directory",
			wire.ErrOtherCluster, name, hello.GetCluster(), cluster)
	case hello.GetEpoch() > epoch:
		return fmt.Errorf("%w: worker %s obeys a coordinator of epoch %d, this one is of epoch %d; stop whichever of the two works on an old copy of the data directory",
			wire.ErrStaleEpoch, name, hello.GetEpoch(), epoch)
	case hello.GetSlots() < 1 || hello.GetSlots() > 1<<16 || hello.GetReserved() < 0 || hello.GetReserved() > hello.GetSlots() || name == "":
		return fmt.Errorf("%w: worker %q with %s, %d of them reserved; it must have a name, 1 to 65536 slots, and no more reserved than there are",
			wire.ErrInvalid, name, report.Plural(hello.GetSlots(), "slot"), hello.GetReserved())
	}
	if certificate != "" && hello.GetId() != "" {
		if err := s.owners.claim(hello.GetId(), certificate); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if err := s.refuseCopy(hello); err != nil {
		s.mu.Unlock()
		return err
	}
	if err := x.begin(hello); err != nil {
		s.mu.Unlock()
		return err
	}
	old := s.streams[name]
	s.streams[name], s.present[workerID(hello)] = x, x
	peers := map[string]string{}
	for other, p := range s.streams {
		if len(peers) < maxWelcome && other != name {
			peers[other] = p.hello.GetAddress()
			x.sent[other] = peers[other]
		}
	}
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Welcome{Welcome: &layshaftv1.Welcome{
		Epoch: epoch, LeaseNanos: max(int64(s.c.LeaseTTL()), 0), Cluster: cluster, Peers: peers, WantsOutput: s.cfg.Output != nil}}}})
	known := map[job.ID]bool{}
	for _, a := range outputs {
		if _, seen := known[a.Job]; !seen {
			if _, known[a.Job] = s.c.Hash(a.Job); !known[a.Job] {
				x.DropJob(a.Job)
			}
		}
	}
	err := s.c.JoinAs(joining(hello, outputs, running), x)
	s.mu.Unlock()
	if old != nil {
		old.end(fmt.Errorf("%w: another stream of worker %s began", wire.ErrLeaseLost, name))
	}
	return err
}

// refuseCopy refuses a second process with the ID of a worker that has been heard a moment ago, as
// after a data directory was copied. Under one ID, files of one of the two would be left out. A
// worker that starts again is accepted: the connection of its former process has broken, or is
// silent. The caller holds s.mu.
func (s *Server) refuseCopy(hello *layshaftv1.Hello) error {
	other := s.present[workerID(hello)]
	if other == nil || other.hello.GetWorker() == hello.GetWorker() {
		return nil
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if other.cause != nil || time.Since(other.lastMessage) > max(s.c.LeaseTTL(), time.Second)/2 {
		return nil
	}
	return fmt.Errorf("%w: worker ID %s is taken by worker %s at %s, which works; two machines have copies of one data directory: stop this worker, remove self.json and its copy from its directory, and start it again",
		wire.ErrConflict, workerID(hello), other.hello.GetWorker(), other.hello.GetAddress())
}

// begin sets the hello of a stream, unless the stream has ended.
func (x *workerStream) begin(hello *layshaftv1.Hello) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return x.cause
	}
	x.hello, x.lastMessage = hello, time.Now()
	return nil
}

func joining(hello *layshaftv1.Hello, outputs, running []job.Attempt) sched.WorkerJoined {
	return sched.WorkerJoined{Worker: hello.GetWorker(), Slots: int(hello.GetSlots()), Zone: hello.GetZone(), Outputs: outputs, Running: running,
		Reserved: int(hello.GetReserved()), Tags: hello.GetTags(), Platform: hello.GetPlatform(), Codes: hello.GetCodes(), AllowsShippedCode: hello.GetAllowsShippedCode(),
		Draining: hello.GetDraining(), WorkerID: hello.GetId(), Datasets: hello.GetDatasets()}
}

// handleMessage processes one message. An error ends the stream.
func (x *workerStream) handleMessage(m *layshaftv1.WorkRequest) error {
	c, name := x.s.c, x.hello.GetWorker()
	x.mu.Lock()
	x.lastMessage = time.Now()
	x.mu.Unlock()
	if m.GetHeartbeat() != nil {
		return x.beat(m.GetHeartbeat())
	}
	if err := c.Heartbeat(name); err != nil {
		return err
	}
	var err error
	switch msg := m.GetBody().(type) {
	case *layshaftv1.WorkRequest_Done:
		var a job.Attempt
		if a, err = wire.AttemptFromProto(msg.Done.GetAttempt()); err == nil {
			err = c.Post(sched.AttemptDone{Worker: name, Attempt: a, Summary: wire.SummaryFromProto(msg.Done.GetSummary()), PartitionBytes: msg.Done.GetPartitionBytes(), Keys: wire.KeysFromProto(msg.Done.GetKeys())}, x.ack(a))
		}
	case *layshaftv1.WorkRequest_Failed:
		var a job.Attempt
		var f *job.Failure
		if a, err = wire.AttemptFromProto(msg.Failed.GetAttempt()); err == nil {
			f, err = wire.FailureFromProto(msg.Failed.GetFailure())
		}
		if err == nil {
			err = c.Post(sched.AttemptFailed{Worker: name, Attempt: a, Failure: *f}, x.ack(a))
		}
	case *layshaftv1.WorkRequest_Lost:
		var a job.Attempt
		if a, err = wire.AttemptFromProto(msg.Lost.GetAttempt()); err == nil {
			c.OutputLost(a)
		}
	case *layshaftv1.WorkRequest_Moved:
		var a job.Attempt
		if a, err = wire.AttemptFromProto(msg.Moved.GetAttempt()); err == nil {
			err = c.Post(sched.OutputMoved{Worker: name, Attempt: a}, x.ack(a))
		}
	case *layshaftv1.WorkRequest_Output:
		x.s.takeLines(name, msg.Output)
	case *layshaftv1.WorkRequest_Drain:
		err = c.Post(sched.DrainWorker{Worker: name}, nil)
	case *layshaftv1.WorkRequest_Leaving:
		return errLeft
	default:
		err = fmt.Errorf("unexpected %T of a worker that has joined", m.GetBody())
	}
	if err != nil && !errors.Is(err, wire.ErrStopped) {
		return fmt.Errorf("%w: worker %s: %w", wire.ErrInvalid, name, err)
	}
	return err
}

// ack returns a function that acknowledges a report. Run it when the report is durable.
func (x *workerStream) ack(a job.Attempt) func() {
	return func() {
		x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Ack{Ack: wire.AttemptToProto(a)}}})
	}
}

func (x *workerStream) beat(h *layshaftv1.Heartbeat) error {
	attempts := make([]job.Attempt, 0, len(h.GetRunning()))
	for _, p := range h.GetRunning() {
		a, err := wire.AttemptFromProto(p.GetAttempt())
		if err != nil {
			return fmt.Errorf("%w: worker %s: %w", wire.ErrInvalid, x.hello.GetWorker(), err)
		}
		attempts = append(attempts, a)
	}
	x.mu.Lock()
	x.running, x.free = h.GetRunning(), h.GetFreeBytes()
	x.mu.Unlock()
	return x.s.c.Running(x.hello.GetWorker(), attempts)
}

// end ends the stream. The first cause counts.
func (x *workerStream) end(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil {
		x.cause, x.queue = cause, nil
		close(x.over)
	}
}

// put queues a message.
func (x *workerStream) put(a order) {
	x.mu.Lock()
	if x.cause == nil {
		x.queue = append(x.queue, a)
	}
	full := len(x.queue) > maxQueued
	x.mu.Unlock()
	if full {
		x.end(fmt.Errorf("%w: %d messages wait for a worker that does not read", wire.ErrLeaseLost, maxQueued))
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// send sends queued messages until the stream ends.
func (x *workerStream) send(stream grpc.BidiStreamingServer[layshaftv1.WorkRequest, layshaftv1.WorkResponse]) {
	for {
		select {
		case <-x.wake:
		case <-x.over:
			return
		case <-x.s.stop:
			x.end(x.s.stopping())
			return
		}
		x.mu.Lock()
		batch := x.queue
		x.queue = nil
		x.mu.Unlock()
		for _, a := range batch {
			msg := a.msg
			if a.launch != nil {
				msg = x.launch(a.launch)
			}
			if peers := x.peers(msg); len(peers) > 0 {
				if err := stream.Send(&layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Peers{Peers: &layshaftv1.Peers{Addresses: peers}}}); err != nil {
					x.end(wire.BrokenBy(err))
					return
				}
			}
			if err := stream.Send(msg); err != nil {
				x.end(wire.BrokenBy(err))
				return
			}
		}
	}
}

// launch converts a launch to a message. A launch that cannot be sent fails its attempt, and the
// worker gets its cancellation instead.
func (x *workerStream) launch(l *job.Launch) *layshaftv1.WorkResponse {
	p, err := wire.LaunchToProto(l)
	if n := proto.Size(p); err == nil && n > wire.MaxMessage {
		err = fmt.Errorf("launch %s takes %d bytes, more than the limit of %d: it reads too many tasks; make splits larger", l.Attempt, n, wire.MaxMessage)
	}
	if err != nil {
		x.s.c.Failed(x.hello.GetWorker(), l.Attempt, job.Failure{Kind: job.Fatal, Message: err.Error()})
		return &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Cancel{Cancel: wire.AttemptToProto(l.Attempt)}}
	}
	return &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Launch{Launch: p}}
}

// peers returns the addresses that a message needs and the worker does not have: the holders of
// its inputs, by the names in the message.
func (x *workerStream) peers(msg *layshaftv1.WorkResponse) map[string]string {
	var names []string
	if l := msg.GetLaunch(); l != nil {
		for _, p := range l.GetProducers() {
			names = append(names, p.GetWorkers()...)
		}
		names = append(names, l.GetSplit().GetHosts()...)
	} else if t := msg.GetCopy(); t != nil {
		names = []string{t.GetWorker()}
	}
	var addresses map[string]string
	for _, name := range names {
		if name == x.hello.GetWorker() || name == workerID(x.hello) {
			continue
		}
		if address, ok := x.s.address(name); ok && x.sent[name] != address {
			if addresses == nil {
				addresses = map[string]string{}
			}
			addresses[name], x.sent[name] = address, address
		}
	}
	return addresses
}

// workerID returns the ID of a worker.
func workerID(h *layshaftv1.Hello) string { return cmp.Or(h.GetId(), h.GetWorker()) }

// address returns the address of a worker, by its name or its ID.
func (s *Server) address(worker string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.streams[worker]
	if !ok {
		x, ok = s.present[worker]
	}
	return x.address(), ok
}

func (x *workerStream) address() string {
	if x == nil {
		return ""
	}
	return x.hello.GetAddress()
}

// endStream cleans up after a stream has ended, and returns the status for the worker.
func (s *Server) endStream(x *workerStream) error {
	x.mu.Lock()
	cause, hello := x.cause, x.hello
	x.mu.Unlock()
	if hello == nil {
		return cause
	}
	name := hello.GetWorker()
	goes := !errors.Is(cause, wire.ErrStopped) && !errors.Is(cause, wire.ErrLeaseLost)
	if goes && !errors.Is(cause, errLeft) {
		s.log.Info("worker stream ended", "worker", name, "err", cause)
		grace := s.cfg.Grace
		if woke := s.c.Woke(); !woke.IsZero() { // it could not reach this process
			grace = max(grace, time.Until(woke.Add(s.c.LeaseTTL())))
		}
		select {
		case <-time.After(grace): // it may come back
		case <-s.stop:
			goes = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present[workerID(hello)] == x {
		delete(s.present, workerID(hello))
	}
	if s.streams[name] == x {
		delete(s.streams, name)
		if goes {
			s.c.Leave(name)
		}
	}
	if errors.Is(cause, errLeft) {
		return nil
	}
	return cause
}

// endStreams ends all streams when the server stops.
func (s *Server) endStreams() {
	s.mu.Lock()
	all := maps.Clone(s.streams)
	s.mu.Unlock()
	for _, x := range all {
		x.end(s.stopping())
	}
}

// The orders of the coordinator.

// Launch starts an attempt.
func (x *workerStream) Launch(l job.Launch) { x.put(order{launch: &l}) }

// Cancel ends an attempt.
func (x *workerStream) Cancel(a job.Attempt) {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Cancel{Cancel: wire.AttemptToProto(a)}}})
}

// Drop deletes an output.
func (x *workerStream) Drop(a job.Attempt) {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Drop{Drop: wire.AttemptToProto(a)}}})
}

// DropJob deletes everything of a job.
func (x *workerStream) DropJob(id job.ID) {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_DropJob{DropJob: string(id)}}})
}

// Copy asks the worker to copy an output from another worker.
func (x *workerStream) Copy(p job.Producer) {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Copy{Copy: &layshaftv1.Producer{Attempt: wire.AttemptToProto(p.Attempt), Worker: p.Worker}}}})
}

// Drain asks the worker to leave.
func (x *workerStream) Drain() {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Drain{Drain: &layshaftv1.Drain{}}}})
}

// Drained reports that the worker can exit.
func (x *workerStream) Drained() {
	x.put(order{msg: &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Drained{Drained: &layshaftv1.Drained{}}}})
}

// LoseLease ends the stream, because the worker's lease has ended.
func (x *workerStream) LoseLease() {
	x.end(fmt.Errorf("worker %s: %w: it was not heard for %v", x.hello.GetWorker(), wire.ErrLeaseLost, x.s.c.LeaseTTL()))
}
