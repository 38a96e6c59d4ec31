package queue

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// records returns some Records of each kind, in key order.
func records() (all [][2][]byte) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	step := func(ev Event) {
		for _, c := range q.Step(now, ev) {
			if c.Op == Write && c.Value != nil {
				all = append(all, [2][]byte{append([]byte{}, c.Key...), append([]byte{}, c.Value...)})
			}
		}
	}
	step(&SetBudget{"pg", 8})
	step(&SetFunction{"f", Limits{Queue: [3]int{1, 2, 3}, Rate: 1.5, Needs: []Need{{Budget: "pg", N: 2}}, Weight: 3}})
	step(&OpenGroup{Durable: true, Then: []Next{{Function: "g", Policy: Policy{Keep: time.Hour}}}})
	step(&Submit{Function: "f", Durable: true, Unique: KeyOf("k"), Due: now.Add(time.Hour), Then: []Next{{Function: "g"}}})
	step(&CanDo{Peer: 1, Function: "h"})
	step(&SetSlots{Peer: 1, N: 1})
	step(&Submit{Function: "h", Durable: true, Policy: Policy{Attempts: 2}})
	for _, w := range q.Workers() {
		for _, id := range w.Running {
			step(&Report{Peer: 1, Task: id, Notice: Failed})
		}
	}
	var chained, next, group ID
	find := func(op Op, to *ID, ev Event) {
		step(ev)
		for _, c := range q.out {
			if c.Op == op {
				*to = c.Task
			}
		}
	}
	find(Accepted, &chained, &Submit{Function: "h", Durable: true, Then: []Next{{Function: "g", Policy: Policy{Keep: time.Hour}}}})
	find(Gather, &next, &Report{Peer: 1, Task: chained, Notice: Done})
	step(&Gathered{Task: next})
	find(Accepted, &group, &OpenGroup{Durable: true})
	step(&CloseGroup{group})
	slices.SortStableFunc(all, func(a, b [2][]byte) int { return bytes.Compare(a[0], b[0]) })
	return all
}

// FuzzRestore restores a damaged Record among others: Restore refuses it, or the queue is
// consistent afterwards.
func FuzzRestore(f *testing.F) {
	kinds := map[byte]bool{}
	for _, r := range records() {
		f.Add(r[0], r[1])
		kinds[r[0][0]] = true
	}
	if len(kinds) != 8 {
		f.Fatalf("records of kinds %v, want all eight", kinds)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		q := New(Config{})
		for _, r := range records() {
			if r[0][0] < 'u' {
				_ = q.Restore(r[0], r[1])
			}
		}
		_ = q.Restore(key, value)
		now := time.Unix(2e9, 0)
		q.Step(now, Restarted{})
		q.Step(now, &CanDo{Peer: 1, Function: "f"})
		q.Step(now, &SetSlots{Peer: 1, N: 3})
		for _, bad := range q.Audit() {
			t.Error(bad)
		}
	})
}
