package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

type (
	jobListCmd struct {
		clientFlags
		Limit int `default:"100" help:"Largest number of tasks to list."`
	}
	jobShowCmd struct {
		clientFlags
		ID string `arg:"" help:"ID of the job, or a prefix of it."`
	}
	jobCancelCmd struct {
		clientFlags
		ID  string `arg:"" help:"ID of the job, or a prefix of it."`
		Why string `default:"by layshaft job cancel" placeholder:"TEXT" help:"Reason, shown to other users."`
	}
	jobWaitCmd struct {
		clientFlags
		ID string `arg:"" help:"ID of the job, or a prefix of it."`
	}
	jobReportCmd struct {
		clientFlags
		ID string `arg:"" help:"ID of the job, or a prefix of it."`
	}
)

// jobView is the JSON form of a job (-o json).
type jobView struct {
	Job         string      `json:"job"`
	Name        string      `json:"name"`
	Outcome     string      `json:"outcome"` // running, done, failed or cancelled
	Reason      string      `json:"reason,omitempty"`
	Failure     string      `json:"failure,omitempty"`
	Detail      string      `json:"detail,omitempty"`
	Owner       string      `json:"owner,omitempty"`
	Priority    int         `json:"priority"`
	Interactive bool        `json:"interactive"`
	Detached    bool        `json:"detached"`
	Tags        []string    `json:"tags,omitempty"`
	Submitted   *time.Time  `json:"submitted,omitempty"`
	Ended       *time.Time  `json:"ended,omitempty"`
	Stages      []stageView `json:"stages"`
}

// stageView is the JSON form of a stage. Tasks is the sum of waiting, running, done, failed and
// cancelled.
type stageView struct {
	Stage          string           `json:"stage"`
	Tasks          int              `json:"tasks"`
	Waiting        int              `json:"waiting"`
	Running        int              `json:"running"`
	Done           int              `json:"done"`
	Failed         int              `json:"failed"`
	Cancelled      int              `json:"cancelled"`
	Attempts       int              `json:"attempts"` // running, committed and failed
	FailedAttempts int              `json:"failed_attempts"`
	LastFailure    string           `json:"last_failure,omitempty"` // error of an attempt, while tasks remain
	Lost           int              `json:"lost_outputs"`
	ReadRecords    int64            `json:"read_records"`
	ReadBytes      int64            `json:"read_bytes"`
	WroteRecords   int64            `json:"wrote_records"`
	WroteBytes     int64            `json:"wrote_bytes"`
	Local          place            `json:"local"`
	Zone           place            `json:"zone"`
	Remote         place            `json:"remote"`
	Counters       map[string]int64 `json:"counters,omitempty"`
}

// place counts committed attempts by the location of their split.
type place struct {
	Attempts int   `json:"attempts"` // running, committed and failed
	Bytes    int64 `json:"bytes"`
}

// The engine's own counters; see package mapreduce.
const (
	recordsCounter = ".records"
	bytesCounter   = ".bytes"
)

func viewJob(r *report.Job) jobView {
	v := jobView{Job: string(r.ID), Name: r.Name, Outcome: r.Outcome.String(), Reason: r.Reason, Owner: r.Options.Owner, Priority: r.Options.Priority,
		Interactive: r.Options.Interactive, Detached: r.Options.Detached, Tags: r.Options.Tags, Stages: []stageView{}}
	if r.Failure != nil {
		v.Failure, v.Detail = r.Failure.Error(), r.Failure.Detail
	}
	for _, t := range []struct {
		from time.Time
		to   **time.Time
	}{{r.Options.Submitted, &v.Submitted}, {r.Ended, &v.Ended}} {
		if !t.from.IsZero() {
			*t.to = &t.from
		}
	}
	for k := range r.Stages {
		st, l := &r.Stages[k], &r.Stages[k].Sum.Locality
		s := stageView{Stage: st.Name, Tasks: st.Tasks, Waiting: st.Waiting, Running: st.Running, Done: st.Done, Failed: st.Failed,
			Cancelled: st.Cancelled, Attempts: st.Attempts + st.Done + st.Lost + st.FailedAttempts, FailedAttempts: st.FailedAttempts, LastFailure: st.LastFailure, Lost: st.Lost,
			ReadRecords: st.Sum.Counters[recordsCounter] + st.Progress.Records, ReadBytes: st.Sum.Counters[bytesCounter] + st.Progress.Bytes,
			WroteRecords: st.Sum.Records, WroteBytes: st.Sum.Bytes, Counters: map[string]int64{},
			Local: place{l.Local, l.LocalBytes}, Zone: place{l.Zone, l.ZoneBytes}, Remote: place{l.Remote, l.RemoteBytes}}
		for name, n := range st.Sum.Counters {
			if !strings.HasPrefix(name, ".") {
				s.Counters[name] = n
			}
		}
		v.Stages = append(v.Stages, s)
	}
	return v
}

// formatTook formats the duration of the job so far.
func (v *jobView) formatTook() string {
	switch {
	case v.Submitted == nil:
		return "-"
	case v.Ended != nil:
		return formatSince(v.Ended.Sub(*v.Submitted))
	case v.Outcome != report.JobRunning.String():
		return "-"
	}
	return formatSince(time.Since(*v.Submitted))
}

// formatDone formats the number of finished tasks.
func (v *jobView) formatDone() string {
	done, all := 0, 0
	for i := range v.Stages {
		done += v.Stages[i].Done
		all += v.Stages[i].Tasks
	}
	return fmt.Sprintf("%d/%d", done, all)
}

func jobTable(w io.Writer, jobs []jobView) {
	row(w, "JOB", "OUTCOME", "DONE", "TOOK", "OWNER", "NOTE")
	for i := range jobs {
		v := &jobs[i]
		note, _, _ := strings.Cut(v.Failure, "\n")
		row(w, v.Job, v.Outcome, v.formatDone(), v.formatTook(), v.Owner, note+v.stallReason())
	}
}

// stallReason explains why a job makes no progress, and the last failure.
func (v *jobView) stallReason() string {
	why := v.Reason
	for _, s := range v.Stages {
		if s.LastFailure != "" {
			if why != "" {
				why += "; "
			}
			return why + "last failure: " + s.LastFailure
		}
	}
	return why
}

// Run lists jobs.
func (c *jobListCmd) Run(ctx context.Context) error {
	views, err := c.jobs(ctx, c.Limit)
	if err != nil {
		return err
	}
	return c.print(views, func(w io.Writer) { jobTable(w, views) })
}

func (f *clientFlags) jobs(ctx context.Context, limit int) ([]jobView, error) {
	if limit < 1 {
		return nil, usageError{fmt.Errorf("-limit %d must be 1 or more", limit)}
	}
	client, err := f.dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	jobs, err := client.Jobs(ctx, limit)
	views := make([]jobView, len(jobs))
	for i := range jobs {
		views[i] = viewJob(&jobs[i])
	}
	return views, err
}

// withJob finds a job and passes it to do.
func (f *clientFlags) withJob(ctx context.Context, id string, do func(*client.Client, report.Job) error) error {
	client, err := f.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := findJob(ctx, client, id)
	if err != nil {
		return err
	}
	return do(client, st)
}

// Run shows a job.
func (c *jobShowCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(_ *client.Client, st report.Job) error {
		v := viewJob(&st)
		return c.print(v, func(w io.Writer) {
			v.writeHead(w)
			row(w)
			row(w, "STAGE", "TASKS", "WAITING", "RUNNING", "DONE", "FAILED", "CANCELLED", "FAILED ATTEMPTS", "LOST OUTPUTS")
			for _, s := range v.Stages {
				row(w, s.Stage, s.Tasks, s.Waiting, s.Running, s.Done, s.Failed, s.Cancelled, s.FailedAttempts, s.Lost)
			}
			for _, s := range v.Stages {
				if s.LastFailure != "" {
					row(w)
					row(w, "the last failure of "+s.Stage+": "+s.LastFailure)
				}
			}
		})
	})
}

// writeHead writes the general state of a job.
func (v *jobView) writeHead(w io.Writer) {
	row(w, "job", v.Job)
	row(w, "outcome", v.Outcome)
	row(w, "tasks done", v.formatDone())
	row(w, "took", v.formatTook())
	for _, l := range []struct{ name, value string }{{"owner", v.Owner}, {"tags", strings.Join(v.Tags, ",")}, {"waits", v.Reason}, {"failure", v.Failure}, {"detail", v.Detail}} {
		if l.value != "" {
			row(w, l.name, strings.ReplaceAll(strings.TrimSpace(l.value), "\n", "\n\t"))
		}
	}
}

// Run shows the input and output of stages.
func (c *jobReportCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(_ *client.Client, st report.Job) error {
		v := viewJob(&st)
		return c.print(v, func(w io.Writer) {
			v.writeHead(w)
			row(w)
			row(w, "STAGE", "RECORDS IN", "BYTES IN", "RECORDS OUT", "BYTES OUT", "LOCAL", "SAME ZONE", "REMOTE")
			at := func(p place) string {
				if p.Attempts == 0 {
					return "-"
				}
				return fmt.Sprintf("%d (%s)", p.Attempts, bytesize.Format(p.Bytes))
			}
			for _, s := range v.Stages {
				row(w, s.Stage, s.ReadRecords, bytesize.Format(s.ReadBytes), s.WroteRecords, bytesize.Format(s.WroteBytes), at(s.Local), at(s.Zone), at(s.Remote))
			}
			sums := map[string]int64{}
			for _, s := range v.Stages {
				for name, n := range s.Counters {
					sums[name] += n
				}
			}
			if len(sums) > 0 {
				row(w)
				row(w, "COUNTER", "VALUE")
			}
			for _, name := range slices.Sorted(maps.Keys(sums)) {
				row(w, name, sums[name])
			}
		})
	})
}

// Run ends a job.
func (c *jobCancelCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		if err := client.Cancel(ctx, st.ID, c.Why); err != nil {
			return err
		}
		st, err := client.Status(ctx, st.ID)
		if err != nil {
			return err
		}
		v := viewJob(&st)
		return c.print(v, func(w io.Writer) { row(w, "job "+v.Job+" "+v.Outcome) })
	})
}

// Run waits for a job.
func (c *jobWaitCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		var last report.Job
		for r, err := range client.Watch(ctx, st.ID) {
			if err != nil {
				return err
			}
			last = r
		}
		v := viewJob(&last)
		if err := c.print(v, func(w io.Writer) { row(w, "job "+v.Job+" "+v.Outcome+" after "+v.formatTook()) }); err != nil {
			return err
		}
		return outcomeError(&last)
	})
}

// outcomeError returns the error for the exit code; the message has been printed already.
func outcomeError(r *report.Job) error {
	if r.Outcome == report.JobDone {
		return nil
	}
	e := &report.JobError{ID: r.ID, Outcome: r.Outcome, Failure: job.Failure{Message: "it has not ended"}}
	if r.Failure != nil {
		e.Failure = *r.Failure
	}
	return e
}
