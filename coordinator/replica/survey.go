package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lag is how many log entries a healthy member may be behind the leader.
const Lag = 4096

// surveyWait limits the wait for the answer of a member.
const surveyWait = time.Second

// Surveyed is a member and its answer.
type Surveyed struct {
	Member
	// Follows is the address of the leader that it follows, or "".
	Follows string
	// Applied is the index of the last entry of the log that it has applied.
	Applied uint64
	// Aside is the path of its former directory whose files were damaged, or "".
	Aside string
	// Full means that its disk has little room.
	Full bool
	// Err is the reason why it did not answer.
	Err error
	// other is the identity of another member that answers at its address, or nil.
	other *identity
}

// Survey asks all members of the group, and returns them with the index of the last entry in the
// log of this member. It takes a second at most.
func (r *Replica) Survey(ctx context.Context) (out []Surveyed, last uint64, err error) {
	members, err := r.Members()
	if err != nil || len(members) == 0 {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	out = make([]Surveyed, len(members))
	var asked sync.WaitGroup
	for i, m := range members {
		asked.Go(func() {
			out[i] = Surveyed{Member: m}
			s, who := &out[i], r.identify()
			if m.ID != r.id {
				if who, s.Err = r.streams.ask(ctx, m.Address); s.Err == nil && who.ID != m.ID {
					s.other, s.Err = &who, errors.New(r.explainOther(m, &who))
					return
				}
			}
			s.Follows, s.Applied, s.Aside, s.Full = who.Leader, who.Applied, who.Aside, who.Full
		})
	}
	asked.Wait()
	slices.SortFunc(out, func(a, b Surveyed) int { return strings.Compare(a.Address, b.Address) })
	return out, r.raft.LastIndex(), nil
}

// explainOther returns the reason why the member at an address is not m, and its consequence.
func (r *Replica) explainOther(m Member, who *identity) string {
	lost := "its directory was lost"
	if who.Aside != "" {
		lost = "its files were damaged and are kept in " + who.Aside
	}
	if own := r.Cluster(); own != "" && who.Joins == own {
		return fmt.Sprintf("%s; the empty member %s at its address replaces it while a majority can be reached", lost, who.ID)
	}
	return fmt.Sprintf("%v, %s, with another directory; run layshaft coordinator members remove %s, and add %s", errOther, who.ID, m.ID, m.Address)
}

// LeaderHTTP returns the address of the leader's pages, or "" if it has none.
func (r *Replica) LeaderHTTP(ctx context.Context) (string, error) {
	leader := r.Leader()
	switch leader {
	case "":
		return "", ErrNotLeading
	case r.cfg.Address:
		return r.cfg.HTTP, nil
	}
	who, err := r.streams.ask(ctx, leader)
	return who.HTTP, err
}

// FindLeader asks the members and Config.Peers for the leader of the group, and returns its
// address, or "". It is for members without messages from the leader: removed members, and
// members that are not yet added. It takes a second at most.
func (r *Replica) FindLeader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	own := r.Cluster()
	candidates := slices.Concat(r.addresses(), r.cfg.Peers)
	slices.Sort(candidates)
	candidates = slices.DeleteFunc(slices.Compact(candidates), func(a string) bool { return a == r.cfg.Address })
	found := make(chan string, len(candidates))
	for _, a := range candidates {
		go func() {
			// Only the answer of the leader itself is certain.
			who, err := r.streams.ask(ctx, a)
			if err != nil || who.Leader != a || own != "" && who.Cluster != own {
				a = ""
			}
			found <- a
		}()
	}
	for range candidates {
		if a := <-found; a != "" {
			return a
		}
	}
	return ""
}

// Removed asks the other members for the leader if this member gets no messages from one. It
// returns the address of a leader that has removed this member from its group, or "".
func (r *Replica) Removed(ctx context.Context) string {
	members, err := r.Members()
	if err != nil || len(members) == 0 || r.Leader() != "" {
		return ""
	}
	leader := r.FindLeader(ctx)
	if leader == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	who, err := r.streams.ask(ctx, leader)
	if err != nil || len(who.Members) == 0 || slices.Contains(who.Members, r.id) {
		return ""
	}
	return leader
}

// Position is the place of a member in the log.
type Position struct{ Term, Applied uint64 }

// Position returns the place of this member in the log.
func (r *Replica) Position() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raft == nil {
		return Position{}
	}
	return Position{r.raft.CurrentTerm(), r.raft.AppliedIndex()}
}

// CheckPeers asks the other Config.Peers. It returns sentences about peers of other clusters. Peers
// out of reach are left out.
func (r *Replica) CheckPeers(ctx context.Context) (wrong []string) {
	own := r.Cluster()
	members, _ := r.Members()
	leads := slices.ContainsFunc(members, func(m Member) bool { return m.Leader && m.ID == r.id })
	for _, p := range r.cfg.Peers {
		who, err := r.streams.ask(ctx, p)
		switch {
		case p == r.cfg.Address && err == nil && who.ID != r.id:
			wrong = append(wrong, fmt.Sprintf("%s is to be the address of this coordinator, and another one answers there", p))
		case errors.Is(err, errNoMember):
			wrong = append(wrong, fmt.Sprintf("%s: %v", p, err))
		case err == nil && own != "" && who.Cluster != "" && who.Cluster != own:
			wrong = append(wrong, fmt.Sprintf("%s belongs to the cluster %s, and this coordinator to %s", p, who.Cluster, own))
		case err == nil && leads && who.Group && !slices.ContainsFunc(members, func(m Member) bool { return m.ID == who.ID }):
			wrong = append(wrong, fmt.Sprintf("%s is no member and has a former directory of the group: end it, or remove its directory and run layshaft coordinator members add %s", p, p))
		}
	}
	return wrong
}

// checkRemoval returns an error if no majority remains in reach without a member.
func checkRemoval(members []Surveyed, m Member) error {
	var rest, away []string
	for _, s := range members {
		if s.ID == m.ID || !s.Voter {
			continue
		}
		rest = append(rest, s.Address)
		if s.Err != nil {
			away = append(away, s.Address)
		}
	}
	switch needed := len(rest)/2 + 1; {
	case len(rest) == 0:
		return errors.New("no other coordinator has a vote")
	case len(rest)-len(away) < needed:
		return fmt.Errorf("the majority would be lost: of the others, %s, %d are needed, and %s cannot be reached; remove that one instead, or start it first",
			strings.Join(rest, " and "), needed, strings.Join(away, " and "))
	}
	return nil
}
