package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// fakeWorker runs attempts for a second each. fail may say that one fails.
type fakeWorker struct {
	c    *Coordinator
	name string
	fail func(a job.Attempt) *job.Failure

	// mu guards the fields below.
	mu      sync.Mutex
	running map[job.Attempt]context.CancelFunc
	store   map[job.Attempt]bool
	runs    []string // all attempts, in order of launch
	silent  bool
	dead    bool
	takes   time.Duration // an attempt; zero means a second
}

func newWorker(name string) *fakeWorker {
	return &fakeWorker{name: name, running: map[job.Attempt]context.CancelFunc{}, store: map[job.Attempt]bool{}}
}

func (w *fakeWorker) join(t *testing.T, c *Coordinator, slots int) {
	t.Helper()
	w.mu.Lock()
	w.c = c
	held := slices.Collect(maps.Keys(w.store))
	running := slices.Collect(maps.Keys(w.running))
	w.mu.Unlock()
	if err := c.Rejoin(w.name, slots, "", held, running, w); err != nil {
		t.Fatal(err)
	}
}

// beat sends heartbeats until the coordinator stops.
func (w *fakeWorker) beat() {
	for {
		time.Sleep(2 * time.Second)
		w.mu.Lock()
		silent, c := w.silent, w.c
		w.mu.Unlock()
		if !silent {
			if err := c.Heartbeat(w.name); errors.Is(err, ErrStopped) {
				return
			}
		} else if errors.Is(c.post(message{}), ErrStopped) {
			return
		}
	}
}

func (w *fakeWorker) Launch(l job.Launch) {
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	w.running[l.Attempt] = cancel
	w.runs = append(w.runs, l.Attempt.String())
	takes := cmp.Or(w.takes, time.Second)
	w.mu.Unlock()
	go func() {
		defer cancel()
		var f *job.Failure
		select {
		case <-time.After(takes):
			if w.fail != nil {
				f = w.fail(l.Attempt)
			}
		case <-ctx.Done():
			f = &job.Failure{Kind: job.Cancelled, Message: "cancelled"}
		}
		w.mu.Lock()
		delete(w.running, l.Attempt)
		w.store[l.Attempt] = f == nil
		c, dead := w.c, w.dead
		w.mu.Unlock()
		switch {
		case dead:
		case f != nil:
			c.Failed(w.name, l.Attempt, *f)
		default:
			c.Done(w.name, &job.Manifest{Attempt: l.Attempt, Counters: map[string]int64{"rows": 10}, Extents: []job.Extent{{Bytes: 5, Records: 3}}})
		}
	}()
}

func (w *fakeWorker) Cancel(a job.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel := w.running[a]; cancel != nil {
		cancel()
	}
}

func (w *fakeWorker) Drop(a job.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.store, a)
}

func (w *fakeWorker) ran() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.runs, " ")
}

func (w *fakeWorker) holds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.store)
}

// fakeJournal keeps events in memory. full makes Append refuse.
type fakeJournal struct {
	mu     sync.Mutex // guards the fields below
	broken error      // what every Append returns, unless nil
	events [][]byte
	seq    uint64
	state  []byte
	full   bool
}

func (j *fakeJournal) Append(_ context.Context, events ...[]byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return 0, j.broken
	}
	if j.full {
		return 0, fmt.Errorf("fake: %w", journal.ErrDiskFull)
	}
	j.events = append(j.events, events...)
	return j.seq + uint64(len(j.events)), nil
}

func (j *fakeJournal) Replay(fn func(uint64, []byte) error) error {
	for i, ev := range j.events {
		if err := fn(j.seq+uint64(i)+1, ev); err != nil {
			return err
		}
	}
	return nil
}

func (j *fakeJournal) Snapshot(seq uint64, state []byte) error {
	j.events = j.events[seq-j.seq:]
	j.seq, j.state = seq, state
	return nil
}

func (j *fakeJournal) LoadSnapshot() (uint64, []byte, error) { return j.seq, j.state, nil }

func (j *fakeJournal) setFull(full bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = full
}

// start runs a coordinator until stop is called or the test ends.
func start(t *testing.T, cfg Config) (c *Coordinator, stop func()) {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		synctest.Wait()
		if bad := c.Audit(); bad != nil {
			t.Errorf("audit: %q", bad)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return c, stop
}

func twoStages(maps, reduces int) job.Spec {
	return job.Spec{ID: "j", Name: "two stages", Hash: "abc", Stages: []job.Stage{
		{Name: "map", Tasks: maps}, {Name: "reduce", Tasks: reduces, Inputs: []job.Edge{{From: 0}}},
	}}
}

func submit(t *testing.T, c *Coordinator, spec job.Spec) {
	t.Helper()
	if err := c.Submit(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestHappy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, stop := start(t, Config{})
		w := newWorker("w1")
		w.join(t, c, 2)
		go w.beat()
		submit(t, c, twoStages(5, 2))
		submit(t, c, twoStages(5, 2)) // changes nothing
		other := twoStages(5, 2)
		other.Hash = "def"
		if err := c.Submit(t.Context(), other); err == nil || !strings.Contains(err.Error(), "known") {
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
		if got, want := w.ran(), "0/0#1 0/1#1 0/2#1 0/3#1 0/4#1 1/0#1 1/1#1"; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
		status, _ := c.Status("j")
		if m := status.Stages[0]; m.Done != 5 || m.Sum.Counters["rows"] != 50 || m.Sum.Bytes != 25 || m.Sum.Records != 15 {
			t.Errorf("map stage is %+v", m)
		}
		if n := w.holds(); n != 7 {
			t.Errorf("worker holds %d outputs after the end, want all 7 until the drop", n)
		}
		if err := c.Drop(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if n := w.holds(); n != 0 {
			t.Errorf("worker holds %d outputs after the drop", n)
		}
		if err := c.Wait(t.Context(), "j"); !errors.Is(err, ErrUnknownJob) {
			t.Errorf("Wait after the drop = %v", err)
		}
		if got := c.Jobs(); len(got) != 0 {
			t.Errorf("Jobs = %v", got)
		}
		stop()
		if err := c.Submit(t.Context(), twoStages(1, 1)); !errors.Is(err, ErrStopped) {
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
			bubble(t, func(t *testing.T) {
				c, stop := start(t, Config{})
				w := newWorker("w1")
				w.fail = func(a job.Attempt) *job.Failure {
					if a.N > x.upTo {
						return nil
					}
					return &job.Failure{Kind: x.kind, Message: "boom", Detail: "stack"}
				}
				w.join(t, c, 1)
				go w.beat()
				submit(t, c, job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}}})
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
				if got := len(strings.Fields(w.ran())); got != x.runs {
					t.Errorf("ran %s, want %d attempts", w.ran(), x.runs)
				}
				stop()
				time.Sleep(5 * time.Second)
			})
		})
	}
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, stop := start(t, Config{Journal: &fakeJournal{}})
		w := newWorker("w1")
		w.join(t, c, 2)
		go w.beat()
		submit(t, c, twoStages(9, 1))
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
		if err := c.Cancel(t.Context(), "nobody", ""); !errors.Is(err, ErrUnknownJob) {
			t.Errorf("cancel of an unknown job = %v", err)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}

// A worker that falls silent loses its lease, learns that, and joins again.
func TestLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, stop := start(t, Config{Policy: Policy{LeaseTTL: 5 * time.Second, StragglerRatio: -1}})
		w1, w2 := newWorker("w1"), newWorker("w2")
		w1.dead, w1.silent = true, true
		w1.join(t, c, 2)
		go w1.beat()
		submit(t, c, twoStages(2, 1))
		time.Sleep(4 * time.Second)
		w2.join(t, c, 2)
		go w2.beat()
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Fatal(err)
		}
		if got, want := w2.ran(), "0/0#2 0/1#2 1/0#1"; got != want {
			t.Errorf("w2 ran %s, want %s", got, want)
		}
		if err := c.Heartbeat("w1"); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("heartbeat without a lease = %v", err)
		}
		w1.join(t, c, 1)
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
				bubble(t, func(t *testing.T) {
					cfg := Config{Journal: &fakeJournal{}, SnapshotEvery: every}
					c, stop := start(t, cfg)
					w := newWorker("w1")
					w.join(t, c, 2)
					submit(t, c, twoStages(6, 4))
					time.Sleep(at)
					stop()
					c, stop = start(t, cfg)
					w.join(t, c, 2) // with what it holds and runs
					go w.beat()
					submit(t, c, twoStages(6, 4))
					if err := c.Wait(t.Context(), "j"); err != nil {
						t.Fatal(err)
					}
					if got := len(strings.Fields(w.ran())); got != 10 {
						t.Errorf("ran %s, want 10 attempts", w.ran())
					}
					status, _ := c.Status("j")
					for _, st := range status.Stages {
						if st.Done != st.Tasks || st.Sum.Counters["rows"] != int64(10*st.Tasks) {
							t.Errorf("stage is %+v", st)
						}
					}
					stop()

					c, stop = start(t, cfg) // the end is remembered, too
					w2 := newWorker("w2")
					w2.store = w.store
					w2.join(t, c, 2)
					go w2.beat()
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
	bubble(t, func(t *testing.T) {
		j := &fakeJournal{}
		c, stop := start(t, Config{Journal: j})
		w := newWorker("w1")
		w.join(t, c, 1)
		go w.beat()
		submit(t, c, twoStages(2, 1))
		j.setFull(true)
		refused := twoStages(1, 1)
		refused.ID = "k"
		if err := c.Submit(t.Context(), refused); !errors.Is(err, journal.ErrDiskFull) {
			t.Errorf("submit on a full disk = %v", err)
		}
		if _, known := c.Status("k"); known {
			t.Error("a refused job is known")
		}
		time.Sleep(30 * time.Second)
		if got := w.ran(); got != "0/0#1" {
			t.Errorf("ran %s on a full disk", got)
		}
		j.setFull(false)
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		stop()
		time.Sleep(5 * time.Second)
	})
}

// A job that cannot be written is refused; a journal that fails ends the coordinator, and everybody hears why.
func TestJournalFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := &fakeJournal{}
		c, err := New(Config{Journal: j})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context()) }()
		bad := twoStages(1, 1)
		bad.ID = "k\xff"
		if err := c.Submit(t.Context(), bad); err == nil || errors.Is(err, ErrStopped) {
			t.Errorf("submit of a job that cannot be written = %v", err)
		}
		submit(t, c, twoStages(1, 1))
		waited := make(chan error, 1)
		go func() { waited <- c.Wait(t.Context(), "j") }()
		synctest.Wait()
		j.mu.Lock()
		j.broken = errors.New("bad disk")
		j.mu.Unlock()
		other := twoStages(1, 1)
		other.ID = "k"
		if err := c.Submit(t.Context(), other); !errors.Is(err, j.broken) {
			t.Errorf("submit = %v", err)
		}
		if err := <-done; !errors.Is(err, j.broken) {
			t.Errorf("Run = %v", err)
		}
		if err := <-waited; !errors.Is(err, ErrStopped) || !errors.Is(err, j.broken) {
			t.Errorf("Wait = %v", err)
		}
		if err := c.Cancel(t.Context(), "j", ""); !errors.Is(err, ErrStopped) {
			t.Errorf("Cancel = %v", err)
		}
		if err := c.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

// A launch that never arrived is noticed by a worker's list of what it runs.
func TestRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, stop := start(t, Config{})
		w := newWorker("w1")
		w.dead = true
		w.join(t, c, 1)
		submit(t, c, job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1}}})
		time.Sleep(6 * time.Second)
		if err := c.Heartbeat("w1"); err != nil {
			t.Error(err)
		}
		time.Sleep(6 * time.Second)
		w.mu.Lock()
		w.dead = false
		w.mu.Unlock()
		if err := c.Running("w1", nil); err != nil {
			t.Error(err)
		}
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		if got, want := w.ran(), "0/0#1 0/0#2"; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
		stop()
	})
}

func TestConfig(t *testing.T) {
	for _, x := range []struct {
		cfg  Config
		want string
	}{
		{Config{Policy: Policy{LeaseTTL: time.Millisecond}}, "coordinator: LeaseTTL 1ms is below 1s; heartbeats could not keep it"},
		{Config{Policy: Policy{MaxAttempts: -1}}, "coordinator: MaxAttempts -1 is negative; zero means the default"},
		{Config{Policy: Policy{StragglerRatio: 0.5}}, "coordinator: StragglerRatio 0.5 is below 1; every attempt would be a straggler"},
	} {
		if _, err := New(x.cfg); err == nil || err.Error() != x.want {
			t.Errorf("New = %v, want %s", err, x.want)
		}
	}
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join("", 0, "", nil, nil); err == nil {
		t.Error("a worker without name, slots and Worker joined")
	}
	if err := c.Submit(t.Context(), job.Spec{ID: "x"}); err == nil {
		t.Error("a job without stages was accepted")
	}
}

// BenchmarkSubmit measures jobs that become durable, from 64 submitters at once, on a disk that is synced.
func BenchmarkSubmit(b *testing.B) {
	j, err := journal.Open(b.TempDir(), journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	c, err := New(Config{Journal: j})
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
				if err := c.Submit(ctx, spec); err != nil {
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
	bubble(t, func(t *testing.T) {
		journal := &fakeJournal{}
		c, err := New(Config{Journal: journal})
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
				err := c.Submit(t.Context(), s.spec)
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
		if len(journal.events) != 2 || len(c.Jobs()) != 2 {
			t.Errorf("%d events, jobs %v", len(journal.events), c.Jobs())
		}
		cancel()
		<-done
	})
}
