package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLists(t *testing.T) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	for i := range 10_000 {
		q.Step(now, &Submit{Function: fmt.Sprint("f", i%3), Unique: KeyOf(fmt.Sprint(i)), Priority: Low, Size: i})
	}
	q.Step(now, &CanDo{Peer: 7, Function: "f1"})
	q.Step(now, &SetSlots{Peer: 7, N: 2})
	q.Step(now, &SetBudget{"pg", 3})

	seen := map[ID]bool{}
	calls := 0
	for at := 0; at != 0 || calls == 0; calls++ {
		at = q.Tasks(at, 999, func(x Info) { seen[x.ID] = true })
	}
	if len(seen) != 10_000 || calls != 11 {
		t.Errorf("%d tasks in %d calls, want 10000 in 11", len(seen), calls)
	}
	for _, fn := range []string{"f1", ""} {
		x, ok := q.StatusUnique(fn, KeyOf("1"))
		if !ok || x.Function != "f1" || x.State != Running || x.Worker != 7 || x.Size != 1 || x.Priority != Low {
			t.Errorf("StatusUnique(%q) = %+v, %v", fn, x, ok)
		}
	}
	if x, ok := q.StatusUnique("f2", KeyOf("1")); ok {
		t.Errorf("another function has the key: %+v", x)
	}
	f, ok := q.Function("f1")
	if all := q.Functions(); !ok || len(all) != 3 || fmt.Sprint(all[1]) != fmt.Sprint(f) || f.Workers != 1 || f.Queued != [3]int{0, 0, 3331} || f.Counts.In[Running] != 2 {
		t.Errorf("Function = %+v; all: %+v", f, all)
	}
	if w := q.Workers(); len(w) != 1 || len(w[0].Running) != 2 || w[0].Functions[0] != "f1" {
		t.Errorf("Workers = %+v", w)
	}
	if b := q.Budgets(); len(b) != 1 || b[0] != (BudgetInfo{Name: "pg", Size: 3}) {
		t.Errorf("Budgets = %+v", b)
	}
	if c := q.Totals(); c.Submitted != 10_000 || c.In[Waiting] != 9_998 {
		t.Errorf("Totals = %+v", c)
	}
}

// TestAuditStep checks that an audit in steps looks at each task, also while other tasks come and
// go.
func TestAuditStep(t *testing.T) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	for i := range 10_000 {
		q.Step(now, &Submit{Function: fmt.Sprint("f", i%3)})
	}
	audit := func() (bad []string, parts int) {
		for at := 0; at != 0 || parts == 0; parts++ {
			var more []string
			more, at = q.AuditStep(at, 999)
			bad = append(bad, more...)
			q.Step(now, &Submit{Function: "f0"})
		}
		return bad, parts
	}
	if bad, parts := audit(); len(bad) > 0 || parts != 13 { // of 3 chunks of 4,096
		t.Errorf("%d parts: %q", parts, bad)
	}
	q.unlink(9_999)
	q.functions[2].counts.Submitted++
	if bad, _ := audit(); len(bad) != 2 {
		t.Errorf("a task that nobody will run, and a wrong total: %q", bad)
	}
}

func TestTook(t *testing.T) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	q.Step(now, &CanDo{Peer: 1, Function: "f"})
	q.Step(now, &SetSlots{Peer: 1, N: 1})
	for range 3 {
		var id ID
		for _, c := range q.Step(now, &Submit{Function: "f"}) {
			if c.Op == Assign {
				id = c.Task
			}
		}
		now = now.Add(time.Second)
		q.Step(now, &Report{Peer: 1, Task: id, Notice: Done})
	}
	if h := q.WaitDurations(Normal); h.N != 3 || h.Sum != 0 {
		t.Errorf("a worker was free: waited %+v", h)
	}
	if h := q.AttemptDurations(); h.N != 3 || h.Sum != 3*time.Second {
		t.Errorf("Took = %+v", h)
	}
}

// A wait begins when a task could start, and ends with its first attempt.
func TestWaited(t *testing.T) {
	q := New(Config{})
	now := time.Unix(1e9, 0)
	begun := func(commands []Command) (id ID) {
		for _, c := range commands {
			if c.Op == Assign {
				id = c.Task
			}
		}
		return id
	}
	q.Step(now, &Submit{Function: "f", Priority: High, Policy: Policy{Attempts: 3}})
	q.Step(now, &Submit{Function: "f", Priority: Low, Due: now.Add(time.Minute)})
	now = now.Add(5 * time.Second)
	q.Step(now, &CanDo{Peer: 1, Function: "f"})
	first := begun(q.Step(now, &SetSlots{Peer: 1, N: 1}))
	now = now.Add(time.Second)
	if again := begun(q.Step(now, &Report{Peer: 1, Task: first, Notice: Failed})); again != 0 && again != first {
		t.Fatalf("task %x began, want %x", again, first)
	}
	now = now.Add(time.Hour) // the delay of the other task, and the pause before the second attempt
	for range 3 {
		if id := begun(q.Step(now, Tick{})); id != 0 {
			now = now.Add(time.Second)
			q.Step(now, &Report{Peer: 1, Task: id, Notice: Done})
		}
	}
	if h := q.WaitDurations(High); h.N != 1 || h.Sum != 5*time.Second {
		t.Errorf("high: waited %d times, %v; want once, 5s", h.N, h.Sum)
	}
	if h := q.WaitDurations(Low); h.N != 1 || h.Sum > 2*time.Second {
		t.Errorf("low: waited %d times, %v; want once, not the delay", h.N, h.Sum)
	}
}

// The programs of schedules have a command of their own.
func TestWaitReasonOfProgram(t *testing.T) {
	q := New(Config{})
	var id ID
	for _, c := range q.Step(time.Unix(1e9, 0), &Submit{Function: "program/nightly"}) {
		if c.Op == Accepted {
			id = c.Task
		}
	}
	if got, want := q.WaitReason(id), "layshaft schedule work -program nightly=FILE"; !strings.Contains(got, want) {
		t.Errorf("task %d: %q, want %q in it", id, got, want)
	}
}
