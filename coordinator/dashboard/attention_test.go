package dashboard

import (
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// A job that fails again and again is shown as such, and a failed job for a day.
func TestFailingJobsNeedALook(t *testing.T) {
	t.Parallel()
	now := time.Now()
	running := rowOf(report.Job{ID: "r", Reason: "all slots are busy", Stages: []report.Stage{{Tasks: 1, Waiting: 1, FailedAttempts: 7, LastFailure: "no route"}}})
	if got := failing([]jobRow{running}); len(got) != 1 || got[0].Text != "job r: 7 attempts failed, the last: no route" || got[0].URL != "/jobs/r" {
		t.Errorf("%+v", got)
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
