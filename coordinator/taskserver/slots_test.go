package taskserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// sharing is a worker of tasks that uses the slots of m. A task takes as long as its input says.
type sharing struct {
	w      *taskWorker
	ctx    context.Context
	cancel context.CancelFunc

	// mu guards the fields below, and is held to send.
	mu   sync.Mutex
	runs []string                           // functions, in the order in which their tasks began
	held map[*tasksv1.TaskAttempt]time.Time // what runs, and until when
}

func share(t *testing.T, c tasksv1.TasksServiceClient, name string, held []*tasksv1.TaskAttempt, functions ...string) *sharing {
	s := &sharing{held: map[*tasksv1.TaskAttempt]time.Time{}}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	hello := helloOf(name, 8, functions...)
	hello.SlotsOf, hello.Attempts = "m", held
	s.w = startWork(t, s.ctx, c, hello)
	go func() {
		for {
			m, err := s.w.stream.Recv()
			if err != nil {
				return
			}
			for _, a := range m.GetAssigns() {
				took, err := time.ParseDuration(string(a.GetInput()))
				if err != nil {
					t.Error(err)
				}
				s.mu.Lock()
				s.runs = append(s.runs, a.GetFunction())
				s.held[a.GetAttempt()] = time.Now().Add(took)
				s.mu.Unlock()
				time.AfterFunc(took, func() { s.end(a.GetAttempt()) })
			}
		}
	}()
	go func() {
		beat := time.NewTicker(3 * time.Second)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				s.mu.Lock()
				_ = s.w.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Heartbeat{Heartbeat: &tasksv1.TaskHeartbeat{}}})
				s.mu.Unlock()
			case <-s.ctx.Done():
				return
			}
		}
	}()
	return s
}

func (s *sharing) end(a *tasksv1.TaskAttempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, a)
	_ = s.w.stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{
		Reports: []*tasksv1.TaskReport{{Attempt: a, Content: &tasksv1.TaskReport_Result{}}}}}})
}

func (s *sharing) ran() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.runs, " ")
}

func background(t *testing.T, c tasksv1.TasksServiceClient, function, takes string, p tasksv1.TaskPriority, n int) {
	t.Helper()
	r := &tasksv1.SubmitTasksRequest{}
	for range n {
		r.Tasks = append(r.Tasks, &tasksv1.TaskSpec{Function: function, Input: []byte(takes), Priority: p})
	}
	if _, err := c.SubmitTasks(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// shared runs a coordinator and tasks that share slots.
func shared(t *testing.T, j coordinator.Journal, dir string) (*coordinator.Coordinator, *Server, tasksv1.TasksServiceClient, func()) {
	c, err := coordinator.New(coordinator.Config{Journal: j, Policy: coordinator.Policy{SpeculateAfter: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	client, tasks, stopTasks := serveTasks(t, Config{Dir: dir, NoSync: true, Reserve: -1, Coordinator: c})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	return c, tasks, client, func() {
		synctest.Wait()
		tasks.desk.Lock()
		bad := append(tasks.desk.Audit(), coordinator.Audit(c)...)
		tasks.desk.Unlock()
		if bad != nil {
			t.Errorf("audit: %q", bad)
		}
		stopTasks()
		cancel()
		<-ran
		time.Sleep(3 * time.Second) // the workers notice
	}
}

func joinShared(t *testing.T, c *coordinator.Coordinator, w *coordtest.Worker, slots, reserved int) {
	t.Helper()
	w.Mu.Lock()
	w.C = c
	ev := sched.WorkerJoined{Worker: w.Name, WorkerID: "m", Slots: slots, Reserved: reserved}
	for a := range w.Running {
		ev.Running = append(ev.Running, a)
	}
	w.Mu.Unlock()
	if err := c.JoinAs(ev, w); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// busy tells how many attempts and calls have slots of the only worker.
func busy(c *coordinator.Coordinator) string {
	synctest.Wait()
	for _, w := range c.Workers() {
		return fmt.Sprintf("%d+%d", w.Running, w.QueuedTasks)
	}
	return "no worker"
}

func sharedSpec(id string, tasks int) job.Spec {
	return job.Spec{ID: job.ID(id), Stages: []job.Stage{{Name: "map", Tasks: tasks}}}
}

const (
	high   = tasksv1.TaskPriority_TASK_PRIORITY_HIGH
	normal = tasksv1.TaskPriority_TASK_PRIORITY_UNSPECIFIED
	low    = tasksv1.TaskPriority_TASK_PRIORITY_LOW
)

// Tasks and attempts share the slots of one worker, in one order.
func TestSharedSlots(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, _, client, stop := shared(t, nil, "")
		defer stop()
		s := share(t, client, "tasks", nil, "index", "download", "echo")
		defer s.cancel()
		background(t, client, "echo", "1s", normal, 1)
		if got := s.ran(); got != "" {
			t.Errorf("ran %q without the worker whose slots it needs", got)
		}
		w := coordtest.NewWorker("m-1")
		go w.Beat()
		joinShared(t, c, w, 3, 1)
		if got := busy(c); got != "0+1" {
			t.Errorf("%s slots busy, want the waiting task in one", got)
		}
		time.Sleep(2 * time.Second)

		// An even share of the slots that are not reserved.
		coordtest.Submit(t, c, sharedSpec("batch", 40))
		background(t, client, "echo", "1s", normal, 8)
		time.Sleep(1500 * time.Millisecond)
		if got := busy(c); got != "1+1" {
			t.Errorf("%s slots busy, want one for each", got)
		}

		// The reserved slot is for high tasks, at once.
		background(t, client, "index", "5s", high, 1)
		if got := busy(c); got != "1+2" || !strings.HasSuffix(s.ran(), "index") {
			t.Errorf("%s slots busy, ran %q: the high task must start in the reserved slot at once", got, s.ran())
		}

		// Low tasks wait, but do not starve.
		background(t, client, "download", "1s", low, 30)
		time.Sleep(15 * time.Second)
		if n := strings.Count(s.ran(), "download"); n < 1 || n > 4 {
			t.Errorf("%d low tasks ran beside a job that could use all slots, of about 30 starts", n)
		}

		// A job of a high priority starts before tasks; tasks submitted meanwhile wait.
		if err := c.Cancel(t.Context(), "batch", "enough"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := busy(c); got != "0+2" {
			t.Errorf("%s slots busy, want downloads in all that are not reserved", got)
		}
		before := len(w.Launched())
		urgent := sharedSpec("urgent", 2)
		if err := c.Submit(t.Context(), urgent, report.Options{Priority: 11}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		if len(w.Launched()) == before {
			t.Error("an urgent job waits behind low tasks")
		}
		time.Sleep(time.Minute)
		if got, n := busy(c), strings.Count(s.ran(), "download"); got != "0+0" || n != 30 {
			t.Errorf("%s slots busy, %d of 30 downloads ran", got, n)
		}
	})
}

// Slots are neither lost nor made up when the worker, those who run tasks, or the coordinator go and come back.
func TestSharedSlotsSurvive(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		j, dir := &coordtest.Journal{}, t.TempDir()
		c, _, client, stop := shared(t, j, dir)
		s := share(t, client, "tasks", nil, "f")
		w := coordtest.NewWorker("m-1")
		go w.Beat()
		joinShared(t, c, w, 3, 0)
		background(t, client, "f", "30s", normal, 2)
		if got := busy(c); got != "0+2" {
			t.Fatalf("%s slots busy", got)
		}

		// Another process of the worker finds the tasks in its slots.
		c.Leave("m-1")
		next := coordtest.NewWorker("m-2")
		go next.Beat()
		joinShared(t, c, next, 3, 0)
		coordtest.Submit(t, c, sharedSpec("batch", 30))
		if got := busy(c); got != "1+2" {
			t.Errorf("%s slots busy after the worker came back", got)
		}

		// A restarted coordinator takes up what runs.
		s.mu.Lock()
		var held []*tasksv1.TaskAttempt
		for a := range s.held {
			held = append(held, a)
		}
		s.mu.Unlock()
		stop()
		s.cancel()
		c, _, client, stop = shared(t, j, dir)
		again := share(t, client, "tasks", held, "f")
		go next.Beat()
		joinShared(t, c, next, 3, 0)
		if got := busy(c); got != "0+2" { // the attempt ended meanwhile
			t.Errorf("%s slots busy after a restart", got)
		}
		time.Sleep(3 * time.Second)
		if got := busy(c); got != "1+2" {
			t.Errorf("%s slots busy a while after a restart", got)
		}

		// Who runs them is lost: they start again in the same slots, one alone after the other, when somebody can.
		again.cancel()
		synctest.Wait()
		time.Sleep(time.Second)
		if got := busy(c); got != "3+0" {
			t.Errorf("%s slots busy without anybody to run tasks", got)
		}
		third := share(t, client, "other", nil, "f")
		time.Sleep(3 * time.Second)
		if got, n := busy(c), len(slices.Collect(strings.SplitSeq(third.ran(), " "))); got != "2+1" || n != 1 {
			t.Errorf("%s slots busy, %d tasks began again", got, n)
		}
		time.Sleep(2 * time.Minute)
		if got := busy(c); got != "0+0" {
			t.Errorf("%s slots busy in the end", got)
		}
		third.cancel()
		stop()
	})
}

// A worker cannot share slots where there are none.
func TestNoSharedSlots(t *testing.T) {
	c, _, stop := serveTasks(t, Config{})
	defer stop()
	stream, err := c.WorkTasks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := helloOf("w", 1, "f")
	hello.SlotsOf = "m"
	if err := stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "no slots are shared") {
		t.Errorf("refused with %v", err)
	}
}

// used tells how much of a budget is held, and how many wait beside tasks.
func used(tasks *Server, budget string) string {
	synctest.Wait()
	tasks.desk.Lock()
	defer tasks.desk.Unlock()
	for _, b := range tasks.desk.Budgets() {
		if b.Name == budget {
			return fmt.Sprintf("%d of %d, %d wait", b.Used, b.Size, b.WaitingAcquires)
		}
	}
	return "unknown"
}

// Tasks and attempts share budgets. Who waits for one leaves slots to others, and a lost worker gives back what its attempts held.
func TestSharedBudgets(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		j, dir := &coordtest.Journal{}, t.TempDir()
		c, tasks, client, stop := shared(t, j, dir)
		if _, err := client.SetBudget(t.Context(), &tasksv1.SetBudgetRequest{Budget: "pg", Size: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.SetFunction(t.Context(), &tasksv1.SetFunctionRequest{Function: "f", Limits: &tasksv1.FunctionLimits{Needs: map[string]int64{"pg": 1}}}); err != nil {
			t.Fatal(err)
		}
		s := share(t, client, "tasks", nil, "f")
		w := coordtest.NewWorker("m-1")
		go w.Beat()
		joinShared(t, c, w, 3, 0)
		background(t, client, "f", "5s", normal, 1)
		load := sharedSpec("load", 4)
		load.Stages[0].Needs = []job.Need{{Budget: "pg", N: 1}}
		coordtest.Submit(t, c, load)
		if got, budget := busy(c), used(tasks, "pg"); got != "0+1" || budget != "1 of 1, 1 wait" {
			t.Errorf("%s slots busy, budget %s", got, budget)
		}
		if st, _ := c.Status("load"); st.Reason != "waits for the budget pg" {
			t.Errorf("the job says %q", st.Reason)
		}
		coordtest.Submit(t, c, sharedSpec("free", 2))
		if got := busy(c); got != "2+1" {
			t.Errorf("%s slots busy: a job that waits for a budget keeps slots from another", got)
		}
		time.Sleep(5500 * time.Millisecond)
		if got, budget := busy(c), used(tasks, "pg"); got != "1+0" || budget != "1 of 1, 1 wait" {
			t.Errorf("%s slots busy, budget %s: want one attempt after the task", got, budget)
		}

		// A lost worker's attempt gives its part back.
		c.Leave("m-1")
		if budget := used(tasks, "pg"); budget != "1 of 1, 0 wait" { // for the next attempt
			t.Errorf("budget %s after the worker was lost", budget)
		}
		next := coordtest.NewWorker("m-2")
		joinShared(t, c, next, 3, 0)
		if got, budget := busy(c), used(tasks, "pg"); got != "1+0" || budget != "1 of 1, 1 wait" {
			t.Errorf("%s slots busy, budget %s with another worker", got, budget)
		}

		// So does a cancelled job.
		if err := c.Cancel(t.Context(), "load", "enough"); err != nil {
			t.Fatal(err)
		}
		if budget := used(tasks, "pg"); budget != "0 of 1, 0 wait" {
			t.Errorf("budget %s after the job was cancelled", budget)
		}

		// After a restart what runs holds its part, and tasks wait for it.
		slow := sharedSpec("slow", 1)
		slow.Stages[0].Needs = load.Stages[0].Needs
		next.Mu.Lock()
		next.Takes = time.Minute
		next.Mu.Unlock()
		coordtest.Submit(t, c, slow)
		if got := busy(c); got != "1+0" {
			t.Errorf("%s slots busy", got)
		}
		stop()
		s.cancel()
		c, tasks, client, stop = shared(t, j, dir)
		defer stop()
		s = share(t, client, "tasks", nil, "f")
		defer s.cancel()
		go next.Beat()
		joinShared(t, c, next, 3, 0)
		background(t, client, "f", "1s", normal, 1)
		if got, budget := busy(c), used(tasks, "pg"); got != "1+0" || budget != "1 of 1, 0 wait" {
			t.Errorf("%s slots busy, budget %s after a restart", got, budget)
		}
		time.Sleep(time.Minute)
		if got, budget := s.ran(), used(tasks, "pg"); got != "f" || budget != "0 of 1, 0 wait" {
			t.Errorf("ran %q, budget %s in the end", got, budget)
		}
	})
}

// A task that waits for another lends its slot of a cluster's worker. If it ends first, the other
// keeps the slot.
func TestLentSlotOfCluster(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, tasks, client, stop := shared(t, &coordtest.Journal{}, t.TempDir())
		defer stop()
		s := share(t, client, "tasks", nil, "outer", "inner")
		defer s.cancel()
		w := coordtest.NewWorker("m-1")
		go w.Beat()
		joinShared(t, c, w, 1, 0)
		background(t, client, "outer", "10s", normal, 1)
		outer := uint64(tasks.desk.Workers()[0].Running[0])
		callTasks(t, s.ctx, client, &tasksv1.TaskSpec{Function: "inner", Input: []byte("5s"), Parent: outer, Priority: high},
			&tasksv1.TaskSpec{Function: "inner", Input: []byte("15s"), Parent: outer})
		time.Sleep(time.Second)
		if got := busy(c); got != "0+1" || s.ran() != "outer inner" {
			t.Errorf("%s slots busy, ran %s", got, s.ran())
		}
		time.Sleep(5 * time.Second) // the first inner task has ended
		if got := busy(c); got != "0+1" || s.ran() != "outer inner inner" {
			t.Errorf("%s slots busy, ran %s", got, s.ran())
		}
		time.Sleep(5 * time.Second) // the outer task has ended
		background(t, client, "outer", "1s", normal, 1)
		if got := busy(c); got != "0+1" || s.ran() != "outer inner inner" {
			t.Errorf("%s slots busy, ran %s: the lent task has the slot", got, s.ran())
		}
		time.Sleep(15 * time.Second)
		if got := busy(c); got != "0+0" || s.ran() != "outer inner inner outer" {
			t.Errorf("%s slots busy, ran %s", got, s.ran())
		}
	})
}

// A job that needs more than a whole budget has the reason and the command that helps, and holds up
// nobody. A submit and a limit that ask for more than a budget has are refused.
func TestImpossibleBudgets(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, tasks, client, stop := shared(t, &coordtest.Journal{}, t.TempDir())
		defer stop()
		size := func(n int64) {
			t.Helper()
			if _, err := client.SetBudget(t.Context(), &tasksv1.SetBudgetRequest{Budget: "pg", Size: n}); err != nil {
				t.Fatal(err)
			}
		}
		reason := func(id job.ID, want string) {
			t.Helper()
			synctest.Wait()
			if st, _ := c.Status(id); st.Reason != want {
				t.Errorf("job %s: %q, want %q", id, st.Reason, want)
			}
		}
		w := coordtest.NewWorker("m-1")
		go w.Beat()
		joinShared(t, c, w, 3, 0)
		large, small := sharedSpec("large", 1), sharedSpec("small", 1)
		large.Stages[0].Needs, small.Stages[0].Needs = []job.Need{{Budget: "pg", N: 9}}, []job.Need{{Budget: "pg", N: 1}}
		coordtest.Submit(t, c, large)
		reason("large", "each attempt of stage map needs 9 of budget pg, which has size 0: layshaft task budget pg 9")
		size(8)
		reason("large", "each attempt of stage map needs 9 of budget pg, which has size 8: layshaft task budget pg 9")
		coordtest.Submit(t, c, small)
		if got := busy(c); got != "1+0" {
			t.Errorf("%s slots busy: an impossible need holds up others", got)
		}

		const want = "needs 9 of budget pg, which has size 8: need less, or layshaft task budget pg 9"
		if err := tasks.CheckNeeds("map", large.Stages[0].Needs); !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), "each attempt of stage map "+want) {
			t.Errorf("a submit: %v", err)
		}
		_, err := client.SetFunction(t.Context(), &tasksv1.SetFunctionRequest{Function: "f", Limits: &tasksv1.FunctionLimits{Needs: map[string]int64{"pg": 9}}})
		if err == nil || !strings.Contains(err.Error(), "function f "+want) {
			t.Errorf("a limit: %v", err)
		}

		size(9)
		time.Sleep(time.Minute)
		for _, id := range []job.ID{"large", "small"} {
			if st, _ := c.Status(id); st.Outcome != report.JobDone {
				t.Errorf("job %s: %v, %q", id, st.Outcome, st.Reason)
			}
		}
	})
}

// BenchmarkSharedSlots is one call after the other of a function that does nothing, whose worker has slots of its own (33 µs in the median on an EPYC) or
// shares the slots of another (39 µs).
func BenchmarkSharedSlots(b *testing.B) {
	for _, slotsOf := range []string{"", "m"} {
		b.Run("of="+slotsOf, func(b *testing.B) {
			c, err := coordinator.New(coordinator.Config{Policy: coordinator.Policy{LeaseTTL: -1}})
			if err != nil {
				b.Fatal(err)
			}
			client, _, stop := serveTasks(b, Config{Coordinator: c})
			defer stop()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() { _ = c.Run(ctx) }()
			if err := c.JoinAs(sched.WorkerJoined{Worker: "m", Slots: 2}, coordtest.NewWorker("m")); err != nil {
				b.Fatal(err)
			}
			hello := helloOf("w", 8, "echo")
			hello.SlotsOf = slotsOf
			w := startWork(b, ctx, client, hello)
			go func() {
				for {
					m, err := w.stream.Recv()
					if err != nil {
						return
					}
					for _, a := range m.GetAssigns() {
						w.done(a, nil)
					}
				}
			}()
			calls, err := client.CallTasks(ctx)
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				if err := calls.Send(&tasksv1.CallTasksRequest{Body: &tasksv1.CallTasksRequest_Tasks{Tasks: &tasksv1.TaskBatch{
					Tasks: []*tasksv1.TaskSpec{{Function: "echo"}}}}}); err != nil {
					b.Fatal(err)
				}
				for ended := false; !ended; {
					m, err := calls.Recv()
					if err != nil {
						b.Fatal(err)
					}
					for _, u := range m.GetUpdates() {
						ended = ended || u.GetEvent() != nil && u.GetAccepted() == nil
					}
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
