package coordinator

import (
	"cmp"
	"slices"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
)

// limits keeps the budgets of a coordinator without queued tasks. A budget without a limit never
// runs out. Only the goroutine of Run uses it.
//
// An attempt gets its budgets one after the other, in order of their names, so that no two attempts
// wait for each other. Attempts that wait for the same budget get it in order of their requests.
type limits struct {
	c       *Coordinator
	budgets map[string]*budget
	holders map[uint64]*holder // by ticket
}

type budget struct {
	size, used int
	declared   bool     // the size is the smallest that its holders declare
	waiting    []uint64 // tickets, the longest waiting first
}

// holder is an attempt that needs parts of budgets.
type holder struct {
	needs []job.Need // by name of the budget
	got   int        // how many of needs it has; it waits for the next one
}

func newLimits(c *Coordinator, sizes map[string]int) *limits {
	l := &limits{c: c, budgets: map[string]*budget{}, holders: map[uint64]*holder{}}
	for name, size := range sizes {
		l.budgets[name] = &budget{size: size}
	}
	return l
}

// Do is TaskSide.
func (l *limits) Do(cmd sched.Command) {
	switch cmd := cmd.(type) {
	case sched.AcquireBudgets:
		l.acquire(cmd)
	case sched.ReleaseBudgets:
		l.release(cmd.Ticket)
	}
}

func (l *limits) acquire(cmd sched.AcquireBudgets) {
	if l.holders[cmd.Ticket] != nil {
		return
	}
	h := &holder{}
	for _, n := range cmd.Needs {
		if n.N > 0 && n.Size > 0 && l.budgets[n.Budget] == nil {
			l.budgets[n.Budget] = &budget{declared: true}
		}
		if l.budgets[n.Budget] != nil && n.N > 0 {
			h.needs = append(h.needs, n)
		}
	}
	slices.SortFunc(h.needs, func(a, b job.Need) int { return cmp.Compare(a.Budget, b.Budget) })
	l.holders[cmd.Ticket] = h
	l.declare(h.needs)
	if cmd.InUse { // since before a restart, although there may not be enough
		for _, n := range h.needs {
			l.budgets[n.Budget].used += n.N
		}
		h.got = len(h.needs)
		return
	}
	l.proceed(cmd.Ticket, h)
}

// declare gives budgets without a limit the size that their holders declare: the smallest one, but
// enough for each need.
func (l *limits) declare(needs []job.Need) {
	for _, x := range needs {
		b := l.budgets[x.Budget]
		if !b.declared {
			continue
		}
		least, most := 0, 0
		for _, h := range l.holders {
			for _, n := range h.needs {
				if n.Budget == x.Budget {
					if most = max(most, n.N); n.Size > 0 && (least == 0 || n.Size < least) {
						least = n.Size
					}
				}
			}
		}
		b.size = max(least, most)
	}
}

// proceed makes a holder wait for its next budget, or reports that it has all.
func (l *limits) proceed(ticket uint64, h *holder) {
	if h.got == len(h.needs) {
		_ = l.c.post(message{ev: sched.BudgetsGranted{Ticket: ticket}})
		return
	}
	b := l.budgets[h.needs[h.got].Budget]
	b.waiting = append(b.waiting, ticket)
	l.grant(b)
}

// grant gives the free part of a budget to the attempts that wait for it, in their order.
func (l *limits) grant(b *budget) {
	for len(b.waiting) > 0 {
		ticket := b.waiting[0]
		h := l.holders[ticket]
		n := h.needs[h.got].N
		if b.used+n > b.size {
			return
		}
		b.used += n
		b.waiting = b.waiting[1:]
		h.got++
		l.proceed(ticket, h)
	}
}

func (l *limits) release(ticket uint64) {
	h := l.holders[ticket]
	if h == nil {
		return
	}
	delete(l.holders, ticket)
	l.declare(h.needs)
	touched := h.needs[:min(h.got+1, len(h.needs))]
	for i, n := range touched {
		b := l.budgets[n.Budget]
		if i < h.got {
			b.used -= n.N
		} else {
			b.waiting = slices.DeleteFunc(b.waiting, func(t uint64) bool { return t == ticket })
		}
	}
	for _, n := range touched { // a grant of one budget may need the queue of the next
		l.grant(l.budgets[n.Budget])
	}
}
