package sched

import (
	"maps"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// simBudgets simulates package queue as the keeper of budgets: there are 3 of each. It dies with
// the coordinator.
type simBudgets struct {
	used    map[string]int
	held    map[uint64][]job.Need
	waiting []AcquireBudgets
	life    int
}

func (b *simBudgets) clear() {
	b.used, b.held, b.waiting = map[string]int{}, map[uint64][]job.Need{}, nil
	b.life++
}

func (w *world) acquire(c AcquireBudgets) {
	b := &w.budgets
	if b.held[c.Ticket] != nil {
		w.Errorf("ticket %d was asked for before", c.Ticket)
	}
	if c.InUse {
		b.hold(c)
		return
	}
	b.waiting = append(b.waiting, c)
	w.grantBudgets()
}

func (b *simBudgets) hold(c AcquireBudgets) {
	b.held[c.Ticket] = c.Needs
	for _, n := range c.Needs {
		b.used[n.Budget] += n.N
	}
}

// grantBudgets gives free budgets to waiting tickets, and reports the grants a moment later.
func (w *world) grantBudgets() {
	b, life := &w.budgets, w.budgets.life
	b.waiting = slices.DeleteFunc(b.waiting, func(c AcquireBudgets) bool {
		for _, n := range c.Needs {
			if b.used[n.Budget]+n.N > 3 {
				return false
			}
		}
		b.hold(c)
		w.after(time.Millisecond+w.upTo(time.Second), func() {
			if life == b.life {
				w.step(BudgetsGranted{c.Ticket})
			}
		})
		return true
	})
}

func (w *world) release(ticket uint64) {
	b := &w.budgets
	for _, n := range b.held[ticket] {
		b.used[n.Budget] -= n.N
	}
	delete(b.held, ticket)
	b.waiting = slices.DeleteFunc(b.waiting, func(c AcquireBudgets) bool { return c.Ticket == ticket })
	w.grantBudgets()
}

// checkBudgets checks that each attempt, and nothing else, has the budgets that it needs.
func (w *world) checkBudgets() {
	want := map[uint64][]job.Need{}
	for _, x := range w.core.workers {
		for _, a := range x.running {
			if a.ticket != 0 {
				want[a.ticket] = a.stage().spec.Needs
			}
		}
	}
	asked := map[uint64][]job.Need{}
	for _, x := range w.core.tickets {
		if asked[x.st.ticket.n] = x.st.spec.Needs; x.st.ticket.granted && w.budgets.held[x.st.ticket.n] == nil {
			w.Errorf("ticket %d is granted, but does not hold anything", x.st.ticket.n)
		}
	}
	for n := range asked {
		if w.budgets.held[n] != nil {
			want[n] = asked[n]
		}
	}
	equal := func(a, b []job.Need) bool { return slices.Equal(a, b) }
	if !maps.EqualFunc(want, w.budgets.held, equal) || len(asked) != len(w.budgets.waiting)+len(w.budgets.held)-len(want)+heldOf(asked, w.budgets.held) {
		w.Errorf("%v: budgets are held by %v, waited for by %v; the core knows of %v and asked for %v", w.now.Sub(w.start), w.budgets.held, w.budgets.waiting, want, asked)
	}
}

// heldOf counts the keys of a that are in b.
func heldOf(a, b map[uint64][]job.Need) (n int) {
	for k := range a {
		if b[k] != nil {
			n++
		}
	}
	return n
}
