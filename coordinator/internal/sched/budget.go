package sched

import (
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
)

// Attempts of a stage may need parts of budgets of outside resources. Package queue keeps the
// budgets. A stage whose turn it is for a slot requests a ticket and leaves the slot to others;
// when the ticket is granted, the stage takes the next slot that it gets. Example, for a stage that
// needs 2 of budget db:
//
//	slot free    -> AcquireBudgets ticket 7, db:2; the slot goes to another stage
//	BudgetsGranted 7
//	slot free    -> Launch, with ticket 7; at the attempt's end ReleaseBudgets 7
//
// So a stage holds no slot while it waits for budgets. While it waits for a slot, it holds the
// budgets of at most one attempt, and returns them as soon as a stage of a higher band needs any of
// the same budgets.

// ticket stands for the budgets of one attempt.
type ticket struct {
	n       uint64 // zero when it was not requested
	granted bool
	// short is the reason, in words, why it cannot be granted; empty if it can.
	short string
}

// ticketRequest is a stage with a ticket not yet taken by an attempt.
type ticketRequest struct {
	j  *jobState
	st *stage
}

// ensureTicket reports whether an attempt of a stage may start now. It requests a missing ticket.
func (s *Scheduler) ensureTicket(j *jobState, st *stage) bool {
	if len(st.spec.Needs) == 0 || st.ticket.granted {
		return true
	}
	if st.ticket.n != 0 {
		return false
	}
	for _, x := range slices.Clone(s.tickets) {
		if compareBands(&j.options, &x.j.options) < 0 && shareBudget(st.spec.Needs, x.st.spec.Needs) {
			s.returnTicket(x.st)
			s.markFresh(x.j)
		}
	}
	st.ticket.n = s.newTicket()
	s.tickets = append(s.tickets, ticketRequest{j, st})
	s.emit(AcquireBudgets{Ticket: st.ticket.n, Needs: st.spec.Needs})
	return false
}

func (s *Scheduler) newTicket() uint64 {
	s.lastTicket++
	return s.lastTicket
}

func shareBudget(a, b []job.Need) bool {
	return slices.ContainsFunc(a, func(x job.Need) bool {
		return slices.ContainsFunc(b, func(y job.Need) bool { return x.Budget == y.Budget })
	})
}

// markFresh causes the tasks of a job to be offered to all idle workers, even if they declined them
// before.
func (s *Scheduler) markFresh(j *jobState) {
	if j.inLine && !j.fresh {
		j.fresh = true
		s.freshJobs++
	}
}

func (s *Scheduler) grantTicket(n uint64) {
	for _, x := range s.tickets {
		if x.st.ticket.n == n {
			x.st.ticket.granted = true
			s.markFresh(x.j)
		}
	}
}

// explainTicket stores the reason why a ticket cannot be granted.
func (s *Scheduler) explainTicket(n uint64, why string) {
	for _, x := range s.tickets {
		if x.st.ticket.n == n {
			x.st.ticket.short = why
		}
	}
}

// takeTicket moves the ticket of a stage to a starting attempt.
func (s *Scheduler) takeTicket(st *stage) uint64 {
	n := st.ticket.n
	if n != 0 {
		s.forgetTicket(st)
	}
	return n
}

func (s *Scheduler) forgetTicket(st *stage) {
	st.ticket = ticket{}
	s.tickets = slices.DeleteFunc(s.tickets, func(x ticketRequest) bool { return x.st == st })
}

// returnTicket returns the ticket of a stage.
func (s *Scheduler) returnTicket(st *stage) {
	s.emit(ReleaseBudgets{st.ticket.n})
	s.forgetTicket(st)
}

// returnUnusedTickets returns the tickets of stages with nothing to start.
func (s *Scheduler) returnUnusedTickets() {
	for i := 0; i < len(s.tickets); {
		if x := s.tickets[i]; x.j.outcome != Running || x.st.incompleteInputs > 0 || x.st.taskCounts[waiting] == 0 {
			s.returnTicket(x.st)
			continue
		}
		i++
	}
}

// reclaimBudgets claims the budgets of an adopted attempt: it has used them all along.
func (s *Scheduler) reclaimBudgets(a *attempt) {
	if needs := a.stage().spec.Needs; len(needs) > 0 {
		a.ticket = s.newTicket()
		s.emit(AcquireBudgets{Ticket: a.ticket, Needs: needs, InUse: true})
	}
}

// returnBudgets returns the budgets of an attempt at its end.
func (s *Scheduler) returnBudgets(a *attempt) {
	if a.ticket != 0 {
		s.emit(ReleaseBudgets{a.ticket})
		a.ticket = 0
	}
}

// budgetsMissing names the budgets needed by all waiting tasks of a job, in a sentence; empty when
// some task can start.
func (j *jobState) budgetsMissing() string {
	var names []string
	short := ""
	for _, st := range j.stages {
		if st.incompleteInputs > 0 || st.taskCounts[waiting] == 0 {
			continue
		}
		if st.ticket.n == 0 || st.ticket.granted {
			return ""
		}
		if st.ticket.short != "" && short == "" {
			short = "each attempt of stage " + st.spec.Name + " " + st.ticket.short
		}
		for _, n := range st.spec.Needs {
			if !slices.Contains(names, n.Budget) {
				names = append(names, n.Budget)
			}
		}
	}
	switch {
	case short != "" || len(names) == 0:
		return short
	case len(names) == 1:
		return "waits for the budget " + names[0]
	}
	return "waits for the budgets " + strings.Join(names, ", ")
}

// checkTickets checks for tickets of stages and attempts without needs, and for needs without
// tickets.
func (a *auditor) checkTickets() {
	for _, x := range a.s.tickets {
		if x.st.ticket.n == 0 || x.j.outcome != Running || len(x.st.spec.Needs) == 0 {
			a.report("job %s: a stage has ticket %+v, but cannot use budgets", x.j.spec.ID, x.st.ticket)
		}
	}
	for _, w := range a.s.workers {
		for _, x := range w.running {
			if needs := len(x.j.stages[x.t.Stage].spec.Needs) > 0; needs != (x.ticket != 0) {
				a.report("attempt %s of job %s has ticket %d for budgets, needs any: %v", x.id, x.j.spec.ID, x.ticket, needs)
			}
		}
	}
}
