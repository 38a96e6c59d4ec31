package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
)

// open opens a desk and runs it until the test ends.
func open(t testing.TB, cfg Config) *Desk {
	t.Helper()
	d, _ := openAndShut(t, cfg)
	return d
}

// openAndShut is open with a function to stop the desk earlier.
func openAndShut(t testing.TB, cfg Config) (d *Desk, shut func()) {
	t.Helper()
	if cfg.Dir != "" {
		cfg.Reserve = -1
	}
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	over := false
	shut = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := errors.Join(<-ended, d.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(shut)
	return d, shut
}

// conn is a session with a reader of notes.
type conn struct {
	*Session
	t       testing.TB
	d       *Desk
	waiting []Note // taken, but not yet read
}

func join(t testing.TB, d *Desk, name string) *conn {
	d.Lock()
	defer d.Unlock()
	return &conn{Session: d.Join(name), t: t, d: d}
}

// next waits for the next note.
func (c *conn) next() Note {
	c.t.Helper()
	for {
		if len(c.waiting) > 0 {
			n := c.waiting[0]
			c.waiting = c.waiting[1:]
			return n
		}
		var err error
		if c.waiting, err = c.Take(nil, 1); err != nil {
			c.t.Fatal(err)
		}
		if len(c.waiting) > 0 {
			c.ConfirmTaken()
			continue
		}
		select {
		case <-c.Ready():
		case <-time.After(time.Minute):
			c.t.Fatal("nothing came")
		}
	}
}

// describe returns a note as text.
func (c *conn) describe(n Note) string {
	body := string(n.Body)
	if n.Stored {
		b, _ := c.d.Result(n.Task)
		body = string(b)
	}
	switch {
	case n.Signal == Ack:
		return fmt.Sprintf("ack %d", n.N)
	case n.Signal == Pause:
		return "hold"
	case n.Signal == Resume:
		return "go on"
	case n.Op == queue.Accepted:
		return "accepted"
	case n.Op == queue.Assign:
		in, err := c.d.Input(n.Task)
		if err != nil {
			c.t.Error(err)
		}
		return fmt.Sprintf("%s#%d(%s)", n.Function, n.N, in.Data)
	case n.Op == queue.Stop:
		return fmt.Sprintf("stop #%d", n.N)
	}
	names := map[queue.Notice]string{queue.Data: "data", queue.Warning: "warning", queue.Progress: "progress", queue.Done: "done", queue.Failed: "failed",
		queue.Cancelled: "cancelled", queue.Retrying: "retrying", queue.Followed: "followed"}
	return strings.TrimSpace(names[n.Notice] + " " + body)
}

// expect waits for notes and compares them.
func (c *conn) expect(want ...string) (last Note) {
	c.t.Helper()
	for _, w := range want {
		last = c.next()
		if got := c.describe(last); got != w {
			c.t.Fatalf("told %q, want %q", got, w)
		}
	}
	return last
}

func (c *conn) submit(x Submission) queue.ID {
	c.t.Helper()
	c.d.Lock()
	defer c.d.Unlock()
	n, err := c.d.Submit(c.Session, &x)
	if err != nil {
		c.t.Fatal(err)
	}
	return n.Task
}

func (c *conn) work(slots int, functions ...string) {
	c.d.Lock()
	defer c.d.Unlock()
	for _, f := range functions {
		c.CanDo(f, 0)
	}
	c.SetSlots(slots, 0, "")
}

func (c *conn) report(n Note, notice queue.Notice, body string) {
	c.d.Lock()
	defer c.d.Unlock()
	c.Report(n.Task, int64(n.N), notice, 0, 0, []byte(body))
}

func (c *conn) leave() {
	c.d.Lock()
	defer c.d.Unlock()
	c.Leave(false)
}

// bubble runs a test in memory and in fake time.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, d *Desk)) {
	synctest.Test(t, func(t *testing.T) {
		d, shut := openAndShut(t, cfg)
		test(t, d)
		d.Lock()
		for _, bad := range d.Audit() {
			t.Error(bad)
		}
		d.Unlock()
		shut()
	})
}

func TestLifeOfATask(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		worker.work(1, "f")
		client.submit(Submission{Function: "f", Input: []byte("in"), Policy: queue.Policy{Attempts: 2, Keep: time.Minute}})
		first := worker.expect("f#1(in)")
		worker.report(first, queue.Data, "chunk")
		worker.report(first, queue.Warning, "careful")
		worker.report(first, queue.Failed, "broke")
		client.expect("accepted", "data chunk", "warning careful", "retrying broke")
		worker.expect("ack 1")
		second := worker.expect("f#2(in)")
		if !second.Limits.Last {
			t.Error("the last try does not know that it is")
		}
		worker.report(second, queue.Done, "out")
		client.expect("done out")

		late := join(t, d, "late")
		d.Lock()
		_, err := late.Attach(1, second.Task, "", "", 0)
		d.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		late.expect("accepted", "done out")
		time.Sleep(2 * time.Minute)
		d.Lock()
		_, err = late.Attach(1, second.Task, "", "", 0)
		d.Unlock()
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("attached to a task that was not kept any longer: %v", err)
		}
	})
}

// A client that joins a task, or attaches to it after its end, receives notes only once the task
// is durable, although its own request writes nothing.
func TestWhoComesLaterWaitsForTheDisk(t *testing.T) {
	d, err := Open(Config{Dir: t.TempDir(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, a, b, c := join(t, d, "w"), join(t, d, "a"), join(t, d, "b"), join(t, d, "c")
	w.work(1, "f")
	x := Submission{Function: "f", Unique: "key", Durable: true, Policy: queue.Policy{Keep: time.Hour}}
	id := a.submit(x)
	silent := func(s *conn, who string) {
		t.Helper()
		if s.waiting, err = s.Take(nil, 1<<20); err != nil || len(s.waiting) > 0 {
			t.Errorf("%s hears %+v, %v, before anything is on disk", who, s.waiting, err)
		}
	}
	if again := b.submit(x); again != id {
		t.Fatalf("task %d, want to join %d", again, id)
	}
	silent(b, "who joins")
	w.report(Note{Task: id, N: 1}, queue.Done, "result")
	d.Lock()
	if _, err := c.Attach(NoRef, id, "", "", 0); err != nil {
		t.Fatal(err)
	}
	d.Unlock()
	silent(a, "who submits")
	silent(b, "who joined")
	silent(c, "who comes after the end")

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	a.expect("accepted", "done result")
	b.expect("accepted", "done result")
	c.expect("accepted", "done result")
	stop()
	if err := errors.Join(<-ended, d.Close()); err != nil {
		t.Error(err)
	}
}

// An attempt may end after its task was assigned to the same worker again. The late end has no
// effect, except that its slot becomes free.
func TestLateReports(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		worker.work(2, "f")
		client.submit(Submission{Function: "f", Policy: queue.Policy{Hard: time.Second}})
		client.expect("accepted")
		first := worker.expect("f#1()")
		time.Sleep(1500 * time.Millisecond)
		worker.expect("stop #1")
		second := worker.expect("f#2()")
		worker.report(first, queue.Done, "stale")
		worker.report(second, queue.Done, "fresh")
		client.expect("retrying", "done fresh")
		for range 2 { // both slots are free again
			client.submit(Submission{Function: "f"})
		}
		worker.expect("ack 1", "ack 2", "f#1()", "f#1()")
	})
}

func TestLostWorkerAndCancel(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		client, a, b := join(t, d, "client"), join(t, d, "a"), join(t, d, "b")
		a.work(1, "f")
		id := client.submit(Submission{Function: "f", Input: []byte("x")})
		client.expect("accepted")
		a.expect("f#1(x)")
		a.leave()
		b.work(1, "f")
		n := b.expect("f#2(x)")
		d.Lock()
		ok := d.Cancel(id)
		d.Unlock()
		if !ok {
			t.Error("not cancelled")
		}
		client.expect("retrying", "cancelled")
		b.expect("stop #2")
		b.report(n, queue.Done, "too late")
		b.expect("ack 2")
		if _, ok := d.Status(id); ok {
			t.Error("a cancelled task that nobody asked to keep is there")
		}
	})
}

func TestChainsAndGroups(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		worker.work(10, "a", "b", "sum")
		client.submit(Submission{Function: "a", Input: []byte("1"), Then: []queue.Next{{Function: "b"}}})
		worker.report(worker.expect("a#1(1)"), queue.Done, "2")
		worker.expect("ack 1")
		worker.report(worker.expect("b#1(2)"), queue.Done, "3")
		client.expect("accepted", "followed", "done 3")
		worker.expect("ack 1")

		d.Lock()
		g, err := d.OpenGroup([]queue.Next{{Function: "sum"}}, false, false, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range []string{"x", "y"} {
			if _, err := d.Submit(nil, &Submission{Function: "a", Input: []byte(in), Group: g.Task}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Attach(NoRef, g.Task, "", "", 0); err != nil {
			t.Fatal(err)
		}
		d.CloseGroup(g.Task)
		d.Unlock()
		x, y := worker.expect("a#1(x)"), worker.expect("a#1(y)")
		worker.report(y, queue.Done, "Y")
		worker.report(x, queue.Done, "X")
		worker.expect("ack 1", "ack 1")
		sum := worker.next()
		in, err := d.Input(sum.Task)
		got, invalid := taskwire.GatheredJSON(in.Data)
		want := fmt.Sprintf(`[{"id":"%s","outcome":"done","encoding":"text","result":"X"},{"id":"%s","outcome":"done","encoding":"text","result":"Y"}]`, x.Task, y.Task)
		if err != nil || invalid != nil || !in.Gathered || string(got) != want {
			t.Errorf("gathered %s, %v, %v, %v, want %s", got, in.Gathered, err, invalid, want)
		}
		worker.report(sum, queue.Done, "XY")
		client.expect("followed", "accepted", "done XY")
		worker.expect("ack 1")

		d.Lock()
		_, err = client.Attach(NoRef, g.Task, "", "", 0) // the successor is forgotten
		d.Unlock()
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("a group that is forgotten: %v", err)
		}
	})
}

// A worker sends 64 MiB of chunks to a client that does not read for a while. Memory stays
// bounded, other tasks continue, and all chunks arrive in order.
func TestSlowReader(t *testing.T) {
	const chunk, chunks, pending = 64 << 10, 1024, 1 << 20
	bubble(t, Config{MaxPending: pending}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		worker.work(2, "f")
		client.submit(Submission{Function: "f"})
		client.expect("accepted")
		n := worker.expect("f#1()")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range chunks {
				body := bytes.Repeat([]byte{byte(i)}, chunk)
				d.Lock()
				worker.Report(n.Task, 1, queue.Data, 0, 0, body)
				d.Unlock()
			}
		}()
		synctest.Wait()
		client.Outbox.mu.Lock()
		waiting := client.bytes
		client.Outbox.mu.Unlock()
		if waiting > pending+2*chunk {
			t.Errorf("%d bytes wait for a client that does not read", waiting)
		}
		worker.expect("hold")
		for i := range chunks {
			if got := client.next(); got.Body[0] != byte(i) {
				t.Fatalf("chunk %d is %d", i, got.Body[0])
			}
		}
		<-sent
		worker.expect("go on")
	})
}

// A session that never reads is ended, so that its worker can continue.
func TestStalledReader(t *testing.T) {
	bubble(t, Config{MaxPending: 1 << 20}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		worker.work(1, "f")
		client.submit(Submission{Function: "f"})
		n := worker.expect("f#1()")
		begin := time.Now()
		for range 100 {
			worker.report(n, queue.Data, strings.Repeat("x", 64<<10))
		}
		if took := time.Since(begin); took > 40*time.Second {
			t.Errorf("the worker was held up for %v", took)
		}
		if _, err := client.Take(nil, 1); !errors.Is(err, ErrStalled) {
			t.Errorf("the session ended with %v", err)
		}
		client.leave()
	})
}

// recorder is a Gearman connection.
type recorder struct {
	updates []string
	woke    int
}

func (r *recorder) Wake() { r.woke++ }
func (r *recorder) Update(u gearman.Update) {
	r.updates = append(r.updates, fmt.Sprintf("%v %s", u.Kind, u.Data))
}
func (r *recorder) Durable(uint64) {}

// Workers of each kind serve clients of the other kind.
func TestGearmanMeetsSessions(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		b := NewBroker(d, BrokerConfig{})
		client, worker := join(t, d, "client"), join(t, d, "worker")
		r := &recorder{}
		b.Lock()
		old := b.Attach(r)
		old.CanDo([]byte("php"), 0)
		old.Sleep()
		b.Unlock()
		client.submit(Submission{Function: "php", Input: []byte("in"), Unique: "u", Policy: queue.Policy{Attempts: 2}})
		b.Lock()
		j, ok := old.Grab()
		if !ok || r.woke != 1 || j.Unique != "u" || string(j.Data) != "in" {
			t.Errorf("grabbed %+v, %v, woken %d times", j, ok, r.woke)
		}
		data := []byte("half")
		_ = old.Work(gearman.Update{ID: j.ID, Kind: gearman.WorkData, Data: data})
		copy(data, "XXXX") // the connection reuses its buffer
		_ = old.Work(gearman.Update{ID: j.ID, Kind: gearman.WorkException, Data: []byte("oops")})
		b.Unlock()
		client.expect("accepted", "data half", "retrying oops")
		time.Sleep(2 * time.Second)
		b.Lock()
		j, _ = old.Grab()
		_ = old.Work(gearman.Update{ID: j.ID, Kind: gearman.WorkComplete, Data: []byte("out")})
		b.Unlock()
		client.expect("done out")

		worker.work(1, "go")
		b.Lock()
		if _, _, err := old.Submit(gearman.Submission{Function: []byte("go"), Unique: []byte("k"), Data: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		b.Unlock()
		n := worker.expect("go#1(1)")
		worker.report(n, queue.Warning, "hm")
		worker.report(n, queue.Failed, "no") // final for jobs of Gearman clients
		if want := []string{fmt.Sprintf("%v hm", gearman.WorkWarning), fmt.Sprintf("%v no", gearman.WorkException)}; !slices.Equal(r.updates, want) {
			t.Errorf("told %q, want %q", r.updates, want)
		}
	})
}

func TestLimitsAndBudgets(t *testing.T) {
	granted := make(chan uint64, 10)
	bubble(t, Config{MaxBody: 10, OnGranted: func(ref uint64) { granted <- ref }}, func(t *testing.T, d *Desk) {
		client, worker := join(t, d, "client"), join(t, d, "worker")
		acquire := func(ref uint64) {
			d.Lock()
			defer d.Unlock()
			d.Acquire(ref, []queue.Need{{Budget: "pg", N: 1}}, false)
		}
		release := func(ref uint64) {
			d.Lock()
			defer d.Unlock()
			d.Release(ref)
		}
		d.Lock()
		d.SetFunction("f", queue.Limits{Queue: [3]int{queue.Normal: 2}, Needs: []queue.Need{{Budget: "pg", N: 1}}})
		d.SetBudget("pg", 1)
		d.Unlock()
		acquire(1)
		if ref := <-granted; ref != 1 {
			t.Errorf("granted %d", ref)
		}
		worker.work(4, "f")
		client.submit(Submission{Function: "f"})
		client.submit(Submission{Function: "f"})
		d.Lock()
		_, full := d.Submit(nil, &Submission{Function: "f"})
		_, large := d.Submit(nil, &Submission{Function: "g", Input: make([]byte, 11)})
		_, nameless := d.Submit(nil, &Submission{})
		d.Unlock()
		if !errors.Is(full, ErrFull) || !errors.Is(large, ErrInvalid) || !errors.Is(nameless, ErrInvalid) {
			t.Errorf("refused with %v, %v, %v", full, large, nameless)
		}
		if notes, _ := worker.Take(nil, 1); len(notes) > 0 {
			t.Error("a task began without its budget")
		}
		release(1)
		release(1)
		first := worker.expect("f#1()")
		acquire(2)
		worker.report(first, queue.Done, "")
		worker.expect("ack 1")
		if ref := <-granted; ref != 2 {
			t.Errorf("granted %d", ref)
		}
		release(2)
		worker.report(worker.expect("f#1()"), queue.Done, "")
	})
}

// durableRecorder is a Gearman connection that records durable batches.
type durableRecorder struct {
	recorder
	batches chan uint64
	wakes   chan struct{}
}

func (c *durableRecorder) Wake()            { c.wakes <- struct{}{} }
func (c *durableRecorder) Durable(n uint64) { c.batches <- n }

// Background jobs are acknowledged after their batch, which also wakes workers, and survive a
// restart. Foreground jobs do not survive.
func TestGearmanDurable(t *testing.T) {
	dir := t.TempDir()
	d, shut := openAndShut(t, Config{Dir: dir})
	b := NewBroker(d, BrokerConfig{})
	c := &durableRecorder{batches: make(chan uint64, 100), wakes: make(chan struct{}, 100)}
	b.Lock()
	s := b.Attach(c)
	s.CanDo([]byte("f"), 0)
	if s.Sleep() {
		t.Error("there is a job before there is one")
	}
	id, batch, err := s.Submit(gearman.Submission{Function: []byte("f"), Unique: []byte("u"), Reducer: []byte("r"), Data: []byte("data"), Background: true})
	if err != nil || batch == 0 || len(c.wakes) > 0 {
		t.Errorf("batch %d, %v, %d wakes", batch, err, len(c.wakes))
	}
	b.Unlock()
	for <-c.batches < batch {
	}
	<-c.wakes
	b.Lock()
	if _, batch, err := s.Submit(gearman.Submission{Function: []byte("g"), Data: []byte("not durable")}); err != nil || batch != 0 {
		t.Errorf("batch %d, %v", batch, err)
	}
	if j, ok := s.Grab(); !ok || j.ID != id || j.Unique != "u" || j.Reducer != "r" || string(j.Data) != "data" {
		t.Errorf("grabbed %+v, %v", j, ok)
	}
	b.Unlock()
	shut()

	d, shut = openAndShut(t, Config{Dir: dir})
	defer shut()
	b = NewBroker(d, BrokerConfig{})
	b.Lock()
	defer b.Unlock()
	s = b.Attach(c)
	s.CanDo([]byte("f"), 0)
	s.CanDo([]byte("g"), 0)
	if j, ok := s.Grab(); !ok || j.ID != id || j.Unique != "u" || string(j.Data) != "data" {
		t.Errorf("after a restart %+v, %v", j, ok)
	}
	if j, ok := s.Grab(); ok {
		t.Errorf("after a restart also %+v", j)
	}
	if err := s.Work(gearman.Update{ID: id, Kind: gearman.WorkComplete}); err != nil {
		t.Error(err)
	}
}

// FuzzInput decodes arbitrary bytes from the store.
func FuzzInput(f *testing.F) {
	f.Add(appendInput(nil, gatheredBit, "unique", "reducer", []byte("data")))
	f.Add(appendTracedInput(nil, finalBit, "unique", "reducer", "00-01-02-01", []byte("data")))
	f.Add([]byte{})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := decodeInput(b)
		if err != nil {
			return
		}
		bits := b[0] & (gatheredBit | finalBit)
		again, err := decodeInput(appendTracedInput(nil, bits, in.Unique, in.Reducer, in.Trace, in.Data))
		if err != nil || again.Unique != in.Unique || again.Reducer != in.Reducer || again.Gathered != in.Gathered || again.final != in.final || !bytes.Equal(again.Data, in.Data) {
			t.Errorf("%+v became %+v, %v", in, again, err)
		}
	})
}

// A dead letter has the error of its last attempt, not of an earlier one, even if the last
// attempt ended without an error text.
func TestWhyItFailed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *Desk) {
		w := join(t, d, "w")
		w.work(1, "f")
		d.Lock()
		n, err := d.Submit(nil, &Submission{Function: "f", Background: true, Policy: queue.Policy{Attempts: 1, Hard: time.Second}})
		d.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		check := func(want string) {
			t.Helper()
			if why, err := d.Result(n.Task); string(why) != want || err != nil {
				t.Errorf("%q, %v, want %q", why, err, want)
			}
		}
		again := func() {
			t.Helper()
			d.Lock()
			defer d.Unlock()
			if !d.Retry(n.Task) {
				t.Fatal("no dead letter")
			}
		}
		w.report(w.next(), queue.Failed, "FIRST")
		w.next() // ack
		check("FIRST")
		again()
		run := w.next()
		time.Sleep(2 * time.Second)
		w.next() // stop
		check("took longer than its hard limit")
		w.report(run, queue.Failed, "")
		w.next()
		again()
		w.next()
		w.leave()
		check("its worker was lost")
	})
}

// Results of Gearman background jobs are kept for the configured time; results of foreground jobs
// are not.
func TestGearmanKeep(t *testing.T) {
	d, shut := openAndShut(t, Config{Dir: t.TempDir()})
	defer shut()
	b := NewBroker(d, BrokerConfig{Policy: queue.Policy{Keep: time.Hour}})
	c := &durableRecorder{batches: make(chan uint64, 100), wakes: make(chan struct{}, 100)}
	b.Lock()
	defer b.Unlock()
	s := b.Attach(c)
	s.CanDo([]byte("f"), 0)
	for _, background := range []bool{true, false} {
		if _, _, err := s.Submit(gearman.Submission{Function: []byte("f"), Unique: []byte("u"), Data: []byte("in"), Background: background}); err != nil {
			t.Fatal(err)
		}
		j, ok := s.Grab()
		if !ok {
			t.Fatal("no job")
		}
		if err := s.Work(gearman.Update{ID: j.ID, Kind: gearman.WorkComplete, Data: []byte("out")}); err != nil {
			t.Fatal(err)
		}
		info, known := d.StatusUnique("f", "u")
		if known != background {
			t.Errorf("in the background %v: known %v", background, known)
		}
		if known {
			if out, err := d.Result(info.ID); string(out) != "out" || err != nil {
				t.Errorf("result %q, %v", out, err)
			}
		}
	}
}
