package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

const (
	// rejoinEvery is how often addresses outside the list are asked. memberlist alone forgets a dead member after half a
	// minute and then never finds it again.
	rejoinEvery = 15 * time.Second
	// aloneEvery is the same while nobody else is known. After aloneWarn that is worth a warning.
	aloneEvery = 250 * time.Millisecond
	aloneWarn  = 3 * time.Second
	// maxJoins is how many addresses are asked at the same time.
	maxJoins = 16
	// lostPerRound is how many lost members are asked in one round: with a cut through the cluster, both sides ask.
	lostPerRound = 8
	// maxLost is how many lost members are remembered, lostFor how long. Those in Join are asked for ever.
	maxLost = 256
	lostFor = 24 * time.Hour
	// seedAsks is how many members of a large cluster ask each address of Join in one round. All of a small one do, so
	// that a process that was started again at such an address is found at once.
	seedAsks = 32
)

// rejoin asks seeds and lost members for their lists, in the background, and returns when to do it again.
func (g *Gossip) rejoin(ctx context.Context, list *memberlist.Memberlist, joins *errgroup.Group) time.Duration {
	var targets []string
	g.mu.Lock()
	living := len(g.members)
	for addr, since := range g.lost { // in random order
		if time.Since(since) > lostFor {
			delete(g.lost, addr)
		} else if len(targets) < lostPerRound {
			targets = append(targets, addr)
		}
	}
	g.mu.Unlock()
	for _, seed := range g.cfg.Join {
		if rand.IntN(max(living, 1)) < seedAsks {
			targets = append(targets, seed)
		}
	}
	for _, t := range targets {
		joins.TryGo(func() error { // one that finds no room is asked in another round
			g.note(t, g.join(ctx, list, t))
			return nil
		})
	}
	if living < 2 && len(g.cfg.Join) > 0 {
		return aloneEvery
	}
	return rejoinEvery
}

// join asks one address, which may be the name of several.
func (g *Gossip) join(ctx context.Context, list *memberlist.Memberlist, target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return err
	}
	var others []string
	for _, h := range hosts {
		if addr := net.JoinHostPort(h, port); addr != list.LocalNode().Address() && ctx.Err() == nil {
			others = append(others, addr)
		}
	}
	if len(others) > 0 {
		_, err = list.Join(others)
	}
	return err
}

// note logs why nobody could be joined, once for each reason.
func (g *Gossip) note(target string, err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	news := len(g.members) < 2 && time.Since(g.begun) > aloneWarn && g.refused != err.Error()
	if news {
		g.refused = err.Error()
	}
	g.mu.Unlock()
	if news {
		g.cfg.Log.Warn("gossip: nobody could be joined yet; is it running there, with the same gossip key and label?", "address", target, "err", err)
	}
}
