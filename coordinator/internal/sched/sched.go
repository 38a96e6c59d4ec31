// Package sched decides which attempt of which task runs on which worker, which output counts, and
// when a job is over.
//
// It is a core without side effects. Step takes one event and the time, and returns commands. The
// package starts nothing, reads no clock and does no I/O, so the same events always give the same
// commands. The shell around it (package coordinator) owns sockets, disks and goroutines:
//
//	for ev := range events {
//		for _, cmd := range s.Step(time.Now(), ev) {
//			do(cmd) // Write first: then Launch, Commit, JobEnded ...
//		}
//	}
//
// # Events and commands
//
// An event is a fact: a client submitted a job, a worker joined, an attempt ended, time passed. A
// command is a request to the shell: write a record, launch an attempt, commit an output. A short
// job looks like this:
//
//	WorkerJoined w1, 1 slot
//	Submitted j, 1 task          -> Write Submitted, Launch 0/0#1 on w1
//	AttemptDone 0/0#1 on w1      -> Write Committed, Commit 0/0#1 on w1, Write Ended, JobEnded j
//
// The scripts in testdata show many more.
//
// # The life of a task
//
// A task is waiting until a worker gets it, running while at least one attempt runs, and done when
// an attempt was committed and a worker holds its output. After a transient failure it is delayed
// for a while, then waiting again. When the holder of its output is lost the task is gone: it waits
// again if some stage or client still needs the output. A stage is ready when all stages that it
// reads are complete.
//
// # The order of work
//
// A Step brings free slots and waiting tasks together, in this order:
//
//  1. Bands (order.go): jobs of a higher priority go first; at equal priority, interactive jobs go
//     first. Lower bands still get a fixed share of all starts, so no job starves.
//  2. Fair share (order.go): within a band the job with the fewest running attempts goes first.
//  3. Later stages of a job go before earlier ones.
//  4. Needs (need.go), reserved slots and budgets (budget.go) exclude workers and stages for now.
//  5. Locality (locality.go, prefer.go): a worker takes tasks whose input it holds, then, after a
//     wait, tasks with input in its zone, then any task. Combine stages (tier.go) merge outputs
//     that lie near each other.
//  6. Speculation (speculate.go): near the end of a stage, free slots run second attempts of
//     stragglers.
//
// A worker on which attempts keep failing is on the block list for a while (block.go). A worker
// that drains gets no attempts, and its outputs are copied away (drain.go). Queued tasks (single
// calls of named functions) belong to package queue, but take the same slots: each of their
// priorities stands in the line like a job (queued.go).
//
// # Crashes
//
// Whatever must survive a crash leaves Step as a Write command: few records of decisions (a job was
// submitted, an attempt was committed, a job ended) and never their causes. Restore puts them back.
// So replay does not depend on the policies of this package, and leases, queues, failure counts and
// running attempts need no journal. After a restart, workers report their outputs and running
// attempts when they join (restart.go).
//
// # What always holds
//
//   - A task has at most one committed attempt. Only its output is read.
//   - Attempt numbers of a task never repeat. Every Restarted begins a new epoch, written as a
//     record, and the attempts of epoch e are numbered from e*1,000,000+1. The first start is epoch
//     0.
//   - Every task of a job that has not ended has an owner or a wake-up time, and all totals add up:
//     see Audit.
//   - Every job ends: done, failed or cancelled.
//   - Memory is proportional to the number of tasks.
//   - A Step scans tasks only when a stage begins, a worker is lost or drains, or a job ends. It
//     scans workers only when a job gets tasks to launch while workers are idle.
package sched

import (
	"container/list"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Config holds the policies. Zero values mean the defaults. Each policy lives in one file.
type Config struct {
	// LeaseTTL is how long a silent worker keeps its lease. Zero means 10 s; a negative value means
	// no limit.
	LeaseTTL time.Duration
	// Settle is the longest wait after a restart for workers to report their outputs. Until then
	// nothing is launched and no output counts as lost. The wait ends early when every needed
	// output has been reported. Zero means 10 s.
	Settle time.Duration
	// Rejoin is the shortest wait after a restart before anything is launched, so that workers can
	// report their running attempts. It applies even when all outputs were reported sooner. Zero
	// means 1 s, negative no wait.
	Rejoin time.Duration
	// MaxAttempts is how many transient failures of one task fail its job, unless its stage sets a
	// limit. Zero means 4.
	MaxAttempts int
	// MaxInputLost is how many times one task may fail because its input was lost before the job
	// fails. Zero means 100.
	MaxInputLost int
	// RetryDelay is the wait after the first transient failure of a task. It doubles with each
	// failure. Zero means 100 ms.
	RetryDelay time.Duration
	// LocalityWait is how long a worker without near tasks waits before it takes tasks with input
	// in its zone. It waits twice as long before it takes any other task. A worker without a zone
	// waits once. Zero means 1 s, negative no wait.
	LocalityWait time.Duration
	// StragglerRatio is how many times longer than its stage's median an attempt may run before a
	// speculative attempt starts on another worker. Zero means 1.5, negative never.
	StragglerRatio float64
	// SpeculateAfter is how long an attempt must have run before it can count as a straggler. Zero
	// means 5 s.
	SpeculateAfter time.Duration
	// BlockAfter is how many transient failures in a row put a worker on the block list. Zero means
	// 3, negative never.
	BlockAfter int
	// BlockFor is how long a worker stays on the block list. Zero means 1 minute.
	BlockFor time.Duration
	// Return applies when a client needs a lost output of a finished job: it is how long the job
	// waits for the lost worker to join again before it makes the output again. Zero means 3 s,
	// negative no wait.
	Return time.Duration
	// Retain is how long a job is kept after its end before it is dropped. Zero or less means
	// always.
	Retain time.Duration
}

func (c Config) withDefaults() Config {
	c.LeaseTTL = orDefault(c.LeaseTTL, 10*time.Second)
	c.Settle = orDefault(c.Settle, 10*time.Second)
	c.Rejoin = max(orDefault(c.Rejoin, time.Second), 0)
	c.Return = max(orDefault(c.Return, 3*time.Second), 0)
	c.MaxAttempts = orDefault(c.MaxAttempts, 4)
	c.MaxInputLost = orDefault(c.MaxInputLost, 100)
	c.RetryDelay = orDefault(c.RetryDelay, 100*time.Millisecond)
	c.LocalityWait = max(orDefault(c.LocalityWait, time.Second), 0)
	c.StragglerRatio = orDefault(c.StragglerRatio, 1.5)
	c.SpeculateAfter = orDefault(c.SpeculateAfter, 5*time.Second)
	c.BlockAfter = orDefault(c.BlockAfter, 3)
	c.BlockFor = orDefault(c.BlockFor, time.Minute)
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Scheduler is the core. It is not safe for use by several goroutines.
type Scheduler struct {
	cfg Config
	now time.Time
	out []Command

	epoch      int
	jobs       map[job.ID]*jobState
	order      []*jobState // all jobs, in order of submission
	active     []*jobState // jobs without an end, in order of submission
	workers    map[string]*worker
	needs      map[string]*need // needs of active jobs, by key
	kinds      map[string]*kind // kinds of workers, by key
	lastJob    int              // number of the last submitted job
	tallies    [StageKinds]Tally
	shares     map[string]*share
	offered    map[string][]string      // sorted datasets, by worker ID
	queuedJobs [queuedClasses]*jobState // stand in the line for queued tasks

	touched   []*jobState // jobs with a change in this Step
	line      []*jobState // jobs with tasks to launch, in order of service; see compareJobs
	running   int         // number of running attempts
	freed     []*worker   // workers with a new free slot in this Step
	freshJobs int         // number of jobs in line with the fresh flag
	// tickets are the requests for budgets with tickets not yet taken by an attempt, in order of
	// request.
	tickets    []ticketRequest
	lastTicket uint64    // number of the last ticket
	starts     uint64    // launches and grants so far
	turn       uint32    // position in the sequence of turns; see yieldSlot
	yielded    uint64    // starts of lower bands in their turn
	idle       list.List // of *worker: has free slots, does not drain; longest unused first
	spare      list.List // of *worker: like idle, but all free slots are reserved
	naps       naps      // idle workers waiting for near tasks

	leases      list.List // of *worker, earliest end first
	blocked     list.List // of *worker, earliest end first
	delayed     retries
	settling    bool
	settleUntil time.Time
	rejoinUntil time.Time          // zero when the wait is over
	speculateAt time.Time          // zero when no attempt can be raced
	drains      []*worker          // draining workers
	drainAt     time.Time          // when to look at the draining workers again
	retained    []*jobState        // ended jobs, earliest end first
	returning   []*jobState        // jobs waiting for lost workers to join again
	woke        time.Time          // of the last Woke
	cuts        map[pair]time.Time // when one of two workers could not read from the other
}

// New returns a scheduler without jobs and workers.
func New(cfg Config) *Scheduler {
	s := &Scheduler{cfg: cfg.withDefaults(), jobs: map[job.ID]*jobState{}, workers: map[string]*worker{},
		needs: map[string]*need{}, kinds: map[string]*kind{}, shares: map[string]*share{}, offered: map[string][]string{}}
	for c := range s.queuedJobs {
		s.queuedJobs[c] = newQueuedJob(QueuedClass(c))
	}
	return s
}

// Step applies one event at time now and returns the resulting commands. The returned slice is
// valid until the next Step.
func (s *Scheduler) Step(now time.Time, ev Event) []Command {
	s.now, s.out = now, s.out[:0]
	switch ev := ev.(type) {
	case Submitted:
		s.submitJob(ev)
	case WorkerJoined:
		s.joinWorker(ev)
	case WorkerLost:
		if w := s.workers[ev.Worker]; w != nil {
			s.loseWorker(w)
			s.emit(WorkerGone{w.name})
		}
	case WorkerWithdrawn:
		s.withdrawOffer(ev)
	case Heartbeat:
		s.heartbeat(ev)
	case AttemptDone:
		s.attemptDone(ev)
	case AttemptFailed:
		s.attemptFailed(ev)
	case OutputLost:
		s.outputLost(ev.Attempt)
	case OutputWanted:
		s.outputWanted(ev)
	case Detached:
		if j := s.jobs[ev.Job]; j != nil && !j.options.Detached {
			s.emit(Write{ev})
			j.options.Detached = true
		}
	case Cancelled:
		if j := s.jobs[ev.Job]; j != nil {
			s.endJob(j, Ended{Job: ev.Job, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: ev.Reason}})
		}
	case JobReleased:
		s.jobReleased(ev.Job)
	case JobDropped:
		s.dropJob(ev.Job)
	case DrainWorker:
		s.startDrain(s.workers[ev.Worker], ev.Permanent)
	case OutputMoved:
		s.outputMoved(ev)
	case QueuedWaiting:
		s.queuedWaiting(ev)
	case QueuedStarted:
		s.queuedStarted(ev)
	case QueuedEnded:
		s.queuedEnded(ev)
	case BudgetsGranted:
		s.grantTicket(ev.Ticket)
	case BudgetsShort:
		s.explainTicket(ev.Ticket, ev.Why)
	case Settled:
		s.settleUntil = s.now
	case Woke:
		s.wake()
	case Restarted:
		s.beginEpoch()
	}
	s.expireLeases()
	s.unblockWorkers()
	s.wakeRetries()
	s.endReturns()
	s.reviewTouched()
	s.endSettling()
	s.returnUnusedTickets()
	s.dispatch()
	s.startSpeculative()
	s.stepDrains()
	s.dropOldJobs()
	return s.out
}

// Next returns the time by which Step must be called again, with Tick if nothing else happens. The
// zero time means that only an event can change anything.
func (s *Scheduler) Next() time.Time {
	var next time.Time
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(s.naps) > 0 {
		soonest(s.naps[0].until)
	}
	soonest(s.speculateAt)
	soonest(s.drainAt)
	if s.cfg.Retain > 0 && len(s.retained) > 0 {
		soonest(s.retained[0].endedAt.Add(s.cfg.Retain))
	}
	if s.settling {
		soonest(s.settleUntil)
		soonest(s.rejoinUntil)
	}
	if len(s.delayed) > 0 {
		soonest(s.delayed[0].at)
	}
	for _, j := range s.returning {
		soonest(j.returnBy)
	}
	if e := s.leases.Front(); e != nil && s.cfg.LeaseTTL > 0 {
		soonest(e.Value.(*worker).lastContact.Add(s.cfg.LeaseTTL))
	}
	if e := s.blocked.Front(); e != nil {
		soonest(e.Value.(*worker).blockedUntil)
	}
	return next
}

// Epoch returns how often the coordinator has been restarted. Workers obey the highest epoch they
// have seen.
func (s *Scheduler) Epoch() int { return s.epoch }

func (s *Scheduler) emit(c Command) { s.out = append(s.out, c) }
