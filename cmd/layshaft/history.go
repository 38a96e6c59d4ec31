package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
)

// historyCmd shows recorded jobs.
type historyCmd struct {
	outputFlag
	Path  string `arg:"" name:"dir|file" help:"Data directory of a coordinator, or a file."`
	HTML  string `name:"html" placeholder:"FILE" help:"Write the page of the job to FILE, as one file for a browser; - writes it to standard output."`
	Trace bool   `help:"Write the trace of all attempts to standard output, for ui.perfetto.dev or chrome://tracing."`
	// Logs shows what user code wrote, and Attempt how an attempt ended.
	Logs    bool   `help:"Show what the code of the job wrote, like \"layshaft job logs\"."`
	Attempt string `placeholder:"STAGE/TASK[#N]" help:"Show how an attempt ended, or the attempts of a task, like \"layshaft job attempt\"."`
	ID      string `arg:"" optional:"" help:"ID of a job in the directory, or a prefix of it. Default: list the jobs."`
}

// Run shows the jobs of a directory, or one job.
func (c *historyCmd) Run() error {
	info, err := os.Stat(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no such file or directory: give the data directory of a coordinator (-data), or a file of \"layshaft job report ID -history FILE\"", c.Path)
	}
	if err != nil {
		return err
	}
	var runs []*report.Run
	if info.IsDir() {
		if runs, err = recorder.ReadDir(c.Path); err != nil {
			return err
		}
	} else {
		b, err := os.ReadFile(c.Path)
		if err != nil {
			return err
		}
		run, err := history.Decode(b)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		runs = []*report.Run{run}
	}
	var found []*report.Run
	for _, r := range runs {
		if strings.HasPrefix(string(r.ID), c.ID) {
			found = append(found, r)
		}
	}
	switch {
	case info.IsDir() && c.ID == "":
		views := make([]report.JobView, len(runs))
		for i, r := range runs {
			views[i] = report.ViewRun(&report.Run{ID: r.ID, Name: r.Name, Owner: r.Owner, Submitted: r.Submitted, Ended: r.Ended, Outcome: r.Outcome,
				Failure: r.Failure, Stages: r.Stages}, nil, nil, time.Now()).JobView
		}
		return c.print(views, func(w io.Writer) { jobTable(w, views) })
	case len(found) == 0:
		return fmt.Errorf("%s has no job %s; \"layshaft history %s\" lists the jobs", c.Path, c.ID, c.Path)
	case len(found) > 1:
		return usageError{errors.New("several jobs begin with " + c.ID + "; give more of the ID")}
	}
	v := report.ViewRun(found[0], nil, nil, time.Now())
	switch {
	case c.HTML != "":
		return writeReport(c.HTML, found[0], v)
	case c.Logs:
		return writeLines(os.Stdout, matching(found[0].Lines, c.Attempt))
	case c.Attempt != "":
		views, err := attemptsOf(found[0], c.Attempt)
		if err != nil {
			return err
		}
		return c.print(views, func(w io.Writer) { writeAttempts(w, views) })
	case c.Trace:
		return runpage.WriteTrace(os.Stdout, found[0])
	}
	return c.print(v, func(w io.Writer) { writeRun(w, v) })
}

// writeRun writes what happened in a job.
func writeRun(w io.Writer, v *report.RunView) {
	writeHead(w, &v.JobView)
	for _, l := range []struct{ name, value string }{{"parameters", string(v.Params)}, {"damaged", v.Damaged}} {
		if l.value != "" {
			row(w, l.name, l.value)
		}
	}
	if r := v.Remaining; r != nil {
		row(w, "remaining", fmt.Sprintf("about %s: %s", formatSince(r.Seconds.Duration()), r.How))
	}
	for i, f := range v.Findings {
		name := ""
		if i == 0 {
			name = "slow"
		}
		row(w, name, f.Text)
	}
	row(w)
	row(w, "STAGE", "RECORDS IN", "BYTES IN", "RECORDS OUT", "BYTES OUT", "LOCAL", "SAME ZONE", "REMOTE")
	at := func(p report.Place) string {
		if p.Attempts == 0 {
			return "-"
		}
		return fmt.Sprintf("%d (%s)", p.Attempts, bytesize.Format(p.Bytes))
	}
	for _, s := range v.Stages {
		row(w, s.Stage, s.ReadRecords, bytesize.Format(s.ReadBytes), s.WroteRecords, bytesize.Format(s.WroteBytes), at(s.Local), at(s.Zone), at(s.Remote))
	}
	writeQuantiles(w, v)
	writeHotKeys(w, v)
	if len(v.Failures) > 0 {
		row(w)
		row(w, "ATTEMPTS", "TASKS", "FAILURE", "FIRST")
		for _, f := range v.Failures {
			row(w, f.Attempts, f.Tasks, withKind(f.Kind, f.Message), f.Examples[0]+" on "+f.Workers[0])
		}
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
}

// writeHotKeys writes the keys that many records have.
func writeHotKeys(w io.Writer, v *report.RunView) {
	head := false
	for k := range v.Runs {
		for _, h := range v.Runs[k].HotKeys {
			if !head {
				head = true
				row(w)
				row(w, "HOT KEY", "SHARE", "RECORDS", "WRITTEN BY", "READ BY")
			}
			reader := h.For
			if h.To >= 0 {
				reader += fmt.Sprintf(" (stage %d)", h.To)
			}
			row(w, h.Key, fmt.Sprintf("%.1f %%", 100*h.Share), fmt.Sprintf("about %d", h.Records), v.Stages[k].Stage, reader)
		}
	}
}

// writeQuantiles writes the quantiles of the stages.
func writeQuantiles(w io.Writer, v *report.RunView) {
	head := false
	for k := range v.Runs {
		for _, c := range v.Runs[k].Columns {
			if !head {
				head = true
				row(w)
				cells := []any{"STAGE", "OF EACH TASK"}
				for _, q := range report.Quantiles {
					cells = append(cells, strings.ToUpper(q))
				}
				row(w, append(cells, "OUTLIERS")...)
			}
			cells := []any{v.Stages[k].Stage, c.Name}
			for _, x := range c.Values {
				cells = append(cells, c.Format(x))
			}
			var outliers []string
			for _, o := range c.Outliers {
				outliers = append(outliers, fmt.Sprintf("%s on %s", o.Attempt, o.Worker))
			}
			row(w, append(cells, strings.Join(outliers, ", "))...)
		}
	}
}
