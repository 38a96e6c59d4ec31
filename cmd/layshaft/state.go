package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/jobdir"
	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/internal/report"
)

type (
	stateListCmd struct {
		outputFlag
		Dir string `arg:"" help:"Directory given to a program with -state."`
	}
	stateDropCmd struct {
		Dir        string   `arg:"" help:"Directory given to a program with -state."`
		Jobs       []string `arg:"" optional:"" help:"IDs of the jobs, or of the partial aggregates of a report."`
		Done       bool     `help:"Drop all jobs that ended."`
		Unfinished bool     `help:"Drop all jobs that were killed or interrupted. They can no longer continue."`
	}
)

// Run lists the jobs of a State directory, and the partial aggregates of reports.
func (c *stateListCmd) Run() error {
	all, err := jobdir.List(c.Dir)
	if err != nil {
		return err
	}
	plans, err := partials.List(c.Dir)
	if err != nil {
		return err
	}
	for i := range plans {
		p := &plans[i]
		all = append(all, jobdir.Entry{Info: jobdir.Info{ID: p.ID, Name: "report", Outcome: "kept", Command: []string{p.Query}, Started: p.Used}, Bytes: p.Bytes})
	}
	return c.print(all, func(w io.Writer) {
		row(w, "JOB", "OUTCOME", "SIZE", "STARTED", "COMMAND")
		for i := range all {
			e := &all[i]
			outcome := e.Outcome
			if e.InUse {
				outcome = "running"
			}
			row(w, e.ID, outcome, bytesize.Format(e.Bytes), formatSince(time.Since(e.Started))+" ago", strings.Join(e.Command, " "))
		}
	})
}

// Run drops jobs of a State directory, or partial aggregates of reports.
func (c *stateDropCmd) Run() error {
	if len(c.Jobs) == 0 && !c.Done && !c.Unfinished {
		return usageError{errors.New("name the IDs of jobs, or use -done or -unfinished")}
	}
	all, err := jobdir.List(c.Dir)
	if err != nil {
		return err
	}
	ids := c.Jobs
	for i := range all {
		if e := &all[i]; !e.InUse && (c.Done && e.Outcome != jobdir.Unfinished || c.Unfinished && e.Outcome == jobdir.Unfinished) {
			ids = append(ids, e.ID)
		}
	}
	for _, id := range ids {
		drop := jobdir.Drop
		if partials.IsID(id) {
			drop = partials.Drop
		}
		if err := drop(c.Dir, id); err != nil {
			return err
		}
	}
	fmt.Printf("%s dropped\n", report.Plural(len(ids), "job"))
	return nil
}
