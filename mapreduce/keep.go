package mapreduce

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/worker"
)

// keeper stands between the workers and the coordinator of a run with a state. It holds back the transient failure that would end the
// job and ends the run instead. So the journal never learns that the job failed, all that was committed stays, and when
// its cause is gone (a full disk, a shop that was away), the same command goes on. A fatal failure ends the job: it would come again.
type keeper struct {
	worker.Reporter
	spec  *job.Spec
	state string
	end   context.CancelCauseFunc

	// mu guards the field below.
	mu     sync.Mutex
	failed map[job.Task]int
}

// Failed passes on what may be tried again.
func (k *keeper) Failed(name string, a job.Attempt, f job.Failure) {
	if !k.final(a.Task, &f) {
		k.Reporter.Failed(name, a, f)
		return
	}
	f.Message += fmt.Sprintf("; what is done stays in %s, and the same command goes on from there", k.state)
	k.end(&report.JobError{ID: a.Job, Outcome: report.JobFailed, Failure: f})
}

// final reports whether a transient failure would end the job.
func (k *keeper) final(t job.Task, f *job.Failure) bool {
	if f.Kind != job.Transient {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed[t]++
	return k.failed[t] >= cmp.Or(k.spec.Stages[t.Stage].MaxAttempts, maxAttempts)
}

// maxAttempts is how many attempts a task has unless Retry says otherwise.
const maxAttempts = 4
