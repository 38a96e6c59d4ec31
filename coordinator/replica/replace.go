package replica

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// A member whose directory was lost or damaged starts with an empty one, and with a new ID: it has
// forgotten for whom it has voted and what it has confirmed. No process can vote under the former
// ID, since connections name the ID that they are for. The leader replaces the former member by the
// new one:
//
//  1. It adds the new one as a member that does not count for majorities.
//  2. When the new one has everything, the leader removes the former one.
//  3. It makes the new one count.
//
// Each step needs a majority of the other members. The next leader continues where this one ended.

// Maintain replaces members with lost directories, until the tenure or ctx ends. It also lets
// members count that were added and have caught up. When the disk of this member is full, it hands
// over to a member with room.
func (t *Tenure) Maintain(ctx context.Context) error {
	tick := time.NewTicker(surveyWait)
	defer tick.Stop()
	before := uint64(math.MaxUint64) // the last entry at the last look
	for logged := ""; ; {
		last, err := t.maintain(ctx, before)
		before = last
		if err != nil && ctx.Err() == nil && err.Error() != logged {
			logged = err.Error()
			t.r.log.Warn("the group cannot be repaired yet", "err", err)
		}
		select {
		case <-tick.C:
		case <-t.lost:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// maintain looks once at all members. It returns the index of the last entry.
func (t *Tenure) maintain(ctx context.Context, before uint64) (last uint64, err error) {
	all, last, err := t.r.Survey(ctx)
	if err != nil {
		return before, err
	}
	if t.r.isFull(0) {
		if to := slices.IndexFunc(all, func(s Surveyed) bool {
			return s.Voter && s.ID != t.r.id && s.Err == nil && !s.Full && last <= s.Applied+Lag/4
		}); to >= 0 {
			t.r.log.Warn("the disk is full; another coordinator takes over", "to", all[to].Address)
			return last, t.Transfer(all[to].ID)
		}
	}
	for _, s := range all {
		switch {
		case s.Voter && s.other != nil:
			err = t.addSuccessor(all, s)
		case !s.Voter && s.other != nil && slices.ContainsFunc(all, func(m Surveyed) bool { return m.ID == s.other.ID }):
			err = t.remove(s.Member) // the former member is back
		case !s.Voter && s.Err == nil && s.Applied >= before && last <= s.Applied+Lag/4:
			err = t.promote(all, s.Member)
		}
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// addSuccessor adds the member that answers at the address of a lost one.
func (t *Tenure) addSuccessor(all []Surveyed, lost Surveyed) error {
	who := lost.other
	own := t.r.Cluster()
	switch {
	case who.HasState || who.Group || own == "" || who.Joins != own:
		return nil // it is there for another reason, or was added
	case slices.ContainsFunc(all, func(m Surveyed) bool { return m.ID == who.ID }):
		return nil
	}
	if err := checkRemoval(all, lost.Member); err != nil {
		return fmt.Errorf("replace member %s at %s: %w", lost.ID, lost.Address, err)
	}
	t.r.log.Warn("a coordinator came back with an empty directory; it gets the state of the others", "address", lost.Address, "former", lost.ID, "id", who.ID, "kept", who.Aside)
	if err := t.addNonvoter(raft.ServerID(who.ID), joinAddress(who.ID, lost.Address)); err != nil {
		return fmt.Errorf("replace member %s at %s: %w", lost.ID, lost.Address, err)
	}
	return nil
}

// promote makes a member count that has caught up. It removes the former member at its address.
func (t *Tenure) promote(all []Surveyed, m Member) error {
	for _, former := range all {
		if former.Address != m.Address || former.ID == m.ID {
			continue
		}
		if err := checkRemoval(all, former.Member); err != nil {
			return fmt.Errorf("replace member %s at %s: %w", former.ID, former.Address, err)
		}
		if err := t.remove(former.Member); err != nil {
			return err
		}
	}
	if err := t.addVoter(raft.ServerID(m.ID), joinAddress(m.ID, m.Address)); err != nil {
		return fmt.Errorf("member %s at %s: %w", m.ID, m.Address, err)
	}
	t.r.log.Info("a coordinator has caught up and counts", "address", m.Address, "id", m.ID)
	return nil
}

func (t *Tenure) remove(m Member) error {
	if err := t.removeServer(raft.ServerID(m.ID)); err != nil {
		return fmt.Errorf("remove member %s at %s: %w", m.ID, m.Address, err)
	}
	return nil
}
