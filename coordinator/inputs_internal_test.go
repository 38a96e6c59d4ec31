package coordinator

import (
	"testing"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// TestInputsOfEndedJobs checks that a job which ends well, or is cancelled, pins no inputs.
func TestInputsOfEndedJobs(t *testing.T) {
	for outcome, want := range map[report.Outcome]int{report.JobDone: 0, report.JobCancelled: 0, report.JobFailed: 1} {
		c := &Coordinator{cfg: Config{KeepFailed: 1}}
		c.inputs = inputs{failed: map[job.ID]*failedInputs{"j": {launches: make([]job.Launch, 3)}}, order: []job.ID{"j"}}
		c.noteJobEnd(&sched.JobEnded{Job: "j", Outcome: outcome})
		if len(c.inputs.failed) != want || len(c.inputs.order) != want {
			t.Errorf("%v: the inputs of %d jobs stay, want %d", outcome, len(c.inputs.failed), want)
		}
	}
}
