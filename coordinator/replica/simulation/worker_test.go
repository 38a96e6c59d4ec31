package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// worker runs tasks. Like real workers, it keeps its attempts when a stream breaks, claims them at
// the next one, and repeats a report until it is confirmed.
type worker struct {
	c    *cluster
	name string
	rng  *rand.Rand
	to   string
	held map[attempt]*holding
	// finished gets attempts that have ended.
	finished chan attempt
	ops      []porcupine.Operation
}

type attempt struct {
	id uint64
	n  int64
}

// holding is an attempt that runs, or whose result is not confirmed.
type holding struct {
	unique, result string
	finished       bool
	op             int // index of its report in ops, from 1
}

func newWorker(c *cluster, n int, seed uint64) *worker {
	return &worker{c: c, name: fmt.Sprintf("w%d", n), rng: rand.New(rand.NewPCG(seed, 300+uint64(n))), to: c.peers[0], held: map[attempt]*holding{}, finished: make(chan attempt, 1024)}
}

// stream is one end of a stream of package taskserver, without a network.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan *tasksv1.WorkTasksRequest
	got  chan *tasksv1.WorkTasksResponse
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Recv() (*tasksv1.WorkTasksRequest, error) {
	select {
	case m := <-s.sent:
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *stream) Send(m *tasksv1.WorkTasksResponse) error {
	select {
	case s.got <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// run works until ctx ends.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.connect(ctx)
		_ = sleep(ctx, 50*time.Millisecond+time.Duration(w.rng.Int64N(int64(200*time.Millisecond))))
	}
}

// connect works with one coordinator until the stream breaks.
func (w *worker) connect(ctx context.Context) {
	n := w.c.node(w.to)
	w.to = w.c.peers[w.rng.IntN(len(w.c.peers))]
	p := n.running(ctx)
	if p == nil {
		return
	}
	p.mu.Lock()
	s := p.serves
	p.mu.Unlock()
	if s == nil {
		if leader := p.r.Leader(); leader != "" {
			w.to = leader
		}
		return
	}
	w.to = n.address
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &stream{ctx: within, sent: make(chan *tasksv1.WorkTasksRequest, 64), got: make(chan *tasksv1.WorkTasksResponse, 64)}
	ended := make(chan error, 1)
	w.c.ended.Go(func() { ended <- s.tasks.WorkTasks(x) })
	send := func(m *tasksv1.WorkTasksRequest) bool {
		if sleep(within, w.latency()) != nil || n.running(within) != p {
			return false
		}
		select {
		case x.sent <- m:
			return true
		default:
			return false
		}
	}
	hello := &tasksv1.TaskHello{Worker: w.name, Cluster: clusterName, Protocol: wire.Protocol, Abilities: &tasksv1.TaskAbilities{Slots: 2, Functions: []*tasksv1.TaskFunction{{Function: "f"}}}}
	for a := range w.held {
		hello.Attempts = append(hello.Attempts, &tasksv1.TaskAttempt{Task: a.id, Attempt: a.n})
	}
	if !send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: hello}}) {
		return
	}
	w.c.log.note("%s connects to %s, term %d", w.name, n.address, s.term)
	heartbeat := time.NewTicker(3 * time.Second)
	defer heartbeat.Stop()
	for {
		select {
		case m := <-x.got:
			if sleep(within, w.latency()) != nil || n.running(within) != p || isClosed(p.dead) {
				return
			}
			if !w.receive(m, send) {
				return
			}
		case a := <-w.finished:
			h := w.held[a]
			if h == nil {
				continue
			}
			h.finished = true
			if !w.report(a, h, send) {
				return
			}
		case <-heartbeat.C:
			if !send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Heartbeat{Heartbeat: &tasksv1.TaskHeartbeat{}}}) {
				return
			}
		case err := <-ended:
			w.c.log.note("%s: stream to %s ended: %v", w.name, n.address, err)
			return
		case <-p.dead:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (w *worker) latency() time.Duration {
	return 100*time.Microsecond + time.Duration(w.rng.Int64N(int64(2*time.Millisecond)))
}

type sender func(m *tasksv1.WorkTasksRequest) bool

// receive handles a message. It returns false if the stream is broken.
func (w *worker) receive(m *tasksv1.WorkTasksResponse, send sender) bool {
	if m.GetWelcome() != nil {
		for a, h := range w.held {
			if h.finished && !w.report(a, h, send) {
				return false
			}
		}
	}
	now := int64(time.Since(w.c.log.begin))
	for _, a := range m.GetAcks() {
		at := attempt{a.GetTask(), a.GetAttempt()}
		if h := w.held[at]; h != nil && h.op > 0 {
			w.ops[h.op-1].Return = now
			w.c.log.note("%s: end of %x#%d is confirmed", w.name, at.id, at.n)
		}
		delete(w.held, at)
	}
	for _, s := range m.GetStops() {
		at := attempt{s.GetAttempt().GetTask(), s.GetAttempt().GetAttempt()}
		w.c.log.note("%s: %x#%d is to stop", w.name, at.id, at.n)
		delete(w.held, at)
		if !send(reportOf(at, &tasksv1.TaskReport{Content: &tasksv1.TaskReport_Failed{Failed: []byte("stopped")}})) {
			return false
		}
	}
	for _, s := range m.GetAssigns() {
		a := attempt{s.GetAttempt().GetTask(), s.GetAttempt().GetAttempt()}
		unique, _, _ := strings.Cut(string(s.GetInput()), "/")
		w.held[a] = &holding{unique: unique, result: fmt.Sprintf("%s by %s, attempt %d", s.GetInput(), w.name, a.n)}
		w.c.log.note("%s: runs %x#%d (%s)", w.name, a.id, a.n, s.GetInput())
		took := time.Millisecond + time.Duration(w.rng.Int64N(int64(300*time.Millisecond)))
		time.AfterFunc(took, func() { w.finished <- a })
	}
	return true
}

// report sends the result of an attempt.
func (w *worker) report(a attempt, h *holding, send sender) bool {
	if h.op == 0 {
		w.ops = append(w.ops, porcupine.Operation{ClientId: 100, Input: input{op: opEnd, unique: h.unique, id: a.id, text: h.result}, Call: int64(time.Since(w.c.log.begin)), Output: output{}, Return: forever})
		h.op = len(w.ops)
	}
	w.c.log.note("%s: reports %x#%d", w.name, a.id, a.n)
	return send(reportOf(a, &tasksv1.TaskReport{Content: &tasksv1.TaskReport_Result{Result: []byte(h.result)}}))
}

func reportOf(a attempt, r *tasksv1.TaskReport) *tasksv1.WorkTasksRequest {
	r.Attempt = &tasksv1.TaskAttempt{Task: a.id, Attempt: a.n}
	return &tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: []*tasksv1.TaskReport{r}}}}
}
