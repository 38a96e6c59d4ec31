package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// Worker is the coordinator's side of a worker. Its methods must not block; they may call the
// coordinator.
type Worker interface {
	// Launch starts an attempt. However it ends, the worker reports its end once, with Done or
	// Failed; that frees the slot. Everything that l points to is shared and must not be changed.
	Launch(l job.Launch)
	// Cancel ends an attempt. If the attempt is still running, the worker reports its end.
	Cancel(a job.Attempt)
	// Drop deletes the output of an attempt.
	Drop(a job.Attempt)
}

// RemoteWorker is a worker in another process. It gets notice of its lease, and can drain.
type RemoteWorker interface {
	Worker
	// DropJob deletes everything of a job. It follows the Drop of each of the job's outputs.
	DropJob(id job.ID)
	// LoseLease reports that the worker's lease has ended.
	LoseLease()
	// Drain asks the worker to leave: other workers copy its outputs, and Drained follows.
	Drain()
	// Drained reports that the worker can exit.
	Drained()
	// Copy asks the worker to copy an output from another worker, which drains.
	Copy(p job.Producer)
}

// Workers returns the workers with a lease, by name.
func (c *Coordinator) Workers() []report.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Workers(time.Now())
}

// AllWorkers returns the workers with a lease, by name, and then the workers that are away, by ID,
// as of one moment.
func (c *Coordinator) AllWorkers() []report.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.core.Workers(time.Now())
	for _, w := range c.core.AwayOffers() {
		all = append(all, report.Worker{Name: w.WorkerID, ID: w.WorkerID, State: report.Away, Datasets: w.Datasets})
	}
	return all
}

// DrainWorker asks a worker to leave permanently: it gets no new attempts, and other workers copy
// its outputs as far as they are needed. When it has left, nobody waits for its files. For a worker
// that is away, give its ID; nobody waits for its files from then on. The error wraps
// wire.ErrUnknownWorker when there is no such worker.
func (c *Coordinator) DrainWorker(ctx context.Context, name string) error {
	c.mu.Lock()
	known := c.core.HasLease(name)
	away := slices.ContainsFunc(c.core.AwayOffers(), func(o sched.Offered) bool { return o.WorkerID == name })
	c.mu.Unlock()
	if away {
		return c.forgetAway(ctx, name)
	}
	if !known {
		return fmt.Errorf("drain worker %s: %w", name, wire.ErrUnknownWorker)
	}
	if err := c.ask(ctx, sched.DrainWorker{Worker: name, Permanent: true}); err != nil {
		return fmt.Errorf("drain worker %s: %w", name, err)
	}
	return nil
}

// forgetAway stops the wait for the files of an away worker.
func (c *Coordinator) forgetAway(ctx context.Context, lasting string) error {
	if err := c.ask(ctx, sched.WorkerWithdrawn{WorkerID: lasting}); err != nil {
		return fmt.Errorf("worker %s: %w", lasting, err)
	}
	return nil
}

// Join offers the slots of a worker. outputs are the attempts with a sealed output on the worker:
// the coordinator keeps the outputs that count and drops the others. No other living worker may
// have the name; the same name again replaces the former worker and loses its attempts. From then
// on the worker calls Heartbeat more often than every LeaseTTL/3.
func (c *Coordinator) Join(name string, slots int, zone string, outputs []job.Attempt, w Worker) error {
	if name == "" || slots < 1 || w == nil {
		return fmt.Errorf("coordinator: worker %q with %d slots: must have a name, a slot or more, and a Worker", name, slots)
	}
	return c.JoinAs(sched.WorkerJoined{Worker: name, Slots: slots, Zone: zone, Outputs: outputs}, w)
}

// JoinAs is Join for a worker in another process, which sends more about itself than its slots. It
// may have running attempts, as after a restart of the coordinator or a lost lease: useful ones
// continue, the others are cancelled.
func (c *Coordinator) JoinAs(ev sched.WorkerJoined, w Worker) error {
	return c.post(message{ev: ev, worker: w})
}

// Settled reports that all workers have joined again after a restart. Outputs that no worker holds
// are then made again at once, without the wait of Policy.Settle.
func (c *Coordinator) Settled() { _ = c.post(message{ev: sched.Settled{}}) }

// Leave removes a worker at once. Its attempts, and its outputs that are still needed, run again
// on other workers.
func (c *Coordinator) Leave(name string) { _ = c.post(message{ev: sched.WorkerLost{Worker: name}}) }

// Heartbeat renews the lease of a worker. It returns ErrLeaseLost when there is none; the worker
// then joins again.
func (c *Coordinator) Heartbeat(name string) error { return c.heartbeat(name, nil) }

// Running is a Heartbeat with a list of all running attempts of the worker. The coordinator
// compares it with its own, and so notices lost launches and reports. Workers in other processes
// use it.
func (c *Coordinator) Running(name string, attempts []job.Attempt) error {
	if attempts == nil {
		attempts = []job.Attempt{}
	}
	return c.heartbeat(name, attempts)
}

func (c *Coordinator) heartbeat(name string, running []job.Attempt) error {
	c.mu.Lock()
	known := c.core.HasLease(name) || c.joining[name] > 0
	c.mu.Unlock()
	if err := c.post(message{ev: sched.Heartbeat{Worker: name, Running: running}}); err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("worker %s: %w", name, ErrLeaseLost)
	}
	return nil
}

// Done reports the sealed output of an attempt. The coordinator either commits it or makes the
// worker drop it.
func (c *Coordinator) Done(worker string, m *job.Manifest) {
	sum := sched.Summary{Bytes: m.Bytes(), Counters: m.Counters}
	for i := range m.Extents {
		sum.Records += m.Extents[i].Records
	}
	_ = c.post(message{ev: sched.AttemptDone{Worker: worker, Attempt: m.Attempt, Summary: sum, Keys: m.Keys}})
}

// Failed reports the end of an attempt without output.
func (c *Coordinator) Failed(worker string, a job.Attempt, f job.Failure) {
	_ = c.post(message{ev: sched.AttemptFailed{Worker: worker, Attempt: a, Failure: f}})
}

// OutputLost reports that the output of a committed attempt cannot be read. The task runs again if
// a stage or the client still needs the output.
func (c *Coordinator) OutputLost(a job.Attempt) {
	_ = c.post(message{ev: sched.OutputLost{Attempt: a}})
}

// ReportLost reports that a client cannot read the output of a committed attempt on a worker;
// attempt number zero means that the client found no commit. The task runs again, unless another
// worker holds its output by now; a job that was done runs again for that. The outputs of a failed,
// cancelled or released job are not made again. When ReportLost returns nil, this is in the
// journal.
func (c *Coordinator) ReportLost(ctx context.Context, p job.Producer) error {
	return c.ask(ctx, sched.OutputWanted{Attempt: p.Attempt, Worker: p.Worker})
}
