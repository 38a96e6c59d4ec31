package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/coordinator/taskserver"
)

// auditor checks, a little at a time, that every unfinished task has an owner or a wake-up time,
// and that all totals conserve. Each part of an audit holds a core for a few milliseconds at most,
// and parts are far apart, so that a million tasks cause no delay.
type auditor struct {
	// mu guards the fields below.
	mu sync.Mutex
	// on is set by run: during the replay of the journal the state is incomplete.
	on    bool
	jobs  audit[sched.AuditPosition]
	tasks audit[int]
}

// audit goes round one core. P is its kind of place; the zero value is the beginning.
type audit[P comparable] struct {
	step   func(at P) (bad []string, next P)
	at     P
	now    []string  // found in this round
	last   []string  // found in the last whole round
	ended  time.Time // when that was; zero when there was none
	took   time.Duration
	began  time.Time
	rounds int
}

const (
	// auditEvery is the time between two looks.
	auditEvery = time.Second
	// auditFor is the approximate duration of a look.
	auditFor = 3 * time.Millisecond
	// maxFindings is the limit of kept findings.
	maxFindings = 100
)

func newAuditor(c *coordinator.Coordinator, t *taskserver.Server) *auditor {
	a := &auditor{}
	a.jobs.step = func(at sched.AuditPosition) ([]string, sched.AuditPosition) { return coordinator.AuditStep(c, at) }
	a.tasks.step = t.AuditStep
	return a
}

// run audits until ctx ends.
func (a *auditor) run(ctx context.Context) {
	a.mu.Lock()
	a.on = true
	a.mu.Unlock()
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.look()
		}
	}
}

// look continues both rounds for a moment.
func (a *auditor) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on {
		a.jobs.look()
		a.tasks.look()
	}
}

func (a *audit[P]) look() {
	var begin P
	for until := time.Now().Add(auditFor); ; {
		if a.at == begin {
			a.began = time.Now()
		}
		bad, next := a.step(a.at)
		if len(a.now) < maxFindings {
			a.now = append(a.now, bad...)
		}
		if a.at = next; next == begin {
			a.last, a.now, a.ended = a.now, nil, time.Now()
			a.took = a.ended.Sub(a.began)
			a.rounds++
			return
		}
		if time.Now().After(until) {
			return
		}
	}
}

// findings are the results of an audit of one core.
type findings struct {
	Core   string // jobs or tasks
	Found  []string
	Rounds int
	Ended  time.Time
	Took   time.Duration
}

// findings returns the findings of each core: from the last complete round, or from this one if
// it has more.
func (a *auditor) findings() []findings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return []findings{a.jobs.findings("jobs"), a.tasks.findings("tasks")}
}

func (a *audit[P]) findings(core string) findings {
	found := a.now
	if len(a.last) > len(found) {
		found = a.last
	}
	return findings{core, append([]string(nil), found...), a.rounds, a.ended, a.took}
}
