package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

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
		"job show": {15, func(w io.Writer) { writeHead(w, &view) }},
		"hot keys": {3, func(w io.Writer) {
			writeHotKeys(w, &report.RunView{JobView: view, Runs: []report.StageRun{{HotKeys: []report.KeyShare{{Key: hostile, Share: 0.5, For: hostile, To: 1}}}}})
		}},
		"status": {10, func(w io.Writer) { statusTable(w, &report.Coordinators{}, workers, []report.JobView{view}, nil) }},
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

// fill sets all texts in v to hostile, and everything else to something that is shown.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`{}`))
		} else if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), depth-1)
		}
	case reflect.Map:
		if depth > 0 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, depth-1)
			fill(value, depth-1)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth-1)
			}
		}
	}
}

// filled returns a value whose texts are hostile.
func filled[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem(), 6)
	return v
}

// checkPlain fails if a text moves the cursor, or if the text of others begins a line in it.
func checkPlain(t *testing.T, what, text string) {
	t.Helper()
	if plain.Lines(text) != text || strings.Contains(text, "\ny") || !strings.Contains(text, `\x1b[31mx`) {
		t.Errorf("%s lets texts of others out of their place:\n%q", what, text)
	}
}

// The other screens do not obey names and texts of others either.
func TestScreensEscape(t *testing.T) {
	line := filled[report.Line]()
	line.Omitted = 0
	for name, write := range map[string]func(w io.Writer){
		"schedule list": func(w io.Writer) { scheduleTable(w, []tasks.ScheduleStatus{filled[tasks.ScheduleStatus]()}) },
		"schedule show": func(w io.Writer) { s := filled[tasks.ScheduleStatus](); scheduleDetail(w, &s) },
		"history":       func(w io.Writer) { v := filled[report.RunView](); writeRun(w, &v) },
		"attempt":       func(w io.Writer) { v := filled[report.AttemptView](); writeAttempts(w, []*report.AttemptView{&v}) },
		"lines":         func(w io.Writer) { _ = writeLines(w, []report.Line{line}) },
		"members":       func(w io.Writer) { memberTable(w, []report.Coordinator{filled[report.Coordinator]()}) },
		"task":          func(w io.Writer) { s := filled[tasks.Status](); taskDetails(w, &s) },
		"tasks":         func(w io.Writer) { o := filled[tasks.Overview](); overviewTable(w, &o) },
		"job":           func(w io.Writer) { v := filled[report.JobView](); writeHead(w, &v) },
		"status": func(w io.Writer) {
			c := filled[report.Coordinators]()
			statusTable(w, &c, []report.Worker{filled[report.Worker]()}, []report.JobView{filled[report.JobView]()}, nil)
		},
	} {
		checkPlain(t, name, table(t, func(w *tabwriter.Writer) { write(w) }))
	}
	b := &bundle{files: map[string][]byte{}}
	b.miss("workers/"+fileName(hostile), errors.New(hostile))
	checkPlain(t, "bundle", string(b.summary("c:7070", time.Now())))
	schema := captured(t, &os.Stdout, func() error {
		return outputFlag{Output: "json"}.print(map[string]string{"name": "\u009b31m\u202e"}, nil)
	})
	if plain.Lines(schema) != schema {
		t.Errorf("JSON on a terminal: %q", schema)
	}
	for _, format := range []string{"text", "json"} {
		log := captured(t, &os.Stderr, func() error {
			(&memberFlags{LogFormat: format}).audit().Info("named", "name", hostile+"\u009b31m", "bytes", []byte(hostile), "err", errors.New(hostile))
			return nil
		})
		if plain.Lines(log) != log || strings.Count(log, "\n") != 1 {
			t.Errorf("%s log: %q", format, log)
		}
	}
}

// A report shows names of columns and files, and errors about them, as plain text.
func TestReportEscapes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	if err := os.WriteFile(file, []byte("x\x1b[31my,n\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"report", "-schema", "SELECT * FROM '" + file + "'"},
		{"report", "-explain", "SELECT * FROM '" + file + "'"},
		{"report", "-o", "table", "SELECT * FROM '" + file + "'"},
		{"report", "-o", "markdown", "SELECT * FROM '" + file + "'"},
		{"report", "SELECT nothing FROM '" + file + "'"},
	} {
		var out string
		text := captured(t, &os.Stderr, func() error {
			out = captured(t, &os.Stdout, func() error { run(args); return nil })
			return nil
		})
		if strings.Contains(out+text, "\x1b") {
			t.Errorf("%q: %q", args, out+text)
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
