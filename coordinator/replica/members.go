package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one coordinator of the group.
type Member struct {
	ID      string
	Address string
	Leader  bool
	// Voter means that the member counts for majorities.
	Voter bool
}

// changeWait limits a change of the members.
const changeWait = 30 * time.Second

// addNonvoter adds a member that does not count for majorities.
func (t *Tenure) addNonvoter(id raft.ServerID, at raft.ServerAddress) error {
	return t.r.ask(func() error { return t.r.raft.AddNonvoter(id, at, 0, changeWait).Error() })
}

// addVoter makes a member count.
func (t *Tenure) addVoter(id raft.ServerID, at raft.ServerAddress) error {
	return t.r.ask(func() error { return t.r.raft.AddVoter(id, at, 0, changeWait).Error() })
}

// removeServer removes a member.
func (t *Tenure) removeServer(id raft.ServerID) error {
	return t.r.ask(func() error { return t.r.raft.RemoveServer(id, 0, changeWait).Error() })
}

// Members returns the members of the group as this member knows them.
func (r *Replica) Members() ([]Member, error) {
	r.mu.Lock()
	run := r.raft
	r.mu.Unlock()
	if run == nil {
		return nil, nil
	}
	f := run.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	_, leader := run.LeaderWithID()
	var out []Member
	for _, s := range f.Configuration().Servers {
		_, address := splitAddress(s.Address)
		out = append(out, Member{ID: string(s.ID), Address: address, Leader: s.ID == leader, Voter: s.Suffrage == raft.Voter})
	}
	return out, nil
}

// Stats returns the figures of raft, by name.
func (r *Replica) Stats() map[string]uint64 {
	r.mu.Lock()
	run := r.raft
	r.mu.Unlock()
	out := map[string]uint64{}
	if run != nil {
		for k, v := range run.Stats() {
			if n, err := strconv.ParseUint(v, 10, 64); err == nil {
				out[k] = n
			}
		}
	}
	return out
}

// Add makes the coordinator at an address a member. It must run, with an empty directory and any
// -peers. Add blocks until a majority of the members, with the new one, knows it.
func (t *Tenure) Add(ctx context.Context, address string) (Member, error) {
	who, err := t.r.streams.ask(ctx, address)
	if err != nil {
		return Member{}, fmt.Errorf("add member %s: it does not answer: %v; start it first, with -peers %s", address, err, strings.Join(append(t.r.addresses(), address), ","))
	}
	members, err := t.r.Members()
	if err != nil {
		return Member{}, err
	}
	for _, m := range members {
		switch {
		case m.ID == who.ID && m.Voter:
			return m, nil
		case m.ID == who.ID:
		case m.Address == address:
			return Member{}, fmt.Errorf("add member %s: the member %s was at this address and is another one; run layshaft coordinator members remove %s first", address, m.ID, m.ID)
		}
	}
	known := slices.ContainsFunc(members, func(m Member) bool { return m.ID == who.ID })
	if who.Group && !known {
		return Member{}, fmt.Errorf("add member %s: it belongs to another group, of the cluster %s; give it an empty directory", address, cmp.Or(who.Cluster, "without a name yet"))
	}
	if who.HasState {
		return Member{}, fmt.Errorf("add member %s: its directory has the state of another coordinator; give it an empty directory", address)
	}
	server, at := raft.ServerID(who.ID), joinAddress(who.ID, address)
	// It does not count for majorities until it has caught up: the others would wait for it.
	if err := t.addNonvoter(server, at); err != nil {
		return Member{}, fmt.Errorf("add member %s: %w: %w", address, ErrNotLeading, err)
	}
	if err := t.awaitCurrent(ctx, address); err != nil {
		return Member{}, err
	}
	if err := t.addVoter(server, at); err != nil {
		return Member{}, fmt.Errorf("add member %s: %w: %w", address, ErrNotLeading, err)
	}
	return Member{ID: who.ID, Address: address, Voter: true}, nil
}

// awaitCurrent waits until the member at an address has all entries as of now, and nearly all that
// were added meanwhile.
func (t *Tenure) awaitCurrent(ctx context.Context, address string) error {
	now := t.r.raft.LastIndex()
	for {
		who, err := t.r.streams.ask(ctx, address)
		if err == nil && who.Applied >= now && t.r.raft.LastIndex() <= who.Applied+Lag/4 {
			return nil
		}
		select {
		case <-time.After(formEvery):
		case <-t.lost:
			return fmt.Errorf("add member %s: %w", address, ErrNotLeading)
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("it has %d of %d log entries", who.Applied, t.r.raft.LastIndex())
			}
			return fmt.Errorf("add member %s: it is a member that does not count for majorities yet, as it has not caught up: %w; repeat the command: %w", address, err, context.Cause(ctx))
		}
	}
}

// addresses returns the addresses of the members.
func (r *Replica) addresses() (out []string) {
	members, _ := r.Members()
	for _, m := range members {
		out = append(out, m.Address)
	}
	return out
}

// find returns the member with an ID or address.
func (t *Tenure) find(name string) (Member, error) {
	members, err := t.r.Members()
	if err != nil {
		return Member{}, err
	}
	var names []string
	for _, m := range members {
		if m.ID == name || m.Address == name {
			return m, nil
		}
		names = append(names, m.ID+" at "+m.Address)
	}
	return Member{}, fmt.Errorf("there is no member %s; there are %s", name, strings.Join(names, ", "))
}

// Remove removes a member, by ID or address. It refuses to remove the last member, and to leave
// members of which no majority can be reached.
func (t *Tenure) Remove(ctx context.Context, name string) (Member, error) {
	m, err := t.find(name)
	if err != nil {
		return m, fmt.Errorf("remove member: %w", err)
	}
	members, _, err := t.r.Survey(ctx)
	if err == nil {
		err = checkRemoval(members, m)
	}
	if err != nil {
		return m, fmt.Errorf("remove member %s: %w", m.ID, err)
	}
	if err := t.removeServer(raft.ServerID(m.ID)); err != nil {
		return m, fmt.Errorf("remove member %s: %w: %w", m.ID, ErrNotLeading, err)
	}
	return m, nil
}

// Transfer makes the member with an ID or address lead. With "" it takes the member that has
// applied the most. A member that does not answer is refused. Transfer blocks until the other
// member has taken over. The error wraps ErrNotLeading if the tenure has ended or is about to end.
func (t *Tenure) Transfer(name string) error {
	if t.r.raft.State() != raft.Leader {
		return fmt.Errorf("transfer: %w", ErrNotLeading)
	}
	to := ""
	if name != "" {
		m, err := t.find(name)
		if err != nil {
			return fmt.Errorf("transfer: %w", err)
		}
		if m.Leader {
			return nil
		}
		to = m.ID
	}
	// The library must not be asked twice for a member that does not take over in time: the second
	// try within a tenure never ends, and refuses all entries from then on (hashicorp/raft issue
	// 696). So members that are away are not asked, and silent ones not again.
	members, _, err := t.r.Survey(context.Background())
	if err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	t.transfer.Lock()
	defer t.transfer.Unlock()
	m, err := successor(members, to, t.silent)
	if err != nil {
		if to == "" && len(members) > 1 {
			// A leader that is cut off from all others soon leads no longer.
			select {
			case <-t.lost:
				return fmt.Errorf("transfer: %w: %w", ErrNotLeading, err)
			case <-time.After(2 * t.r.cfg.Timeout):
			}
		}
		return fmt.Errorf("transfer: %w", err)
	}
	err = t.r.ask(func() error {
		return t.r.raft.LeadershipTransferToServer(raft.ServerID(m.ID), joinAddress(m.ID, m.Address)).Error()
	})
	for _, gone := range []error{raft.ErrRaftShutdown, raft.ErrNotLeader, raft.ErrLeadershipLost, raft.ErrLeadershipTransferInProgress} {
		if errors.Is(err, gone) {
			return fmt.Errorf("transfer: %w: %w", ErrNotLeading, err)
		}
	}
	if err != nil {
		t.silent[m.ID] = true
		return fmt.Errorf("transfer: %w", err)
	}
	return nil
}

// successor returns the member that can lead next: the one with an ID, or with "" the one that has
// applied the most. Members of silent cannot.
func successor(members []Surveyed, id string, silent map[string]bool) (Member, error) {
	var best *Surveyed
	for i := range members {
		switch s := &members[i]; {
		case s.Leader || id != "" && s.ID != id:
		case id != "" && s.Err != nil:
			return Member{}, fmt.Errorf("%s cannot be reached: %w", s.Address, s.Err)
		case id != "" && !s.Voter:
			return Member{}, fmt.Errorf("%s does not count for majorities yet; repeat layshaft coordinator members add %s", s.Address, s.Address)
		case id != "" && silent[id]:
			return Member{}, fmt.Errorf("%s did not take over at the last transfer; transfer to another coordinator, or restart the leader", s.Address)
		case s.Err == nil && s.Voter && !silent[s.ID] && (best == nil || s.Applied > best.Applied):
			best = s
		}
	}
	if best == nil {
		return Member{}, errors.New("no other coordinator can be reached")
	}
	return best.Member, nil
}
