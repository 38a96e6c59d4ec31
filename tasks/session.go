package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// link has the worker's name and the connection to its coordinator.
type link struct {
	name    string
	cluster Cluster
	conn    *addresses.Conn
	rpc     tasksv1.TasksServiceClient
}

// session is one connection of a worker. Worker.state.mu guards its fields except stream and over.
type session struct {
	w      *Worker
	stream grpc.BidiStreamingClient[tasksv1.WorkTasksRequest, tasksv1.WorkTasksResponse]
	over   chan struct{} // closed at the end

	// piece is the first part of the input of the next assignment.
	piece   []byte
	sending bool // a goroutine is sending
	// abilities are to be sent, before the queue.
	abilities bool
	// beat: a heartbeat is to be sent if nothing else is.
	beat bool
	// leaving: the leave is to be sent, after the queue.
	leaving bool
	queue   []*tasksv1.TaskReport
	bytes   int // partial results in queue, in bytes
	// room is closed when the queue has been taken. It is nil if no handler waits for that.
	room chan struct{}
}

// maxQueued limits the partial results waiting to be sent, in bytes; a single larger one is
// allowed. Handlers wait for room.
const maxQueued = 256 << 10

const (
	// maxReconnect is the longest pause between attempts to connect.
	maxReconnect = 10 * time.Second
	// remindEvery is the interval between log lines while a coordinator of another cluster refuses
	// the worker.
	remindEvery = time.Minute
)

// connect keeps a session until ctx ends. It returns an error if the first one is refused.
//
// A worker that has tasks of a cluster waits for a coordinator of this cluster. A worker without
// tasks joins any.
func (w *Worker) connect(ctx context.Context, l *link) error {
	pause, welcome, logged, at := retry.Backoff{Min: minPause, Max: maxReconnect}, false, "", time.Time{}
	log := l.cluster.Log.With("worker", l.name, "coordinator", l.cluster.Address)
	var away retry.Patience // since the coordinator answered last
	away.Reset()
	reported, wasThere := false, false
	for {
		err := w.serve(ctx, l, func() {
			log.Info("worker joined")
			if reported && w.cluster.OnWait == nil {
				w.reportAway("worker " + l.name + ": connected to " + l.cluster.Address)
			}
			reported, wasThere = false, true
			pause.Reset()
			welcome, logged = true, ""
		})
		w.state.mu.Lock()
		left := w.state.left
		w.state.mu.Unlock()
		if left || ctx.Err() != nil {
			return nil
		}
		why := wire.FromStatus(err)
		if mismatch := l.conn.Mismatch(ctx, err); mismatch != nil {
			why = mismatch
		} else if isRetryable(err) {
			why = l.conn.Away(err)
		}
		if !welcome && !isRetryable(err) && err != nil && status.Code(err) != codes.DeadlineExceeded {
			return fmt.Errorf("coordinator %s refused the worker: %w", l.cluster.Address, why)
		}
		if wasThere {
			away.Reset()
			wasThere = false
		}
		if !reported && away.Spent() >= awayFor {
			reported = true
			w.reportAway(fmt.Sprintf("worker %s: %v; trying again until it answers", l.name, why))
		}
		stranger := errors.Is(why, wire.ErrOtherCluster)
		switch now := fmt.Sprint(why); {
		case stranger && (now != logged || time.Since(at) >= remindEvery):
			log.Error("refused; the worker keeps its tasks and waits for its own coordinator", "err", why)
			logged, at = now, time.Now()
		case now != logged:
			log.Warn("no connection; trying again", "err", why)
			logged, at = now, time.Now()
		}
		if stranger {
			l.conn.Skip()
		}
		if pause.Wait(ctx) != nil {
			return nil
		}
	}
}

// awayFor is how long a worker is without a coordinator before OnWait is called.
const awayFor = 2 * time.Second

// reportAway reports why the worker waits for its coordinator: to OnWait, else to the log, which
// has it already, else to standard error.
func (w *Worker) reportAway(why string) {
	switch {
	case w.cluster.OnWait != nil:
		w.cluster.OnWait(why)
	case w.cluster.Log == nil:
		fmt.Fprintln(os.Stderr, "layshaft:", plain.Lines(why))
	}
}

// serve runs one session.
func (w *Worker) serve(ctx context.Context, l *link, joined func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.rpc.WorkTasks(ctx)
	if err != nil {
		return err
	}
	s := &session{w: w, stream: stream, over: make(chan struct{})}
	state := &w.state
	state.mu.Lock()
	hello := &tasksv1.TaskHello{Protocol: wire.Protocol, Worker: l.name, SlotsOf: w.SlotsOf, Abilities: w.protoAbilities()}
	for a := range maps.Keys(state.attempts) {
		hello.Attempts = append(hello.Attempts, a.proto())
	}
	for a := range maps.Keys(state.ends) {
		if a.task != 0 {
			hello.Attempts = append(hello.Attempts, a.proto())
		}
	}
	if len(hello.Attempts) > 0 {
		hello.Cluster = state.cluster
	}
	state.mu.Unlock()
	if err := stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	cluster := m.GetWelcome().GetCluster()
	if hello.Cluster != "" && hello.Cluster != cluster { // it is too old to refuse
		return fmt.Errorf("%w: this worker has tasks of cluster %s, the coordinator is of %s", wire.ErrOtherCluster, hello.Cluster, cluster)
	}
	joined()
	state.mu.Lock()
	former := state.cluster
	state.cluster = cluster
	state.mu.Unlock()
	if former != "" && former != cluster {
		l.cluster.Log.Warn("the coordinator is of another cluster than before; this worker had no tasks and works for it", "worker", l.name, "coordinator", l.cluster.Address, "cluster", cluster, "former", former)
	}
	every := time.Duration(m.GetWelcome().GetLeaseNanos()) / 4
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		s.heartbeats(ctx, every)
	}()
	s.begin()
	for err == nil {
		s.handleMessage(m)
		m, err = stream.Recv()
	}
	if status.Code(err) == codes.InvalidArgument {
		s.handleRefusal(err)
	}
	s.end()
	cancel()
	<-beats
	return err
}

func (a attempt) proto() *tasksv1.TaskAttempt {
	return &tasksv1.TaskAttempt{Task: uint64(a.task), Attempt: a.number}
}

func attemptOf(p *tasksv1.TaskAttempt) attempt {
	return attempt{ID(p.GetTask()), p.GetAttempt()}
}

// protoAbilities returns the message with the worker's functions and slots. mu is held.
func (w *Worker) protoAbilities() *tasksv1.TaskAbilities {
	p := &tasksv1.TaskAbilities{Slots: int64(w.state.offered), Reserved: int64(min(w.Reserved, w.state.offered))}
	for _, function := range slices.Sorted(maps.Keys(w.handlers)) {
		p.Functions = append(p.Functions, &tasksv1.TaskFunction{Function: function, TimeoutNanos: int64(w.handlers[function].timeout)})
	}
	return p
}

// begin makes s the session of the worker.
func (s *session) begin() {
	state := &s.w.state
	state.mu.Lock()
	defer state.mu.Unlock()
	state.session = s
	// Send all unacknowledged ends again, and all changes since hello.
	s.abilities, s.queue = true, slices.Collect(maps.Values(state.ends))
	for _, c := range state.attempts {
		if c.leader != 0 {
			s.queue = append(s.queue, c.leaderReport())
		}
	}
	close(state.joined)
	state.joined = make(chan struct{})
	s.send()
}

// end removes the session from the worker.
func (s *session) end() {
	state := &s.w.state
	state.mu.Lock()
	defer state.mu.Unlock()
	state.session = nil
	s.queue = nil
	for _, c := range state.attempts {
		if c.blocked != nil {
			close(c.blocked)
			c.blocked = nil
		}
		if c.sentTo == s {
			c.torn = true
			c.cancel(errTorn)
		}
	}
	s.signalRoom()
	close(s.over)
	state.signal()
}

// handleRefusal handles a session ended by the coordinator because of a message. The coordinator
// may have a lower limit for results than this worker. The largest unacknowledged end is therefore
// replaced by a failure, so that it is not sent and refused again and again.
func (s *session) handleRefusal(err error) {
	state := &s.w.state
	state.mu.Lock()
	defer state.mu.Unlock()
	var largest attempt
	size := maxError
	for a, end := range state.ends {
		if n := len(bodyOf(end)); n > size {
			largest, size = a, n
		}
	}
	if size > maxError {
		text := fmt.Appendf(nil, "the coordinator refused a report of %d bytes: %v", size, wire.FromStatus(err))
		state.ends[largest] = &tasksv1.TaskReport{Attempt: largest.proto(), Content: &tasksv1.TaskReport_Fatal{Fatal: text}}
	}
}

// signalRoom wakes handlers waiting for room in the queue. mu is held.
func (s *session) signalRoom() {
	s.bytes = 0
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// heartbeats sends heartbeats until ctx ends.
func (s *session) heartbeats(ctx context.Context, every time.Duration) {
	if every <= 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.w.state.mu.Lock()
		s.beat = true
		s.send()
		s.w.state.mu.Unlock()
	}
}

// send sends everything waiting to be sent, unless another goroutine is sending: that goroutine
// then sends this too. It is called with mu held, and unlocks mu while it sends.
func (s *session) send() {
	if s.sending {
		return
	}
	s.sending = true
	mu := &s.w.state.mu
	for s.abilities || s.beat || s.leaving || len(s.queue) > 0 {
		var abilities *tasksv1.TaskAbilities
		if s.abilities {
			abilities = s.w.protoAbilities()
		}
		reports, leaving := s.queue, s.leaving
		beat := s.beat && len(reports) == 0
		s.abilities, s.beat, s.leaving, s.queue = false, false, false, nil
		s.signalRoom()
		mu.Unlock()
		err := s.sendAll(abilities, reports, beat, leaving)
		mu.Lock()
		if err != nil {
			break // the receiver gets the cause
		}
	}
	s.sending = false
}

func (s *session) sendAll(abilities *tasksv1.TaskAbilities, reports []*tasksv1.TaskReport, beat, leaving bool) error {
	if abilities != nil {
		if err := s.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Abilities{Abilities: abilities}}); err != nil {
			return err
		}
	}
	for len(reports) > 0 {
		n, size := 0, 0
		for n < len(reports) && n < maxBatch && (n == 0 || size+len(bodyOf(reports[n])) <= batchBytes) {
			size += len(bodyOf(reports[n]))
			n++
		}
		// one large report; the original is kept, as it may be sent again
		if size > pieceSize {
			var err error
			reports = slices.Clone(reports)
			if reports[0], err = s.sendPieces(reports[0]); err != nil {
				return err
			}
		}
		if err := s.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: reports[:n]}}}); err != nil {
			return err
		}
		reports = reports[n:]
	}
	if beat {
		if err := s.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Heartbeat{Heartbeat: &tasksv1.TaskHeartbeat{}}}); err != nil {
			return err
		}
	}
	if leaving {
		if err := s.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Leaving{Leaving: &tasksv1.TaskLeaving{}}}); err != nil {
			return err
		}
		return s.stream.CloseSend()
	}
	return nil
}

// sendPieces sends the body of a report in pieces, and returns a copy of the report with the rest.
func (s *session) sendPieces(r *tasksv1.TaskReport) (*tasksv1.TaskReport, error) {
	body := bodyOf(r)
	for ; len(body) > pieceSize; body = body[pieceSize:] {
		if err := s.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Piece{Piece: body[:pieceSize]}}); err != nil {
			return nil, err
		}
	}
	rest := &tasksv1.TaskReport{Attempt: r.GetAttempt()}
	switch r.GetContent().(type) {
	case *tasksv1.TaskReport_Data:
		rest.Content = &tasksv1.TaskReport_Data{Data: body}
	case *tasksv1.TaskReport_Warning:
		rest.Content = &tasksv1.TaskReport_Warning{Warning: body}
	case *tasksv1.TaskReport_Result:
		rest.Content = &tasksv1.TaskReport_Result{Result: body}
	case *tasksv1.TaskReport_Failed:
		rest.Content = &tasksv1.TaskReport_Failed{Failed: body}
	case *tasksv1.TaskReport_Fatal:
		rest.Content = &tasksv1.TaskReport_Fatal{Fatal: body}
	}
	return rest, nil
}

// bodyOf returns the body of a report.
func bodyOf(r *tasksv1.TaskReport) []byte {
	switch content := r.GetContent().(type) {
	case *tasksv1.TaskReport_Data:
		return content.Data
	case *tasksv1.TaskReport_Warning:
		return content.Warning
	case *tasksv1.TaskReport_Result:
		return content.Result
	case *tasksv1.TaskReport_Failed:
		return content.Failed
	case *tasksv1.TaskReport_Fatal:
		return content.Fatal
	}
	return nil
}
