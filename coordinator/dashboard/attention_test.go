package dashboard

import (
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// A job that fails again and again is shown as such, and a failed job for a day.
func TestFailingJobsNeedALook(t *testing.T) {
	t.Parallel()
	now := time.Now()
	running := rowOf(report.Job{ID: "r", Reason: "all slots are busy", Stages: []report.Stage{{Tasks: 1, Waiting: 1, FailedAttempts: 7, LastFailure: "no route"}}})
	if got := failingText(&running, nil, now); got != "job r: 7 attempts failed, the last: no route" {
		t.Errorf("%q", got)
	}
	last := []sched.Trouble{{At: now.Add(-3 * time.Second), Attempt: job.Attempt{Job: "r", Task: job.Task{Index: 4}, N: 2}, Worker: "w1", Failure: job.Failure{Message: "no disk\nstack"}}}
	if got := failingText(&running, last, now); got != "job r: 7 attempts failed; 0/4 on w1, 3.0 s ago: no disk" {
		t.Errorf("%q", got)
	}
	last = append(last, last[0], last[0])
	if got := failingText(&running, last, now); !strings.Contains(got, "7 attempts failed, the last 3 all on worker w1; ") {
		t.Errorf("%q", got)
	}
	var failed []jobRow
	for i, ago := range []time.Duration{time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 30 * time.Hour} {
		failed = append(failed, rowOf(report.Job{ID: job.ID(rune('a' + i)), Outcome: report.JobFailed, Ended: now.Add(-ago), Failure: &job.Failure{Message: "it broke\nstack"}}))
	}
	got := failedLately(failed, now)
	if len(got) != maxFailed+1 || got[0].Text != "job a failed 1 min 00 s ago: it broke" || got[0].Command != "layshaft job report a" || got[3].URL != "/jobs?state=failed" {
		t.Errorf("%+v", got)
	}
	if got := failedLately(failed[4:], now); got != nil {
		t.Errorf("%+v", got)
	}
}
