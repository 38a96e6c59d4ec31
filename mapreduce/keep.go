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

// keeper stands between the workers and the coordinator of a run with State. If a transient failure
// would end the job, keeper does not report it and ends the run instead. The journal then does not
// record a failed job, and all commits stay. When the cause is gone, such as a full disk, the same
// command continues the job. A fatal failure ends the job, because it would occur again.
type keeper struct {
	worker.Reporter
	spec  *job.Spec
	state string
	end   context.CancelCauseFunc

	// mu guards the field below.
	mu     sync.Mutex
	failed map[job.Task]int
}

// Failed reports a failure that leads to another attempt, and ends the run otherwise.
func (k *keeper) Failed(name string, a job.Attempt, f job.Failure) {
	if !k.isFinal(a.Task, &f) {
		k.Reporter.Failed(name, a, f)
		return
	}
	f.Message += fmt.Sprintf("; finished tasks stay in %s, and the same command continues there", k.state)
	k.end(&report.JobError{ID: a.Job, Outcome: report.JobFailed, Failure: f})
}

// isFinal reports whether a transient failure would end the job.
func (k *keeper) isFinal(t job.Task, f *job.Failure) bool {
	if f.Kind != job.Transient {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed[t]++
	return k.failed[t] >= cmp.Or(k.spec.Stages[t.Stage].MaxAttempts, maxAttempts)
}

// maxAttempts is the number of attempts of a task without Retry.
const maxAttempts = 4
