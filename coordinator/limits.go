package coordinator

import (
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
)

// limits keeps the budgets of a coordinator without tasks. It belongs to the goroutine of Run.
type limits struct {
	c     *Coordinator
	core  *queue.Queue
	sizes map[string]int
}

func newLimits(c *Coordinator, sizes map[string]int) *limits {
	l := &limits{c: c, core: queue.New(queue.Config{}), sizes: sizes}
	for name, n := range sizes {
		l.core.Step(time.Time{}, &queue.SetBudget{Budget: name, N: n})
	}
	return l
}

// do is broker. Of budgets that have no limit there is enough.
func (l *limits) do(cmd sched.Command) {
	var ev queue.Event
	switch cmd := cmd.(type) {
	case sched.AcquireBudgets:
		var needs []queue.Need
		for _, n := range needsOf(cmd.Needs) {
			if _, limited := l.sizes[n.Budget]; limited {
				needs = append(needs, n)
			}
		}
		ev = &queue.Acquire{Ref: cmd.Ticket, Needs: needs, Restored: cmd.InUse}
	case sched.ReleaseBudgets:
		ev = &queue.Release{Ref: cmd.Ticket}
	default:
		return // there are no tasks that could be granted a slot
	}
	for _, answer := range l.core.Step(time.Time{}, ev) {
		if answer.Op == queue.Granted {
			_ = l.c.post(message{ev: sched.BudgetsGranted{Ticket: answer.Ref}})
		}
	}
}
