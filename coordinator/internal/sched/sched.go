// Package sched decides which attempt of which task runs on which worker, whose output counts, and when a job is over.
//
// It is a pure core: Step takes one fact and the time and returns wishes. It starts nothing, reads no clock, does no
// I/O, and the same events give the same commands. The shell around it owns sockets, disks and goroutines.
//
// What must survive a crash leaves Step as Write commands: few records of what was decided (a job was submitted, an
// attempt was committed, a job ended), never what led there. Restore puts them back. So replay does not depend on the
// policies of this package, and leases, queues, failures counted and attempts on their way need no journal.
//
// Attempt numbers never repeat for a task: every Restarted begins a new epoch, written as a record, and the attempts of
// epoch e are numbered from e*1,000,000+1. The first start is epoch 0.
//
// Memory is proportional to the number of tasks; a Step costs no scan over tasks except when a stage begins, a worker
// is lost or drains, or a job ends, and no scan over workers except when a job gets tasks to launch while workers are idle.
package sched

import (
	"container/list"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// Config holds the policies. Zero values mean the defaults; each policy lives in one file.
type Config struct {
	// LeaseTTL is how long a silent worker keeps its lease. Zero means 10 s, negative for ever.
	LeaseTTL time.Duration
	// Settle is how long after a restart outputs wait for a worker that holds them before they count as lost, and launches
	// wait with them. It ends early when every output that is still needed has been claimed. Zero means 10 s.
	Settle time.Duration
	// Rejoin is how long after a restart nothing is launched even then, so that workers can say what they are running. Zero means 1 s,
	// negative no wait.
	Rejoin time.Duration
	// MaxAttempts is how many transient failures of one task fail its job, unless its stage says. Zero means 4.
	MaxAttempts int
	// MaxInputLost is how often one task may fail because its input was lost before the job fails. Zero means 100.
	MaxInputLost int
	// RetryDelay is the wait after the first transient failure of a task; it doubles with each. Zero means 100 ms.
	RetryDelay time.Duration
	// LocalityWait is how long a worker without splits of its own waits before it takes splits held in its zone, and twice
	// that for splits held elsewhere. A worker without a zone waits once. Zero means 1 s, negative no wait.
	LocalityWait time.Duration
	// StragglerRatio is how many times longer than its stage's median an attempt may run before a speculative attempt
	// starts on another worker. Zero means 1.5, negative never.
	StragglerRatio float64
	// SpeculateAfter is the least time an attempt must have run before it counts as a straggler. Zero means 5 s.
	SpeculateAfter time.Duration
	// BlockAfter is how many transient failures in a row put a worker on the block list. Zero means 3, negative never.
	BlockAfter int
	// BlockFor is how long a worker stays on the block list. Zero means 1 minute.
	BlockFor time.Duration
	// Return is how long outputs of a job that is done wait for a worker that was lost to join again, when a client wants them, before they are
	// made again. Zero means 3 s, negative no wait.
	Return time.Duration
	// Retain is how long a job is kept after its end before it is dropped. Zero or less means for ever.
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

// Scheduler is the core. Use it from one goroutine.
type Scheduler struct {
	cfg Config
	now time.Time
	out []Command

	epoch      int
	jobs       map[job.ID]*jobState
	order      []*jobState // all jobs, in order of submission
	active     []*jobState // those that have not ended
	workers    map[string]*worker
	needs      map[string]*need // of active jobs
	kinds      map[string]*kind // of workers
	lastJob    int              // of the last job
	tallies    [StageKinds]Tally
	shares     map[string]*share
	offered    map[string][]string      // datasets, sorted, by the lasting names of workers
	queuedJobs [queuedClasses]*jobState // stand in line for calls

	touched    []*jobState     // changed during this Step
	line       []*jobState     // those with tasks to launch, the first to be served first; see compareJobs
	running    int             // attempts on their way
	freed      []*worker       // got a free slot during this Step
	freshJobs  int             // jobs in line with tasks that were not there before
	tickets    []ticketRequest // for budgets, that no attempt has; in the order in which they were asked for
	lastTicket uint64          // the last one
	starts     uint64          // launches and grants
	turn       uint32          // see yield
	yielded    uint64          // starts that went to a lower band
	idle       list.List       // of *worker: free slots, not draining; the longest unused first
	spare      list.List       // of *worker: the same, but all free slots are reserved
	naps       naps            // of idle workers that wait for tasks that are near

	leases      list.List // of *worker, the earliest end first
	blocked     list.List // of *worker, the earliest end first
	delayed     retries
	settling    bool
	settleUntil time.Time
	rejoinUntil time.Time   // zero when it is over
	speculateAt time.Time   // zero when nothing could race
	drains      []*worker   // that drain
	drainAt     time.Time   // when to look at them again
	retained    []*jobState // that have ended, the first that did first
	returning   []*jobState // whose outputs wait for workers to return
}

// New returns an empty core.
func New(cfg Config) *Scheduler {
	s := &Scheduler{cfg: cfg.withDefaults(), jobs: map[job.ID]*jobState{}, workers: map[string]*worker{},
		needs: map[string]*need{}, kinds: map[string]*kind{}, shares: map[string]*share{}, offered: map[string][]string{}}
	for c := range s.queuedJobs {
		s.queuedJobs[c] = newQueuedJob(QueuedClass(c))
	}
	return s
}

// Step applies one event at time now and returns what the world should do next. The returned slice is valid until the
// next Step.
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
			s.endJob(j, Ended{Job: ev.Job, Outcome: Aborted, Failure: &job.Failure{Kind: job.Cancelled, Message: ev.Why}})
		}
	case JobReleased:
		s.jobReleased(ev.Job)
	case JobDropped:
		s.dropJob(ev.Job)
	case DrainWorker:
		s.startDrain(s.workers[ev.Worker])
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
	case Settled:
		s.settleUntil = s.now
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

// Next returns the latest time at which Step wants to be called again, with Tick if nothing else happens.
// The zero time means that only an event can change anything.
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

// Epoch returns how often the coordinator has been restarted. Workers obey the highest epoch they have seen.
func (s *Scheduler) Epoch() int { return s.epoch }

func (s *Scheduler) emit(c Command) { s.out = append(s.out, c) }
