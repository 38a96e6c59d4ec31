// Package layshafttest runs a whole cluster inside one test: a coordinator with its journal,
// workers with their disks, gRPC and gossip. All of them are real; only the network is in memory,
// and the clock is the fake one of testing/synctest. Hours of leases, retries and cuts take
// seconds. The pipeline under test runs as on real machines, while processes are killed, isolated
// and restarted.
//
//	synctest.Test(t, func(t *testing.T) {
//		c := layshafttest.Start(t, 3)
//		go func() {
//			time.Sleep(time.Second)
//			c.Worker(0).Kill()
//		}()
//		rows, err := Report.Collect(t.Context(), c.Target(), params)
//		...
//	})
//
// With the option Coordinators(3), each of three coordinators may be killed, cut off, or lose its
// disk: the others go on with the jobs.
//
// Outside of tests, in an Example, Run starts such a cluster in real time.
//
// Limits: user code runs in the process of the test instead of a child, so it must not exit or race
// with other slots; and kill -9 leaves the disks as if they had been closed.
package layshafttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/gossip/gossiptest"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/layshafttest/internal/network"
	"github.com/layshaft/layshaft/mapreduce"
)

// LeaseTTL is how long a silent worker keeps its attempts, unless Policy sets another time.
const LeaseTTL = 10 * time.Second

// Cluster is a coordinator, or several, with workers, made by Start. Its methods may be called
// concurrently, from goroutines of the bubble.
type Cluster struct {
	t       T
	dir     string
	opt     options
	net     network.Network
	gossip  gossiptest.Network
	inside  *innerCluster
	address string // of the coordinators, separated by commas
	log     *slog.Logger
	coords  []*Coordinator
	workers []*Worker
	client  *network.Host

	// mu guards the fields below.
	mu       sync.Mutex
	lines    bytes.Buffer // the end of the log
	places   map[string]string
	cuts     map[link]bool
	attempts []*Attempt
}

// Start starts a coordinator, or several, and some workers. It returns after all have joined. At
// the end of the test everything is stopped. The test fails if the coordinator's audit finds an
// error or if something does not end. Call it in a bubble or in Run, from the test's own goroutine.
func Start(t T, workers int, opts ...Option) *Cluster {
	t.Helper()
	_, real := t.(*realTime)
	if !real && !inBubble() {
		t.Fatalf("layshafttest.Start must be called inside synctest.Test, so that its cluster lives under a fake clock, or inside layshafttest.Run")
	}
	c := &Cluster{t: t, dir: t.TempDir(), places: map[string]string{}, cuts: map[link]bool{}}
	c.opt = options{coordinators: 1, slots: 2, memory: 16 << 20}
	for _, o := range opts {
		o(&c.opt)
	}
	c.log = slog.New(slog.NewTextHandler(logWriter{c}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.client = c.net.Host("client")
	if c.opt.chaos.has(SlowLinks) {
		c.net.Delay(func(string, string) time.Duration { return c.opt.chaos.delay() })
	}
	if c.opt.chaos.has(Repeat) {
		c.gossip.Arrive = c.opt.chaos.packet
	}
	program := []byte("the program of a test\n")
	sum := sha256.Sum256(program)
	c.inside = &innerCluster{dial: c.dial, program: filepath.Join(c.dir, "program"),
		code: child.Code{SHA256: hex.EncodeToString(sum[:]), Platform: runtime.GOOS + "/" + runtime.GOARCH, Size: int64(len(program))}}
	if err := os.WriteFile(c.inside.program, program, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	address, remove := c.inside.add()
	var all []string
	for i := range c.opt.coordinators {
		at := strings.Replace(address, ":7070", fmt.Sprintf(":%d", 7070+i), 1)
		all = append(all, at)
		c.coords = append(c.coords, &Coordinator{c: c, i: i, at: at, gossip: c.gossip.Listen()})
	}
	c.address = strings.Join(all, ",")
	for i := range workers {
		c.workers = append(c.workers, &Worker{c: c, i: i})
	}
	t.Cleanup(func() {
		remove()
		c.stop()
	})
	for _, x := range c.coords {
		x.Restart()
	}
	var starts sync.WaitGroup
	for _, w := range c.workers {
		starts.Go(w.Restart)
	}
	starts.Wait()
	c.WaitFor("all workers to join", func() bool { return len(c.leader().Workers()) == workers })
	if c.opt.chaos != nil {
		c.opt.chaos.start(c)
	}
	return c
}

// inBubble reports whether the caller runs under a fake clock.
func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }()
	synctest.Wait()
	return true
}

// Target returns the target of pipelines: definition.Run(ctx, c.Target(), params).
func (c *Cluster) Target() mapreduce.Cluster {
	return mapreduce.Cluster{Address: c.address, Reporting: mapreduce.Reporting{Quarantine: filepath.Join(c.dir, "quarantine.jsonl")}}
}

// Coordinator returns the coordinator. Of several it returns the one that leads, or the first one
// while none does.
func (c *Cluster) Coordinator() *Coordinator { return c.leader() }

func (c *Cluster) leader() *Coordinator {
	for _, x := range c.coords {
		if x.Leads() {
			return x
		}
	}
	return c.coords[0]
}

// gossipAddresses returns the addresses to join.
func (c *Cluster) gossipAddresses() (all []string) {
	for _, x := range c.coords {
		all = append(all, x.gossipAddress())
	}
	return all
}

// Worker returns worker i, counted from 0.
func (c *Cluster) Worker(i int) *Worker { return c.workers[i] }

// WaitFor checks a condition every 10 ms until it holds. After an hour of fake time it fails the
// test. Call it from the test's own goroutine.
func (c *Cluster) WaitFor(what string, condition func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Hour); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited an hour for %s", what)
		}
	}
}

// dial connects a client.
func (c *Cluster) dial(ctx context.Context, address string) (net.Conn, error) {
	return c.client.Dial(ctx, address)
}

// stop ends everything and checks the audit.
func (c *Cluster) stop() {
	c.Calm()
	c.Heal()
	if found := c.leader().Audit(); len(found) > 0 {
		c.t.Errorf("the coordinator's audit found: %s", strings.Join(found, "; "))
	}
	var stops sync.WaitGroup
	for _, w := range c.workers {
		stops.Go(w.Stop)
	}
	stops.Wait()
	for _, x := range c.coords {
		stops.Go(x.Stop)
	}
	stops.Wait()
	c.client.Stop()
	if _, real := c.t.(*realTime); !real {
		time.Sleep(time.Minute) // some goroutines of memberlist end late
	}
	if c.t.Failed() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.t.Logf("log of the cluster:\n%s", c.lines.Bytes())
	}
}

// maxLog is the number of log bytes shown when a test fails.
const maxLog = 64 << 10

// logWriter keeps the end of the log.
type logWriter struct{ c *Cluster }

func (w logWriter) Write(b []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.lines.Len() > 2*maxLog {
		w.c.lines.Next(w.c.lines.Len() - maxLog)
	}
	return w.c.lines.Write(b)
}

// Job returns the state of a job. ok is false if the coordinator does not have it or is down.
func (c *Cluster) Job(id string) (status report.Job, ok bool) { return c.leader().job(id) }

// Attempt is an attempt that reached user code.
type Attempt struct {
	Job   string // ID of the job
	Task  string // STAGE/INDEX, both counted from 0
	Stage string // the name of the stage
	// Number is the number of the attempt. It grows per task, with gaps after restarts of the
	// coordinator.
	Number int
	Worker int       // number of the worker, from 0
	Begun  time.Time // when user code started
	Ended  time.Time // zero while it runs
	Err    error     // nil while it runs, or after success
}

// Attempts returns the attempts at a task of any job, in the order of their start. The task is
// STAGE/INDEX, as in "0/3"; "" means all tasks.
func (c *Cluster) Attempts(task string) []Attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Attempt
	for _, a := range c.attempts {
		if task == "" || a.Task == task {
			all = append(all, *a)
		}
	}
	return all
}

// begin records the start of an attempt; end records its end.
func (c *Cluster) begin(a Attempt) (end func(err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.Begun = time.Now()
	p := &a
	c.attempts = append(c.attempts, p)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		p.Ended, p.Err = time.Now(), err
	}
}

// Running returns the attempts currently in user code.
func (c *Cluster) Running() []Attempt {
	return slices.DeleteFunc(c.Attempts(""), func(a Attempt) bool { return !a.Ended.IsZero() })
}
