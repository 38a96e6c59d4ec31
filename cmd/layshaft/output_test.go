package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// hostile is a name that moves the cursor, adds a line and a column, and is not UTF-8.
const hostile = "\x1b[31mx\ny\tz\xe9\u202e"

// Names and texts of others keep to their cell in every table.
func TestTablesEscape(t *testing.T) {
	status := tasks.Status{Function: hostile, Worker: hostile, Unique: hostile, Error: hostile, Reason: hostile, Input: []byte(hostile), Result: []byte(hostile)}
	overview := tasks.Overview{Functions: []tasks.Function{{Name: hostile}}, Budgets: []tasks.Budget{{Name: hostile}}}
	view := report.JobView{Job: hostile, Owner: hostile, Failure: hostile, Detail: hostile, Reason: hostile, Tags: []string{hostile}, Stages: []report.StageView{{Stage: hostile, LastFailure: hostile}}}
	workers := []report.Worker{{Name: hostile, State: report.Ready, Zone: hostile, Datasets: []string{hostile}, WaitingReason: hostile}, {Name: hostile, ID: hostile, State: report.Away}}
	for name, c := range map[string]struct {
		lines int
		write func(w io.Writer)
	}{
		"task list":   {2, func(w io.Writer) { taskTable(w, []tasks.Status{status}) }},
		"task show":   {11, func(w io.Writer) { taskDetails(w, &status) }},
		"task status": {5, func(w io.Writer) { overviewTable(w, &overview) }},
		"worker list": {8, func(w io.Writer) {
			workerTable(w, workers)
			taskWorkerTable(w, []tasks.WorkerStatus{{Name: hostile, Functions: []string{hostile, hostile}}})
		}},
		"job list": {2, func(w io.Writer) { jobTable(w, []report.JobView{view}) }},
		"job show": {14, func(w io.Writer) { writeHead(w, &view) }},
		"status":   {10, func(w io.Writer) { statusTable(w, &report.Coordinators{}, workers, []report.JobView{view}) }},
	} {
		text := table(t, func(w *tabwriter.Writer) { c.write(w) })
		if plain.Lines(text) != text {
			t.Errorf("%s has unprintable bytes:\n%q", name, text)
		}
		if n := strings.Count(text, "\n"); n != c.lines {
			t.Errorf("%s has %d lines, want %d:\n%s", name, n, c.lines, text)
		}
	}
}

// JSON holds the spelling of a name that commands accept.
func TestJSONEscapes(t *testing.T) {
	text := captured(t, &os.Stdout, func() error {
		return outputFlag{Output: "json"}.print([]tasks.Status{{ID: 1, State: tasks.StateWaiting, Function: "caf\xe9"}}, nil)
	})
	var all []tasks.Status
	if err := json.Unmarshal([]byte(text), &all); err != nil || plain.Bytes(all[0].Function) != "caf\xe9" {
		t.Errorf("%s, %v", text, err)
	}
}

// Errors cannot write to the terminal either.
func TestErrorsEscape(t *testing.T) {
	text := captured(t, &os.Stderr, func() error { exitCode(errors.New(hostile)); return nil })
	if plain.Lines(text) != text || !strings.HasPrefix(text, "layshaft: ") {
		t.Errorf("%q", text)
	}
}

// captured returns the output of run to a file of the process.
func captured(t *testing.T, to **os.File, run func() error) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := *to
	*to = w
	err = run()
	*to = old
	w.Close()
	b, readErr := io.ReadAll(r)
	if err = errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGearmanRetries(t *testing.T) {
	for _, c := range []struct {
		flags []string
		all   int
		one   map[string]int
		bad   string
	}{
		{nil, 0, map[string]int{}, ""},
		{[]string{"3", "a=b=2", `caf\xe9=0`}, 3, map[string]int{"a=b": 2, "caf\xe9": 0}, ""},
		{[]string{"-1"}, 0, nil, `-gearman-retries "-1"`},
		{[]string{"f=many"}, 0, nil, `-gearman-retries "f=many"`},
		{[]string{"=3"}, 0, nil, `-gearman-retries "=3"`},
		{[]string{"65536"}, 0, nil, "is not a number up to"},
	} {
		f := gearmanFlags{GearmanRetries: c.flags, GearmanMaxPayload: 64 << 20}
		o, err := f.options()
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%q: %v", c.flags, err)
			}
			continue
		}
		if err != nil || o.Retries != c.all || !maps.Equal(o.FunctionRetries, c.one) {
			t.Errorf("%q: %+v, %v", c.flags, o, err)
		}
	}
}
