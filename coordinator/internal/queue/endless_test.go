package queue

import (
	"testing"
	"time"
)

// A task without a limit outlives any number of lost workers, and its attempt numbers only grow.
func TestEndless(t *testing.T) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	q.Step(now, &Submit{Function: "f", Durable: true, Policy: Policy{Attempts: Endless, MaxBackoff: time.Second}})
	const losses = Endless + 10
	for n := range uint64(losses) {
		p := Peer(n + 1)
		now = now.Add(2 * time.Second)
		q.Step(now, &CanDo{Peer: p, Function: "f"})
		cmds := q.Step(now, &Grab{Peer: p})
		if c := cmds[len(cmds)-1]; c.Op != Assign || c.N != n+1 {
			t.Fatalf("attempt %d: %+v", n+1, c)
		}
		q.Step(now, &PeerGone{Peer: p})
	}
	if c := q.Totals(); c.In[WasFailed] != 0 || c.Submitted != 1 {
		t.Errorf("%+v", c)
	}
	if bad := q.Audit(); bad != nil {
		t.Error(bad)
	}
}
