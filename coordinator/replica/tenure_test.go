package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A member leads, loses the lead, and leads again. What its former tenure still proposes has no
// effect on any member: the new tenure has begun with a state without it.
func TestBatchOfFormerTenure(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	first, former := g.leader()
	set(t, former, "key", "1")
	other := g.members[0]
	if other == first {
		other = g.members[1]
	}
	if err := former.Transfer(other.ID()); err != nil {
		t.Fatal(err)
	}
	between, err := other.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set(t, between, "key", "2")
	if err := between.Transfer(first.ID()); err != nil {
		t.Fatal(err)
	}
	again, err := first.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := former.Verify(); !errors.Is(err, ErrNotLeading) {
		t.Errorf("the former tenure is verified: %v", err)
	}
	if err := again.Verify(); err != nil {
		t.Errorf("the new tenure: %v", err)
	}
	b := NewBatch(Tasks)
	b.Set([]byte("key"), []byte("1"))
	if err := former.Propose(b).Wait(); !errors.Is(err, ErrNotLeading) {
		t.Errorf("the former tenure proposes: %v", err)
	}
	set(t, again, "end", "1") // applied after the batch
	if got := get(first.Replica, "key"); got != "2" {
		t.Errorf("key is %q, want the value of the tenure between", got)
	}
}

// TestLeadWhenever leads again after a refused write, and gives up after another error, since nobody
// can take over.
func TestLeadWhenever(t *testing.T) {
	g := startGroupWith(t, 1, 100*time.Millisecond)
	m, _ := g.leader()
	refused, broken := fmt.Errorf("a write: %w", ErrNotLeading), errors.New("broken")
	calls := 0
	err := m.LeadWhenever(t.Context(), nil, func(ctx context.Context, lead *Tenure) error {
		if calls++; calls == 1 {
			return refused
		}
		set(t, lead, "key", "1")
		return broken
	})
	if calls != 2 || !errors.Is(err, broken) {
		t.Errorf("%d calls, %v; want 2, broken", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = m.LeadWhenever(ctx, nil, func(ctx context.Context, _ *Tenure) error {
		cancel()
		<-ctx.Done()
		return broken
	})
	if err != nil {
		t.Errorf("after the end: %v", err)
	}
}
