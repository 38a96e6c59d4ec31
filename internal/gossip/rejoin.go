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
	// rejoinEvery is the interval for contacting addresses outside the member list. memberlist
	// alone forgets a dead member after half a minute and never contacts it again.
	rejoinEvery = 15 * time.Second
	// aloneEvery is the interval while no other member is known. After aloneWarn without members, a
	// warning is logged.
	aloneEvery = 250 * time.Millisecond
	aloneWarn  = 3 * time.Second
	// maxJoins is the number of addresses contacted at the same time.
	maxJoins = 16
	// lostPerRound is the number of lost members contacted in one round. After a network cut, both
	// sides contact each other.
	lostPerRound = 8
	// maxLost limits the number of remembered lost members, and lostFor the time. Addresses of Join
	// are contacted without end.
	maxLost = 256
	lostFor = 24 * time.Hour
	// seedAsks is the expected number of members of a large cluster that contact an address of Join
	// in one round. In a small cluster all members do, so that a process restarted at this address
	// is found immediately.
	seedAsks = 32
)

// rejoin contacts seeds and lost members in the background. It returns the time until the next
// round.
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
		joins.TryGo(func() error { // without a free slot, the address waits for another round
			g.logFailure(ctx, t, g.join(ctx, list, t))
			return nil
		})
	}
	if living < 2 && len(g.cfg.Join) > 0 {
		return aloneEvery
	}
	return rejoinEvery
}

// join contacts one address. It may be a host name with several IP addresses.
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

// logFailure logs why no member could be joined, once for each reason.
func (g *Gossip) logFailure(ctx context.Context, target string, err error) {
	g.mu.Lock()
	alone := len(g.members) < 2
	g.mu.Unlock()
	if err == nil || ctx.Err() != nil || alone && g.reportWrongPort(ctx, target) {
		return
	}
	g.mu.Lock()
	isNew := len(g.members) < 2 && time.Since(g.begun) > aloneWarn && g.refused != err.Error()
	if isNew {
		g.refused = err.Error()
	}
	g.mu.Unlock()
	if isNew {
		g.cfg.Log.Warn("gossip: no member could be joined yet; is one running there, is this its gossip address (by default port 7946), and has it the same gossip key and label?", "address", target, "err", err)
	}
}
