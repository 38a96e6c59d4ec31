package queue

import (
	"testing"
	"time"
)

// The cost of the search for calls that could never start stays bounded per event, however many
// tasks wait, and what it does not find at once it finds at the time of Next.
func TestStuckSearch(t *testing.T) {
	const calls = 8000
	for _, kind := range []string{"limit", "budget"} {
		t.Run(kind, func(t *testing.T) {
			q, now, steps := New(Config{}), time.Unix(1e9, 0), 0
			failed := 0
			step := func(ev Event) (task ID) {
				steps++
				for _, c := range q.Step(now, ev) {
					if c.Op == Accepted {
						task = c.Task
					}
					if c.Op == Notify && c.Notice == Failed && Notice(c.M) == Circular {
						failed++
					}
				}
				return task
			}
			limits := Limits{Concurrency: 2}
			if kind == "budget" {
				step(&SetBudget{Budget: "b", N: 2})
				limits = Limits{Needs: []Need{{Budget: "b", N: 1}}}
			}
			step(&SetFunction{Function: "f", Limits: limits})
			for _, f := range []string{"f", "g"} {
				step(&CanDo{Peer: 1, Function: f})
			}
			step(&SetSlots{Peer: 1, N: 4})
			first, second := step(&Submit{Function: "f"}), step(&Submit{Function: "f"})
			check := func(what string) {
				t.Helper()
				if most := 32 * steps; q.stuck.visited > most {
					t.Errorf("%s: %d things visited in %d steps, want at most %d", what, q.stuck.visited, steps, most)
				}
				for _, bad := range q.Audit() {
					t.Errorf("%s: %s", what, bad)
				}
			}

			for range calls { // second works, so none of them is stuck
				now = now.Add(time.Microsecond)
				step(&Submit{Function: "f", Peer: 1, Parent: first})
			}
			for range calls {
				now = now.Add(time.Microsecond)
				step(&Report{Peer: 1, Task: step(&Submit{Function: "g"}), Notice: Done})
			}
			if check("calls and reports"); failed > 0 {
				t.Fatalf("%d calls failed, though a task of their function works", failed)
			}

			step(&Submit{Function: "f", Peer: 1, Parent: second}) // now all of them are
			for end := now.Add(time.Second); !q.Next().IsZero() && q.Next().Before(end); step(Tick{}) {
				if now.Before(q.Next()) {
					now = q.Next()
				}
			}
			if check("all stuck"); failed != calls {
				t.Errorf("%d calls failed, want those of the first task: %d", failed, calls)
			}
			if w := q.functions[q.functionIndex["f"]].counts.In[Waiting]; w != 1 {
				t.Errorf("%d calls wait, want the one of the second task", w)
			}
		})
	}
}

// A worker whose only task waits for many others, which a limit holds back, does not look at all of
// them at each event.
func TestLendSearch(t *testing.T) {
	const calls = 8000
	q, now, steps := New(Config{}), time.Unix(1e9, 0), 0
	step := func(ev Event) (task ID) {
		steps++
		for _, c := range q.Step(now, ev) {
			if c.Op == Accepted {
				task = c.Task
			}
		}
		return task
	}
	step(&SetFunction{Function: "f", Limits: Limits{Concurrency: 1}})
	for p, f := range map[Peer]string{1: "g", 2: "f"} {
		step(&CanDo{Peer: p, Function: f})
		step(&SetSlots{Peer: p, N: 1})
	}
	step(&CanDo{Peer: 1, Function: "f"})
	caller := step(&Submit{Function: "g"})
	for range calls {
		now = now.Add(time.Microsecond)
		step(&Submit{Function: "f", Peer: 1, Parent: caller})
	}
	if most := 32 * steps; q.stuck.visited > most {
		t.Errorf("%d things visited in %d steps, want at most %d", q.stuck.visited, steps, most)
	}
}
