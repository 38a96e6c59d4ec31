package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

// identify returns the identity of this member.
func (r *Replica) identify() identity {
	r.mu.Lock()
	run := r.raft
	r.mu.Unlock()
	who := identity{ID: r.id, HasState: r.cfg.HasState, HTTP: r.cfg.HTTP, Cluster: cmp.Or(r.Cluster(), r.cfg.Single), Aside: r.cfg.Aside, Full: r.isFull(roomToLead), Group: r.hasState}
	if found := r.joins.Load(); found != nil {
		who.Joins = *found
	}
	if run != nil {
		servers := run.GetConfiguration().Configuration().Servers
		who.Group = who.Group || len(servers) > 0
		who.Leader, who.Applied = r.Leader(), run.AppliedIndex()
		if run.State() == raft.Leader {
			for _, s := range servers {
				who.Members = append(who.Members, string(s.ID))
			}
		}
	}
	return who
}

// roomToLead is how many bytes above the reserve a member must have to be made the leader.
const roomToLead = 16 << 20

// isFull reports whether n more bytes would use the reserve of the disk.
func (r *Replica) isFull(n int64) bool { return errors.Is(r.d.db[Jobs].Check(n), state.ErrDiskFull) }

// formEvery is the pause between two tries to reach all peers.
const formEvery = 200 * time.Millisecond

// form waits until the group can begin. It returns the first configuration if this member begins
// the group. It returns nil if another member begins it, or if the peers have a group already.
func (r *Replica) form(ctx context.Context) (*raft.Configuration, error) {
	logged, last := time.Time{}, ""
	for {
		first, waiting, err := r.tryForm(ctx)
		if err != nil || waiting == "" {
			return first, err
		}
		if time.Since(logged) >= time.Minute || waiting != last {
			logged, last = time.Now(), waiting
			r.log.Info("waiting for the other coordinators of -peers", "peers", r.cfg.Peers, "missing", waiting)
		}
		select {
		case <-time.After(formEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// learnCluster asks the peers for the name of their cluster until this member has it. A peer may
// lack it just after its start.
func (r *Replica) learnCluster(ctx context.Context) {
	tick := time.NewTicker(surveyWait)
	defer tick.Stop()
	for r.Cluster() == "" {
		for _, p := range r.cfg.Peers {
			if who, err := r.streams.ask(ctx, p); err == nil && p != r.cfg.Address && who.Group && who.Cluster != "" {
				r.joins.Store(&who.Cluster)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tryForm asks all peers once. waiting names peers that do not answer.
func (r *Replica) tryForm(ctx context.Context) (first *raft.Configuration, waiting string, err error) {
	own := r.identify()
	who := map[string]identity{r.cfg.Address: own}
	var missing []string
	for _, p := range r.cfg.Peers {
		other, err := r.streams.ask(ctx, p)
		if p == r.cfg.Address {
			if err == nil && other.ID != r.id {
				return nil, "", fmt.Errorf("replica: %w: %s of -peers is to be the address of this coordinator, and another one answers there; correct -peers, -listen or -advertise", ErrPeers, p)
			}
			continue // it may be unable to reach itself
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", p, err))
			continue
		}
		if own.Cluster != "" && other.Cluster != "" && own.Cluster != other.Cluster {
			return nil, "", fmt.Errorf("replica: %w: %s of -peers belongs to the cluster %s, and this directory has the state of %s; correct -peers, or give one of them an empty directory", ErrPeers, p, other.Cluster, own.Cluster)
		}
		if other.Group {
			r.log.Info("the other coordinators have a group, and this one is not in it", "address", r.cfg.Address, "id", r.id, "peer", p, "cluster", other.Cluster,
				"next", "if a member was at this address, the leader replaces it; for a new address, run layshaft coordinator members add "+r.cfg.Address)
			r.joins.Store(&other.Cluster)
			return nil, "", nil
		}
		if other.Aside != "" {
			missing = append(missing, fmt.Sprintf("%s (its files were damaged, and it waits for its group)", p))
		}
		who[p] = other
	}
	if r.cfg.Aside != "" {
		missing = append(missing, "the group of this coordinator, whose files were damaged; if all coordinators of the group are lost, use "+r.cfg.Aside+" with layshaft coordinator recover")
	}
	if len(missing) > 0 {
		return nil, strings.Join(missing, ", "), nil
	}
	begins := slices.Min(r.cfg.Peers)
	for _, p := range r.cfg.Peers {
		if who[p].HasState && p != begins {
			if who[begins].HasState {
				return nil, "", fmt.Errorf("replica: %s and %s both have the state of a coordinator, and a group begins with one; give one of them an empty directory", begins, p)
			}
			begins = p
		}
	}
	if begins != r.cfg.Address {
		return nil, "", nil
	}
	c := &raft.Configuration{}
	for _, p := range r.cfg.Peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(who[p].ID), Address: joinAddress(who[p].ID, p)})
	}
	return c, "", nil
}
