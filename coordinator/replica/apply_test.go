package replica

import (
	"bytes"
	"maps"
	"math/rand/v2"
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
	needsElections(t)
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

// TestFindReplaced makes random changes with and without those that findReplaced names. The content
// is the same.
func TestFindReplaced(t *testing.T) {
	dropped := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		var changes []decided
		for range 1 + r.IntN(5) {
			b := NewBatch(Store(1 + r.IntN(2)))
			for range r.IntN(8) {
				key := []byte{'k', byte('0' + r.IntN(5))}
				switch r.IntN(6) {
				case 0:
					b.Delete(key)
				case 1:
					b.DeleteRange(key, []byte{'k', byte('0' + r.IntN(6))})
				default:
					b.Set(key, bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(2)*largeValue))
				}
			}
			changes = append(changes, decided{Store(b.buf[0]), b.buf[batchHead:]})
		}
		content := func(skip map[int]bool) map[string]string {
			n, all := 0, map[string]string{}
			for _, d := range changes {
				if d.store != Tasks {
					continue
				}
				err := eachChange(d.changes, func(c change) error {
					n++
					switch {
					case skip[n]:
					case c.to != nil:
						maps.DeleteFunc(all, func(k, _ string) bool { return k >= string(c.key) && k < string(c.to) })
					case c.value == nil:
						delete(all, string(c.key))
					default:
						all[string(c.key)] = string(c.value)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			return all
		}
		replaced, err := findReplaced(Tasks, changes)
		if err != nil {
			t.Fatal(err)
		}
		dropped += len(replaced)
		if !maps.Equal(content(nil), content(replaced)) {
			t.Errorf("seed %d: without the changes %v the content differs", seed, replaced)
		}
	}
	if dropped < 200 {
		t.Errorf("%d changes are dropped, want hundreds", dropped)
	}
}
