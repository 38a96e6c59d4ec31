package coordinator

import (
	"sync"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
)

// lender stands between the two cores where tasks take slots of workers: it brings to the coordinator what tasks want and give back, and to the
// desk what they are granted. Neither waits for the other.
type lender struct {
	c    *Coordinator
	wake chan struct{} // capacity 1: there are grants

	// mu guards the field below.
	mu     sync.Mutex
	grants []sched.GrantCall
}

// The priorities of tasks and the classes of calls are one thing.
var (
	classes    = [...]sched.Class{queue.High: sched.HighCalls, queue.Normal: sched.NormalCalls, queue.Low: sched.LowCalls}
	priorities = [...]queue.Priority{sched.HighCalls: queue.High, sched.NormalCalls: queue.Normal, sched.LowCalls: queue.Low}
)

func newLender(c *Coordinator) *lender {
	l := &lender{c: c, wake: make(chan struct{}, 1)}
	c.lend = l.grant
	return l
}

// Wanted is desk.Slots. A coordinator that has stopped does not hear it: then all goes down.
func (l *lender) Wanted(worker string, p queue.Priority, n int) {
	_ = l.c.post(message{ev: sched.CallsWanted{Worker: worker, Class: classes[p], N: n}})
}

// Started is desk.Slots.
func (l *lender) Started(worker string, p queue.Priority) {
	_ = l.c.post(message{ev: sched.CallStarted{Worker: worker, Class: classes[p]}})
}

// Ended is desk.Slots.
func (l *lender) Ended(worker string, p queue.Priority) {
	_ = l.c.post(message{ev: sched.CallEnded{Worker: worker, Class: classes[p]}})
}

// grant takes a grant to the desk, which the coordinator does not wait for.
func (l *lender) grant(g sched.GrantCall) {
	l.mu.Lock()
	l.grants = append(l.grants, g)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run hands grants over until stop is closed.
func (l *lender) run(stop <-chan struct{}, d *desk.Desk) {
	for {
		select {
		case <-stop:
			return
		case <-l.wake:
		}
		l.mu.Lock()
		grants := l.grants
		l.grants = nil
		l.mu.Unlock()
		d.Lock()
		for _, g := range grants {
			d.Grant(g.Worker, priorities[g.Class])
		}
		d.Unlock()
	}
}
