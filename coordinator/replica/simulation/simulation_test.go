//go:debug randseednop=0

package simulation

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	oldrand "math/rand"

	"github.com/anishathalye/porcupine"
)

var (
	seedFlag  = flag.Int64("seed", -1, "run this seed alone, and print its story")
	seedsFlag = flag.Int("seeds", 600, "number of seeds")
	allFlag   = flag.Bool("all", false, "go on after a seed that fails, and print no story")
	raftFlag  = flag.Bool("raft", false, "add the messages of raft to the story")
	firstFlag = flag.Uint64("first", 0, "first seed")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	runtime.GOMAXPROCS(1) // a seed repeats itself better
	os.Exit(m.Run())
}

// TestSimulation runs clients and workers against several coordinators under faults.
func TestSimulation(t *testing.T) {
	first, n := *firstFlag, *seedsFlag
	if testing.Short() {
		n = min(n, 30)
	}
	if *seedFlag >= 0 {
		first, n = uint64(*seedFlag), 1
	}
	failed := 0
	for seed := first; seed < first+uint64(n); seed++ {
		problems, story := simulate(t, seed)
		if *seedFlag >= 0 || len(problems) > 0 && !*allFlag {
			t.Logf("the story of seed %d:\n%s", seed, story)
		}
		if len(problems) == 0 {
			continue
		}
		failed++
		t.Errorf("seed %d: %s\nrepeat it: go test ./coordinator/replica/simulation -run TestSimulation -seed %d", seed, strings.Join(problems, "\n"), seed)
		if !*allFlag {
			break
		}
	}
	t.Logf("%d seeds from %d, %d failed", n, first, failed)
}

// simulate runs one seed. It returns the broken promises, and the story.
func simulate(t *testing.T, seed uint64) (problems []string, story string) {
	var ops, jobs []porcupine.Operation
	var h *history
	ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		//lint:ignore SA1019 raft draws its timeouts there
		oldrand.Seed(int64(seed))
		synctest.Test(t, func(t *testing.T) {
			h = newHistory()
			ops, jobs, problems = run(t, seed, h)
		})
	})
	if !ok {
		problems = append(problems, "the run failed")
	}
	for _, x := range []struct {
		model porcupine.Model
		ops   []porcupine.Operation
	}{{model, ops}, {jobModel, jobs}} {
		switch porcupine.CheckOperationsTimeout(x.model, x.ops, 20*time.Second) {
		case porcupine.Illegal:
			problems = append(problems, "the history is not linearizable: "+illegal(x.model, x.ops))
		case porcupine.Unknown:
			t.Logf("seed %d: too complex to be checked", seed)
		}
	}
	var b bytes.Buffer
	h.writeTo(&b)
	return problems, b.String()
}

// illegal returns the keys whose histories are not linearizable.
func illegal(model porcupine.Model, ops []porcupine.Operation) string {
	var b strings.Builder
	for _, part := range model.Partition(ops) {
		if porcupine.CheckOperationsTimeout(model, part, 20*time.Second) != porcupine.Illegal {
			continue
		}
		slices.SortStableFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, o := range part {
			ends := fmt.Sprintf("%9.4f", time.Duration(o.Return).Seconds())
			if o.Return == forever {
				ends = "      end"
			}
			fmt.Fprintf(&b, "\n  %9.4f to %s  client %d: %s", time.Duration(o.Call).Seconds(), ends, o.ClientId, model.DescribeOperation(o.Input, o.Output))
		}
	}
	return b.String()
}

const (
	clients  = 4
	requests = 12
	workers  = 2
	// jobClients make fewer requests, as jobs take longer.
	jobClients  = 2
	jobRequests = 5
	injected    = 8
)

func run(t *testing.T, seed uint64, h *history) (ops, jobOps []porcupine.Operation, problems []string) {
	members := 3
	if seed%8 == 7 {
		members = 5
	}
	c := newCluster(seed, members, h)
	for _, n := range c.nodes {
		n.start()
		time.Sleep(time.Millisecond)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	var working, asking sync.WaitGroup
	var all []*client
	for i := range clients {
		k := newClient(c, i+1, seed)
		all = append(all, k)
		asking.Go(func() { k.run(ctx, requests) })
	}
	var hands []*worker
	for i := range workers {
		w := newWorker(c, i+1, seed)
		hands = append(hands, w)
		working.Go(func() { w.run(ctx) })
		j := newJobWorker(c, i+1, seed)
		working.Go(func() { j.run(ctx) })
	}
	var submitters []*jobClient
	for i := range jobClients {
		k := newJobClient(c, 20+i, seed)
		submitters = append(submitters, k)
		asking.Go(func() { k.run(ctx, jobRequests) })
	}
	f := &faults{c: c, rng: rand.New(rand.NewPCG(seed, 400))}
	f.run(ctx, injected)
	f.heal()
	h.note("all faults are healed")
	limit := time.AfterFunc(2*time.Minute, stop)
	asking.Wait()
	if ctx.Err() != nil {
		c.problem("requests have no answer two minutes after the last fault; %s", c.unfinished())
	} else {
		last := newClient(c, 9, seed)
		all = append(all, last)
		for _, k := range all {
			for _, t := range k.seen {
				last.status(ctx, t)
			}
		}
		c.checkEqual(ctx)
	}
	limit.Stop()
	stop()
	c.over.Store(true)
	for _, n := range c.nodes {
		n.kill(false)
	}
	working.Wait()
	c.ended.Wait()
	for _, k := range all {
		ops = append(ops, k.ops...)
	}
	for _, w := range hands {
		ops = append(ops, w.ops...)
	}
	for _, k := range submitters {
		jobOps = append(jobOps, k.ops...)
	}
	return ops, jobOps, c.problems
}

// checkEqual waits until all members have the same content.
func (c *cluster) checkEqual(ctx context.Context) {
	var differences string
	for range 300 {
		if differences = c.compare(); differences == "" {
			return
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			break
		}
	}
	c.problem("the members differ: %s", differences)
}

func (c *cluster) compare() string {
	var first map[string]map[string][]byte
	var of string
	for _, n := range c.nodes {
		n.mu.Lock()
		d := n.disk
		p := n.process
		n.mu.Unlock()
		if p == nil {
			return n.address + " does not run"
		}
		d.mu.Lock()
		content := map[string]map[string][]byte{}
		for name, s := range d.stores {
			content[name] = s.content()
		}
		d.mu.Unlock()
		if first == nil {
			first, of = content, n.address
			continue
		}
		for name := range content {
			if !maps.EqualFunc(first[name], content[name], bytes.Equal) {
				return fmt.Sprintf("%s of %s and %s, with %d and %d keys", name, of, n.address, len(first[name]), len(content[name]))
			}
		}
	}
	return ""
}
