package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/taskserver"
)

// auditor looks, a little at a time, whether every task that is not final has an owner or a wake-up time and all totals conserve. A part of an audit
// holds a core for some milliseconds at most, and parts are far apart, so that a million tasks cost others nothing that they notice.
type auditor struct {
	// mu guards the fields below.
	mu    sync.Mutex
	on    bool // by run: what is being replayed is not whole yet
	jobs  audit[coordinator.AuditPlace]
	tasks audit[int]
}

// audit goes round one core. P is its kind of place, whose zero value is the beginning.
type audit[P comparable] struct {
	part   func(at P) (bad []string, next P)
	at     P
	now    []string  // found in this round
	last   []string  // found in the last whole round
	ended  time.Time // when that was; zero when there was none
	took   time.Duration
	began  time.Time
	rounds int
}

const (
	// auditEvery is how often something is looked at.
	auditEvery = time.Second
	// auditFor is how long that takes, about.
	auditFor = 3 * time.Millisecond
	// maxFindings is how many broken promises are kept.
	maxFindings = 100
)

func newAuditor(c *coordinator.Coordinator, t *taskserver.Server) *auditor {
	a := &auditor{}
	a.jobs.part, a.tasks.part = c.AuditPart, t.AuditPart
	return a
}

// run looks until ctx ends.
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

// look goes on with both rounds for a moment.
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
		bad, next := a.part(a.at)
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

// findings is what an audit of one core says.
type findings struct {
	Core   string // jobs or tasks
	Found  []string
	Rounds int
	Ended  time.Time
	Took   time.Duration
}

// findings returns what is broken: what the last whole round found, or this one until now.
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
