package jobserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

func remoteSubmit(t *testing.T, c *client.Client, spec job.Spec) {
	t.Helper()
	if _, err := c.Submit(t.Context(), &spec, report.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestRemoteJob(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w1, w2 := n.worker(t, "w1", 2), n.worker(t, "w2", 2)
		settle()
		c := n.client(t)
		ctx := t.Context()
		spec := coordtest.TwoStages(6, 4)
		if out, err := c.Submit(ctx, &spec, report.Options{Priority: 3, Detached: true}); err != nil || out.Known {
			t.Fatalf("Submit = %+v, %v", out, err)
		}
		if out, err := c.Submit(ctx, &spec, report.Options{}); err != nil || !out.Known {
			t.Errorf("second Submit = %+v, %v", out, err)
		}
		other := coordtest.TwoStages(6, 4)
		other.Hash = "def"
		if _, err := c.Submit(ctx, &other, report.Options{}); !errors.Is(err, wire.ErrConflict) {
			t.Errorf("submit with another hash = %v", err)
		}
		last := report.Job{}
		for st, err := range c.Watch(ctx, "j") {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range st.Stages {
				if s.Tasks != s.Waiting+s.Running+s.Done+s.Failed+s.Cancelled {
					t.Errorf("tasks are not conserved: %+v", s)
				}
			}
			last = st
		}
		if last.Outcome != report.JobDone || last.Options.Priority != 3 || !last.Options.Detached || last.Options.Owner == "" || last.Ended.IsZero() || last.Stages[0].Sum.Counters["rows"] != 60 {
			t.Errorf("the end is %+v", last)
		}
		held := map[job.Task]string{}
		for cs, err := range c.Commits(ctx, "j", 1) {
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range cs.Changed {
				held[p.Attempt.Task] = p.Worker
			}
			if cs.Complete && (len(held) != 4 || cs.Addresses["w1"] != "w1:1") {
				t.Errorf("commits are %v at %v", held, cs.Addresses)
			}
		}
		if got, opt, err := c.Spec(ctx, "j", false); err != nil || got.Name != "two stages" || opt.Code != "" {
			t.Errorf("Spec = %+v, %v", got, err)
		}
		if jobs, err := c.Jobs(ctx, 0); err != nil || len(jobs) != 1 || jobs[0].ID != "j" {
			t.Errorf("Jobs = %+v, %v", jobs, err)
		}
		if ws, err := c.Workers(ctx); err != nil || len(ws) != 2 || ws[0].Name != "w1" || ws[0].Address != "w1:1" || ws[1].Slots != 2 {
			t.Errorf("Workers = %+v, %v", ws, err)
		}
		if n := len(strings.Fields(w1.ran())) + len(strings.Fields(w2.ran())); n != 10 {
			t.Errorf("%d attempts ran, want 10", n)
		}
		if err := c.Drop(ctx, "j"); err != nil {
			t.Error(err)
		}
		settle()
		if w1.holds()+w2.holds() != 0 || w1.was() != "drop job j" || w2.was() != "drop job j" {
			t.Errorf("after the drop w1 holds %d, w2 %d; they were asked: %s; %s", w1.holds(), w2.holds(), w1.was(), w2.was())
		}
		if err := c.Wait(ctx, "j"); !errors.Is(err, wire.ErrUnknownJob) {
			t.Errorf("Wait after the drop = %v", err)
		}
		if _, err := c.Status(ctx, "j"); !errors.Is(err, wire.ErrUnknownJob) {
			t.Errorf("Status after the drop = %v", err)
		}
	})
}

// A worker whose connection breaks may come back within the grace; its attempts go on.
func TestWorkerComesBack(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w1, w2 := n.worker(t, "w1", 2), n.worker(t, "w2", 2)
		settle()
		c := n.client(t)
		remoteSubmit(t, c, coordtest.TwoStages(4, 1))
		time.Sleep(500 * time.Millisecond)
		w1.reset(200 * time.Millisecond)
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if n := len(strings.Fields(w1.ran() + " " + w2.ran())); n != 5 {
			t.Errorf("%d attempts ran, want 5: %s; %s", n, w1.ran(), w2.ran())
		}
	})
}

// A worker that stays away loses its attempts within a second of the break, long before its lease ends.
func TestWorkerReset(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w1, w2 := n.worker(t, "w1", 1), n.worker(t, "w2", 2)
		settle()
		c := n.client(t)
		remoteSubmit(t, c, coordtest.TwoStages(2, 1))
		time.Sleep(500 * time.Millisecond)
		w1.reset(time.Hour)
		begin := time.Now()
		for len(strings.Fields(w2.ran())) < 2 {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the attempts of the lost worker ran elsewhere after %v", took)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
	})
}

// A worker that falls silent loses its lease; when it comes back, what it reports late is refused.
func TestWorkerSilent(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w1, w2 := n.worker(t, "w1", 1), n.worker(t, "w2", 1)
		settle()
		c := n.client(t)
		w1.mu.Lock()
		w1.silent, w1.away = true, time.Minute
		w1.mu.Unlock()
		time.Sleep(11 * time.Second)
		if err := w1.ended(); !errors.Is(err, wire.ErrLeaseLost) {
			t.Errorf("the session of a silent worker ended with %v", err)
		}
		if ws, err := c.Workers(t.Context()); err != nil || len(ws) != 1 || ws[0].Name != "w2" {
			t.Errorf("Workers = %+v, %v", ws, err)
		}
		remoteSubmit(t, c, coordtest.TwoStages(2, 1))
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		late := job.Attempt{Job: "j", Task: job.Task{Stage: 0, Index: 0}, N: 7}
		w1.mu.Lock()
		w1.silent, w1.store[late] = false, true
		w1.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if ws, _ := c.Workers(t.Context()); len(ws) != 2 || w1.holds() != 0 {
			t.Errorf("after it came back there are %d workers, and it holds %d outputs that do not count", len(ws), w1.holds())
		}
		_ = w2
	})
}

func TestSecondSessionReplaces(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		old := n.worker(t, "w1", 1)
		settle()
		old.mu.Lock()
		old.away = time.Hour
		old.mu.Unlock()
		w := n.worker(t, "w1", 2)
		settle()
		if err := old.ended(); !errors.Is(err, wire.ErrLeaseLost) {
			t.Errorf("the former session ended with %v", err)
		}
		time.Sleep(time.Minute) // nobody takes the new one for lost
		c := n.client(t)
		if ws, err := c.Workers(t.Context()); err != nil || len(ws) != 1 || ws[0].Slots != 2 {
			t.Errorf("Workers = %+v, %v", ws, err)
		}
		if err := w.ended(); err != nil {
			t.Errorf("the new session ended: %v", err)
		}
	})
}

// A data directory was copied to another machine: the second holder of its worker ID is refused while the first one works.
func TestCopiedWorkerRefused(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		hello := func(name string) *layshaftv1.Hello {
			return &layshaftv1.Hello{Protocol: wire.Protocol, Worker: name, Id: "disk", Slots: 1, Address: "10.0.0.1:7080"}
		}
		first, second := &remoteWorker{n: n, hello: hello("disk-a"), peers: map[string]string{}}, &remoteWorker{n: n, hello: hello("disk-b"), peers: map[string]string{}}
		ctx, die := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- first.session(ctx) }()
		settle()
		if err := second.session(t.Context()); !errors.Is(err, wire.ErrConflict) || !strings.Contains(err.Error(), "disk-a at 10.0.0.1:7080") {
			t.Errorf("the second holder of an ID: %v", err)
		}
		die()
		<-ended
		settle()
		again, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := second.session(again); errors.Is(err, wire.ErrConflict) {
			t.Errorf("after the first has gone: %v", err)
		}
	})
}

// A worker ID belongs to the certificate with which it joined first, also after a restart and while
// that worker is away, until the worker is drained.
func TestWorkerIDBelongsToCertificate(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		data := memoryData(t)
		data.Files = datadir.FilesIn(t.TempDir())
		var caller string
		config := Config{Data: data, Certificate: func(context.Context) string { return caller }}
		n := &network{}
		_, stop := n.serve(t, coordinator.Config{}, config)
		join := func(certificate string) error {
			caller = certificate
			w := &remoteWorker{n: n, peers: map[string]string{}, hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "disk-" + path.Base(certificate), Id: "disk",
				Slots: 1, Address: "10.0.0.1:7080", Datasets: []string{"d"}}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := w.session(ctx)
			time.Sleep(time.Minute) // its lease ends
			return err
		}
		const want = "worker ID disk belongs to the certificate of worker/w1, and this worker has the one of worker/w2"
		if err := join("worker/w1"); errors.Is(err, wire.ErrForbidden) {
			t.Fatal(err)
		}
		if err := join("worker/w2"); !errors.Is(err, wire.ErrForbidden) || !strings.Contains(err.Error(), want) {
			t.Errorf("another certificate: %v, want %q", err, want)
		}
		stop()
		_, _ = n.serve(t, coordinator.Config{}, config)
		if err := join("worker/w2"); !errors.Is(err, wire.ErrForbidden) {
			t.Errorf("another certificate after a restart: %v", err)
		}
		for range 2 {
			if err := join("worker/w1"); errors.Is(err, wire.ErrForbidden) {
				t.Error(err)
			}
		}
		if err := n.client(t).DrainWorker(t.Context(), "disk"); err != nil {
			t.Fatal(err)
		}
		if err := join("worker/w2"); errors.Is(err, wire.ErrForbidden) {
			t.Errorf("after the drain: %v", err)
		}
	})
}

func TestWorkerRefused(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n, log := &network{}, &strings.Builder{}
		n.serve(t, coordinator.Config{}, Config{Log: slog.New(slog.NewTextHandler(log, nil))})
		defer func() {
			if text := log.String(); strings.Count(text, "a worker of another cluster waits here") != 1 || !strings.Contains(text, "restore a backup") {
				t.Errorf("log of the coordinator: %s", text)
			}
		}()
		for _, tt := range []struct {
			change func(h *layshaftv1.Hello)
			is     error
			want   string
		}{
			{func(h *layshaftv1.Hello) { h.Cluster = "other" }, wire.ErrOtherCluster, "belongs to cluster other, this is c1"},
			{func(h *layshaftv1.Hello) { h.Cluster = "other" }, wire.ErrOtherCluster, "give it an empty data directory"},
			{func(h *layshaftv1.Hello) { h.Epoch = 9 }, wire.ErrStaleEpoch, "epoch 9"},
			{func(h *layshaftv1.Hello) { h.Protocol++ }, wire.ErrOtherProtocol,
				"worker w1 speaks version 2, this coordinator speaks version 1; install the release of the other side for the coordinator"},
			{func(h *layshaftv1.Hello) { h.Slots = 0 }, wire.ErrInvalid, "0 slots"},
			{func(h *layshaftv1.Hello) { h.Worker = "" }, wire.ErrInvalid, "must have a name"},
			{func(h *layshaftv1.Hello) { h.Reserved = 2 }, wire.ErrInvalid, "2 of them reserved"},
		} {
			w := &remoteWorker{n: n, hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "w1", Slots: 1}}
			tt.change(w.hello)
			if err := w.session(t.Context()); !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v: session ended with %v, want %q", w.hello, err, tt.want)
			}
		}
	})
}

func TestSubmitOfOtherProtocol(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		stream, err := layshaftv1.NewCoordinatorServiceClient(n.client(t).Conn()).Submit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&layshaftv1.SubmitRequest{Body: &layshaftv1.SubmitRequest_Header{Header: &layshaftv1.SubmitHeader{Protocol: 2}}})
		_, err = stream.CloseAndRecv()
		if err = wire.FromStatus(err); !errors.Is(err, wire.ErrOtherProtocol) || !strings.Contains(err.Error(), "the client speaks version 2") {
			t.Errorf("submit: %v, want ErrOtherProtocol", err)
		}
	})
}

// A job that needs more than a whole budget has is refused with the command that helps.
func TestSubmitOfImpossibleNeed(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		tasks, err := taskserver.Open(taskserver.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ran <- tasks.Run(ctx) }()
		n := &network{}
		_, stop := n.serve(t, coordinator.Config{}, Config{Tasks: tasks})
		c := n.client(t)
		if _, err := tasksv1.NewTasksServiceClient(c.Conn()).SetBudget(t.Context(), &tasksv1.SetBudgetRequest{Budget: "pg", Size: 8}); err != nil {
			t.Fatal(err)
		}
		spec := job.Spec{ID: "j", Stages: []job.Stage{{Name: "load", Tasks: 1, Needs: []job.Need{{Budget: "pg", N: 9}}}}}
		_, err = c.Submit(t.Context(), &spec, report.Options{})
		const want = "each attempt of stage load needs 9 of budget pg, which has size 8: need less, or layshaft task budget pg 9"
		if !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("submit: %v, want %s", err, want)
		}
		spec.Stages[0].Needs[0].N = 8
		remoteSubmit(t, c, spec)
		stop()
		cancel()
		if err := errors.Join(<-ran, tasks.Close()); err != nil {
			t.Error(err)
		}
	})
}

// One that connects and says nothing, or nonsense, is sent away, and nobody else notices.
func TestWorkerWithoutHello(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		c := n.client(t)
		rpc := layshaftv1.NewCoordinatorServiceClient(c.Conn())
		quiet, err := rpc.Work(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := quiet.Recv(); !errors.Is(wire.FromStatus(err), wire.ErrInvalid) {
			t.Errorf("no hello: %v", err)
		}
		rude, err := rpc.Work(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = rude.Send(&layshaftv1.WorkRequest{})
		if _, err := rude.Recv(); !errors.Is(wire.FromStatus(err), wire.ErrInvalid) {
			t.Errorf("no hello but something else: %v", err)
		}
	})
}

// A coordinator that is killed and starts again goes unnoticed by those who wait, and runs nothing twice.
func TestRemoteRestart(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		j := &coordtest.Journal{}
		data := memoryData(t)
		_, stop := n.serve(t, coordinator.Config{Journal: j}, Config{Data: data})
		w1 := n.worker(t, "w1", 2)
		n.worker(t, "w2", 2)
		settle()
		c := n.client(t)
		remoteSubmit(t, c, coordtest.TwoStages(8, 4))
		ended := make(chan error, 1)
		go func() { ended <- c.Wait(t.Context(), "j") }()
		committed := make(chan int, 1)
		go func() {
			held := map[job.Task]bool{}
			for cs, err := range c.Commits(t.Context(), "j", 1) {
				if err != nil {
					t.Error(err)
				}
				if cs.All {
					clear(held)
				}
				for _, p := range cs.Changed {
					held[p.Attempt.Task] = p.Worker != ""
				}
			}
			committed <- len(held)
		}()
		for range 3 {
			time.Sleep(700 * time.Millisecond)
			stop()
			time.Sleep(300 * time.Millisecond)
			_, stop = n.serve(t, coordinator.Config{Journal: j}, Config{Data: data})
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := <-committed; n != 4 {
			t.Errorf("%d results were told, want 4", n)
		}
		if len(n.again) > 0 {
			t.Errorf("committed tasks ran again: %v", n.again)
		}
		if w1.welcome.GetEpoch() != 3 {
			t.Errorf("epoch is %d after three restarts", w1.welcome.GetEpoch())
		}
	})
}

// What a draining worker holds moves to another before it leaves.
func TestDrain(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w1 := n.worker(t, "w1", 2)
		settle()
		c := n.client(t)
		remoteSubmit(t, c, job.Spec{ID: "j", Hash: "a", Stages: []job.Stage{{Name: "map", Tasks: 2}}})
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Fatal(err)
		}
		w2 := n.worker(t, "w2", 2)
		settle()
		if err := c.DrainWorker(t.Context(), "nobody"); !errors.Is(err, wire.ErrUnknownWorker) {
			t.Errorf("drain of nobody = %v", err)
		}
		if err := c.DrainWorker(t.Context(), "w1"); err != nil {
			t.Fatal(err)
		}
		<-w1.gone
		if got := w1.was(); got != "drain; drained" {
			t.Errorf("w1 was asked: %s", got)
		}
		if got := w2.was(); !strings.Contains(got, "take 0/0#1 from w1") || w2.holds() != 2 {
			t.Errorf("w2 was asked: %s", got)
		}
		settle()
		if ws, _ := c.Workers(t.Context()); len(ws) != 1 {
			t.Errorf("workers after the drain: %+v", ws)
		}
	})
}

// Progress of attempts on their way is told with a job's status.
func TestProgress(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		w := n.worker(t, "w1", 2)
		settle()
		c := n.client(t)
		time.Sleep(1500 * time.Millisecond) // the heartbeat comes while the attempts run
		remoteSubmit(t, c, coordtest.TwoStages(2, 1))
		time.Sleep(700 * time.Millisecond)
		st, err := c.Status(t.Context(), "j")
		if err != nil || st.Stages[0].Progress != (report.Progress{Records: 14, Bytes: 140}) || st.Stages[0].Running != 2 {
			t.Errorf("status is %+v, %v", st, err)
		}
		time.Sleep(300 * time.Millisecond) // the maps have ended, and no heartbeat came since
		settle()
		if st, err = c.Status(t.Context(), "j"); err != nil || st.Stages[0].Progress != (report.Progress{}) || st.Stages[0].Done != 2 {
			t.Errorf("what was committed is counted again: %+v, %v", st, err)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		_ = w
	})
}

// A worker that holds very much names it in several messages.
func TestHelloInParts(t *testing.T) {
	say := func(n int, more bool) *layshaftv1.WorkRequest {
		h := &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "w", Slots: 1, More: more}
		for i := range n {
			h.Outputs = append(h.Outputs, &layshaftv1.Attempt{Job: "j", Task: &layshaftv1.Task{Index: int64(i)}, N: 1})
		}
		return &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: h}}
	}
	parts := []*layshaftv1.WorkRequest{say(3, true), say(2, true), say(1, false)}
	hello, held, _, err := readHello(func() (*layshaftv1.WorkRequest, error) {
		m := parts[0]
		parts = parts[1:]
		return proto.Clone(m).(*layshaftv1.WorkRequest), nil
	})
	if err != nil || len(held) != 6 || hello.GetWorker() != "w" {
		t.Errorf("hello = %v, %d held, %v", hello, len(held), err)
	}
}

// BenchmarkRemoteTasks measures tasks that are launched, reported and committed, durably, over sockets: four workers with 16 slots
// each that do nothing.
func BenchmarkRemoteTasks(b *testing.B) {
	data, err := datadir.Open(b.TempDir(), datadir.Options{})
	if err != nil {
		b.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Journal: data.Journal, Policy: coordinator.Policy{StragglerRatio: -1}})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{Coordinator: c, Data: data})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = c.Run(ctx) })
	group.Go(func() { _ = s.Run(ctx, l) })
	for i := range 4 {
		group.Go(func() {
			conn, err := dialInsecure(l.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			stream, err := layshaftv1.NewCoordinatorServiceClient(conn).Work(ctx)
			if err == nil {
				err = stream.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: fmt.Sprint("w", i), Slots: 16}}})
			}
			for err == nil {
				var m *layshaftv1.WorkResponse
				if m, err = stream.Recv(); err == nil && m.GetLaunch() != nil {
					err = stream.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Done{Done: &layshaftv1.AttemptDone{Attempt: m.GetLaunch().GetAttempt()}}})
				}
			}
		})
	}
	client, err := client.Dial(client.Config{Address: l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	spec := job.Spec{ID: "j", Stages: []job.Stage{{Name: "map", Tasks: b.N}}}
	if _, err := client.Submit(ctx, &spec, report.Options{}); err != nil {
		b.Fatal(err)
	}
	if err := client.Wait(ctx, "j"); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.StopTimer()
	_ = client.Close()
	cancel()
	group.Wait()
	if err := data.Close(); err != nil {
		b.Error(err)
	}
}

// Who looks at a job hears of the last failure of a stage while tasks are to be done.
func TestLastFailureIsTold(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		s, _ := n.serve(t, coordinator.Config{}, Config{})
		n.worker(t, "w1", 2)
		settle()
		c := n.client(t)
		remoteSubmit(t, c, coordtest.TwoStages(2, 1))
		settle()
		s.c.Failed("w1", job.Attempt{Job: "j", N: 1}, job.Failure{Kind: job.Transient, Message: "quota full\nmore"})
		settle()
		st, err := c.Status(t.Context(), "j")
		if err != nil || st.Stages[0].LastFailure != "quota full" {
			t.Errorf("the last failure is %q, %v", st.Stages[0].LastFailure, err)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
	})
}
