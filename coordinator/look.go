package coordinator

import (
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// What the status page and the metrics look at, beside Status. All of it is of one instant, and
// taken quickly.
type (
	// Sums adds up all jobs that are remembered.
	Sums = sched.Sums
	// StageKind sorts stages by what they read.
	StageKind = sched.StageKind
	// Tally counts attempts.
	Tally = sched.Tally
	// AttemptEnd is how an attempt ended.
	AttemptEnd = sched.End
	// Trouble is an attempt that ended without output.
	Trouble = sched.Trouble
	// RunningAttempt is an attempt on its way.
	RunningAttempt = sched.RunningAttempt
	// AuditPlace is how far an audit has come. The zero value is the beginning.
	AuditPlace = sched.AuditPosition
)

// The numbers of kinds of stages, and of ends of attempts.
const (
	StageKinds  = sched.StageKinds
	AttemptEnds = sched.Ends
)

// KindOf returns the kind of a stage.
func KindOf(st *job.Stage) StageKind { return sched.KindOf(st) }

// Sums returns totals over all remembered jobs. The time is proportional to the number of their
// stages.
func (c *Coordinator) Sums() Sums {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Sums()
}

// Tallies counts attempts by StageKind since the coordinator started.
func (c *Coordinator) Tallies() [StageKinds]Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Tallies()
}

// Troubles returns the last attempts of a job without output since the coordinator started, the
// latest last.
func (c *Coordinator) Troubles(id job.ID) []Trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Troubles(id)
}

// Attempts returns at most n running attempts of a job: by stage, the longest running first.
func (c *Coordinator) Attempts(id job.ID, n int) []RunningAttempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Attempts(id, n)
}

// AuditPart is one step of Audit. It looks at one stage, or at the totals, and returns the place
// of the next step; after the last step, that is the beginning again.
func (c *Coordinator) AuditPart(at AuditPlace) (bad []string, next AuditPlace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.AuditStep(at)
}

// JobPage returns the IDs of jobs with one of the outcomes want, the latest first: it skips the
// first skip of them and returns at most n. total counts all of them.
func (c *Coordinator) JobPage(skip, n int, want ...report.Outcome) (ids []job.ID, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Page(skip, n, want...)
}
