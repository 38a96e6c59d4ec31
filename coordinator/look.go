package coordinator

import (
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Sums returns totals over all remembered jobs. The time is proportional to the number of their
// stages.
func (c *Coordinator) Sums() sched.Sums {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Sums()
}

// Tallies counts attempts by kind of stage since the coordinator started.
func (c *Coordinator) Tallies() [sched.StageKinds]sched.Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Tallies()
}

// Read returns what the committed attempts of all jobs have read since the coordinator started.
func (c *Coordinator) Read() report.Progress {
	return report.Progress{Records: c.readRecords.Load(), Bytes: c.readBytes.Load()}
}

// Troubles returns the last attempts of a job without output since the coordinator started, the
// latest last.
func (c *Coordinator) Troubles(id job.ID) []sched.Trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Troubles(id)
}

// Attempts returns at most n running attempts of a job: by stage, the longest running first.
func (c *Coordinator) Attempts(id job.ID, n int) []sched.RunningAttempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Attempts(id, n)
}

// AuditStep is one step of Audit. It looks at one stage, or at the totals, and returns the place
// of the next step; after the last step, that is the beginning again.
func AuditStep(c *Coordinator, at sched.AuditPosition) (bad []string, next sched.AuditPosition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sched.AuditStep(c.core, at)
}

// JobPage returns the IDs of jobs with one of the outcomes want, the latest first: it skips the
// first skip of them and returns at most n. total counts all of them.
func (c *Coordinator) JobPage(skip, n int, want ...report.Outcome) (ids []job.ID, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Page(skip, n, want...)
}
