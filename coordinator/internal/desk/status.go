package desk

import (
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/tally"
)

// Status returns how a task stands. It wants the lock.
func (d *Desk) Status(id queue.ID) (queue.Info, bool) { return d.core.Status(id) }

// Number returns the number of the try at a task that runs or runs next; see queue.Queue.Number. It wants the lock.
func (d *Desk) AttemptNumber(id queue.ID) uint64 { return d.core.AttemptNumber(id) }

// Why says in words why a task does not run now; see queue.Queue.Why. It wants the lock.
func (d *Desk) WaitReason(id queue.ID) string { return d.core.WaitReason(id) }

// StatusUnique returns how the last task with a unique key stands. It wants the lock.
func (d *Desk) StatusUnique(function, unique string) (queue.Info, bool) {
	return d.core.StatusUnique(function, queue.KeyOf(unique))
}

// Tasks yields at most n tasks from a place on; see queue.Queue.Tasks. It wants the lock.
func (d *Desk) Tasks(from, n int, yield func(queue.Info)) (next int) {
	return d.core.Tasks(from, n, yield)
}

// DeadLetters yields at most n dead letters of a function, the oldest first. It wants the lock.
func (d *Desk) DeadLetters(function string, n int, yield func(queue.Info)) {
	d.core.DeadLetters(function, n, yield)
}

// Functions returns how all functions stand. It wants the lock.
func (d *Desk) Functions() []queue.FunctionInfo { return d.core.Functions() }

// Function returns how a function stands. It wants the lock.
func (d *Desk) Function(name string) (queue.FunctionInfo, bool) { return d.core.Function(name) }

// Totals adds up the counts of all functions. It wants the lock.
func (d *Desk) Totals() queue.Counts { return d.core.Totals() }

// Budgets returns how all budgets stand. It wants the lock.
func (d *Desk) Budgets() []queue.BudgetInfo { return d.core.Budgets() }

// AuditPart is one step of an audit; see queue.Queue.AuditPart. It wants the lock.
func (d *Desk) AuditNext(from, n int) (bad []string, next int) { return d.core.AuditNext(from, n) }

// Took returns how long tries took. It wants the lock.
func (d *Desk) AttemptDurations() tally.Durations { return d.core.AttemptDurations() }

// Syncs returns how long writes took.
func (d *Desk) SyncDurations() tally.Durations { return d.store.Syncs() }

// Audit returns what does not agree in the core; it takes long. It wants the lock.
func (d *Desk) Audit() []string { return d.core.Audit() }

// Worker is how a worker stands.
type Worker struct {
	queue.WorkerInfo
	Name    string
	Gearman bool
}

// Workers returns how all workers stand, in the order in which they came. It wants the lock.
func (d *Desk) Workers() []Worker {
	var all []Worker
	for _, w := range d.core.Workers() {
		name, gearman := d.nameOf(w.Peer)
		all = append(all, Worker{w, name, gearman})
	}
	return all
}

// Name returns the name of a peer, for people; empty when it is gone. It wants the lock.
func (d *Desk) PeerName(p queue.Peer) string {
	name, _ := d.nameOf(p)
	return name
}

func (d *Desk) nameOf(p queue.Peer) (name string, gearman bool) {
	switch p := d.peers[p].(type) {
	case *Session:
		return p.name, false
	case *gearmanSession:
		return p.name(), true
	}
	return "", false
}

// Cancel ends a task that has not ended. It wants the lock.
func (d *Desk) Cancel(id queue.ID) bool {
	return d.step(&queue.Cancel{Task: id}, nil).Op == queue.Accepted
}

// Retry runs a dead letter again. It wants the lock.
func (d *Desk) Retry(id queue.ID) bool {
	return d.step(&queue.Retry{Task: id}, nil).Op == queue.Accepted
}

// Forget drops a task that has ended. It wants the lock.
func (d *Desk) Forget(id queue.ID) bool {
	return d.step(&queue.Forget{Task: id}, nil).Op == queue.Accepted
}

// SetFunction sets the limits of a function. It wants the lock.
func (d *Desk) SetFunction(name string, l queue.Limits) {
	d.step(&queue.SetFunction{Function: name, Limits: l}, nil)
}

// DropFunction forgets a function. The error is ErrUnknown or ErrBusy. It wants the lock.
func (d *Desk) DropFunction(name string) error {
	switch d.step(&queue.DropFunction{Function: name}, nil).Op {
	case queue.Rejected:
		return ErrBusy
	case queue.Accepted:
		return nil
	}
	return ErrUnknown
}

// SetBudget sets how much there is of a budget. It wants the lock.
func (d *Desk) SetBudget(name string, n int) { d.step(&queue.SetBudget{Budget: name, N: n}, nil) }

// Written returns the commit of all that has been done so far; see Durable. It wants the lock.
func (d *Desk) LastBatch() uint64 { return d.lastBatch }

// Acquire asks for parts of budgets on behalf of something else than tasks, such as an attempt of a pipeline; Config.Granted answers. With held, that has
// them already. It wants the lock.
func (d *Desk) Acquire(ref uint64, needs []queue.Need, held bool) {
	d.step(&queue.Acquire{Ref: ref, Needs: needs, Restored: held}, nil)
}

// Release gives back what Acquire got, or stops waiting for it. It may be called again. It wants the lock.
func (d *Desk) Release(ref uint64) { d.step(&queue.Release{Ref: ref}, nil) }
