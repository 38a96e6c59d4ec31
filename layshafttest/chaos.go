package layshafttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Trouble is a kind of fault that Chaos causes.
type Trouble int

const (
	// KillWorkers kills a worker and starts it again later.
	KillWorkers Trouble = iota
	// KillCoordinator kills a coordinator and starts it again later.
	KillCoordinator
	// RestartProcesses drains or stops a worker, or stops a coordinator, and starts it again.
	RestartProcesses
	// SilenceWorkers isolates a worker for a while.
	SilenceWorkers
	// CutLinks cuts the connections between two places, in one direction or both. With several
	// coordinators, both may be coordinators.
	CutLinks
	// CutGossip cuts the gossip of a place.
	CutGossip
	// SlowLinks delays data: always a little, sometimes for long.
	SlowLinks
	// Repeat duplicates messages between workers and coordinator. Gossip packets are lost,
	// delayed, reordered and duplicated.
	Repeat
)

var everything = [...]Trouble{KillWorkers, KillCoordinator, RestartProcesses, SilenceWorkers, CutLinks, CutGossip, SlowLinks, Repeat}

// chaosFor is the duration of chaos without Calm. It is limited, because every job must be able
// to end.
const chaosFor = 3 * time.Minute

// maxOutage is the longest outage of the coordinator: a new client waits 10 s for it.
const maxOutage = 7 * time.Second

// Chaos causes faults from the time all workers have joined, for three minutes of fake time or
// until Calm. Without arguments it causes all kinds. The times are drawn from seed. The
// interleaving of goroutines is not, so a seed reproduces most failures, but not all.
func Chaos(seed uint64, troubles ...Trouble) Option {
	if len(troubles) == 0 {
		troubles = everything[:]
	}
	return func(o *options) {
		o.chaos = &chaos{plan: rand.New(rand.NewPCG(seed, 0)), links: rand.New(rand.NewPCG(seed, 1)), troubles: troubles, busy: map[string]bool{}}
	}
}

// chaos causes faults.
type chaos struct {
	c        *Cluster
	troubles []Trouble
	plan     *rand.Rand // only run uses it
	cancel   context.CancelFunc
	group    sync.WaitGroup

	// mu guards the fields below.
	mu    sync.Mutex
	busy  map[string]bool // places with a current fault
	links *rand.Rand
}

func (x *chaos) has(t Trouble) bool { return x != nil && slices.Contains(x.troubles, t) }

// start begins the faults.
func (x *chaos) start(c *Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), chaosFor)
	x.c, x.cancel = c, cancel
	x.group.Go(func() { x.run(ctx) })
}

// Calm ends the chaos and blocks until all killed processes run again and all links work. Without
// chaos it does nothing.
func (c *Cluster) Calm() {
	x := c.opt.chaos
	if x == nil || x.cancel == nil {
		return
	}
	x.cancel()
	x.group.Wait()
}

// run causes faults one after the other.
func (x *chaos) run(ctx context.Context) {
	kinds := slices.DeleteFunc(slices.Clone(x.troubles), func(t Trouble) bool { return t == SlowLinks || t == Repeat })
	for len(kinds) > 0 && sleep(ctx, time.Duration(x.plan.ExpFloat64()*float64(2500*time.Millisecond))) {
		x.causeTrouble(ctx, kinds[x.plan.IntN(len(kinds))])
	}
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// causeTrouble causes one fault and ends it later. All random draws happen first.
func (x *chaos) causeTrouble(ctx context.Context, kind Trouble) {
	w, other := x.c.workers[x.plan.IntN(len(x.c.workers))], x.plan.IntN(len(x.c.workers)+2)
	lasts, way, gently := 50*time.Millisecond+time.Duration(x.plan.ExpFloat64()*float64(4*time.Second)), x.plan.IntN(3), x.plan.IntN(3)
	coordinator, peer := x.c.coords[0], (*Coordinator)(nil)
	if n := len(x.c.coords); n > 1 {
		i, k := x.plan.IntN(n), x.plan.IntN(2*n)
		if coordinator = x.c.coords[i]; k < n && k != i {
			peer = x.c.coords[k]
		}
	}
	if lasts = min(lasts, 40*time.Second); kind == KillCoordinator || kind == CutLinks {
		lasts = min(lasts, maxOutage)
	}
	var place Place = w
	var begin, end func()
	switch kind {
	case KillWorkers:
		begin, end = w.Kill, w.Restart
	case KillCoordinator:
		place, begin, end = coordinator, coordinator.Kill, coordinator.Restart
	case RestartProcesses:
		begin, end = func() {}, w.Restart
		switch gently {
		case 0:
			place, end = coordinator, coordinator.Restart
		case 1:
			end = func() { w.Drain(); w.Restart() }
		}
	case SilenceWorkers:
		begin, end = w.Silence, w.Resume
	case CutGossip:
		begin, end = func() { x.c.CutGossip(w) }, func() { x.c.setCut(false, x.c.gossipLinks(w)...) }
	case CutLinks:
		to := Place(coordinator)
		if peer != nil {
			place = peer
		} else if other < len(x.c.workers) {
			to = x.c.workers[other]
		} else if other > len(x.c.workers) {
			to = x.c.Client()
		}
		links := []link{{from: place.place(), to: to.place()}, {from: to.place(), to: place.place()}}
		if way > 0 {
			links = links[way-1 : way]
		}
		begin, end = func() { x.c.setCut(true, links...) }, func() { x.c.setCut(false, links...) }
	default:
		return
	}
	x.mu.Lock()
	was := x.busy[place.place()]
	x.busy[place.place()] = true
	x.mu.Unlock()
	if was {
		return
	}
	x.c.log.Info("chaos", "trouble", kind, "place", place.place(), "lasts", lasts)
	begin()
	x.group.Go(func() {
		sleep(ctx, lasts)
		end()
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.busy, place.place())
	})
}

// String returns the name of the trouble.
func (t Trouble) String() string {
	names := []string{"kill worker", "kill coordinator", "restart", "silence worker", "cut link", "cut gossip", "slow links", "repeat"}
	if t < 0 || int(t) >= len(names) {
		return fmt.Sprintf("trouble %d", int(t))
	}
	return names[t]
}

// delay returns the delay of a piece of data.
func (x *chaos) delay() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.links.IntN(200) == 0 {
		return time.Duration(x.links.IntN(int(time.Second)))
	}
	return time.Duration(x.links.IntN(int(2 * time.Millisecond)))
}

// repeats reports whether to duplicate a message.
func (x *chaos) repeats() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.links.IntN(10) == 0
}

// packet returns the arrival delays of a gossip packet: none, one or several.
func (x *chaos) packet() []time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	late := time.Duration(x.links.IntN(int(3 * time.Second)))
	switch x.links.IntN(20) {
	case 0:
		return nil
	case 1, 2:
		return []time.Duration{0, late}
	case 3, 4:
		return []time.Duration{late}
	}
	return []time.Duration{0}
}
