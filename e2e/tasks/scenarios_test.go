//go:build unix

package tasks

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// An interactive task starts within 100 ms while 2,000 downloads of low priority wait, if a slot is
// reserved for such; without, within the longest running task and 100 ms.
func TestInteractiveTasksGoFirst(t *testing.T) {
	const longest = 200 // ms
	for _, tt := range []struct {
		reserved int
		limit    time.Duration
	}{{1, 100 * time.Millisecond}, {0, (longest + 100) * time.Millisecond}} {
		t.Run(fmt.Sprintf("reserved=%d", tt.reserved), func(t *testing.T) {
			c := newCluster(t)
			c.worker(t, "-concurrency", "8", "-reserved", fmt.Sprint(tt.reserved))
			downloads := slices.Repeat([]int{longest}, 2000)
			if _, err := tasks.EnqueueAll(within(t), c.Client, "download", downloads, tasks.Low, tasks.Keep(0)); err != nil {
				t.Fatal(err)
			}
			c.await(t, "all slots to be busy", func(o tasks.Overview) bool { return function(o, "download").Counts.Running == 8-tt.reserved })
			var took []time.Duration
			for range 9 {
				asked := time.Now()
				began, err := tasks.Do[int64](within(t), c.Client, "index", 0, tasks.High)
				if err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Unix(0, began).Sub(asked))
			}
			slices.Sort(took)
			t.Logf("waited %v to %v", took[0], took[len(took)-1])
			if median := took[len(took)/2]; median > tt.limit {
				t.Errorf("interactive tasks waited %v, the limit is %v", took, tt.limit)
			}
		})
	}
}

// Of the first tasks that start while both wait, at least 5 % are of low priority.
func TestLowPriorityDoesNotStarve(t *testing.T) {
	c := newCluster(t)
	if err := c.Pause(within(t), "order"); err != nil {
		t.Fatal(err)
	}
	const n = 600
	var ids [2][]tasks.ID
	for i, p := range []tasks.Priority{tasks.High, tasks.Low} {
		var err error
		if ids[i], err = tasks.EnqueueAll(within(t), c.Client, "order", make([]string, n), p); err != nil {
			t.Fatal(err)
		}
	}
	c.worker(t)
	if err := c.Resume(within(t), "order"); err != nil {
		t.Fatal(err)
	}
	early := 0
	for _, id := range ids[1] {
		at, err := tasks.Attach[int](within(t), c.Client, id)
		if err != nil {
			t.Fatal(err)
		}
		if at <= n {
			early++
		}
	}
	if share := float64(early) / n; share < 0.05 || share > 0.2 {
		t.Errorf("of the first %d tasks %d were low, %.1f %%", n, early, 100*share)
	}
}

// Chunks come in order, each at once, with their progress; a retry is announced, and then they come
// anew.
func TestChunks(t *testing.T) {
	c := newCluster(t)
	c.worker(t)
	var story []string
	var late time.Duration
	out, err := tasks.Do[string](within(t), c.Client, "chunks", scale(50, 1000), tasks.Backoff(time.Millisecond, 0), tasks.OnUpdate(func(u tasks.Update) {
		switch u.Kind {
		case tasks.KindData:
			chunk, err := tasks.Decode[[2]int64](u.Payload)
			if err != nil {
				t.Error(err)
			}
			story = append(story, fmt.Sprint("chunk ", chunk[0]))
			late = max(late, time.Since(time.Unix(0, chunk[1])))
		case tasks.KindProgress:
			story = append(story, fmt.Sprintf("%d/%d", u.N, u.M))
		case tasks.KindRetry:
			story = append(story, fmt.Sprintf("retry %d: %s", u.N, u.Payload))
		}
	}))
	want := "chunk 0, 1/5, chunk 1, 2/5, retry 2: half way, chunk 0, 1/5, chunk 1, 2/5, chunk 2, 3/5, chunk 3, 4/5, chunk 4, 5/5"
	if got := strings.Join(story, ", "); got != want || out != "EOD" || err != nil {
		t.Errorf("got %s, then %q, %v; want %s, then EOD", got, out, err, want)
	}
	t.Logf("chunks took at most %v", late)
	if late > 200*time.Millisecond {
		t.Errorf("a chunk took %v, the limit is 200 ms", late)
	}
}

// A client that reads slowly costs the coordinator and the worker no memory, however much there is
// to read.
func TestSlowReader(t *testing.T) {
	c := newCluster(t)
	w := c.worker(t)
	read := func(n int, pace <-chan time.Time) {
		t.Helper()
		next := uint64(0)
		out, err := tasks.Do[string](within(t), c.Client, "flood", n, tasks.OnUpdate(func(u tasks.Update) {
			if u.Kind != tasks.KindData {
				return
			}
			if got := binary.LittleEndian.Uint64(u.Payload); got != next || len(u.Payload) != 1<<20 {
				t.Errorf("chunk %d of %d bytes came instead of %d", got, len(u.Payload), next)
			}
			next++
			if pace != nil && next%8 == 0 {
				<-pace
			}
		}))
		if out != "EOD" || err != nil || next != uint64(n) {
			t.Fatalf("%q, %v after %d chunks, want EOD after %d", out, err, next, n)
		}
	}
	n := scale(256, 1024)
	read(n, nil) // what it costs with a reader that is fast
	coordinator, worker := memory(t, c.coordinator, "VmHWM"), memory(t, w, "VmHWM")
	pace := time.NewTicker(40 * time.Millisecond)
	defer pace.Stop()
	read(n, pace.C)
	more := [2]float64{memory(t, c.coordinator, "VmHWM") - coordinator, memory(t, w, "VmHWM") - worker}
	t.Logf("coordinator %.0f MiB + %.1f, worker %.0f MiB + %.1f", coordinator, more[0], worker, more[1])
	if max(more[0], more[1]) > 16 {
		t.Errorf("coordinator and worker needed %.1f MiB more for a slow reader", more)
	}
}

// The caller gets the text of the error; hooks hear of it in order; the dead letter is shown and
// run again, by the command line.
func TestFailure(t *testing.T) {
	c := newCluster(t)
	healed := filepath.Join(t.TempDir(), "healed")
	w := c.worker(t, "-healed", healed)
	options := []tasks.Option{tasks.Attempts(3), tasks.Backoff(time.Millisecond, 0)}
	_, err := tasks.Do[string](within(t), c.Client, "raise", "", options...)
	var failed *tasks.Error
	if !errors.As(err, &failed) || failed.Message != "database is down (3)" {
		t.Errorf("the caller got %v", err)
	}
	hooks := "retry 1 database is down (1)\nretry 2 database is down (2)\nfailed 3 database is down (3)\n"
	c.await(t, "hooks that say "+hooks, func(tasks.Overview) bool { return w.Out.String() == hooks }) // they are called beside the answer
	id, err := tasks.Enqueue(within(t), c.Client, "raise", "letter", options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.Attach[string](within(t), c.Client, id); !errors.Is(err, tasks.ErrFailed) {
		t.Errorf("in the background: %v", err)
	}
	var dead []tasks.Status
	c.cli(t, &dead, "dead")
	if len(dead) != 1 || dead[0].ID != id || dead[0].Error != "database is down (3)" {
		t.Fatalf("layshaft task dead printed %+v", dead)
	}
	var shown tasks.Status
	c.cli(t, &shown, "status", id.String())
	if string(shown.Input) != "letter" || !shown.Dead {
		t.Errorf("layshaft task status printed %+v", shown)
	}
	if err := os.WriteFile(healed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var again []tasks.ID
	c.cli(t, &again, "retry", id.String())
	if !slices.Equal(again, []tasks.ID{id}) {
		t.Errorf("layshaft task retry printed %v", again)
	}
	if out, err := tasks.Attach[string](within(t), c.Client, id); out != "healed" || err != nil {
		t.Errorf("run again: %q, %v", out, err)
	}
}

// status is layshaft task status -o json.
type status struct {
	Totals    tasks.Counts     `json:"totals"`
	Functions []tasks.Function `json:"functions"`
}

// Totals conserve at every instant under load; the command line, its JSON and Gearman's text say
// the same; a dead worker vanishes.
func TestStatus(t *testing.T) {
	c := newCluster(t)
	const n = 5000
	first := c.worker(t, "-concurrency", "4")
	c.worker(t, "-concurrency", "4")
	ctx, stop := context.WithCancel(within(t))
	looked := make(chan int, 1)
	go func() {
		looks := 0
		for ctx.Err() == nil {
			o, err := c.Overview(ctx)
			if err != nil {
				break
			}
			looks++
			x := o.Totals
			if sum := x.Waiting + x.Delayed + x.Running + x.Done + x.Failed + x.Cancelled; sum != x.Submitted {
				t.Errorf("%+v do not add up to %d", x, x.Submitted)
			}
			for _, f := range o.Functions {
				if f.WaitingHigh+f.WaitingNormal+f.WaitingLow != f.Counts.Waiting {
					t.Errorf("%+v: priorities do not add up", f)
				}
			}
		}
		looked <- looks
	}()
	for i := range 5 {
		if _, err := tasks.EnqueueAll(within(t), c.Client, "echo", make([]string, n/5), tasks.Priority(i%3), tasks.Keep(0)); err != nil {
			t.Fatal(err)
		}
	}
	c.await(t, "all to be done", func(o tasks.Overview) bool { return o.Totals.Done == n })
	stop()
	if looks := <-looked; looks < 3 {
		t.Errorf("looked %d times", looks)
	}

	first.Kill()
	begin := time.Now()
	c.await(t, "the dead worker to vanish", func(o tasks.Overview) bool { return function(o, "echo").Workers == 1 })
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("a dead worker vanished after %v", took)
	}
	if err := c.Pause(within(t), "echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.EnqueueAll(within(t), c.Client, "echo", make([]string, 3)); err != nil {
		t.Fatal(err)
	}
	var s status
	c.cli(t, &s, "status")
	at := slices.IndexFunc(s.Functions, func(f tasks.Function) bool { return f.Name == "echo" })
	if f := s.Functions[at]; f.Counts.Waiting != 3 || f.Counts.Running != 0 || f.Workers != 1 || !f.Paused || s.Totals.Done != n {
		t.Errorf("layshaft task status = %+v", s)
	}
	if got, want := gearmanStatus(t, c.gearman)["echo"], "3\t0\t1"; got != want {
		t.Errorf("Gearman's status says %q, want %q", got, want)
	}
	if out := run(t, "layshaft", "task", "status", "-cluster", c.address); !strings.Contains(out, "echo") || !strings.Contains(out, "paused") {
		t.Errorf("layshaft task status printed\n%s", out)
	}
}

// gearmanStatus asks in Gearman's text protocol: function -> total, running, workers.
func gearmanStatus(t *testing.T, address string) map[string]string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("status\n")); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for in := bufio.NewScanner(conn); in.Scan() && in.Text() != "."; {
		name, rest, _ := strings.Cut(in.Text(), "\t")
		out[name] = rest
	}
	return out
}

// Two tasks that kill their process become dead letters. Six tasks beside them do not.
func TestPoison(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	over, supervised := make(chan struct{}), make(chan int)
	go func() {
		for n := 1; ; n++ {
			p := c.launchWorker(t, "-concurrency", "8")
			select {
			case <-p.Ended:
			case <-over:
				supervised <- n
				return
			}
		}
	}()
	var ids []tasks.ID
	for i := range 8 {
		id, err := tasks.Enqueue(within(t), c.Client, "exit", i%4 == 1, tasks.Attempts(3), tasks.Backoff(time.Millisecond, time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for i, id := range ids {
		if n, err := tasks.Attach[int](within(t), c.Client, id); i%4 == 1 && !errors.Is(err, tasks.ErrLost) || i%4 != 1 && err != nil {
			t.Errorf("task %d, killing its process: %v, ended with attempt %d, %v", i, i%4 == 1, n, err)
		}
	}
	close(over)
	if n := <-supervised; n > 8 {
		t.Errorf("%d processes ended, want at most 7: one with all, three with each of two", n-1)
	}
	if dead, err := c.Dead(within(t), "exit", 10); len(dead) != 2 || err != nil {
		t.Errorf("%d dead letters, %v", len(dead), err)
	}
}

// Workers that end by themselves and are started again by a supervisor, a hundred times under load,
// lose no task and double no result.
func TestRollingRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const workers, lives, each = 4, 25, 10
	ids := make([]tasks.ID, 0, workers*lives*each)
	inputs := make([]string, cap(ids))
	for i := range inputs {
		inputs[i] = fmt.Sprint("r", i)
	}
	record := t.TempDir() + "/record"
	supervised := make(chan int, workers)
	for range workers {
		go func() {
			restarts := 0
			defer func() { supervised <- restarts }()
			for {
				p := c.launchWorker(t, "-concurrency", "2", "-max-tasks", fmt.Sprint(each), "-idle-exit", "1500ms", "-record", record)
				<-p.Ended
				if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("a worker ended with %d", code)
					return
				}
				o, err := c.Overview(within(t))
				if err != nil || function(o, "record").Counts.Done == len(inputs) {
					return
				}
				restarts++
			}
		}()
	}
	for part := range slices.Chunk(inputs, 50) {
		some, err := tasks.EnqueueAll(within(t), c.Client, "record", part, tasks.Attempts(1))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, some...)
	}
	for i, id := range ids {
		if out, err := tasks.Attach[string](within(t), c.Client, id); out != inputs[i] || err != nil {
			t.Errorf("task %s: %q, %v", id, out, err)
		}
	}
	restarts := 0
	for range workers {
		restarts += <-supervised
	}
	t.Logf("%d restarts", restarts)
	if restarts < workers*lives-workers-8 {
		t.Errorf("%d restarts", restarts)
	}
	for in, runs := range readRecord(t, record)["record"] {
		if len(runs) != 1 || runs[0].times != 1 {
			t.Errorf("%s ran as %v", in, runs)
		}
	}
}
