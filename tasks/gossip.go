package tasks

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/security"
)

// Gossip makes a Worker a member of the cluster, like layshaft workers. The worker finds the
// coordinator through the address of any member, even after the coordinator has moved. When the
// worker leaves, all members learn of it at once; when it is killed, within half a minute. Gossip
// does not affect tasks: the coordinator detects a lost worker by its connection and its lease. The
// zero value means no gossip.
type Gossip struct {
	// Join lists gossip addresses of members, HOST:PORT. One is enough. The coordinator's default
	// gossip port is 7946. If Join is set, Cluster.Address is not used.
	Join []string
	// Listen is the gossip address, UDP and TCP, HOST:PORT. Empty means a free port of 127.0.0.1,
	// which only members on this machine can reach.
	Listen string
	// Advertise is the address at which others reach Listen, HOST or HOST:PORT. Empty means Listen,
	// or a private address of the machine if Listen is 0.0.0.0.
	Advertise string
	// Key is the cluster's -gossip-key: 32 bytes in hex or base64. Without a key, Listen must be a
	// loopback address, unless Insecure is set.
	Key string
	// Label is the cluster's label. Empty means "layshaft".
	Label string
	// Insecure allows gossip without a key on an address that others can reach.
	Insecure bool
}

// roleTasks is the gossip role of task workers.
const roleTasks = "task-worker"

// member returns the gossip member of a worker, and the cluster with a Dial that finds the
// coordinator through it. Without gossip the member is nil.
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
		dial = addresses.TCP
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
