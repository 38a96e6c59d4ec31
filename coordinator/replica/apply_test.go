package replica

import (
	"sync"
	"testing"
)

// TestFlush reads what was decided: after Decided only Flush makes it certain.
func TestFlush(t *testing.T) {
	g := startGroup(t, 1)
	m, lead := g.leader()
	m.d.applying.Lock() // Badger gets nothing
	unlock := sync.OnceFunc(m.d.applying.Unlock)
	defer unlock()
	b := NewBatch(Tasks)
	b.Set([]byte("a"), []byte("1"))
	if err := lead.Propose(b).Decided(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := look(m.Replica, "a"); got != "" {
		t.Fatalf("a is %q, want nothing while Badger is held", got)
	}
	unlock()
	if err := lead.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := look(m.Replica, "a"); got != "1" {
		t.Errorf("a is %q after Flush, want 1", got)
	}
}

// TestRestartBeforeApply stops a member that has not applied what was decided.
func TestRestartBeforeApply(t *testing.T) {
	g := startGroup(t, 1)
	_, lead := g.leader()
	for i := range 200 {
		b := NewBatch(Tasks)
		b.Set([]byte{'k', byte(i)}, []byte("1"))
		if err := lead.Propose(b).Decided(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	g.members[0].end(t)
	m := g.restart(0)
	g.leader()
	for i := range 200 {
		if got := get(m.Replica, string([]byte{'k', byte(i)})); got != "1" {
			t.Fatalf("key %d is %q after the restart, want 1", i, got)
		}
	}
}
