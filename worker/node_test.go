package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

func TestNodes(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 2)
	var nodes []*node
	var sessions []*bossSession
	for i := range 2 {
		n := startNode(t, b, t.TempDir(), &stages{fs: []stage{numbers(30_000), sum}}, func(c *NodeConfig) {
			c.Zone, c.Tags, c.Reserved, c.Compress = "z", []string{"gpu"}, 1, i == 0
		})
		s := b.next()
		h := s.hello
		if h.GetWorker() != n.Name() || h.GetId() == "" || h.GetSlots() != 2 || h.GetReserved() != 1 || h.GetZone() != "z" || h.GetAddress() != n.address() ||
			!slices.Equal(h.GetTags(), []string{"gpu"}) || h.GetMemory() != 4<<20 || h.GetCluster() != "" || len(h.GetOutputs())+len(h.GetRunning()) > 0 {
			t.Errorf("hello %v", h)
		}
		nodes, sessions = append(nodes, n), append(sessions, s)
	}
	var producers []job.Producer
	for i, s := range sessions {
		l := launch(0, i, 1)
		s.launch(l)
		d := s.done(l.Attempt)
		sum := d.GetSummary()
		if len(d.GetPartitionBytes()) != 2 || d.GetPartitionBytes()[0]+d.GetPartitionBytes()[1] != sum.GetBytes() || sum.GetRecords() != 2000 || sum.GetCounters()["numbers"] != 2000 {
			t.Errorf("report %v", d)
		}
		s.ack(l.Attempt)
		producers = append(producers, nodes[i].producer(l.Attempt))
	}
	s := sessions[0]
	s.peers(map[string]string{nodes[1].Name(): nodes[1].address()})
	for i := range 2 {
		l := launch(1, i, 1, producers...)
		s.launch(l)
		if d, want := s.done(l.Attempt), int64(10*(99*100/2)+10*(99*100/2+100)); d.GetSummary().GetCounters()["sum"] != want {
			t.Errorf("sum %d, want %d", d.GetSummary().GetCounters()["sum"], want)
		}
	}
	if n := b.count("j", 0); n != 2 {
		t.Errorf("the job was asked for %d times, want once by each node", n)
	}
	sessions[1].drop(producers[1].Attempt)
	sessions[1].beat(func(*layshaftv1.Heartbeat) bool { return len(nodes[1].w.Jobs()) == 0 })
	l := launch(1, 0, 2, producers...)
	s.launch(l)
	f := s.hear().GetFailed().GetFailure()
	if f.GetKind() != layshaftv1.FailureKind_FAILURE_KIND_INPUT_LOST || len(f.GetLost()) != 1 || f.GetLost()[0].GetTask().GetIndex() != 1 {
		t.Errorf("received %v, want that the output of task 1 is lost", f)
	}
}

// Reports are made again until they are acknowledged, and what runs continues, while coordinators
// come and go.
func TestReconnect(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 1)
	dir, gate := t.TempDir(), make(chan struct{})
	slow := func(ctx context.Context, r *job.Run) error {
		if r.Attempt.Task.Index == 1 {
			r.Progress.Records.Add(5)
			select {
			case <-gate:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return numbers(0)(ctx, r)
	}
	n := startNode(t, b, dir, &stages{fs: []stage{slow}}, nil)
	s := b.next()
	quick, long := launch(0, 0, 1), launch(0, 1, 1)
	s.launch(quick)
	s.done(quick.Attempt)
	s.launch(long)
	s.beat(func(h *layshaftv1.Heartbeat) bool { // both count as running, as one report is not acknowledged
		i := slices.IndexFunc(h.GetRunning(), func(p *layshaftv1.AttemptProgress) bool { return p.GetRecords() == 5 })
		return len(h.GetRunning()) == 2 && i >= 0 && h.GetFreeBytes() > 0
	})

	// The lease was lost: hello again.
	s.end <- fmt.Errorf("worker: %w", wire.ErrLeaseLost)
	s = b.next()
	if h := s.hello; len(h.GetOutputs()) != 0 || len(h.GetRunning()) != 2 || h.GetCluster() != "c" || h.GetEpoch() != 3 {
		t.Errorf("hello %v", h)
	}
	s.done(quick.Attempt)
	s.launch(quick) // it was done already
	s.done(quick.Attempt)
	s.ack(quick.Attempt)
	s.beat(func(h *layshaftv1.Heartbeat) bool { return len(h.GetRunning()) == 1 })

	// The coordinator goes away, and comes back with a higher epoch.
	b.stop()
	next := startBoss(t, b.address, epoch(4))
	next.spec("j", 1)
	s = next.next()
	if h := s.hello; len(h.GetOutputs()) != 1 || len(h.GetRunning()) != 1 {
		t.Errorf("hello %v", h)
	}
	close(gate)
	s.done(long.Attempt)
	s.ack(long.Attempt)

	// The same directory, another process.
	n.end()
	again := startNode(t, next, dir, &stages{fs: []stage{slow}}, nil)
	s = next.next()
	if h := s.hello; len(h.GetOutputs()) != 2 || len(h.GetRunning()) != 0 || h.GetEpoch() != 4 || h.GetId() != n.identity.ID || h.GetWorker() == n.Name() {
		t.Errorf("hello %v", h)
	}
	s.dropJob("j")
	s.beat(func(*layshaftv1.Heartbeat) bool { return len(again.w.Jobs()) == 0 })
}

// A worker keeps its outputs and waits while a coordinator with old data, or one of another cluster,
// stands in the place of its own.
func TestRefusedCoordinators(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 1)
	dir := t.TempDir()
	n := startNode(t, b, dir, &stages{fs: []stage{numbers(20_000)}}, nil)
	s, l := b.next(), launch(0, 0, 1)
	s.launch(l)
	s.done(l.Attempt)
	s.ack(l.Attempt)
	s.beat(func(h *layshaftv1.Heartbeat) bool { return len(h.GetRunning()) == 0 })
	n.end()
	b.stop()

	old := startBoss(t, b.address, epoch(2))
	log := &finding{text: "refused; the worker keeps its outputs", found: make(chan string, 1)}
	n = startNode(t, old, dir, &stages{}, func(c *NodeConfig) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	for range maxRefusals + 1 {
		old.next()
	}
	if line := <-log.found; !strings.Contains(line, "jobs=1") || !strings.Contains(line, "the coordinator is of epoch 2, this worker obeys one of epoch 3") {
		t.Errorf("the log says %s", line)
	}
	old.stop()

	other := startBoss(t, b.address, cluster("d"))
	for range maxRefusals + 1 {
		other.next()
	}
	other.stop()

	again := startBoss(t, b.address, epoch(4))
	s = again.next()
	s.beat(func(*layshaftv1.Heartbeat) bool { return true })
	if h := s.hello; len(h.GetOutputs()) != 1 || h.GetCluster() != "c" || h.GetEpoch() != 3 || h.GetWorker() != n.Name() {
		t.Errorf("hello %v, want the same process with its output", h)
	}
}

// A worker takes any of several coordinators. When that one dies it goes on to another, and keeps
// what it holds and runs.
func TestSeveralCoordinators(t *testing.T) {
	noLeaks(t)
	first, second, third := porttest.Free(t), porttest.Free(t), porttest.Free(t)
	b := startBoss(t, second)
	b.spec("j", 1)
	gate := make(chan struct{})
	slow := func(ctx context.Context, r *job.Run) error {
		if r.Attempt.Task.Index == 1 {
			<-gate
		}
		return numbers(20_000)(ctx, r)
	}
	startNode(t, b, t.TempDir(), &stages{fs: []stage{slow}}, func(c *NodeConfig) { c.Coordinators = at(first, second, third) })
	s, quick, long := b.next(), launch(0, 0, 1), launch(0, 1, 1)
	s.launch(quick)
	s.done(quick.Attempt)
	s.ack(quick.Attempt)
	s.launch(long)
	s.beat(func(h *layshaftv1.Heartbeat) bool {
		return len(h.GetRunning()) == 1 && h.GetRunning()[0].GetAttempt().GetTask().GetIndex() == 1
	})
	for i, address := range []string{third, first} {
		b.stop()
		b = startBoss(t, address, epoch(int64(i)+4))
		s = b.next()
		if h := s.hello; len(h.GetOutputs()) != 1 || len(h.GetRunning()) != 1 {
			t.Errorf("hello at %s: %v", address, h)
		}
	}
	close(gate)
	s.done(long.Attempt)
	s.ack(long.Attempt)
}

// A worker passes by a coordinator of another cluster, also when that one comes first in the list.
func TestStrangerAmongCoordinators(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	dir := t.TempDir()
	n := startNode(t, b, dir, &stages{}, nil)
	b.next().beat(func(*layshaftv1.Heartbeat) bool { return true })
	n.end()
	other := startBoss(t, "127.0.0.1:0", cluster("d"))
	startNode(t, b, dir, &stages{}, func(c *NodeConfig) { c.Coordinators = at(other.address, b.address) })
	other.next()
	b.next().beat(func(*layshaftv1.Heartbeat) bool { return true })
}

// A coordinator that the worker finds while it waits for another one is taken at once.
func TestCoordinatorFoundLater(t *testing.T) {
	noLeaks(t)
	first, moved, lists := porttest.Free(t), porttest.Free(t), make(chan []string, 1)
	b := startBoss(t, first)
	startNode(t, b, t.TempDir(), &stages{}, func(c *NodeConfig) {
		c.Coordinators = func(ctx context.Context, known []string) ([]string, error) {
			if len(known) == 0 {
				return []string{first}, nil
			}
			select {
			case list := <-lists:
				return list, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	})
	b.next().beat(func(*layshaftv1.Heartbeat) bool { return true })
	b.stop()
	b = startBoss(t, moved, epoch(4))
	begun := time.Now()
	lists <- []string{moved}
	b.next()
	if d := time.Since(begun); d > helloWait/2 {
		t.Errorf("joined after %v", d)
	}
}

// A worker that drains ends what it runs, has its outputs taken, and leaves.
func TestNodeDrains(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 2)
	started, gate := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, r *job.Run) error {
		if r.Attempt.Task.Index == 1 {
			close(started)
			<-gate
		}
		return numbers(20_000)(ctx, r)
	}
	leaving := startNode(t, b, t.TempDir(), &stages{fs: []stage{slow, sum}}, func(c *NodeConfig) { c.Slots = 1 })
	s := b.next()
	staying := startNode(t, b, t.TempDir(), &stages{fs: []stage{slow, sum}}, nil)
	other := b.next()
	first, second := launch(0, 0, 1), launch(0, 1, 1)
	s.launch(first)
	s.done(first.Attempt)
	s.ack(first.Attempt)
	s.launch(second)
	<-started
	leaving.Drain()
	if m := s.hear(); m.GetDrain() == nil {
		t.Errorf("received %v, want that it drains", m)
	}
	s.end <- wire.ErrLeaseLost
	if s = b.next(); !s.hello.GetDraining() {
		t.Errorf("hello %v, want that it drains", s.hello)
	}
	if m := s.hear(); m.GetDrain() == nil {
		t.Errorf("received %v, want that it drains", m)
	}
	late := launch(0, 1, 2)
	s.launch(late)
	if f := s.hear().GetFailed().GetFailure(); f.GetKind() != layshaftv1.FailureKind_FAILURE_KIND_WORKER_LOST {
		t.Errorf("received %v, want that the worker is lost", f)
	}
	s.ack(late.Attempt)
	close(gate)
	s.done(second.Attempt)
	s.ack(second.Attempt)

	other.peers(map[string]string{leaving.Name(): leaving.address()})
	for _, a := range []job.Attempt{first.Attempt, second.Attempt} {
		want, err := leaving.w.store.Manifest(a)
		if err != nil {
			t.Fatal(err)
		}
		other.take(a, leaving.Name())
		if m := other.hear(); m.GetMoved() == nil || m.GetMoved().GetAttempt().GetTask().GetIndex() != int64(a.Task.Index) {
			t.Fatalf("received %v, want that %s moved", m, a)
		}
		other.ack(a)
		got, err := staying.w.store.Manifest(a)
		if err != nil || got.Sum != want.Sum || len(got.Extents) != len(want.Extents) || got.Counters["numbers"] != 2000 {
			t.Errorf("%s: manifest %+v, %v; want %+v", a, got, err, want)
		}
		s.drop(a)
	}
	gone := job.Attempt{Job: "j", Task: job.Task{Index: 7}, N: 1}
	other.take(gone, leaving.Name())
	if f := other.hear().GetFailed(); f.GetAttempt().GetTask().GetIndex() != 7 {
		t.Errorf("received %v, want that 0/7 could not be copied", f)
	}
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Drained{Drained: &layshaftv1.Drained{}}}
	if m := s.hear(); m.GetLeaving() == nil {
		t.Errorf("received %v, want that it leaves", m)
	}
	if err := leaving.wait(t); err != nil {
		t.Error(err)
	}
	l := launch(1, 0, 1, staying.producer(first.Attempt), staying.producer(second.Attempt))
	other.launch(l)
	other.done(l.Attempt)
}

// A job that is dropped and comes back at once begins when the drop is done, and is cancelled like
// any other.
func TestDroppedJobComesBack(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 1)
	gate, started := make(chan struct{}), make(chan struct{}, 10)
	run := &stages{ended: make(chan job.ID, 10), fs: []stage{func(_ context.Context, r *job.Run) error {
		if r.Attempt.N == 1 {
			started <- struct{}{}
			<-gate // it does not heed its context
		}
		return nil
	}}}
	startNode(t, b, t.TempDir(), run, nil)
	s := b.next()
	s.launch(launch(0, 0, 1))
	<-started
	s.dropJob("j")
	s.launch(launch(0, 0, 2))
	s.launch(launch(0, 1, 2))
	s.asks <- &layshaftv1.WorkResponse{Body: &layshaftv1.WorkResponse_Cancel{Cancel: wire.AttemptToProto(launch(0, 1, 2).Attempt)}}
	f := s.hear().GetFailed()
	if f.GetAttempt().GetTask().GetIndex() != 1 || f.GetFailure().GetKind() != layshaftv1.FailureKind_FAILURE_KIND_CANCELLED {
		t.Errorf("received %v, want that 0/1#2 is cancelled", f)
	}
	s.beat(func(h *layshaftv1.Heartbeat) bool { return len(h.GetRunning()) == 3 })
	close(gate)
	if f := s.hear().GetFailed(); f.GetAttempt().GetN() != 1 {
		t.Errorf("received %v, want that 0/0#1 failed", f)
	}
	s.done(launch(0, 0, 2).Attempt)
	if id := <-run.ended; id != "j" || len(run.ended) > 0 {
		t.Errorf("job %s ended, and %d more", id, len(run.ended))
	}
}

// The code of a job that left nothing here goes when the coordinator was away: it may be over.
func TestIdleJobsAreDropped(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	b.spec("idle", 1)
	b.spec("j", 1)
	ended := make(chan job.ID, 10)
	run := &stages{ended: ended, fs: []stage{func(ctx context.Context, r *job.Run) error {
		if r.Attempt.Job == "idle" {
			return errors.New("fails")
		}
		return numbers(0)(ctx, r)
	}}}
	startNode(t, b, t.TempDir(), run, nil)
	s := b.next()
	l := launch(0, 0, 1)
	l.Attempt.Job = "idle"
	s.launch(l)
	if m := s.hear(); m.GetFailed().GetFailure().GetMessage() != "fails" {
		t.Errorf("received %v", m)
	}
	s.ack(l.Attempt)
	s.launch(launch(0, 0, 1))
	s.done(launch(0, 0, 1).Attempt)
	s.ack(launch(0, 0, 1).Attempt)
	s.beat(func(h *layshaftv1.Heartbeat) bool { return len(h.GetRunning()) == 0 })
	s.end <- wire.ErrLeaseLost
	s = b.next()
	if id := <-ended; id != "idle" || len(ended) > 0 || len(s.hello.GetOutputs()) != 1 {
		t.Errorf("job %s ended, hello %v", id, s.hello)
	}
	l.Attempt.N = 2
	s.launch(l) // it goes on all the same
	if m := s.hear(); m.GetFailed().GetAttempt().GetN() != 2 {
		t.Errorf("received %v", m)
	}
}

// A coordinator that talks nonsense is not obeyed, and does no harm.
func TestNonsense(t *testing.T) {
	b := startBoss(t, "127.0.0.1:0")
	b.spec("j", 1)
	n := startNode(t, b, t.TempDir(), &stages{fs: []stage{numbers(0)}}, nil)
	s := b.next()
	for _, ask := range []*layshaftv1.WorkResponse{
		{},
		{Body: &layshaftv1.WorkResponse_Welcome{}},
		{Body: &layshaftv1.WorkResponse_Launch{}},
		{Body: &layshaftv1.WorkResponse_Cancel{Cancel: &layshaftv1.Attempt{N: -1}}},
		{Body: &layshaftv1.WorkResponse_Drop{Drop: &layshaftv1.Attempt{Job: "../..", Task: &layshaftv1.Task{Stage: 1 << 62}}}},
		{Body: &layshaftv1.WorkResponse_DropJob{DropJob: "../.."}},
		{Body: &layshaftv1.WorkResponse_Copy{Copy: &layshaftv1.Producer{Attempt: &layshaftv1.Attempt{Job: "../../x", N: 1}, Worker: "nobody"}}},
		{Body: &layshaftv1.WorkResponse_Peers{Peers: &layshaftv1.Peers{Addresses: map[string]string{"x": "\x00:::", "": ""}}}},
	} {
		s.asks <- ask
	}
	if m := s.hear(); m.GetFailed().GetAttempt().GetJob() != "../../x" {
		t.Errorf("received %v, want that nothing was copied", m)
	}
	s.launch(launch(0, 0, 1))
	s.done(launch(0, 0, 1).Attempt)
	if o := n.peers.outputs("x"); o != nil {
		if _, err := o.Manifest(job.Attempt{Job: "j", N: 1}); err == nil {
			t.Error("a manifest came from nowhere")
		}
	}
}

// Under a fake clock, an hour of a session, with a cut of ten minutes in it.
func TestNodeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, own := bufconn.Listen(1<<16), bufconn.Listen(1<<16)
		b := serveBoss(t, l)
		b.welcome.LeaseNanos = int64(10 * time.Second)
		var cut atomic.Bool
		n := startNode(t, b, t.TempDir(), &stages{}, func(c *NodeConfig) {
			c.Listener, c.Advertise = own, "worker"
			c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				if cut.Load() {
					return nil, errors.New("cut")
				}
				return l.DialContext(ctx)
			}
		})
		s := b.next()
		beats := 0
		for range 360 {
			time.Sleep(10 * time.Second) // a lease
			synctest.Wait()
			select {
			case <-s.beats:
				beats++
			default:
			}
		}
		if beats != 360 {
			t.Errorf("heartbeats came in %d of 360 leases", beats)
		}
		cut.Store(true)
		s.end <- wire.ErrLeaseLost
		time.Sleep(10 * time.Minute)
		cut.Store(false)
		began := time.Now()
		if again := b.next(); again.hello.GetWorker() != n.Name() || time.Since(began) > 10*time.Second {
			t.Errorf("%s came back after %v", again.hello.GetWorker(), time.Since(began))
		}
		n.end()
		b.stop()
	})
}

// FuzzAsk holds that nothing a coordinator may send makes a worker fall over.
func FuzzAsk(f *testing.F) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	n, err := NewNode(NodeConfig{Dir: f.TempDir(), Listener: l, Runner: &stages{}, Reserve: -1,
		Coordinators: func(context.Context, []string) ([]string, error) { return nil, errors.New("none") }})
	if err != nil {
		f.Fatal(err)
	}
	for _, ask := range []*layshaftv1.WorkResponse{
		{Body: &layshaftv1.WorkResponse_Cancel{Cancel: wire.AttemptToProto(job.Attempt{Job: "j", N: 1})}},
		{Body: &layshaftv1.WorkResponse_DropJob{DropJob: "j"}},
		{Body: &layshaftv1.WorkResponse_Launch{Launch: &layshaftv1.Launch{Attempt: wire.AttemptToProto(job.Attempt{Job: "j", N: 1})}}},
		{Body: &layshaftv1.WorkResponse_Copy{Copy: &layshaftv1.Producer{Attempt: wire.AttemptToProto(job.Attempt{Job: "j", N: 1}), Worker: "w"}}},
	} {
		b, err := proto.Marshal(ask)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.w.Run(ctx) }()
	f.Fuzz(func(t *testing.T, data []byte) {
		var m layshaftv1.WorkResponse
		if proto.Unmarshal(data, &m) == nil && m.GetDrain() == nil {
			_ = n.handle(t.Context(), &m, make(chan struct{}, 1))
		}
	})
	cancel()
	n.chores.Wait()
	if err := errors.Join(<-done, n.Close()); err != nil {
		f.Error(err)
	}
}

// FuzzRequest holds that nothing a peer may send to read outputs makes a worker fall over, or gives
// it more than it asked for.
func FuzzRequest(f *testing.F) {
	s := serveStore(f, shuffle.Options{})
	a := job.Attempt{Job: "j", N: 1}
	s.seal(f, a, block{data: []byte("small"), records: 1})
	server := newOutputServer(s.store, nil)
	read, err := proto.Marshal(&layshaftv1.ReadOutputRequest{Pieces: []*layshaftv1.Piece{{Attempt: wire.AttemptToProto(a), Inline: true, Length: 3}}})
	if err != nil {
		f.Fatal(err)
	}
	get, err := proto.Marshal(&layshaftv1.GetManifestRequest{Attempts: []*layshaftv1.Attempt{wire.AttemptToProto(a)}, Partition: &layshaftv1.Partition{Index: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(read)
	f.Add(get)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r layshaftv1.ReadOutputRequest
		if proto.Unmarshal(data, &r) == nil {
			var want int64
			for _, p := range r.GetPieces() {
				want += p.GetLength()
			}
			if resp, err := server.readOutput(t.Context(), &r); err == nil && int64(len(resp.GetData())) != want {
				t.Errorf("%d bytes, want %d", len(resp.GetData()), want)
			}
		}
		var g layshaftv1.GetManifestRequest
		if proto.Unmarshal(data, &g) == nil {
			ends := 0
			err := server.getManifest(&g, func(p *layshaftv1.GetManifestResponse) error {
				if p.GetEnd() {
					ends++
				}
				return nil
			})
			if err == nil && ends != len(g.GetAttempts()) {
				t.Errorf("%d answers to %d attempts", ends, len(g.GetAttempts()))
			}
		}
	})
}

// A worker that nobody lets in ends with the reason; one that found no coordinator leaves at once
// when it is told to.
func TestUnwelcome(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	n := startNode(t, b, t.TempDir(), &stages{}, func(c *NodeConfig) { c.CoordinatorCreds = credentials.NewTLS(&tls.Config{}) })
	if err := n.wait(t); !errors.Is(err, wire.ErrDistrust) || !strings.Contains(err.Error(), "runs without TLS") {
		t.Errorf("Run = %v, want that the coordinator runs without TLS", err)
	}
	lost := startNode(t, b, t.TempDir(), &stages{}, func(c *NodeConfig) {
		c.Coordinators = func(ctx context.Context, _ []string) ([]string, error) { <-ctx.Done(); return nil, context.Cause(ctx) }
	})
	lost.Drain()
	if err := lost.wait(t); err != nil {
		t.Error(err)
	}
}

// untrusted are credentials whose handshakes fail with the text in err, once it is set.
type untrusted struct {
	credentials.TransportCredentials
	err *atomic.Pointer[error]
}

func (f untrusted) Clone() credentials.TransportCredentials { return f }

func (f untrusted) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := f.err.Load(); err != nil {
		return nil, nil, *err
	}
	return f.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

// finding is a log that sends the first line with a text.
type finding struct {
	text  string
	found chan string
	once  sync.Once
}

func (f *finding) Write(p []byte) (int, error) {
	if strings.Contains(string(p), f.text) {
		f.once.Do(func() { f.found <- string(p) })
	}
	return len(p), nil
}

// A certificate that expires while the coordinator is away is named in the log, at once.
func TestExpiredWhileAway(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	var broken atomic.Pointer[error]
	log := &finding{text: "certificate not in force: w.pem expired", found: make(chan string, 1)}
	startNode(t, b, t.TempDir(), &stages{}, func(c *NodeConfig) {
		c.CoordinatorCreds = untrusted{insecure.NewCredentials(), &broken}
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	<-b.next().beats // only a worker that got the welcome has joined
	err := errors.New("certificate not in force: w.pem expired on a day: issue another")
	broken.Store(&err)
	b.stop()
	startBoss(t, b.address)
	select {
	case line := <-log.found:
		if strings.Contains(line, "authentication handshake") {
			t.Errorf("the line has more than the reason: %s", line)
		}
	case <-time.After(helloWait / 2):
		t.Error("the log does not name the certificate")
	}
}
