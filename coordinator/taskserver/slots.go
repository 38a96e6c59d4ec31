package taskserver

import (
	"sync"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
)

// lender connects the two cores where queued tasks use slots of workers and attempts use budgets.
// It passes the tasks' requests to the coordinator, and the coordinator's commands to the desk.
// Neither waits for the other.
type lender struct {
	c    *coordinator.Coordinator
	wake chan struct{} // capacity 1: commands is not empty

	// mu guards the field below.
	mu       sync.Mutex
	commands []sched.Command
}

// Priorities of tasks and classes of queued tasks are the same thing.
var (
	classes    = [...]sched.QueuedClass{queue.High: sched.QueuedHigh, queue.Normal: sched.QueuedNormal, queue.Low: sched.QueuedLow}
	priorities = [...]queue.Priority{sched.QueuedHigh: queue.High, sched.QueuedNormal: queue.Normal, sched.QueuedLow: queue.Low}
)

func newLender(c *coordinator.Coordinator) *lender {
	l := &lender{c: c, wake: make(chan struct{}, 1)}
	c.SetTaskSide(l)
	return l
}

// RequestSlots is desk.Slots. A stopped coordinator ignores it: then the whole process ends.
func (l *lender) RequestSlots(worker string, p queue.Priority, n int) {
	_ = l.c.Post(sched.QueuedWaiting{WorkerID: worker, Class: classes[p], N: n}, nil)
}

// OccupySlot is desk.Slots.
func (l *lender) OccupySlot(worker string, p queue.Priority) {
	_ = l.c.Post(sched.QueuedStarted{WorkerID: worker, Class: classes[p]}, nil)
}

// FreeSlot is desk.Slots.
func (l *lender) FreeSlot(worker string, p queue.Priority) {
	_ = l.c.Post(sched.QueuedEnded{WorkerID: worker, Class: classes[p]}, nil)
}

// granted is desk.Config.OnGranted.
func (l *lender) granted(ref uint64) {
	_ = l.c.Post(sched.BudgetsGranted{Ticket: ref}, nil)
}

// short is desk.Config.OnShort.
func (l *lender) short(ref uint64, why string) {
	_ = l.c.Post(sched.BudgetsShort{Ticket: ref, Why: why}, nil)
}

// Do is coordinator.TaskSide. It queues the command for run.
func (l *lender) Do(cmd sched.Command) {
	l.mu.Lock()
	l.commands = append(l.commands, cmd)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run passes commands to the desk until stop is closed.
func (l *lender) run(stop <-chan struct{}, d *desk.Desk) {
	for {
		select {
		case <-stop:
			return
		case <-l.wake:
		}
		l.mu.Lock()
		commands := l.commands
		l.commands = nil
		l.mu.Unlock()
		d.Lock()
		for _, cmd := range commands {
			switch cmd := cmd.(type) {
			case sched.GrantQueued:
				d.Grant(cmd.WorkerID, priorities[cmd.Class])
			case sched.AcquireBudgets:
				d.Acquire(cmd.Ticket, needsOf(cmd.Needs), cmd.InUse)
			case sched.ReleaseBudgets:
				d.Release(cmd.Ticket)
			}
		}
		d.Unlock()
	}
}

func needsOf(needs []job.Need) []queue.Need {
	out := make([]queue.Need, len(needs))
	for i, n := range needs {
		out[i] = queue.Need(n)
	}
	return out
}
