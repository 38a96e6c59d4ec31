package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

const (
	helloWait  = 10 * time.Second       // to find the coordinator and get its answer
	helloBatch = 10_000                 // attempts in one message
	minPause   = 100 * time.Millisecond // between streams
	// less than restarted coordinators wait for workers
	maxPause  = 500 * time.Millisecond
	everyBeat = 2500 * time.Millisecond // heartbeat interval for leases without end
	maxCopies = 2                       // outputs copied from other workers at a time

	// A worker that has never joined ends after maxRefusals refusals in a row that only its
	// operator can end.
	maxRefusals = 3
	// remindEvery is the interval between log lines while coordinators refuse the worker.
	remindEvery = time.Minute
)

type workStream = grpc.BidiStreamingClient[layshaftv1.WorkRequest, layshaftv1.WorkResponse]

// followCoordinator runs one stream to the coordinator after another. It ends with ctx, when the
// worker has left, or when no coordinator lets in a worker that has never joined.
//
// A worker that belongs to a cluster waits for it without end: a coordinator of another cluster, or
// one that works on old data, may stand in its place for a while. The worker keeps what it holds.
func (n *Node) followCoordinator(ctx context.Context) error {
	copies := make(chan struct{}, maxCopies)
	pause, lastErr, logged, refusals := retry.Backoff{Min: minPause, Max: maxPause}, "", time.Time{}, 0
	for {
		welcomed, err := n.runStream(ctx, copies)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == errLeft {
			return err
		}
		if n.joined.Load() || !isRefusal(err) || errors.Is(err, wire.ErrOtherCluster) || errors.Is(err, wire.ErrStaleEpoch) {
			refusals = 0
		} else if refusals++; refusals == maxRefusals { // one that restarts with other settings would answer in between
			return fmt.Errorf("worker %s: %w", n.name, err)
		}
		if welcomed {
			pause.Reset()
			lastErr = ""
		}
		switch now := err.Error(); {
		case isRefusal(err) && (now != lastErr || time.Since(logged) >= remindEvery):
			n.log.Error("refused; the worker keeps its outputs and waits for its own coordinator", "jobs", len(n.w.Jobs()), "err", err)
			lastErr, logged = now, time.Now()
		case now != lastErr:
			n.log.Warn("not connected to the coordinator", "err", err)
			lastErr, logged = now, time.Now()
		}
		if err := pause.Wait(ctx); err != nil {
			return err
		}
	}
}

// isRefusal reports whether a coordinator, or the worker itself, refused to work together.
func isRefusal(err error) bool {
	for _, e := range []error{wire.ErrOtherCluster, wire.ErrStaleEpoch, wire.ErrOtherProtocol, wire.ErrDistrust, wire.ErrForbidden, wire.ErrUnauthenticated} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var errNoWelcome = fmt.Errorf("the coordinator did not answer within %v", helloWait)

// runStream finds the coordinator, joins, and follows its requests until the stream breaks.
func (n *Node) runStream(outer context.Context, copies chan struct{}) (welcomed bool, err error) {
	ctx, end := context.WithCancelCause(outer)
	defer end(nil)
	late := time.AfterFunc(helloWait, func() { end(errNoWelcome) })
	defer late.Stop()
	stream, welcome, err := n.join(ctx)
	if err == nil && !late.Stop() {
		err = errNoWelcome
	}
	if err != nil {
		err = n.explain(outer, ctx, err)
		if conn := n.coord.last(); conn != nil {
			conn.Skip() // another coordinator may let this worker in
		}
		return false, err
	}
	n.log.Info("joined", "epoch", welcome.GetEpoch(), "lease", time.Duration(welcome.GetLeaseNanos()))
	n.out.openStream()
	n.lines.setWanted(welcome.GetWantsOutput())
	received := make(chan error, 1)
	go func() { received <- n.receiveLoop(ctx, stream, copies) }()
	err, ended := n.sendLoop(stream, time.Duration(welcome.GetLeaseNanos()), received)
	end(err)
	if !ended {
		<-received
	}
	n.out.closeStream()
	return true, wire.FromStatus(err)
}

// explain returns why join failed with err. within is the context of join.
func (n *Node) explain(outer, within context.Context, err error) error {
	conn := n.coord.last()
	if conn == nil || outer.Err() != nil {
		return wire.FromStatus(cmp.Or(context.Cause(within), err))
	}
	// A call that waits for its connection ends late. Its text has the reason of the last try.
	if why := conn.Mismatch(outer, err); why != nil {
		return why
	}
	cause := context.Cause(within)
	switch away := conn.Using() == ""; {
	case cause != nil && away:
		return fmt.Errorf("%w: %w", cause, conn.Away(err))
	case cause != nil:
		return fmt.Errorf("%w: %s", cause, conn.Using())
	case away && status.Code(err) == codes.Unavailable:
		return conn.Away(err)
	}
	return wire.FromStatus(err)
}

// join opens the stream, sends the hello messages and returns the answer.
func (n *Node) join(ctx context.Context) (workStream, *layshaftv1.Welcome, error) {
	conn, err := n.coord.connect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("find the coordinator: %w", err)
	}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { n.coord.follow(following) })
	defer follower.Wait()
	defer stop()
	// A worker that has joined before waits for the connection, the quickest way to a restarted
	// coordinator. It does not wait where only another certificate helps.
	rpc := layshaftv1.NewCoordinatorServiceClient(conn)
	stream, err := rpc.Work(ctx, grpc.WaitForReady(false))
	if err != nil && n.joined.Load() && !wire.IsDistrust(err) {
		stream, err = rpc.Work(ctx, grpc.WaitForReady(true))
	}
	if err != nil {
		return nil, nil, err
	}
	n.dropIdle()
	for _, hello := range n.helloMessages() {
		if err := stream.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: hello}}); err != nil {
			break // Recv returns the reason
		}
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	welcome := m.GetWelcome()
	if welcome == nil {
		return nil, nil, fmt.Errorf("the coordinator answered hello with %T", m.GetBody())
	}
	cluster, epoch := n.identity.membership()
	switch {
	case cluster != "" && cluster != welcome.GetCluster():
		return nil, nil, fmt.Errorf("%w: %s belongs to cluster %s, the coordinator to %s; join the worker's own coordinator, or give it an empty data directory",
			wire.ErrOtherCluster, n.cfg.Dir, cluster, welcome.GetCluster())
	case welcome.GetEpoch() < epoch:
		return nil, nil, fmt.Errorf("%w: the coordinator is of epoch %d, this worker obeys one of epoch %d; stop the one that works on an old copy of the data directory",
			wire.ErrStaleEpoch, welcome.GetEpoch(), epoch)
	}
	if err := n.identity.setCluster(welcome.GetCluster(), welcome.GetEpoch()); err != nil {
		return nil, nil, err
	}
	n.joined.Store(true)
	n.peers.add(welcome.GetPeers())
	return stream, welcome, nil
}

// helloMessages describes the worker, in as many messages as needed.
func (n *Node) helloMessages() []*layshaftv1.Hello {
	cluster, epoch := n.identity.membership()
	first := &layshaftv1.Hello{Protocol: wire.Protocol,
		Worker: n.name, Id: n.identity.ID, Slots: int64(n.cfg.Slots), Reserved: int64(n.cfg.Reserved), Zone: n.cfg.Zone, Address: n.cfg.Advertise,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Version: n.cfg.Version, Tags: n.cfg.Tags, Datasets: n.files.names(),
		Codes: n.jobs.code.configured(), AllowsShippedCode: n.cfg.AllowShippedCode, Memory: n.cfg.Memory / int64(n.cfg.Slots), Epoch: epoch, Cluster: cluster,
		Loaders: loaders(),
	}
	select {
	case <-n.drain:
		first.Draining = true
	default:
	}
	// Read the held outputs first: an output that is sealed after that is reported, and must not
	// count as held.
	var held []job.Attempt
	for _, id := range n.w.Jobs() {
		held = append(held, n.w.SealedAttempts(id)...)
	}
	running := n.running()
	open := make(map[job.Attempt]bool, len(running))
	for _, a := range running {
		open[a] = true
	}
	held = slices.DeleteFunc(held, func(a job.Attempt) bool { return open[a] })
	hellos := []*layshaftv1.Hello{first}
	for _, list := range [][]job.Attempt{held, running} {
		for batch := range slices.Chunk(list, helloBatch) {
			h := hellos[len(hellos)-1]
			if len(h.Outputs)+len(h.Running) > 0 {
				h.More = true
				h = &layshaftv1.Hello{}
				hellos = append(hellos, h)
			}
			for _, a := range batch {
				if open[a] {
					h.Running = append(h.Running, wire.AttemptToProto(a))
				} else {
					h.Outputs = append(h.Outputs, wire.AttemptToProto(a))
				}
			}
		}
	}
	return hellos
}

// running returns the attempts that were launched and whose reports are not acknowledged, without
// repetitions.
func (n *Node) running() []job.Attempt {
	as := n.drops.running()
	for _, r := range n.w.Progress() {
		as = append(as, r.Attempt)
	}
	return unique(append(as, n.out.unacknowledged()...))
}

func unique(as []job.Attempt) []job.Attempt {
	seen := make(map[job.Attempt]bool, len(as))
	return slices.DeleteFunc(as, func(a job.Attempt) bool {
		repeated := seen[a]
		seen[a] = true
		return repeated
	})
}

// sendLoop sends messages and heartbeats until the stream breaks. ended is true if receiveLoop
// has ended.
func (n *Node) sendLoop(stream workStream, lease time.Duration, received <-chan error) (err error, ended bool) {
	every := everyBeat
	if lease > 0 {
		every = lease / 4
	}
	beat := time.NewTicker(max(every, time.Millisecond))
	defer beat.Stop()
	drain := n.drain
	for {
		select {
		case err := <-received:
			return err, true
		case <-n.out.wake:
			for _, m := range n.out.next() {
				if err := stream.Send(m); err != nil {
					return recvError(received, err)
				}
				if m.GetLeaving() != nil {
					_ = stream.CloseSend()
					<-received
					return errLeft, true
				}
			}
		case <-n.lines.wake:
			for _, m := range n.lines.take() {
				if err := stream.Send(m); err != nil {
					return recvError(received, err)
				}
			}
		case <-beat.C:
			if err := stream.Send(n.heartbeat()); err != nil {
				return recvError(received, err)
			}
		case <-drain:
			drain = nil
			n.out.drain()
		}
	}
}

// recvError returns why a stream broke after a failed send. Only receiving returns the reason.
func recvError(received <-chan error, err error) (error, bool) {
	if err == io.EOF {
		return <-received, true
	}
	return err, false
}

func (n *Node) heartbeat() *layshaftv1.WorkRequest {
	h := &layshaftv1.Heartbeat{}
	h.FreeBytes, _ = n.w.store.Free() // zero when not known
	added := map[job.Attempt]bool{}
	for _, r := range n.w.Progress() {
		added[r.Attempt] = true
		h.Running = append(h.Running, &layshaftv1.AttemptProgress{Attempt: wire.AttemptToProto(r.Attempt), Records: r.Records, Bytes: r.Bytes, Spilled: r.Spilled,
			IdleNanos: int64(r.Idle), Stacks: strings.ToValidUTF8(r.Stacks, "\uFFFD")})
	}
	for _, a := range n.running() {
		if !added[a] {
			h.Running = append(h.Running, &layshaftv1.AttemptProgress{Attempt: wire.AttemptToProto(a)})
		}
	}
	return &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Heartbeat{Heartbeat: h}}
}

// receiveLoop handles the coordinator's requests until the stream ends, and returns the reason.
// It does not wait for anything else.
func (n *Node) receiveLoop(ctx context.Context, stream workStream, copies chan struct{}) error {
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return errors.New("the coordinator closed the stream")
		}
		if err != nil {
			return err
		}
		if err := n.handle(ctx, m, copies); err != nil {
			n.log.Error("invalid request of the coordinator", "err", err)
		}
	}
}

// handle handles one request of the coordinator.
func (n *Node) handle(ctx context.Context, m *layshaftv1.WorkResponse, copies chan struct{}) error {
	on := func(p *layshaftv1.Attempt, do func(a job.Attempt)) error {
		a, err := wire.AttemptFromProto(p)
		if err == nil {
			do(a)
		}
		return err
	}
	switch msg := m.GetBody().(type) {
	case *layshaftv1.WorkResponse_Launch:
		l, err := wire.LaunchFromProto(msg.Launch)
		if err != nil {
			return err
		}
		if !n.out.resend(l.Attempt) && !n.drops.holdLaunch(*l) {
			n.w.Launch(*l)
		}
	case *layshaftv1.WorkResponse_Cancel:
		return on(msg.Cancel, func(a job.Attempt) {
			if n.drops.cancel(a) {
				reporter{n}.Failed(n.name, a, job.Failure{Kind: job.Cancelled, Message: "cancelled"})
			} else {
				n.w.Cancel(a)
			}
		})
	case *layshaftv1.WorkResponse_Drop:
		return on(msg.Drop, n.w.Drop)
	case *layshaftv1.WorkResponse_DropJob:
		n.dropJob(job.ID(msg.DropJob))
	case *layshaftv1.WorkResponse_Ack:
		return on(msg.Ack, n.out.acknowledged)
	case *layshaftv1.WorkResponse_Drain:
		n.Drain()
	case *layshaftv1.WorkResponse_Drained:
		n.drainedNow()
	case *layshaftv1.WorkResponse_Peers:
		n.peers.add(msg.Peers.GetAddresses())
	case *layshaftv1.WorkResponse_Copy:
		return on(msg.Copy.GetAttempt(), func(a job.Attempt) {
			n.chores.Go(func() { n.takeOver(ctx, job.Producer{Attempt: a, Worker: msg.Copy.GetWorker()}, copies) })
		})
	case *layshaftv1.WorkResponse_Welcome:
		return errors.New("the coordinator sent a second welcome")
	default: // from a newer coordinator
		n.log.Warn("unknown request of a newer coordinator")
	}
	return nil
}

// takeOver copies an output from a worker that is about to leave.
func (n *Node) takeOver(ctx context.Context, p job.Producer, copies chan struct{}) {
	select {
	case copies <- struct{}{}:
		defer func() { <-copies }()
	case <-ctx.Done():
		return
	}
	err := n.copyOutput(ctx, p)
	if err != nil && ctx.Err() != nil {
		return // the coordinator repeats the request
	}
	if err != nil {
		n.log.Warn("output not taken over", "job", p.Attempt.Job, "attempt", p.Attempt, "from", p.Worker, "err", err)
	}
	n.out.copied(p.Attempt, err)
}

func (n *Node) copyOutput(ctx context.Context, p job.Producer) error {
	if n.w.store.Holds(p.Attempt) {
		return nil
	}
	from := n.peers.remote(p.Worker)
	if from == nil {
		return fmt.Errorf("worker %s is not known here", p.Worker)
	}
	m, err := from.Manifest(p.Attempt)
	if err != nil {
		return err
	}
	return n.w.store.Copy(ctx, m, shuffle.Remote{Bytes: from.bytes})
}
