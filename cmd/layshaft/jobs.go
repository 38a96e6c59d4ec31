package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/flame"
	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
)

type (
	jobListCmd struct {
		clientFlags
		Limit int `default:"100" help:"Largest number of jobs to list."`
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
	jobTraceCmd struct {
		clientFlags
		ID string `arg:"" help:"ID of the job, or a prefix of it."`
	}
	jobProfileCmd struct {
		clientFlags
		ID   string `arg:"" help:"ID of the job, or a prefix of it."`
		File string `placeholder:"FILE" default:"-" help:"Write the profile to FILE; - writes it to standard output, unless -html is set."`
		HTML string `name:"html" placeholder:"FILE" help:"Write flame graphs of all stages to FILE, as one file for a browser; - writes them to standard output."`
	}
	jobReportCmd struct {
		clientFlags
		ID      string `arg:"" help:"ID of the job, or a prefix of it."`
		HTML    string `name:"html" placeholder:"FILE" help:"Write the page of the job to FILE, as one file for a browser; - writes it to standard output."`
		History string `placeholder:"FILE" help:"Write the record of all attempts to FILE, for \"layshaft history\"."`
	}
)

// formatTook formats the duration of the job so far.
func formatTook(v *report.JobView) string {
	switch {
	case v.Submitted == nil:
		return "-"
	case v.Ended != nil:
		return formatSince(v.Ended.Sub(*v.Submitted))
	case v.Outcome != report.JobRunning.String() && v.Outcome != report.JobPlanning.String():
		return "-"
	}
	return formatSince(time.Since(*v.Submitted))
}

// formatStart formats the time of the submit, in the zone of this machine.
func formatStart(v *report.JobView) string {
	if v.Submitted == nil {
		return "-"
	}
	return v.Submitted.Local().Format(time.DateTime)
}

// formatDone formats the number of finished tasks. In planning it is unknown.
func formatDone(v *report.JobView) string {
	if v.Outcome == report.JobPlanning.String() {
		return "-"
	}
	return fmt.Sprintf("%d/%d", v.Done, v.Tasks)
}

func jobTable(w io.Writer, jobs []report.JobView) {
	row(w, "JOB", "OUTCOME", "DONE", "STARTED", "TOOK", "OWNER", "NOTE")
	for i := range jobs {
		v := &jobs[i]
		note, _, _ := strings.Cut(v.Failure, "\n")
		row(w, v.Job, v.Outcome, formatDone(v), formatStart(v), formatTook(v), v.Owner, note+stallReason(v))
	}
}

// stallReason explains why a job makes no progress, and the last failure.
func stallReason(v *report.JobView) string {
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

func (f *clientFlags) jobs(ctx context.Context, limit int) ([]report.JobView, error) {
	if limit < 1 {
		return nil, usageError{fmt.Errorf("-limit %d must be 1 or more", limit)}
	}
	client, err := f.dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	jobs, err := client.Jobs(ctx, limit)
	views := make([]report.JobView, len(jobs))
	for i := range jobs {
		views[i] = report.ViewJob(&jobs[i])
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

// shownJob is a job with what its record adds.
type shownJob struct {
	report.JobView
	Query   string            `json:"query,omitempty"` // of a report
	HotKeys []report.KeyShare `json:"hot_keys,omitempty"`
}

// Run shows a job.
func (c *jobShowCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		v, hot := shownJob{JobView: report.ViewJob(&st)}, &report.RunView{}
		if run, err := runOf(ctx, client, st.ID); err == nil {
			run.CountFailed(&v.JobView) // the coordinator counts from its start
			v.Query = queryOf(run)
			hot = report.ViewRun(run, &st, nil, time.Now())
			for i := range hot.Runs {
				v.HotKeys = append(v.HotKeys, hot.Runs[i].HotKeys...)
			}
		}
		return c.print(v, func(w io.Writer) {
			writeHead(w, &v.JobView)
			name := "query"
			for line := range strings.Lines(v.Query) {
				row(w, name, strings.TrimSpace(line))
				name = ""
			}
			row(w)
			row(w, "STAGE", "TASKS", "WAITING", "RUNNING", "DONE", "FAILED", "CANCELLED", "FAILED ATTEMPTS", "LOST OUTPUTS")
			for _, s := range v.Stages {
				row(w, s.Stage, s.Tasks, s.Waiting, s.Running, s.Done, s.Failed, s.Cancelled, s.FailedAttempts, s.Lost)
			}
			writeHotKeys(w, hot)
			for _, x := range v.Idle {
				row(w)
				row(w, fmt.Sprintf("%s on %s makes no progress for %s: it reads no record and uses no processor; its goroutines:", x.Attempt, x.Worker, formatSince(x.For.Duration())))
				for line := range strings.SplitSeq(x.Stacks, "\n") {
					row(w, strings.ReplaceAll(line, "\t", "    "))
				}
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

// queryOf returns the statement of a report, and "" for other jobs.
func queryOf(run *report.Run) string {
	var params struct{ Text string }
	if run.Name != job.ReportPipeline || json.Unmarshal(run.Params, &params) != nil {
		return ""
	}
	return params.Text
}

// writeHead writes the general state of a job.
func writeHead(w io.Writer, v *report.JobView) {
	row(w, "job", v.Job)
	row(w, "outcome", v.Outcome)
	row(w, "tasks done", formatDone(v))
	row(w, "started", formatStart(v))
	row(w, "took", formatTook(v))
	reason := "waits"
	if v.Outcome == report.JobPlanning.String() {
		reason = "planning"
	}
	for _, l := range []struct{ name, value string }{{"owner", v.Owner}, {"tags", strings.Join(v.Tags, ",")}, {"quarantine", v.Quarantine}, {reason, v.Reason}, {"failure", v.Failure}, {"detail", v.Detail}} {
		if l.value != "" {
			name := l.name
			for line := range strings.SplitSeq(strings.TrimSpace(l.value), "\n") {
				row(w, name, strings.ReplaceAll(line, "\t", "    "))
				name = ""
			}
		}
	}
}

// runOf returns the record of a job.
func runOf(ctx context.Context, client *client.Client, id job.ID) (*report.Run, error) {
	encoded, err := client.History(ctx, id)
	if err != nil {
		return nil, err
	}
	return history.Decode(encoded)
}

// Run writes the trace of a job.
func (c *jobTraceCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		run, err := runOf(ctx, client, st.ID)
		if err != nil {
			return err
		}
		return runpage.WriteTrace(os.Stdout, run)
	})
}

// Run writes the CPU profile of a job.
func (c *jobProfileCmd) Run(ctx context.Context) error {
	if c.HTML == "" && c.File == "-" && term.IsTerminal(int(os.Stdout.Fd())) {
		return usageError{errors.New("standard output is a terminal, and a profile is not text; name a file with -file, or write flame graphs with -html FILE")}
	}
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		encoded, err := client.Profile(ctx, st.ID)
		if err != nil {
			return err
		}
		if c.HTML == "" || c.File != "-" {
			if err := writeTo(c.File, encoded); err != nil || c.HTML == "" {
				return err
			}
		}
		all, err := flame.Merge(string(st.ID), encoded)
		if err != nil {
			return fmt.Errorf("profile of job %s: %w", st.ID, err)
		}
		var b bytes.Buffer
		if err := flame.WriteHTML(&b, "CPU profile of job "+string(st.ID), flame.Graphs(all, st.StageName)...); err != nil {
			return err
		}
		return writeTo(c.HTML, b.Bytes())
	})
}

// writeTo replaces a file, or writes to standard output if its name is -.
func writeTo(file string, content []byte) error {
	if file == "-" {
		_, err := os.Stdout.Write(content)
		return err
	}
	to, err := state.Replaceable(file)
	if err != nil {
		return err
	}
	return state.Replace(to, content, 0o644)
}

// writeReport writes the page of a job to a file, or to standard output.
func writeReport(to string, run *report.Run, v *report.RunView) error {
	if to == "-" {
		return runpage.WriteHTML(os.Stdout, run, v, version(), time.Now())
	}
	var b bytes.Buffer
	if err := runpage.WriteHTML(&b, run, v, version(), time.Now()); err != nil {
		return err
	}
	return state.Replace(to, b.Bytes(), 0o600)
}

// Run shows what happened in a job.
func (c *jobReportCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		encoded, err := client.History(ctx, st.ID)
		run := &report.Run{ID: st.ID}
		switch {
		case errors.Is(err, wire.ErrUnknownJob) && c.History == "": // it is older than histories
		case err != nil:
			return err
		default:
			if run, err = history.Decode(encoded); err != nil {
				return err
			}
		}
		v := report.ViewRun(run, &st, nil, time.Now())
		if c.History != "" {
			err = state.Replace(c.History, encoded, 0o600)
		}
		if c.HTML != "" && err == nil {
			err = writeReport(c.HTML, run, v)
		}
		if err != nil || c.History != "" || c.HTML != "" {
			return err
		}
		return c.print(v, func(w io.Writer) { writeRun(w, v) })
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
		v := report.ViewJob(&st)
		return c.print(v, func(w io.Writer) { row(w, "job "+v.Job+" "+v.Outcome) })
	})
}

// Run waits for a job.
func (c *jobWaitCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		var last report.Job
		waiting := report.Waiting{Print: printWaiting}
		defer waiting.Update("")
		for r, err := range client.Watch(ctx, st.ID) {
			if err != nil {
				return err
			}
			last = r
			waiting.Update(r.Reason)
		}
		v := report.ViewJob(&last)
		if err := c.print(v, func(w io.Writer) { row(w, "job "+v.Job+" "+v.Outcome+" after "+formatTook(&v)) }); err != nil {
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
