package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

func TestHappy(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, stop := coordtest.Start(t, coordinator.Config{})
		w := coordtest.NewWorker("w1")
		w.Join(t, c, 2)
		go w.Beat()
		coordtest.Submit(t, c, coordtest.TwoStages(5, 2))
		coordtest.Submit(t, c, coordtest.TwoStages(5, 2)) // changes nothing
		other := coordtest.TwoStages(5, 2)
		other.Hash = "def"
		if err := c.Submit(t.Context(), other, report.Options{}); err == nil || !strings.Contains(err.Error(), "known") {
			t.Errorf("submit with another hash = %v", err)
		}

		seen := 0
		for ended := false; !ended; { // as a client streams results in task order
			changed := c.Watch("j")
			status, _ := c.Status("j")
			ended = status.Outcome != report.JobRunning
			for commits := c.Commits("j", 1); seen < len(commits) && commits[seen].Worker != ""; seen++ {
			}
			<-changed
		}
		if seen != 2 {
			t.Errorf("%d results were committed when the job ended, want 2", seen)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if got, want := w.Launched(), "0/0#1 0/1#1 0/2#1 0/3#1 0/4#1 1/0#1 1/1#1"; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
		status, _ := c.Status("j")
		if m := status.Stages[0]; m.Done != 5 || m.Sum.Counters["rows"] != 50 || m.Sum.Bytes != 25 || m.Sum.Records != 15 {
			t.Errorf("map stage is %+v", m)
		}
		if n := w.Holds(); n != 7 {
			t.Errorf("worker holds %d outputs after the end, want all 7 until the drop", n)
		}
		if err := c.Drop(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if n := w.Holds(); n != 0 {
			t.Errorf("worker holds %d outputs after the drop", n)
		}
		if err := c.Wait(t.Context(), "j"); !errors.Is(err, coordinator.ErrUnknownJob) {
			t.Errorf("Wait after the drop = %v", err)
		}
		if got := c.Jobs(); len(got) != 0 {
			t.Errorf("Jobs = %v", got)
		}
		stop()
		if err := c.Submit(t.Context(), coordtest.TwoStages(1, 1), report.Options{}); !errors.Is(err, coordinator.ErrStopped) {
			t.Errorf("submit to a stopped coordinator = %v", err)
		}
		time.Sleep(5 * time.Second) // the worker notices
	})
}

func TestFailures(t *testing.T) {
	for _, x := range []struct {
		name string
		kind job.Kind
		upTo int // attempts that fail
		want string
		runs int
	}{
		{"retry", job.Transient, 3, "", 4},
		{"too often", job.Transient, 99, "job j failed: boom\nstack", 4},
		{"fatal", job.Fatal, 99, "job j failed: boom\nstack", 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			coordtest.Bubble(t, func(t *testing.T) {
				c, stop := coordtest.Start(t, coordinator.Config{})
				w := coordtest.NewWorker("w1")
				w.Fail = func(a job.Attempt) *job.Failure {
					if a.N > x.upTo {
						return nil
					}
					return &job.Failure{Kind: x.kind, Message: "boom", Detail: "stack"}
				}
				w.Join(t, c, 1)
				go w.Beat()
				coordtest.Submit(t, c, job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}}})
				err := c.Wait(t.Context(), "j")
				if x.want == "" {
					if err != nil {
						t.Error(err)
					}
				} else {
					var je *report.JobError
					if !errors.As(err, &je) || je.Error() != x.want || je.Failure.Kind != x.kind {
						t.Errorf("Wait = %v, want %s", err, x.want)
					}
				}
				if got := len(strings.Fields(w.Launched())); got != x.runs {
					t.Errorf("ran %s, want %d attempts", w.Launched(), x.runs)
				}
				stop()
				time.Sleep(5 * time.Second)
			})
		})
	}
}

func TestCancel(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, stop := coordtest.Start(t, coordinator.Config{Journal: &coordtest.Journal{}})
		w := coordtest.NewWorker("w1")
		w.Join(t, c, 2)
		go w.Beat()
		coordtest.Submit(t, c, coordtest.TwoStages(9, 1))
		time.Sleep(1500 * time.Millisecond)
		if err := c.Cancel(t.Context(), "j", "enough"); err != nil {
			t.Fatal(err)
		}
		var je *report.JobError
		if err := c.Wait(t.Context(), "j"); !errors.As(err, &je) || je.Outcome != report.JobCancelled || je.Failure.Message != "enough" {
			t.Errorf("Wait = %v", err)
		}
		synctest.Wait()
		status, _ := c.Status("j")
		if m := status.Stages[0]; m.Done != 2 || m.Cancelled != 7 || m.Attempts != 0 {
			t.Errorf("map stage is %+v", m)
		}
		if err := c.Cancel(t.Context(), "nobody", ""); !errors.Is(err, coordinator.ErrUnknownJob) {
			t.Errorf("cancel of an unknown job = %v", err)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}

// A worker that falls silent loses its lease, learns that, and joins again.
func TestLease(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, stop := coordtest.Start(t, coordinator.Config{Policy: coordinator.Policy{LeaseTTL: 5 * time.Second, StragglerRatio: -1}})
		w1, w2 := coordtest.NewWorker("w1"), coordtest.NewWorker("w2")
		w1.Dead, w1.Silent = true, true
		w1.Join(t, c, 2)
		go w1.Beat()
		coordtest.Submit(t, c, coordtest.TwoStages(2, 1))
		time.Sleep(4 * time.Second)
		w2.Join(t, c, 2)
		go w2.Beat()
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Fatal(err)
		}
		if got, want := w2.Launched(), "0/0#2 0/1#2 1/0#1"; got != want {
			t.Errorf("w2 ran %s, want %s", got, want)
		}
		if err := c.Heartbeat("w1"); !errors.Is(err, coordinator.ErrLeaseLost) {
			t.Errorf("heartbeat without a lease = %v", err)
		}
		w1.Join(t, c, 1)
		if err := c.Heartbeat("w1"); err != nil {
			t.Errorf("heartbeat after a join = %v", err)
		}
		c.Leave("w1")
		stop()
		time.Sleep(5 * time.Second)
	})
}

// A coordinator that is restarted at any moment goes on where it was: the same result, and no committed task runs again.
func TestRestart(t *testing.T) {
	for _, every := range []int{1000, 2} {
		for at := 500 * time.Millisecond; at < 8*time.Second; at += time.Second {
			t.Run(fmt.Sprintf("snapshot=%d/at=%v", every, at), func(t *testing.T) {
				coordtest.Bubble(t, func(t *testing.T) {
					cfg := coordinator.Config{Journal: &coordtest.Journal{}, SnapshotEvery: every}
					c, stop := coordtest.Start(t, cfg)
					w := coordtest.NewWorker("w1")
					w.Join(t, c, 2)
					coordtest.Submit(t, c, coordtest.TwoStages(6, 4))
					time.Sleep(at)
					stop()
					c, stop = coordtest.Start(t, cfg)
					w.Join(t, c, 2) // with what it holds and runs
					go w.Beat()
					coordtest.Submit(t, c, coordtest.TwoStages(6, 4))
					if err := c.Wait(t.Context(), "j"); err != nil {
						t.Fatal(err)
					}
					if got := len(strings.Fields(w.Launched())); got != 10 {
						t.Errorf("ran %s, want 10 attempts", w.Launched())
					}
					status, _ := c.Status("j")
					for _, st := range status.Stages {
						if st.Done != st.Tasks || st.Sum.Counters["rows"] != int64(10*st.Tasks) {
							t.Errorf("stage is %+v", st)
						}
					}
					stop()

					c, stop = coordtest.Start(t, cfg) // the end is remembered, too
					w2 := coordtest.NewWorker("w2")
					w2.Store = w.Store
					w2.Join(t, c, 2)
					go w2.Beat()
					synctest.Wait()
					if err := c.Wait(t.Context(), "j"); err != nil {
						t.Error(err)
					}
					for i, p := range c.Commits("j", 1) {
						if p.Worker != "w2" || p.Attempt.Task.Index != i {
							t.Errorf("commit %d is %+v", i, p)
						}
					}
					stop()
					time.Sleep(5 * time.Second)
				})
			})
		}
	}
}

// A full disk refuses new jobs and holds back decisions; nothing is lost.
func TestDiskFull(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		j := &coordtest.Journal{}
		c, stop := coordtest.Start(t, coordinator.Config{Journal: j})
		w := coordtest.NewWorker("w1")
		w.Join(t, c, 1)
		go w.Beat()
		coordtest.Submit(t, c, coordtest.TwoStages(2, 1))
		j.SetFull(true)
		refused := coordtest.TwoStages(1, 1)
		refused.ID = "k"
		if err := c.Submit(t.Context(), refused, report.Options{}); !errors.Is(err, journal.ErrDiskFull) {
			t.Errorf("submit on a full disk = %v", err)
		}
		if _, known := c.Status("k"); known {
			t.Error("a refused job is known")
		}
		time.Sleep(30 * time.Second)
		if got := w.Launched(); got != "0/0#1" {
			t.Errorf("ran %s on a full disk", got)
		}
		j.SetFull(false)
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}

// While the coordinator waits for room on its disk, heartbeats wait in its inbox. No worker loses its lease for that.
func TestDiskFullKeepsLeases(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		j := &coordtest.Journal{}
		c, stop := coordtest.Start(t, coordinator.Config{Journal: j})
		workers := []*coordtest.Worker{coordtest.NewWorker("w1"), coordtest.NewWorker("w2"), coordtest.NewWorker("w3")}
		for _, w := range workers {
			w.Takes = time.Minute
			w.Join(t, c, 1)
			go w.Beat()
		}
		workers[0].Takes = time.Second
		coordtest.Submit(t, c, coordtest.TwoStages(3, 1))
		j.SetFull(true)
		time.Sleep(35 * time.Second)
		j.SetFull(false)
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if got, want := workers[0].Launched()+" "+workers[1].Launched()+" "+workers[2].Launched(), "0/0#1 1/0#1 0/1#1 0/2#1"; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}

// A job that cannot be written is refused; a journal that fails ends the coordinator, and everybody hears why.
func TestJournalFails(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		j := &coordtest.Journal{}
		c, err := coordinator.New(coordinator.Config{Journal: j})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context()) }()
		bad := coordtest.TwoStages(1, 1)
		bad.ID = "k\xff"
		if err := c.Submit(t.Context(), bad, report.Options{}); err == nil || errors.Is(err, coordinator.ErrStopped) {
			t.Errorf("submit of a job that cannot be written = %v", err)
		}
		coordtest.Submit(t, c, coordtest.TwoStages(1, 1))
		waited := make(chan error, 1)
		go func() { waited <- c.Wait(t.Context(), "j") }()
		synctest.Wait()
		j.Mu.Lock()
		j.Broken = errors.New("bad disk")
		j.Mu.Unlock()
		other := coordtest.TwoStages(1, 1)
		other.ID = "k"
		if err := c.Submit(t.Context(), other, report.Options{}); !errors.Is(err, j.Broken) {
			t.Errorf("submit = %v", err)
		}
		if err := <-done; !errors.Is(err, j.Broken) {
			t.Errorf("Run = %v", err)
		}
		if err := <-waited; !errors.Is(err, coordinator.ErrStopped) || !errors.Is(err, j.Broken) {
			t.Errorf("Wait = %v", err)
		}
		if err := c.Cancel(t.Context(), "j", ""); !errors.Is(err, coordinator.ErrStopped) {
			t.Errorf("Cancel = %v", err)
		}
		if err := c.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

// A launch that never arrived is noticed by a worker's list of what it runs.
func TestRunning(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		c, stop := coordtest.Start(t, coordinator.Config{})
		w := coordtest.NewWorker("w1")
		w.Dead = true
		w.Join(t, c, 1)
		coordtest.Submit(t, c, job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}}})
		time.Sleep(6 * time.Second)
		if err := c.Heartbeat("w1"); err != nil {
			t.Error(err)
		}
		time.Sleep(6 * time.Second)
		w.Mu.Lock()
		w.Dead = false
		w.Mu.Unlock()
		if err := c.Running("w1", nil); err != nil {
			t.Error(err)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if got, want := w.Launched(), "0/0#1 0/0#2"; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
		stop()
	})
}

func TestConfig(t *testing.T) {
	for _, x := range []struct {
		cfg  coordinator.Config
		want string
	}{
		{coordinator.Config{Policy: coordinator.Policy{LeaseTTL: time.Millisecond}}, "coordinator: LeaseTTL 1ms is below 1s; heartbeats could not keep it"},
		{coordinator.Config{Policy: coordinator.Policy{MaxAttempts: -1}}, "coordinator: MaxAttempts -1 is negative; zero means the default"},
		{coordinator.Config{Policy: coordinator.Policy{StragglerRatio: 0.5}}, "coordinator: StragglerRatio 0.5 is below 1; every attempt would be a straggler"},
	} {
		if _, err := coordinator.New(x.cfg); err == nil || err.Error() != x.want {
			t.Errorf("New = %v, want %s", err, x.want)
		}
	}
	c, err := coordinator.New(coordinator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join("", 0, "", nil, nil); err == nil {
		t.Error("a worker without name, slots and Worker joined")
	}
	if err := c.Submit(t.Context(), job.Spec{ID: "x"}, report.Options{}); err == nil {
		t.Error("a job without stages was accepted")
	}
}

// BenchmarkSubmit measures jobs that become durable, from 64 submitters at once, on a disk that is synced.
func BenchmarkSubmit(b *testing.B) {
	j, err := journal.Open(b.TempDir(), journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Journal: j})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var n atomic.Int64
	var wait sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wait.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				spec := job.Spec{ID: job.ID(fmt.Sprint("j", i)), Stages: []job.Stage{{Name: "map", Tasks: 1}}}
				if err := c.Submit(ctx, spec, report.Options{}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	b.StopTimer()
	cancel()
	<-done
	if err := j.Close(); err != nil {
		b.Error(err)
	}
}

// Submits that are taken in together are accepted and refused one by one.
func TestSubmitsTogether(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		journal := &coordtest.Journal{}
		c, err := coordinator.New(coordinator.Config{Journal: journal})
		if err != nil {
			t.Fatal(err)
		}
		spec := func(id job.ID, hash string) job.Spec {
			return job.Spec{ID: id, Hash: hash, Stages: []job.Stage{{Name: "map", Tasks: 1}}}
		}
		errs := map[string]error{}
		var mu sync.Mutex
		var wait sync.WaitGroup
		for _, s := range []struct {
			name string
			spec job.Spec
		}{{"a", spec("a", "1")}, {"b", spec("b", "1")}, {"bad", spec("bad\xff", "1")}, {"same", spec("a", "1")}, {"other", spec("a", "2")}} {
			wait.Go(func() {
				err := c.Submit(t.Context(), s.spec, report.Options{})
				mu.Lock()
				defer mu.Unlock()
				errs[s.name] = err
			})
			synctest.Wait() // it is in the inbox
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		wait.Wait()
		if errs["a"] != nil || errs["b"] != nil || errs["same"] != nil || errs["other"] == nil || errs["bad"] == nil {
			t.Errorf("errors are %v", errs)
		}
		if len(journal.Events) != 2 || len(c.Jobs()) != 2 {
			t.Errorf("%d events, jobs %v", len(journal.Events), c.Jobs())
		}
		cancel()
		<-done
	})
}
