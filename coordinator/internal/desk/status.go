package desk

import (
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/tally"
)

// Status returns the state of a task.
func (d *Desk) Status(id queue.ID) (queue.Info, bool) { return d.core.Status(id) }

// AttemptNumber returns the number of the current or next attempt at a task.
func (d *Desk) AttemptNumber(id queue.ID) uint64 { return d.core.AttemptNumber(id) }

// WaitReason explains in words why a task does not run now.
func (d *Desk) WaitReason(id queue.ID) string { return d.core.WaitReason(id) }

// WaitReasons yields the WaitReason of several tasks.
func (d *Desk) WaitReasons(ids []queue.ID, yield func(id queue.ID, why string)) {
	d.core.WaitReasons(ids, yield)
}

// WaitingFunctions explains each function with waiting tasks; see queue.Queue.WaitingFunctions.
func (d *Desk) WaitingFunctions(yield func(name string, waiting int, stuck bool, why string)) {
	d.core.WaitingFunctions(yield)
}

// StatusUnique returns the state of the latest task with a unique key.
func (d *Desk) StatusUnique(function, unique string) (queue.Info, bool) {
	return d.core.StatusUnique(function, queue.KeyOf(unique))
}

// Tasks yields at most n tasks, starting at a place; see queue.Queue.Tasks.
func (d *Desk) Tasks(from, n int, yield func(queue.Info)) (next int) {
	return d.core.Tasks(from, n, yield)
}

// DeadLetters yields at most n dead letters of a function, oldest first.
func (d *Desk) DeadLetters(function string, n int, yield func(queue.Info)) {
	d.core.DeadLetters(function, n, yield)
}

// Functions returns the state of all functions.
func (d *Desk) Functions() []queue.FunctionInfo { return d.core.Functions() }

// Function returns the state of one function.
func (d *Desk) Function(name string) (queue.FunctionInfo, bool) { return d.core.Function(name) }

// Totals adds up the counts of all functions.
func (d *Desk) Totals() queue.Counts { return d.core.Totals() }

// Budgets returns the state of all budgets.
func (d *Desk) Budgets() []queue.BudgetInfo { return d.core.Budgets() }

// AuditStep is one step of an audit; see queue.Queue.AuditStep.
func (d *Desk) AuditStep(from, n int) (bad []string, next int) { return d.core.AuditStep(from, n) }

// AttemptDurations returns a histogram of the durations of attempts.
func (d *Desk) AttemptDurations() tally.Durations { return d.core.AttemptDurations() }

// WaitDurations returns a histogram of how long tasks were ready before their first attempt.
func (d *Desk) WaitDurations(p queue.Priority) tally.Durations { return d.core.WaitDurations(p) }

// FunctionDurations yields a histogram of the durations of attempts of each function. yield must
// copy it.
func (d *Desk) FunctionDurations(yield func(function string, took *tally.Durations)) {
	d.core.FunctionDurations(yield)
}

// SyncDurations returns a histogram of the durations of disk writes. It needs no lock.
func (d *Desk) SyncDurations() tally.Durations { return d.store.Syncs() }

// Audit returns the inconsistencies in the core. It looks at every task, so it is slow.
func (d *Desk) Audit() []string { return d.core.Audit() }

// Worker is the state of a worker.
type Worker struct {
	queue.WorkerInfo
	Name    string // name of the session, for people
	Gearman bool   // the worker uses the Gearman protocol
}

// Workers returns the state of all workers, in the order of their arrival.
func (d *Desk) Workers() []Worker {
	var all []Worker
	for _, w := range d.core.Workers() {
		name, gearman := d.nameOf(w.Peer)
		all = append(all, Worker{w, name, gearman})
	}
	return all
}

// PeerName returns the name of a peer for people, or "" if it has left.
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

// Cancel ends a task. It returns false if the task has ended or does not exist.
func (d *Desk) Cancel(id queue.ID) bool {
	return d.step(&queue.Cancel{Task: id}, nil).Op == queue.Accepted
}

// Retry queues a dead letter again. It returns false if the task is no dead letter, or if an
// unended task has its unique key.
func (d *Desk) Retry(id queue.ID) bool {
	return d.step(&queue.Retry{Task: id}, nil).Op == queue.Accepted
}

// RunNow makes a delayed task ready. It returns false if the task is not delayed.
func (d *Desk) RunNow(id queue.ID) bool {
	return d.step(&queue.RunNow{Task: id}, nil).Op == queue.Accepted
}

// Forget drops a task that has ended.
func (d *Desk) Forget(id queue.ID) bool {
	return d.step(&queue.Forget{Task: id}, nil).Op == queue.Accepted
}

// SetFunction sets the limits of a function.
func (d *Desk) SetFunction(name string, l queue.Limits) {
	d.step(&queue.SetFunction{Function: name, Limits: l}, nil)
}

// DropFunction removes a function. The error is ErrUnknown or ErrBusy.
func (d *Desk) DropFunction(name string) error {
	switch d.step(&queue.DropFunction{Function: name}, nil).Op {
	case queue.Rejected:
		return ErrBusy
	case queue.Accepted:
		return nil
	}
	return ErrUnknown
}

// SetBudget sets the size of a budget.
func (d *Desk) SetBudget(name string, n int) { d.step(&queue.SetBudget{Budget: name, N: n}, nil) }

// LastBatch returns the number of the latest batch; see Durable.
func (d *Desk) LastBatch() uint64 { return d.lastBatch }

// Acquire requests budgets for work other than tasks, such as an attempt of a pipeline.
// Config.OnGranted reports success. With held, the work already has them.
func (d *Desk) Acquire(ref uint64, needs []queue.Need, held bool) {
	d.step(&queue.Acquire{Ref: ref, Needs: needs, Restored: held}, nil)
}

// Release returns the budgets of Acquire, or ends the wait for them. More calls have no effect.
func (d *Desk) Release(ref uint64) { d.step(&queue.Release{Ref: ref}, nil) }
