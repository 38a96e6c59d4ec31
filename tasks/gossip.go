package tasks

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/security"
)

// Gossip makes a Worker a member of the cluster, as its layshaft workers are: it finds the coordinator from the address of any member, also when that moves, and
// when it ends, all members hear at once that it has left; of one that was killed they notice within half a minute. The coordinator takes a worker's
// tasks back by its connection and its lease, with gossip or without. The zero value means no gossip.
type Gossip struct {
	// Join are gossip addresses of members, HOST:PORT; the coordinator's port is 7946 unless it was told another. Any one is enough. Cluster.Address is
	// not used then.
	Join []string
	// Listen is the address for gossip, UDP and TCP, HOST:PORT. Empty means any free port of 127.0.0.1, which only members on this machine reach.
	Listen string
	// Advertise is the address at which others reach Listen, HOST or HOST:PORT. Empty means Listen, and a private address of the machine when that is 0.0.0.0.
	Advertise string
	// Key is the cluster's -gossip-key: 32 bytes in hex or base64. Listen on another address than loopback needs one, or Insecure.
	Key string
	// Label is that of the cluster. Empty means "layshaft".
	Label string
	// Insecure lets gossip without a key listen where others can reach it.
	Insecure bool
}

// roleTasks is the role of members that run tasks only.
const roleTasks = "task-worker"

// member returns the gossip of a worker, and the cluster with a way to its coordinator; nil when there is no gossip.
func (g *Gossip) member(name string, c Cluster) (*gossip.Gossip, Cluster, error) {
	if len(g.Join) == 0 {
		return nil, c, nil
	}
	cfg := gossip.Config{Self: gossip.Member{Name: name, Role: roleTasks, Platform: runtime.GOOS + "/" + runtime.GOARCH}, Listen: g.Listen, Advertise: g.Advertise,
		Join: g.Join, Label: g.Label, Log: c.Log}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	for _, address := range g.Join {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, c, fmt.Errorf("%w: Gossip.Join %q must be HOST:PORT, such as 127.0.0.1:7946", ErrInvalid, address)
		}
	}
	var err error
	if g.Key != "" {
		if cfg.Key, err = gossip.ParseKey(g.Key); err != nil {
			return nil, c, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if err := security.CheckListen("gossip", cfg.Listen, cfg.Key != nil, g.Insecure, "the cluster's -gossip-key", c.Log); err != nil {
		return nil, c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	find := gossip.NewFinder(string(security.Coordinator))
	cfg.Changed = find.Update
	dial := c.Dial
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	c.Address, c.Dial = "found by gossip", func(ctx context.Context, _ string) (net.Conn, error) {
		address, err := find.Address(ctx)
		if err != nil {
			return nil, err
		}
		return dial(ctx, address)
	}
	m, err := gossip.New(cfg)
	if err != nil {
		return nil, c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return m, c, nil
}
