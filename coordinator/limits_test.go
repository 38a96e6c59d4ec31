package coordinator

import (
	"slices"
	"testing"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
)

// TestLimits checks which attempts get their budgets, in which order.
func TestLimits(t *testing.T) {
	c, err := New(Config{Budgets: map[string]int{"es": 1, "pg": 3}})
	if err != nil {
		t.Fatal(err)
	}
	l := c.tasks.(*limits)
	need := func(budget string, n int) job.Need { return job.Need{Budget: budget, N: n} }
	steps := []struct {
		name    string
		cmd     sched.Command
		granted []uint64
		es, pg  int // used after it
	}{
		{"all that it needs is free", sched.AcquireBudgets{Ticket: 1, Needs: []job.Need{need("pg", 2)}}, []uint64{1}, 0, 2},
		{"a repeated request changes nothing", sched.AcquireBudgets{Ticket: 1, Needs: []job.Need{need("pg", 2)}}, nil, 0, 2},
		{"no need", sched.AcquireBudgets{Ticket: 2}, []uint64{2}, 0, 2},
		{"a budget without a limit", sched.AcquireBudgets{Ticket: 3, Needs: []job.Need{need("other", 9), need("pg", 0)}}, []uint64{3}, 0, 2},
		{"holds the first budget by name, waits for the second", sched.AcquireBudgets{Ticket: 4, Needs: []job.Need{need("pg", 2), need("es", 1)}}, nil, 1, 2},
		{"a small request does not overtake", sched.AcquireBudgets{Ticket: 5, Needs: []job.Need{need("pg", 1)}}, nil, 1, 2},
		{"waits for the first of two", sched.AcquireBudgets{Ticket: 6, Needs: []job.Need{need("es", 1), need("pg", 1)}}, nil, 1, 2},
		{"in use before a restart, beyond the limit", sched.AcquireBudgets{Ticket: 7, Needs: []job.Need{need("pg", 2)}, InUse: true}, nil, 1, 4},
		{"still too few", sched.ReleaseBudgets{Ticket: 1}, nil, 1, 2},
		{"withdrawn: gives back one budget, leaves the queue of the other", sched.ReleaseBudgets{Ticket: 4}, []uint64{5}, 1, 3},
		{"a repeated release changes nothing", sched.ReleaseBudgets{Ticket: 4}, nil, 1, 3},
		{"grants in turn", sched.ReleaseBudgets{Ticket: 7}, []uint64{6}, 1, 2},
		{"other commands change nothing", sched.WorkerGone{}, nil, 1, 2},
		{"returns both", sched.ReleaseBudgets{Ticket: 6}, nil, 0, 1},
		{"nothing is used at the end", sched.ReleaseBudgets{Ticket: 5}, nil, 0, 0},
		{"a declared budget", sched.AcquireBudgets{Ticket: 8, Needs: []job.Need{{Budget: "search", N: 1, Size: 2}}}, []uint64{8}, 0, 0},
		{"the smallest declared size counts", sched.AcquireBudgets{Ticket: 9, Needs: []job.Need{{Budget: "search", N: 1, Size: 1}}}, nil, 0, 0},
		{"the larger one after its end", sched.ReleaseBudgets{Ticket: 8}, []uint64{9}, 0, 0},
		{"a set size stays", sched.AcquireBudgets{Ticket: 10, Needs: []job.Need{{Budget: "pg", N: 3, Size: 1}}}, []uint64{10}, 0, 3},
		{"returns a declared budget", sched.ReleaseBudgets{Ticket: 9}, nil, 0, 3},
		{"returns the set one", sched.ReleaseBudgets{Ticket: 10}, nil, 0, 0},
	}
	for _, s := range steps {
		l.Do(s.cmd)
		var granted []uint64
		for _, m := range c.inbox {
			granted = append(granted, m.ev.(sched.BudgetsGranted).Ticket)
		}
		c.inbox = nil
		if !slices.Equal(granted, s.granted) {
			t.Errorf("%s: granted to %v, want %v", s.name, granted, s.granted)
		}
		if es, pg := l.budgets["es"], l.budgets["pg"]; es.used != s.es || pg.used != s.pg {
			t.Errorf("%s: used %d of es and %d of pg, want %d and %d", s.name, es.used, pg.used, s.es, s.pg)
		}
	}
	for name, b := range l.budgets {
		if len(b.waiting) > 0 {
			t.Errorf("tickets %v wait for %s", b.waiting, name)
		}
	}
}
