package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// jobAttemptCmd shows one attempt, or all attempts of a task.
type jobAttemptCmd struct {
	clientFlags
	ID      string `arg:"" help:"ID of the job, or a prefix of it."`
	Attempt string `arg:"" help:"The attempt, such as 0/17#2, or the task, such as 0/17."`
}

// Run shows the attempts.
func (c *jobAttemptCmd) Run(ctx context.Context) error {
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		run, err := runOf(ctx, client, st.ID)
		if err != nil {
			return err
		}
		views, err := attemptsOf(run, c.Attempt)
		if err != nil {
			return err
		}
		return c.print(views, func(w io.Writer) { writeAttempts(w, views) })
	})
}

// attemptsOf returns the views of the attempt or task that name names.
func attemptsOf(run *report.Run, name string) ([]*report.AttemptView, error) {
	views := report.ViewAttempts(run, nil, time.Now(), func(a *report.Attempt) bool { return a.String() == name || a.Task.String() == name })
	if len(views) > 0 {
		return views, nil
	}
	if _, err := parseAttempt(name); err != nil {
		return nil, usageError{err}
	}
	return nil, fmt.Errorf("no attempt %s of job %s has ended; \"layshaft job report\" shows what failed", name, run.ID)
}

// writeAttempts writes attempts for people.
func writeAttempts(w io.Writer, views []*report.AttemptView) {
	for i, v := range views {
		if i > 0 {
			row(w)
		}
		writeAttempt(w, v)
	}
}

func writeAttempt(w io.Writer, v *report.AttemptView) {
	row(w, "attempt", v.Attempt+" of "+v.Stage)
	end := v.End
	if v.Speculative {
		end += ", speculative"
	}
	row(w, "end", end)
	row(w, "worker", v.Worker)
	if v.Started != nil {
		row(w, "started", v.Started.Format(time.DateTime))
	}
	if v.Ended != nil {
		row(w, "ended", v.Ended.Format(time.DateTime))
	}
	row(w, "took", formatSince(v.Took.Duration()))
	if v.ReadRecords+v.WroteRecords > 0 {
		row(w, "read", fmt.Sprintf("%s, %s", report.Plural(v.ReadRecords, "record"), bytesize.Format(v.ReadBytes)))
		row(w, "wrote", fmt.Sprintf("%s, %s", report.Plural(v.WroteRecords, "record"), bytesize.Format(v.WroteBytes)))
	}
	if v.Message != "" {
		row(w, "failure", withKind(v.Kind, v.Message))
	}
	if v.Record != "" {
		row(w, "last record", v.Record)
	}
	for _, f := range v.Facts {
		row(w, f.Name, f.Text)
	}
	name := "tried on"
	for _, o := range v.Others {
		row(w, name, fmt.Sprintf("%s by %s: %s", o.Worker, o.Attempt, o.End))
		name = ""
	}
	text := func(name, s string) {
		for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
			if s != "" {
				row(w, name, strings.ReplaceAll(line, "\t", "    "))
				name = ""
			}
		}
	}
	text("detail", v.Detail)
	if v.Death != nil {
		text("stacks", v.Death.Stacks)
	}
	name = "output"
	for i := range v.Output {
		l := &v.Output[i]
		row(w, name, l.At.Format("15:04:05.000")+" "+strings.ReplaceAll(l.Text, "\t", "    "))
		name = ""
	}
}

// withKind puts the kind of a failure before its message, unless it is the usual one, after which a
// retry may help.
func withKind(kind, message string) string {
	if kind == "" || kind == job.Transient.String() {
		return message
	}
	return kind + ": " + message
}
