package mapreduce

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	planningQuiet = 2 * time.Second // planning without a line
	planningEvery = 5 * time.Second // time between lines

	reportAfter = 500 * time.Millisecond // planning without a report to the coordinator
	reportEvery = time.Second            // time between reports
)

// showPlanning prints what planning does on standard error if it takes long, until the returned
// function is called.
func showPlanning(t *settings, in *filesys.Input) (end func()) {
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		for wait := planningQuiet; ; wait = planningEvery {
			select {
			case <-stop:
				return
			case <-time.After(wait):
			}
			if phase := in.Phase(); phase != "" {
				t.note("%s", phase)
			}
		}
	})
	return func() {
		close(stop)
		shown.Wait()
	}
}

// reportPlanning reports planning to the coordinator if it takes long, until the returned function
// is called. So the job is shown before it is submitted. If somebody cancels it, cancel is called.
func (e *cluster) reportPlanning(ctx context.Context, t *settings, name string, cancel context.CancelCauseFunc) (end func()) {
	in, c := filesys.InputOf(ctx), t.cluster
	st := report.Job{ID: job.ID(name + "-planning-" + rand.Text()[:8]), Name: name,
		Options: report.Options{Priority: c.Priority, Interactive: c.Interactive, Tags: c.Tags, Detached: c.Detach, Submitted: time.Now()}}
	work, stop := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reported := false
	reports.Go(func() {
		for wait := reportAfter; ; wait = reportEvery {
			select {
			case <-work.Done():
				return
			case <-time.After(wait):
			}
			reported = true
			st.Reason = in.Phase()
			// Without an answer, planning goes on: the report is for people.
			if why, err := e.client.Plan(work, &st, false); err == nil && why != "" {
				cancel(&report.JobError{ID: st.ID, Outcome: report.JobCancelled, Failure: job.Failure{Kind: job.Cancelled, Message: why}})
				return
			}
		}
	})
	return func() {
		stop()
		reports.Wait()
		if reported {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, _ = e.client.Plan(ctx, &st, true) // the coordinator forgets it by itself, later
		}
	}
}

// planError returns the reason why planning was cancelled, or else err.
func planError(ctx context.Context, err error) error {
	var cancelled *report.JobError
	if errors.As(context.Cause(ctx), &cancelled) {
		return cancelled
	}
	return err
}
