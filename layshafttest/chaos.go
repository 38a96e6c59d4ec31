package layshafttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Trouble is a kind of thing that goes wrong under Chaos.
type Trouble int

const (
	KillWorkers      Trouble = iota // a worker is killed, and started again later
	KillCoordinator                 // the coordinator is killed, and started again later
	RestartProcesses                // a worker is drained or stopped, or the coordinator stopped, and started again
	SilenceWorkers                  // a worker falls silent, and returns
	CutLinks                        // two places are cut off from each other, in one direction or both
	CutGossip                       // the gossip of a place is cut off
	SlowLinks                       // data is late: a little always, much now and then
	Repeat                          // what workers and coordinator say to each other is said twice; gossip is lost, late, out of order and doubled
)

var everything = [...]Trouble{KillWorkers, KillCoordinator, RestartProcesses, SilenceWorkers, CutLinks, CutGossip, SlowLinks, Repeat}

// chaosFor is how long chaos lasts unless Calm ends it: every job must be able to end.
const chaosFor = 3 * time.Minute

// maxOutage is how long the coordinator may be away: clients that begin wait 10 s for it.
const maxOutage = 7 * time.Second

// Chaos has things go wrong from the time at which all workers have joined, for three minutes of fake time or until Calm: of the given kinds, or of all when none
// is given. What happens when is drawn from seed; how goroutines interleave is not, so that a seed brings most failures back, and not all.
func Chaos(seed uint64, troubles ...Trouble) Option {
	if len(troubles) == 0 {
		troubles = everything[:]
	}
	return func(o *options) {
		o.chaos = &chaos{plan: rand.New(rand.NewPCG(seed, 0)), links: rand.New(rand.NewPCG(seed, 1)), troubles: troubles, busy: map[string]bool{}}
	}
}

// chaos makes trouble.
type chaos struct {
	c        *Cluster
	troubles []Trouble
	plan     *rand.Rand // used by run alone
	cancel   context.CancelFunc
	group    sync.WaitGroup

	// mu guards the fields below.
	mu    sync.Mutex
	busy  map[string]bool // places with which something is wrong now
	links *rand.Rand
}

func (x *chaos) has(t Trouble) bool { return x != nil && slices.Contains(x.troubles, t) }

// start begins the trouble.
func (x *chaos) start(c *Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), chaosFor)
	x.c, x.cancel = c, cancel
	x.group.Go(func() { x.run(ctx) })
}

// Calm ends the chaos and blocks until all that was killed runs again and all links are whole. Without chaos it does nothing.
func (c *Cluster) Calm() {
	x := c.opt.chaos
	if x == nil || x.cancel == nil {
		return
	}
	x.cancel()
	x.group.Wait()
}

// run makes one kind of trouble after the other.
func (x *chaos) run(ctx context.Context) {
	kinds := slices.DeleteFunc(slices.Clone(x.troubles), func(t Trouble) bool { return t == SlowLinks || t == Repeat })
	for len(kinds) > 0 && sleep(ctx, time.Duration(x.plan.ExpFloat64()*float64(2500*time.Millisecond))) {
		x.make(ctx, kinds[x.plan.IntN(len(kinds))])
	}
}

// sleep waits, and says whether ctx goes on.
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

// make has one thing go wrong, and undoes it later. All that is drawn is drawn first.
func (x *chaos) make(ctx context.Context, kind Trouble) {
	w, other := x.c.workers[x.plan.IntN(len(x.c.workers))], x.plan.IntN(len(x.c.workers)+2)
	lasts, way, gently := 50*time.Millisecond+time.Duration(x.plan.ExpFloat64()*float64(4*time.Second)), x.plan.IntN(3), x.plan.IntN(3)
	if lasts = min(lasts, 40*time.Second); kind == KillCoordinator || kind == CutLinks {
		lasts = min(lasts, maxOutage)
	}
	var place Place = w
	var begin, end func()
	switch kind {
	case KillWorkers:
		begin, end = w.Kill, w.Restart
	case KillCoordinator:
		place, begin, end = x.c.coord, x.c.coord.Kill, x.c.coord.Restart
	case RestartProcesses:
		begin, end = func() {}, w.Restart
		switch gently {
		case 0:
			place, end = x.c.coord, x.c.coord.Restart
		case 1:
			end = func() { w.Drain(); w.Restart() }
		}
	case SilenceWorkers:
		begin, end = w.Silence, w.Resume
	case CutGossip:
		begin, end = func() { x.c.CutGossip(w) }, func() { x.c.sever(false, x.c.gossipLinks(w)...) }
	case CutLinks:
		to := Place(x.c.coord)
		if other < len(x.c.workers) {
			to = x.c.workers[other]
		} else if other > len(x.c.workers) {
			to = x.c.Client()
		}
		links := []link{{from: w.place(), to: to.place()}, {from: to.place(), to: w.place()}}
		if way > 0 {
			links = links[way-1 : way]
		}
		begin, end = func() { x.c.sever(true, links...) }, func() { x.c.sever(false, links...) }
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

// String names the trouble.
func (t Trouble) String() string {
	names := []string{"kill worker", "kill coordinator", "restart", "silence worker", "cut link", "cut gossip", "slow links", "repeat"}
	if t < 0 || int(t) >= len(names) {
		return fmt.Sprintf("trouble %d", int(t))
	}
	return names[t]
}

// delay says how long a piece of data takes.
func (x *chaos) delay() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.links.IntN(200) == 0 {
		return time.Duration(x.links.IntN(int(time.Second)))
	}
	return time.Duration(x.links.IntN(int(2 * time.Millisecond)))
}

// repeats says whether a message is said twice.
func (x *chaos) repeats() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.links.IntN(10) == 0
}

// packet says when a packet of gossip arrives, which may be several times or never.
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
